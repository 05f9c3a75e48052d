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
from numpy.typing import NDArray

from dynaloss.config.data import NoiseConfig
from dynaloss.config.families import NOISES, NoiseKind
from dynaloss.data.sources.source import Source
from dynaloss.errors import InputError
from dynaloss.lazy import torch

CLEAN_KEYS = ("clean_label", "clean_labels", "true_label", "true_labels")
"""Names under which a file carries the labels without noise."""

_ALONE = ""


def read_observed_labels(
    path: str | Path, key: str | None, true_labels: NDArray[np.int64], num_classes: int
) -> NDArray[np.int64]:
    """Observed labels of the file `path`, int64, shape (N,), checked against the data.

    CIFAR-N (Wei et al., ICLR 2022) ships a .pt of `clean_label`, `worse_label` and others.

    Args:
        path: The file; a label per sample, in the order of the source.
        key: Array, or column, of the file; None where it holds one alone.
        true_labels: Labels of the source, int64, shape (N,).
        num_classes: C.

    Raises:
        InputError: If the file is missing or unreadable, or its labels do not fit the data.
    """
    arrays = _read(Path(path))
    labels = _labels(path, _chosen(path, arrays, key))
    _check_length(path, labels, true_labels)
    _check_range(path, labels, num_classes)
    for name in CLEAN_KEYS:
        if name in arrays:
            _check_agreement(path, name, _labels(path, arrays[name]), true_labels)
    return labels


def _read(path: Path) -> Mapping[str, Any]:
    if path.suffix not in _READERS:
        known = ", ".join(_READERS)
        raise InputError(f"[data.noise.path] must end in one of {known}, but got '{path}'")
    if not path.is_file():
        raise InputError(
            f"[data.noise.path] '{path}' does not exist: put the label file there, "
            "or give the path of another"
        )
    try:
        return _READERS[path.suffix](path)
    except (OSError, ValueError, EOFError, pickle.UnpicklingError, zipfile.BadZipFile,
            RuntimeError) as error:  # fmt: skip
        reason = str(error).partition("\n")[0]
        raise InputError(
            f"[data.noise.path] '{path}' cannot be read as {path.suffix}: {reason}"
        ) from error


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
    columns = zip(*rows[headed:], strict=True)
    return dict(zip(names, columns, strict=headed))


def _read_pt(path: Path) -> Mapping[str, Any]:
    with torch.serialization.safe_globals(_numpy_globals()):
        found = torch.load(path, map_location="cpu", weights_only=True)
    return found if isinstance(found, dict) else {_ALONE: found}


def _numpy_globals() -> list[Any]:
    """What a pickled array of numbers names: NumPy's constructors, of versions 1 and 2."""
    rebuild = np.zeros(0).__reduce__()[0]
    scalar = np.int64(0).__reduce__()[0]
    dtypes = {type(np.dtype(kind)) for kind in "bBhHiIlLqQfd"}
    return [
        np.ndarray, np.dtype, codecs.encode, *dtypes,
        *((rebuild, f"numpy.{core}.multiarray._reconstruct") for core in ("core", "_core")),
        *((scalar, f"numpy.{core}.multiarray.scalar") for core in ("core", "_core")),
    ]  # fmt: skip


_READERS: Mapping[str, Callable[[Path], Mapping[str, Any]]] = {
    ".npy": _read_npy,
    ".npz": _read_npz,
    ".csv": _read_csv,
    ".pt": _read_pt,
}


def _chosen(path: str | Path, arrays: Mapping[str, Any], key: str | None) -> object:
    if key is None and len(arrays) == 1:
        return next(iter(arrays.values()))
    if key is not None and key in arrays:
        return arrays[key]
    names = ", ".join(f"'{name}'" for name in arrays if name != _ALONE) or "one array, no key"
    got = "no key" if key is None else f"'{key}'"
    raise InputError(f"[data.noise.key] must be one that '{path}' holds ({names}), but got {got}")


def _labels(path: str | Path, values: Any) -> NDArray[np.int64]:  # noqa: ANN401 - from a file
    problem = InputError(f"[data.noise.path] '{path}' must hold a list of whole numbers")
    try:
        found = np.asarray(values)
        with np.errstate(invalid="ignore"):  # what is no number differs from any whole one below
            whole = found.astype(np.int64)
    except (TypeError, ValueError) as error:
        raise problem from error
    if whole.ndim != 1 or (found.dtype.kind == "f" and not np.array_equal(whole, found)):
        raise problem
    return whole


def _check_length(
    path: str | Path, labels: NDArray[np.int64], true_labels: NDArray[np.int64]
) -> None:
    if len(labels) != len(true_labels):
        raise InputError(
            f"[data.noise.path] '{path}' must hold a label for each of the {len(true_labels)} "
            f"images of the source, but holds {len(labels)}"
        )


def _check_range(path: str | Path, labels: NDArray[np.int64], num_classes: int) -> None:
    outside = np.flatnonzero((labels < 0) | (labels >= num_classes))
    if len(outside):
        raise InputError(
            f"[data.noise.path] '{path}' must hold labels from 0 to {num_classes - 1}, "
            f"but got {labels[outside[0]]} at index {outside[0]}"
        )


def _check_agreement(
    path: str | Path, name: str, clean: NDArray[np.int64], true_labels: NDArray[np.int64]
) -> None:
    _check_length(path, clean, true_labels)
    differing = np.flatnonzero(clean != true_labels)
    if len(differing):
        first = differing[0]
        raise InputError(
            f"[data.noise.path] '{name}' of '{path}' must agree with the labels of the source, "
            f"but differs at {len(differing)} of {len(clean)} indices, first at index {first}: "
            f"{clean[first]} in the file, {true_labels[first]} in the source; are they in the "
            "same order?"
        )


def _observe(
    noise: NoiseConfig, source: Source, rows: NDArray[np.int64], _: np.random.Generator
) -> NDArray[np.int64]:
    return _labels_of(noise, source)[rows]


def _labels_of(noise: NoiseConfig, source: Source) -> NDArray[np.int64]:
    path = noise.path or ""
    return read_observed_labels(path, noise.key, source.pool.labels, source.num_classes)


NOISES.add(
    NoiseKind(
        name="file",
        description="labels from the file data.noise.path, whatever the rate",
        settings=NoiseConfig,
        observe=_observe,
        uses=("path", "key"),
        check=_labels_of,
    )
)
