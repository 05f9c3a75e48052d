"""Observed labels from a file: .npy, .npz, .csv, or a .pt mapping of names to arrays."""

from __future__ import annotations

import codecs
import csv
import pickle
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from dynaloss.config.data import NoiseConfig
from dynaloss.config.families import NOISES
from dynaloss.data.arrays import Ints
from dynaloss.data.sources.source import Source
from dynaloss.errors import InputError
from dynaloss.lazy import torch

_CLEAN_KEYS = ("clean_label", "clean_labels", "true_label", "true_labels")
_ALONE = ""
_UNREADABLE = (OSError, ValueError, EOFError, pickle.UnpicklingError, zipfile.BadZipFile,
               RuntimeError)  # fmt: skip


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
    arrays = _read(Path(path))
    labels = _labels(path, _chosen(path, arrays, key), len(true_labels))
    for index in np.flatnonzero((labels < 0) | (labels >= num_classes)):
        rule = f"labels from 0 to {num_classes - 1}, but got {labels[index]} at index {index}"
        raise _problem(path, f"must hold {rule}")
    for name in _CLEAN_KEYS:
        if name in arrays:
            _check_agreement(path, name, arrays[name], true_labels)
    return labels


def _problem(path: str | Path, rule: str) -> InputError:
    return InputError(f"[data.noise.path] '{path}' {rule}")


def _read(path: Path) -> Mapping[str, Any]:
    if path.suffix not in _READERS:
        known = ", ".join(_READERS)
        raise InputError(f"[data.noise.path] must end in one of {known}, but got '{path}'")
    if not path.is_file():
        remedy = "put the label file there, or give the path of another"
        raise _problem(path, f"does not exist: {remedy}")
    try:
        return _READERS[path.suffix](path)
    except _UNREADABLE as error:
        reason = str(error).partition("\n")[0]
        raise _problem(path, f"cannot be read as {path.suffix}: {reason}") from error


def _read_npy(path: Path) -> Mapping[str, Any]:
    return {_ALONE: np.load(path, allow_pickle=False)}


def _read_npz(path: Path) -> Mapping[str, Any]:
    with np.load(path, allow_pickle=False) as arrays:
        return dict(arrays)


def _read_csv(path: Path) -> Mapping[str, Any]:
    with path.open(newline="", encoding="utf-8") as file:
        rows = [row for row in csv.reader(file) if row]
    if not rows:
        return {}
    headed = not all(cell.strip().lstrip("-").isdecimal() for cell in rows[0])
    names = [cell.strip() for cell in rows[0]] if headed else [_ALONE]
    return dict(zip(names, zip(*rows[headed:], strict=True), strict=headed))


def _read_pt(path: Path) -> Mapping[str, Any]:
    with torch.serialization.safe_globals(_numpy_globals()):
        found = torch.load(path, map_location="cpu", weights_only=True)
    return found if isinstance(found, dict) else {_ALONE: found}


def _numpy_globals() -> list[Any]:
    """What a pickled array of numbers names: NumPy's constructors, of versions 1 and 2."""
    rebuild = np.zeros(0).__reduce__()[0]
    scalar = np.int64(0).__reduce__()[0]
    return [
        np.ndarray, np.dtype, codecs.encode, *{type(np.dtype(kind)) for kind in "bBhHiIlLqQfd"},
        *((rebuild, f"numpy.{core}.multiarray._reconstruct") for core in ("core", "_core")),
        *((scalar, f"numpy.{core}.multiarray.scalar") for core in ("core", "_core")),
    ]  # fmt: skip


_READERS: Mapping[str, Callable[[Path], Mapping[str, Any]]] = {
    ".npy": _read_npy, ".npz": _read_npz, ".csv": _read_csv, ".pt": _read_pt,
}  # fmt: skip


def _chosen(path: str | Path, arrays: Mapping[str, Any], key: str | None) -> object:
    if key is None and len(arrays) == 1:
        return next(iter(arrays.values()))
    if key is not None and key in arrays:
        return arrays[key]
    names = ", ".join(f"'{name}'" for name in arrays if name != _ALONE) or "one array, no key"
    got = "no key" if key is None else f"'{key}'"
    raise InputError(f"[data.noise.key] must be one that '{path}' holds ({names}), but got {got}")


def _labels(path: str | Path, values: Any, number: int) -> Ints:  # noqa: ANN401 - from a file
    problem = _problem(path, "must hold a list of whole numbers")
    try:
        found = np.asarray(values)
        with np.errstate(invalid="ignore"):  # what is no number differs from any whole one below
            whole = found.astype(np.int64)
    except (TypeError, ValueError) as error:
        raise problem from error
    if whole.ndim != 1 or (found.dtype.kind == "f" and not np.array_equal(whole, found)):
        raise problem
    if len(whole) != number:
        rule = f"a label for each of the {number} images of the source, but holds {len(whole)}"
        raise _problem(path, f"must hold {rule}")
    return whole


def _check_agreement(path: str | Path, name: str, values: object, true_labels: Ints) -> None:
    clean = _labels(path, values, len(true_labels))
    differing = np.flatnonzero(clean != true_labels)
    if len(differing):
        first = differing[0]
        raise InputError(
            f"[data.noise.path] '{name}' of '{path}' must agree with the labels of the source, "
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
