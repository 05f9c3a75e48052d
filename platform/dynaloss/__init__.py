"""Hyper-parameter search and component ablation for robust learning with a meta-learned loss."""

__version__ = "0.1.0"
