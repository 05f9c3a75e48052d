"""The layer loads without what it does not need."""

from __future__ import annotations

import subprocess
import sys

import pytest

HEAVY = {"torch", "torchvision", "ray", "mlflow"}


@pytest.mark.parametrize(
    ("module", "absent"),
    [
        ("dynaloss.analysis", HEAVY | {"matplotlib", "jinja2", "scipy", "rich"}),
        ("dynaloss.analysis.report", HEAVY | {"matplotlib.pyplot"}),
    ],
)
def test_import_is_light(module: str, absent: set[str]) -> None:
    code = f"import sys, {module}; print(*({absent!r} & sys.modules.keys()))"
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == ""
