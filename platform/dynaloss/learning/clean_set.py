"""Reads the clean set that a user gives as metadata."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dynaloss.errors import InputError

__all__ = ["load_clean_set"]


def load_clean_set(path: Path, origins: NDArray[np.int64] | None, num_samples: int) -> Tensor:
    """Returns the positions in a training split of the samples that a file names.

    Args:
        path: `.npy` with whole numbers, shape (M,), or `.csv` with one a line: indices of images
            in the source's training images, from 0.
        origins: Index in the source of each sample of the split, shape (N,); None where they
            are the positions themselves.
        num_samples: Size N of the split.

    Returns:
        Positions in the split, ascending, int64. Samples that the long tail or the validation
        split took out are left out.

    Raises:
        InputError: If the file cannot be read, holds something else, names an image twice, or
            none of the split.
    """
    indices = _read(path)
    if indices.min() < 0:
        raise InputError(f"{path}: indices must be at least 0, but got {indices.min()}.")
    values, counts = np.unique(indices, return_counts=True)
    if counts.max() > 1:
        raise InputError(f"{path}: {values[counts > 1][0]} is there twice.")
    where = np.arange(num_samples) if origins is None else origins
    positions = np.flatnonzero(np.isin(where, values))
    if not len(positions):
        raise InputError(f"{path}: none of its {len(values)} images is in the training split.")
    return torch.from_numpy(positions)


def _read(path: Path) -> NDArray[np.int64]:
    try:
        if path.suffix == ".npy":
            indices = np.load(path, allow_pickle=False)
        else:
            indices = np.loadtxt(path, delimiter=",", ndmin=1, dtype=np.float64)
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: cannot be read as a list of indices: {error}.") from error
    if indices.ndim != 1 or not indices.size or not np.array_equal(indices, indices // 1):
        raise InputError(f"{path}: must be a list of whole numbers, one per image.")
    whole: NDArray[np.int64] = indices.astype(np.int64)
    return whole
