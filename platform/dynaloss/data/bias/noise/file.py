"""Observed labels from a file: .npy, .npz, .csv, or a .pt mapping of names to arrays."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from dynaloss.config.data import NoiseConfig
from dynaloss.config.families import NOISES
from dynaloss.config.settings import show
from dynaloss.data.arrays import Ints
from dynaloss.data.sources.source import Source
from dynaloss.errors import InputError
from dynaloss.learning.given_files import ALONE, read_arrays, whole_numbers

_CLEAN_KEYS = ("clean_label", "clean_labels", "true_label", "true_labels")
_SETTING = "data.noise.path"


def read_observed_labels(
    path: str | Path, key: str | None, true_labels: Ints, num_classes: int
) -> Ints:
    """Observed labels of the file `path`, int64, shape (N,), checked against the data.

    CIFAR-N (Wei et al., ICLR 2022) ships a .pt of `clean_label`, `worse_label` and others. Labels
    without noise that the file holds beside them have to agree with the source, whose order is
    that of the file. `key` is an array, or column; None where there is one alone.

    Raises:
        InputError: If the file is missing or unreadable, or its labels do not fit the data.
    """
    arrays = read_arrays(Path(path), _SETTING)
    labels = _labels(path, *_chosen(path, arrays, key), len(true_labels))
    for index in np.flatnonzero((labels < 0) | (labels >= num_classes)):
        rule = f"labels from 0 to {num_classes - 1}, but got {labels[index]} at index {index}"
        raise _problem(path, f"must hold {rule}")
    for name in _CLEAN_KEYS:
        if name in arrays:
            _check_agreement(path, name, arrays[name], true_labels)
    return labels


def _problem(path: str | Path, rule: str) -> InputError:
    return InputError(f"[{_SETTING}] '{path}' {rule}")


def _chosen(path: str | Path, arrays: Mapping[str, Any], key: str | None) -> tuple[str, object]:
    """Name and content of the array to use."""
    if key is None and len(arrays) == 1:
        return next(iter(arrays.items()))
    if key is not None and key in arrays:
        return key, arrays[key]
    names = ", ".join(show(name) if name != ALONE else "one array, no key" for name in arrays)
    got = "no key" if key is None else show(key)
    raise InputError(
        f"[data.noise.key] must be one that '{path}' holds ({names or 'none'}), but got {got}"
    )


def _labels(path: str | Path, name: str, values: object, number: int) -> Ints:
    named = "" if name == ALONE else f" as {show(name)}"
    labels = whole_numbers(values)
    if labels is None:
        raise _problem(path, f"must hold a list of whole numbers{named}")
    if len(labels) != number:
        rule = f"a label for each of the {number} images of the source{named}"
        raise _problem(path, f"must hold {rule}, but holds {len(labels)}")
    return labels


def _check_agreement(path: str | Path, name: str, values: object, true_labels: Ints) -> None:
    clean = _labels(path, name, values, len(true_labels))
    differing = np.flatnonzero(clean != true_labels)
    if len(differing):
        first = differing[0]
        raise InputError(
            f"[{_SETTING}] '{name}' of '{path}' must agree with the labels of the source, "
            f"but differs at {len(differing)} of {len(clean)} indices, first at index {first}: "
            f"{clean[first]} in the file, {true_labels[first]} in the source; are they in the "
            "same order?"
        )


def _labels_of(noise: NoiseConfig, source: Source) -> Ints:
    path = noise.path or ""
    return read_observed_labels(path, noise.key, source.pool.labels, source.num_classes)


NOISES.add(
    name="file",
    description="labels from the file data.noise.path, whatever the rate",
    settings=NoiseConfig,
    observe=lambda noise, source, rows, _: _labels_of(noise, source)[rows],
    uses=("path", "key"),
    check=_labels_of,
)
