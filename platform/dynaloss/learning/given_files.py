"""Numbers and tensors in files that users give; nothing that is read from one is executed.

Whatever is wrong with a file is an `InputError` that starts with the setting that names it.
"""

from __future__ import annotations

import codecs
import csv
import pickle
import re
import warnings
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dynaloss.errors import InputError
from dynaloss.lazy import torch

ALONE = ""
"""Name of an array or column that has none in its file."""


def read_arrays(
    path: Path, setting: str, kinds: Iterable[str] = (".npy", ".npz", ".csv", ".pt")
) -> Mapping[str, Any]:
    """What a file holds by name, `ALONE` for what has no name; not checked any further.

    Args:
        path: `.npy`, `.npz`, `.csv` (or `.txt`) of columns with names in the first line or of
            numbers alone, or `.pt` with what `torch.save` wrote of one array or a mapping.
        setting: Dotted key of the setting that names the file.
        kinds: Those of these suffixes that are accepted.

    Raises:
        InputError: If the file does not exist, has another suffix or cannot be read as its own.
    """
    if path.suffix not in kinds:
        raise InputError(f"[{setting}] must end in one of {', '.join(kinds)}, but got '{path}'")
    found: Mapping[str, Any] = _read(path, setting, path.suffix, _READERS[path.suffix])
    return found


def read_torch(path: Path, setting: str) -> Any:  # noqa: ANN401 - any content
    """Tensors, arrays of numbers and plain containers, as `torch.save` wrote them, on the CPU.

    Raises:
        InputError: If the file does not exist, or holds or is something else.
    """
    return _read(path, setting, "a file of torch", _torch_content)


def read_pickle(path: Path, setting: str) -> Any:  # noqa: ANN401 - any content
    """Arrays of numbers, text and plain containers, as `pickle` of any Python wrote them.

    Raises:
        InputError: As of `read_torch`.
    """
    return _read(path, setting, "a pickle", _pickled_content)


def whole_numbers(values: object) -> NDArray[np.int64] | None:
    """The values as int64, shape (N,), be they numbers or text; None where that is impossible."""
    try:
        found = np.asarray(values)
        if found.dtype.kind in "SU":
            found = found.astype(np.float64)
        if found.ndim != 1 or found.dtype.kind not in "biuf":
            return None
        with np.errstate(invalid="ignore"):  # what is no number differs from any whole one below
            whole = found.astype(np.int64)
    except Exception:  # of any kind, by what a file can hold
        return None
    return whole if np.array_equal(whole, found) else None


def _read(path: Path, setting: str, kind: str, reader: Callable[[Path], Any]) -> Any:  # noqa: ANN401
    if not path.exists():
        raise InputError(
            f"[{setting}] '{path}' does not exist: put the file there, or name another"
        )
    try:
        return reader(path)
    except Exception as error:  # of any kind, by the reader, for any other file
        text = f"[{setting}] '{path}' cannot be read as {kind}: {_reason(error)}"
        raise InputError(text) from error


class _ContentError(ValueError):
    """Says in words for users what is wrong with the content of a file."""


def _reason(error: Exception) -> str:
    """What is wrong with a file; torch and NumPy advise to execute what it holds."""
    text = str(error)
    if isinstance(error, _ContentError):
        return text
    if isinstance(error, OSError) and error.filename is not None:
        return str(error.strerror)
    if named := re.search(r"GLOBAL (\S+)", text):
        return f"it holds objects of {named[1]}"
    if "Python objects" in text or "Object arrays" in text:
        return "it holds Python objects"
    return "it is damaged, or of another format"


def _read_npy(path: Path) -> Mapping[str, Any]:
    # Mapped, as the header may promise more than the file or the memory holds.
    return {ALONE: np.lib.format.open_memmap(path, mode="r")}


def _read_npz(path: Path) -> Mapping[str, Any]:
    with path.open("rb") as file, np.lib.npyio.NpzFile(file, allow_pickle=False) as arrays:
        return dict(arrays)


def _read_csv(path: Path) -> Mapping[str, Any]:
    with path.open(newline="", encoding="utf-8-sig") as file:
        rows = [row for row in csv.reader(file) if row]
    if not rows:
        raise _ContentError("it is empty")
    width = len(rows[0])
    for number, row in enumerate(rows, start=1):
        if len(row) != width:
            raise _ContentError(f"row {number} has {len(row)} cells, but the first has {width}")
    if not all(map(_is_number, rows[0])):
        names, rows = [cell.strip() for cell in rows[0]], rows[1:]
        return {name: [row[i] for row in rows] for i, name in enumerate(names)}
    if width > 1 and len(rows) > 1:
        raise _ContentError(f"its {width} columns must have names in the first line")
    return {ALONE: [cell for row in rows for cell in row]}


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _read_pt(path: Path) -> Mapping[str, Any]:
    found = _torch_content(path)
    return found if isinstance(found, dict) else {ALONE: found}


_READERS: Mapping[str, Callable[[Path], Mapping[str, Any]]] = {
    ".npy": _read_npy, ".npz": _read_npz, ".csv": _read_csv, ".txt": _read_csv, ".pt": _read_pt,
}  # fmt: skip


def _torch_content(path: Path) -> Any:  # noqa: ANN401 - any content
    dtypes = {type(np.dtype(kind)) for kind in "bBhHiIlLqQfd"}
    allowed: list[Any] = [*((value, name) for name, value in _names_in_pickles().items()), *dtypes]
    with torch.serialization.safe_globals(allowed), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of a pickle that torch did not write
        return torch.load(path, map_location="cpu", weights_only=True)


def _pickled_content(path: Path) -> Any:  # noqa: ANN401 - any content
    with path.open("rb") as file:
        return _Unpickler(file, encoding="latin1").load()


class _Unpickler(pickle.Unpickler):
    """Makes nothing but containers, text, numbers and arrays of them."""

    def find_class(self, module: str, name: str) -> Any:  # noqa: ANN401 - as its base
        known = _names_in_pickles()
        if f"{module}.{name}" not in known:
            raise _ContentError(f"it holds objects of {module}.{name}")
        return known[f"{module}.{name}"]


def _names_in_pickles() -> dict[str, Any]:
    """What a pickled array of numbers names: NumPy's constructors, of versions 1 and 2."""
    rebuild, scalar = np.zeros(0).__reduce__()[0], np.int64(0).__reduce__()[0]
    buffer = np.zeros(1).__reduce_ex__(5)[0]
    return {
        "numpy.ndarray": np.ndarray, "numpy.dtype": np.dtype, "_codecs.encode": codecs.encode,
        **{f"numpy.{core}.multiarray._reconstruct": rebuild for core in ("core", "_core")},
        **{f"numpy.{core}.multiarray.scalar": scalar for core in ("core", "_core")},
        **{f"numpy.{core}.numeric._frombuffer": buffer for core in ("core", "_core")},
    }  # fmt: skip
