"""The journal of a search: what is cut short is dropped, what is changed is refused."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from dynaloss.errors import InputError
from dynaloss.journal import Journal


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "journal.jsonl"
    with Journal(path) as journal:
        journal.write("begin", group="full · symmetric 0.4", number=0, chosen={"meta.lr": 0.003})
        for epoch in (1, 2):
            journal.write("report", key="k", epoch=epoch, metrics={"val/accuracy": 0.1 * epoch})
        journal.write("end", key="k", outcome="completed", message="", diagnostics={})
    return path


def events(path: Path) -> list[dict[str, object]]:
    with Journal(path) as journal:
        return list(journal.read())


def test_what_is_written_is_read(path: Path) -> None:
    assert [event["event"] for event in events(path)] == ["begin", "report", "report", "end"]
    assert events(path)[1] == {
        "event": "report",
        "key": "k",
        "epoch": 1,
        "metrics": {"val/accuracy": 0.1},
    }


def test_no_flipped_bit_gives_another_event(path: Path) -> None:
    whole, expected = path.read_bytes(), events(path)
    draw, refusals = np.random.default_rng(0), {}
    for _ in range(300):
        content = bytearray(whole)
        at = int(draw.integers(len(content) - 1))  # the last line may end early: it is dropped
        content[at] ^= 1 << int(draw.integers(8))
        path.write_bytes(content)
        try:
            assert events(path) == expected
        except InputError as error:
            refusals[str(error)] = whole[:at].count(b"\n") + 1
    assert set(refusals.values()) == {1, 2, 3, 4}
    for told, line in refusals.items():
        assert re.match(rf".*journal\.jsonl:{line}: .* damaged", told)


@pytest.mark.parametrize(
    ("order", "line"),
    [
        pytest.param((1, 2, 3), 1, id="the first is lost"),
        pytest.param((0, 2, 3), 2, id="one is lost"),
        pytest.param((0, 1, 1, 2, 3), 3, id="one is repeated"),
        pytest.param((0, 2, 1, 3), 2, id="two have changed places"),
    ],
)
def test_lines_are_those_written_in_their_order(
    path: Path, order: tuple[int, ...], line: int
) -> None:
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[k] for k in order))
    with pytest.raises(InputError, match=rf"journal\.jsonl:{line}: .* damaged"):
        events(path)


@pytest.mark.parametrize("line", ["{}", "[]", "1", '{"event": "end", "crc32": 1}', "text"])
def test_a_line_of_something_else_is_refused(path: Path, line: str) -> None:
    with path.open("a") as file:
        file.write(f"{line}\n")
    with pytest.raises(InputError, match=r"journal\.jsonl:5: .* damaged"):
        events(path)
