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
_HIGH_FLIP_RATE = 0.6


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
    chosen, values = _chosen(path, arrays, key)
    labels = _labels(path, chosen, values, len(true_labels))
    for index in np.flatnonzero((labels < 0) | (labels >= num_classes)):
        rule = f"must hold labels from 0 to {num_classes - 1}{_as(chosen)}"
        raise _problem(path, f"{rule}, but got {labels[index]} at index {index}")
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


def _as(name: str) -> str:
    return "" if name == ALONE else f" as {show(name)}"


def _labels(path: str | Path, name: str, values: object, number: int) -> Ints:
    labels = whole_numbers(values)
    if labels is None:
        raise _problem(path, f"must hold a list of whole numbers{_as(name)}")
    if len(labels) != number:
        rule = f"a label for each of the {number} images of the source{_as(name)}"
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


def _remarks(noise: NoiseConfig, source: Source) -> list[str]:
    found = _suspicion(source, _labels_of(noise, source))
    file = f"'{noise.path}'" if noise.key is None else f"{show(noise.key)} of '{noise.path}'"
    return [f"[{_SETTING}] {file}: {found}"] if found else []


def _suspicion(source: Source, observed: Ints) -> str:
    """Why the labels may be those of other images or classes, empty where they are plausible."""
    true, C, N = source.pool.labels, source.num_classes, len(observed)
    counts, given, right = (
        np.bincount(labels, minlength=C) for labels in (true, observed, true[true == observed])
    )
    agreement = right.sum() / N
    # Of labels that have nothing to do with the images, as in a random order.
    chance = counts @ given / N**2
    differ = f"{100 * (1 - agreement):.1f} % of its labels are not those of the source"
    is_chance = agreement <= chance + 3 * np.sqrt(chance * (1 - chance) / N)
    if 1 - agreement > _HIGH_FLIP_RATE or is_chance:
        rate = f"{100 * (1 - chance):.1f} %"
        return f"{differ} (of labels in a random order: {rate}); check their order"
    below = np.flatnonzero(right * N < counts * given)
    if not len(below):
        return ""
    return (
        f"{differ}, and images of {source.named(below)} have their own label more rarely than the "
        "other images have it; check the numbers of its classes"
    )


NOISES.add(
    name="file",
    description="labels from the file data.noise.path, whatever the rate",
    settings=NoiseConfig,
    observe=lambda noise, source, rows, _: _labels_of(noise, source)[rows],
    uses=("path", "key"),
    check=_labels_of,
    remarks=_remarks,
)
