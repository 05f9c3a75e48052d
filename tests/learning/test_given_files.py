"""Files that are not what they should be: one clear problem each, and nothing is executed."""

from __future__ import annotations

import io
import pickle
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from dynaloss.errors import InputError
from dynaloss.learning.given_files import (
    ALONE,
    read_arrays,
    read_pickle,
    read_torch,
    whole_numbers,
)


class _Intruder:
    """Pickled, it makes a file when it is read."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __reduce__(self) -> tuple[object, tuple[Path]]:
        return Path.touch, (self._path,)


def _bytes(save: Callable[..., Any], *arguments: object, **options: object) -> bytes:
    file = io.BytesIO()
    save(file, *arguments, **options)
    return file.getvalue()


def _saved(content: object, **options: object) -> bytes:
    return _bytes(lambda file: torch.save(content, file, **options))


def _header(shape: tuple[int, ...]) -> bytes:
    """The header of an `.npy` file, which promises that many numbers, and none of them."""
    names = {"descr": "<i8", "fortran_order": False, "shape": shape}
    return _bytes(np.lib.format.write_array_header_1_0, names)


NUMBERS = np.arange(100)
OBJECTS = np.array([1, "a", None], dtype=object)
NPY, NPZ = _bytes(np.save, NUMBERS), _bytes(np.savez_compressed, a=NUMBERS)
PT, OLD_PT = (
    _saved({"a": NUMBERS}),
    _saved({"a": torch.arange(9)}, _use_new_zipfile_serialization=False),
)
DAMAGED, HOLDS = "it is damaged, or of another format", "it holds "


@pytest.mark.parametrize(
    ("name", "content", "facts"),
    [
        ("a.npy", b"", DAMAGED),
        ("a.npy", b"text", DAMAGED),
        ("a.npy", NPY[:20], DAMAGED),
        ("a.npy", NPY[:-1], DAMAGED),
        ("a.npy", NPZ, DAMAGED),
        ("a.npy", NPY.replace(b"True", b"((((").replace(b"False", b"((((("), DAMAGED),
        ("a.npy", _header((10**15,)), DAMAGED),
        ("a.npy", _header((10**30,)), DAMAGED),
        ("a.npy", _bytes(np.save, OBJECTS), f"{HOLDS}Python objects"),
        ("a.npz", b"", DAMAGED),
        ("a.npz", b"text", DAMAGED),
        ("a.npz", NPY, DAMAGED),
        ("a.npz", NPZ[:-1], DAMAGED),
        ("a.npz", NPZ[:60] + b"~~~~" + NPZ[64:], DAMAGED),
        ("a.npz", _bytes(np.savez, a=OBJECTS), f"{HOLDS}Python objects"),
        ("a.csv", b"\n\n", "it is empty"),
        ("a.csv", b"\xff\xfe0\n", DAMAGED),
        ("a.csv", b"1" * 200_000, DAMAGED),
        ("a.csv", b"a,b\n1,2\n3\n", "row 3 has 1 cells, but the first has 2"),
        ("a.csv", b"0,4\n1,5\n", "2 columns must have names"),
        ("a.pt", b"", DAMAGED),
        ("a.pt", b"text", DAMAGED),
        ("a.pt", b"\x80\x02h\x05.", DAMAGED),
        ("a.pt", PT[:200], DAMAGED),
        ("a.pt", PT[:80] + b"\xff\xff\xff" + PT[83:], DAMAGED),
        ("a.pt", OLD_PT[:-10], DAMAGED),
        ("a.pt", NPZ, DAMAGED),
        ("a.pt", pickle.dumps({"a": [1]}), DAMAGED),
        ("a.pt", _saved(torch.nn.Linear(2, 2)), f"{HOLDS}objects of torch.nn."),
        ("a.pt", _saved({"a": Path("x")}), f"{HOLDS}objects of pathlib."),
    ],
    ids=lambda value: value if isinstance(value, str) and "." in value[:2] else "",
)  # fmt: skip
def test_a_file_that_cannot_be_read_is_named_with_what_is_wrong(
    name: str, content: bytes, facts: str, tmp_path: Path
) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    start = f"[data.noise.path] '{path}' cannot be read as {path.suffix}: "
    with pytest.raises(InputError, match=rf"^{re.escape(start)}.*{re.escape(facts)}") as caught:
        read_arrays(path, "data.noise.path")
    assert not re.search(r"weights_only|allow_pickle|\n", str(caught.value))


@pytest.mark.parametrize("content", [b"", b"text", pickle.dumps(NUMBERS)[:-9]])
def test_a_pickle_that_cannot_be_read_is_named(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "batch").write_bytes(content)
    with pytest.raises(
        InputError, match=r"^\[data\.root\] '.*/batch' .*read as a pickle: .*damaged"
    ):
        read_pickle(tmp_path / "batch", "data.root")


@pytest.mark.parametrize("reader", [read_pickle, read_torch])
def test_nothing_in_a_file_is_executed(reader: Callable[..., Any], tmp_path: Path) -> None:
    file, mark = tmp_path / "a.pt", tmp_path / "mark"
    content = {"a": _Intruder(mark)}
    file.write_bytes(pickle.dumps(content) if reader is read_pickle else _saved(content))
    with pytest.raises(InputError, match=r"/a\.pt' .*it holds objects of "):
        reader(file, "data.root")
    assert not mark.exists()


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_arrays_in_pickles_of_every_protocol_are_read(protocol: int, tmp_path: Path) -> None:
    content = {"data": NUMBERS.astype(np.uint8), "labels": [1, 2], "mean": np.float64(0.5)}
    (tmp_path / "batch").write_bytes(pickle.dumps(content, protocol))
    found = read_pickle(tmp_path / "batch", "data.root")
    assert found["data"].tolist() == NUMBERS.tolist()
    assert (found["data"].dtype, found["labels"], found["mean"]) == (np.uint8, [1, 2], 0.5)


def test_a_folder_and_another_suffix_are_named(tmp_path: Path) -> None:
    (tmp_path / "a.npy").mkdir()
    with pytest.raises(InputError, match=r"/a\.npy' .*: Is a directory"):
        read_arrays(tmp_path / "a.npy", "sampler.path")
    with pytest.raises(InputError, match=r"end in one of \.npy, \.csv, but got '.*/a\.zip'"):
        read_arrays(tmp_path / "a.zip", "sampler.path", (".npy", ".csv"))


@pytest.mark.parametrize("text", ["\ufeff0\n2\n1\n", "0.0\n2e0\n 1\n", "0,2,1\n"])
def test_bare_numbers_of_a_csv_have_no_name(text: str, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(text, "utf-8")
    found = read_arrays(tmp_path / "a.csv", "sampler.path")
    assert list(found) == [ALONE]
    assert whole_numbers(found[ALONE]).tolist() == [0, 2, 1]


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([3, -4], [3, -4]),
        (["3", "-4.0"], [3, -4]),
        (np.array([3.0, 2.0], np.float16), [3, 2]),
        (torch.tensor([3, 4], dtype=torch.uint8), [3, 4]),
        ([2**70], None),
        (np.array([2**63], np.uint64), None),
        (torch.tensor([0.5], requires_grad=True), None),
        (torch.eye(3).to_sparse(), None),
        (torch.zeros(3, device="meta"), None),
        ([[1], [1, 2]], None),
        (3, None),
        (None, None),
        ({"a": 1}, None),
    ],
)
def test_whole_numbers_are_those_of_a_flat_list(values: object, expected: list | None) -> None:
    found = whole_numbers(values)
    assert (None if found is None else found.tolist()) == expected
