"""Weak and strong views: augmentation policies and batched operations."""
