"""How the data of a trial is split and biased."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["NOISE_KINDS", "BiasSettings"]

NOISE_KINDS = ("none", "symmetric", "uniform", "flip", "asymmetric", "instance", "file")


@dataclass(frozen=True, slots=True, kw_only=True)
class BiasSettings:
    """How the data of a trial is split and biased.

    Attributes:
        noise_kind: One of `NOISE_KINDS`.
        noise_rate: In [0, 1]; plays no part for `file`.
        noise_map: For `asymmetric`, see `class_map`; None for the usual map.
        noise_path: For `file`, see `read_observed_labels`.
        noise_key: Likewise.
        imbalance: `exponential`, `step` or `none`.
        imbalance_factor: n_max / n_min, at least 1.
        n_max: Samples of the largest class; None for as many as there are.
        test_fraction: Share of each class kept for testing if the source has no test set.
        validation_fraction: Share of each observed class of the biased pool kept for validation.
        validation_labels: `observed` or `clean`: the labels that validation is scored against.
        equal_images: `keep`, or `drop` to train on no image that equals one of another role.
    """

    noise_kind: str
    noise_rate: float
    noise_map: str | None
    noise_path: str | None
    noise_key: str | None
    imbalance: str
    imbalance_factor: float
    n_max: int | None
    test_fraction: float
    validation_fraction: float
    validation_labels: str
    equal_images: str
