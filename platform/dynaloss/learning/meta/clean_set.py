"""Reads the clean set that a user gives as metadata."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dynaloss.errors import InputError
from dynaloss.learning.given_files import read_arrays, whole_numbers

_SETTING = "sampler.path"
_NUM_NAMED = 5


def load_clean_set(
    path: Path, rows: Mapping[str, NDArray[np.int64]], num_images: int, seed: int
) -> Tensor:
    """Returns the positions in a training split of the samples that a file names.

    Args:
        path: `.npy` with whole numbers, shape (M,), or `.csv` with one a line: indices of images
            in the source's training images, from 0.
        rows: Such indices of the samples of each split, by role: `train`, in its order, and
            those that metadata must share no sample with.
        num_images: How many training images the source has.
        seed: Trial seed, which drew the splits; to be named in errors.

    Returns:
        Ascending, int64, without the samples that no split holds, as the long tail took them out.

    Raises:
        InputError: If the file cannot be read, holds something else, names an image twice, one
            that does not exist or one of another role, or none of the training split.
    """
    indices, file = _read(path), f"[{_SETTING}] '{path}'"
    values, counts = np.unique(indices, return_counts=True)
    if values[0] < 0 or values[-1] >= num_images:
        wrong = values[0] if values[0] < 0 else values[-1]
        raise InputError(f"{file} must hold indices in [0, {num_images}), but got {wrong}")
    if counts.max() > 1:
        raise InputError(f"{file} names {values[counts > 1][0]} twice")
    problems = []
    for role in sorted(rows.keys() - {"train"}):
        shared = np.intersect1d(values, rows[role])
        if len(shared):
            named = ", ".join(map(str, shared[:_NUM_NAMED]))
            more = f" and {len(shared) - _NUM_NAMED} more" if len(shared) > _NUM_NAMED else ""
            problems.append(
                f"{file} must share no image with the {role} split of seed {seed}, but names "
                f"{named}{more} of it: take them out of the file"
            )
    if problems:
        raise InputError(problems)
    positions = np.flatnonzero(np.isin(rows["train"], values))
    if not len(positions):
        raise InputError(f"{file}: none of its {len(values)} images is in the training split")
    return torch.from_numpy(positions)


def _read(path: Path) -> NDArray[np.int64]:
    arrays = read_arrays(path, _SETTING, (".npy", ".csv", ".txt"))
    indices = whole_numbers(next(iter(arrays.values()))) if len(arrays) == 1 else None
    if indices is None or not indices.size:
        raise InputError(f"[{_SETTING}] '{path}' must hold a list of whole numbers, one per image")
    return indices
