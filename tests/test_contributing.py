"""The walk through a launch in CONTRIBUTING.md is what the code does."""

from __future__ import annotations

import ast
import re
import tomllib
from dataclasses import dataclass
from pathlib import Path

import pytest

_ROOT = Path(__file__).parents[1]
_PACKAGE = _ROOT / "platform/dynaloss"
_HOP = re.compile(r"^(\d+)\. `([\w/.]+)`: `([\w.]+)`(?: \(from (\d+)\))? - ", re.MULTILINE)


@dataclass(frozen=True)
class _Hop:
    number: int
    file: str
    name: str
    caller: int | None


def _section(title: str) -> str:
    text = (_ROOT / "CONTRIBUTING.md").read_text("utf-8")
    return text.partition(f"## {title}")[2].partition("\n## ")[0]


def _hops() -> list[_Hop]:
    return [
        _Hop(int(number), file, name, int(caller) if caller else None)
        for number, file, name, caller in _HOP.findall(_section("A walk through"))
    ]


_HOPS = _hops()
_WITH_CALLERS = [(hop, _HOPS[hop.caller - 1]) for hop in _HOPS if hop.caller]


def _definitions(file: str) -> set[str]:
    """Dotted names of the functions, classes and methods of a module."""
    names: set[str] = set()
    for node in ast.parse((_PACKAGE / file).read_text("utf-8")).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            names.add(node.name)
        if isinstance(node, ast.ClassDef):
            methods = (item for item in node.body if isinstance(item, ast.FunctionDef))
            names |= {f"{node.name}.{item.name}" for item in methods}
    return names


def _layers() -> dict[str, int]:
    """Height of each room, as the import contract has it; rooms of one layer may not meet."""
    contracts = tomllib.loads((_ROOT / "pyproject.toml").read_text("utf-8"))
    (lines,) = (
        contract["layers"]
        for contract in contracts["tool"]["importlinter"]["contracts"]
        if contract["type"] == "layers"
    )
    return {room: -depth for depth, line in enumerate(lines) for room in re.split(r" [|:] ", line)}


def test_the_walk_has_at_most_twenty_numbered_hops_from_one_entry() -> None:
    assert [hop.number for hop in _HOPS] == list(range(1, len(_HOPS) + 1))
    assert 10 < len(_HOPS) <= 20
    assert [hop.number for hop in _HOPS if hop.caller is None] == [1]
    assert len(_HOPS) == len(re.findall(r"^\d+\. ", _section("A walk through"), re.MULTILINE))


@pytest.mark.parametrize("hop", _HOPS, ids=lambda hop: hop.name)
def test_every_hop_is_defined_where_the_walk_has_it(hop: _Hop) -> None:
    assert hop.name in _definitions(hop.file)


@pytest.mark.parametrize(("hop", "caller"), _WITH_CALLERS, ids=lambda hop: hop.name)
def test_every_hop_is_named_by_its_caller(hop: _Hop, caller: _Hop) -> None:
    text = (_PACKAGE / caller.file).read_text("utf-8")
    assert any(re.search(rf"\b{name}\b", text) for name in hop.name.split("."))


@pytest.mark.parametrize(("hop", "caller"), _WITH_CALLERS, ids=lambda hop: hop.name)
def test_no_hop_goes_up(hop: _Hop, caller: _Hop) -> None:
    height, (to, start) = _layers(), (h.file.split("/")[0] for h in (hop, caller))
    assert caller.number < hop.number
    assert height[to] < height[start] or to == start


def test_every_room_of_the_table_exists() -> None:
    column = re.findall(r"^\| (`.*?) \|", _section("Rooms"), re.MULTILINE)
    rooms = [room for cell in column for room in re.findall("`(.+?)`", cell)]
    assert len(rooms) > 15
    assert [room for room in rooms if not (_PACKAGE / room).is_dir()] == []
    packages = {p.parent.relative_to(_PACKAGE).as_posix() for p in _PACKAGE.rglob("__init__.py")}
    assert packages - {*rooms} == {"."}


def test_every_file_of_the_checklists_exists() -> None:
    files = re.findall(r"`([\w/]+\.(?:py|md))`", _section("Checklists"))
    assert len(files) > 15
    kept = [*_PACKAGE.rglob("*.py"), *(_ROOT / "tests").rglob("*.py"), *_ROOT.glob("docs/*.md")]
    paths = [f"/{path.relative_to(_ROOT).as_posix()}" for path in [*kept, _ROOT / "CHANGELOG.md"]]
    missing = [f for f in files if not any(path.endswith(f"/{f}") for path in paths)]
    assert [file for file in missing if not file.endswith("/NAME.py")] == []
