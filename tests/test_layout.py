"""What the layout of the repository promises."""

from __future__ import annotations

import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "platform/dynaloss"

IMPORT_ALL = """
import importlib, pkgutil, sys
for name in {packages!r}:
    package = importlib.import_module(name)
    for module in pkgutil.walk_packages(package.__path__, name + "."):
        importlib.import_module(module.name)
print(*sorted(set(sys.modules) & set({forbidden!r})))
"""

_MAY_SHARE = ("api", "cli", "config")


def _run_python(code: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


def test_no_python_file_lies_in_the_source_root() -> None:
    """An `__init__.py` there would shadow the standard library's `platform`."""
    assert (ROOT / "platform/dynaloss/__init__.py").is_file()
    assert not list((ROOT / "platform").glob("*.py*"))


def test_platform_is_the_standard_librarys_from_the_root() -> None:
    code = "import platform; platform.system(); print(platform.__file__)"
    assert Path(_run_python(code)).parent == Path(sysconfig.get_path("stdlib"))


def test_no_two_modules_look_alike() -> None:
    """Of equal names, or of names that differ by an `s`.

    But for the commands, what Python offers beside them, and the settings: these share the name
    of what they run or set.
    """
    names: dict[str, list[str]] = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        place = path.relative_to(PACKAGE).with_suffix("")
        if path.stem not in ("__init__", "__main__") and place.parts[0] not in _MAY_SHARE:
            names.setdefault(path.stem.strip("_").removesuffix("s"), []).append(place.as_posix())
    assert [places for places in names.values() if len(places) > 1] == []


def test_only_faces_list_what_they_offer() -> None:
    """Elsewhere a leading underscore marks what is private."""
    faces = {"__init__.py", "errors.py", "lazy.py"}
    listing = [path for path in PACKAGE.rglob("*.py") if "\n__all__ = " in path.read_text()]
    assert {path.name for path in listing} <= faces


@pytest.mark.parametrize(
    ("packages", "forbidden"),
    [
        (["dynaloss.learning", "dynaloss.data"], ["ray", "mlflow", "optuna"]),
        (
            ["dynaloss.config", "dynaloss.studies", "dynaloss.analysis"],
            ["torch", "torchvision", "ray", "mlflow", "optuna"],
        ),
    ],
    ids=["learning and data", "config, studies and analysis"],
)
def test_loads_without(packages: list[str], forbidden: list[str]) -> None:
    assert _run_python(IMPORT_ALL.format(packages=packages, forbidden=forbidden)) == ""
