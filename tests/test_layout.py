"""What the layout of the repository promises."""

from __future__ import annotations

import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

IMPORT_ALL = """
import importlib, pkgutil, sys
for name in {packages!r}:
    package = importlib.import_module(name)
    for module in pkgutil.walk_packages(package.__path__, name + "."):
        importlib.import_module(module.name)
print(*sorted(set(sys.modules) & set({forbidden!r})))
"""


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


@pytest.mark.parametrize(
    ("packages", "forbidden"),
    [
        (["dynaloss.learning", "dynaloss.data"], ["ray", "mlflow", "optuna"]),
        (["dynaloss.analysis"], ["torch", "torchvision", "ray", "mlflow"]),
    ],
    ids=["learning and data", "analysis"],
)
def test_loads_without(packages: list[str], forbidden: list[str]) -> None:
    assert _run_python(IMPORT_ALL.format(packages=packages, forbidden=forbidden)) == ""
