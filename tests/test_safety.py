"""No file that is read may run code: every reader is the safe one."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

_PACKAGE = Path(__file__).parents[1] / "platform" / "dynaloss"
_FORBIDDEN = {
    ("yaml", "load"), ("yaml", "unsafe_load"), ("yaml", "full_load"), ("pickle", "load"),
    ("pickle", "loads"), ("marshal", "loads"), ("os", "system"), ("os", "popen"),
}  # fmt: skip


def _calls() -> Iterator[tuple[str, ast.Call]]:
    for path in sorted(_PACKAGE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Call):
                yield f"{path.relative_to(_PACKAGE)}:{node.lineno}", node


def _name(call: ast.Call) -> tuple[str, ...]:
    function = call.func
    if isinstance(function, ast.Attribute):
        owner = function.value
        return (owner.id if isinstance(owner, ast.Name) else "", function.attr)
    return (function.id,) if isinstance(function, ast.Name) else ()


def _given(call: ast.Call) -> dict[str | None, object]:
    return {
        keyword.arg: keyword.value.value
        for keyword in call.keywords
        if isinstance(keyword.value, ast.Constant)
    }


def test_torch_loads_weights_alone() -> None:
    found = [(place, _given(call)) for place, call in _calls() if _name(call) == ("torch", "load")]
    assert len(found) > 1
    assert [place for place, given in found if given.get("weights_only") is not True] == []


def test_numpy_reads_no_pickles() -> None:
    names = {("np", "load"), ("", "NpzFile"), ("", "read_array")}
    found = [(place, _given(call)) for place, call in _calls() if _name(call) in names]
    assert found
    assert [place for place, given in found if given.get("allow_pickle", False)] == []


def test_nothing_unpickles_runs_a_shell_or_evaluates_text() -> None:
    found = [
        place
        for place, call in _calls()
        if _name(call) in _FORBIDDEN | {("eval",), ("exec",)} or _given(call).get("shell")
    ]
    # What was pickled a line before: a source has to survive the way to a worker.
    assert [place.partition(":")[0] for place in found] == ["testing/source_rules.py"]
