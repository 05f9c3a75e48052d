"""Every public name has an example in its docstring, and every example does what it shows.

The examples of a package share one folder, where no trial runs twice, and may use what those of
`_FIRST` define.
"""

from __future__ import annotations

import doctest
import importlib
import inspect
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

_PACKAGES = ("dynaloss", "dynaloss.learning", "dynaloss.testing")
_FIRST: dict[str, tuple[str, ...]] = {"dynaloss": ("Study", "Study.run", "Search")}

_CASES = [
    (package, name)
    for package in _PACKAGES
    for name in importlib.import_module(package).__all__
    if not name.startswith("_")
]


def _docs(package: str, name: str) -> Iterator[tuple[str, str]]:
    """The docstring of a public name, and those of a class's public methods and properties."""
    value = getattr(importlib.import_module(package), name)
    yield name, inspect.getdoc(value) or ""
    for member in dir(value) if inspect.isclass(value) else ():
        found = inspect.getattr_static(value, member)
        function = getattr(found, "fget", None) or getattr(found, "__func__", found)
        is_own = inspect.isfunction(function) and function.__module__.startswith("dynaloss")
        if is_own and not member.startswith("_"):
            yield f"{name}.{member}", inspect.getdoc(function) or ""


@pytest.fixture(scope="module")
def folder(empty_storage: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("examples")
    shutil.copytree(empty_storage, folder / "results")
    return folder


@pytest.mark.parametrize(("package", "name"), _CASES)
def test_examples_show_what_they_compute(
    package: str, name: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    for variable in ("MLFLOW_TRACKING_URI", "DYNALOSS_STORAGE"):
        monkeypatch.delenv(variable, raising=False)
    first = {
        place: dict(_docs(package, place.partition(".")[0]))[place]
        for place in _FIRST.get(package, ())
    }
    names: dict[str, Any] = {"dynaloss": importlib.import_module("dynaloss")}
    without_example = []
    for place, text in {**first, **dict(_docs(package, name))}.items():
        test = doctest.DocTestParser().get_doctest(text, names, place, None, None)
        # In the other packages the example of a class shows its methods.
        if not test.examples and (package == "dynaloss" or place == name):
            without_example.append(place)
        report: list[str] = []
        doctest.DocTestRunner().run(test, out=report.append, clear_globs=False)
        assert not report, "".join(report)
        names = test.globs
    assert without_example == []
