"""The Python of the documents and of the example runs, and passes a strict type checker."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pandas
import pytest

pytestmark = pytest.mark.xdist_group("api")

ROOT = Path(__file__).parents[2]


@pytest.fixture
def folder(empty_storage: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working folder, but for an empty store."""
    shutil.copytree(empty_storage, tmp_path / "results")
    monkeypatch.chdir(tmp_path)
    for name in ("MLFLOW_TRACKING_URI", "DYNALOSS_STORAGE"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


def run_python(*arguments: str) -> str:
    done = subprocess.run([sys.executable, *arguments], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    ["docs/python.md", pytest.param("README.md", marks=pytest.mark.ray)],
)
def test_python_in_a_document_runs_from_top_to_bottom(folder: Path, name: str) -> None:
    blocks = re.findall(r"^```python\n(.*?)^```", (ROOT / name).read_text("utf-8"), re.M | re.S)
    Path("script.py").write_text("\n".join(blocks), "utf-8")
    run_python("script.py")
    assert {*folder.glob("*.html")} != set()


@pytest.mark.slow
@pytest.mark.ray
def test_the_first_ten_minutes_run_as_the_document_has_them(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every block in its order, with fewer epochs and seeds."""
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    text = (ROOT / "docs/getting-started.md").read_text("utf-8")
    for old, new in (
        ("epochs: 30, warmup_epochs: 5", "epochs: 8, warmup_epochs: 1"),
        ("epochs: 30", "epochs: 6"),
        ("[0, 1, 2, 3, 4, 5]", "[0, 1]"),
    ):
        assert old in text
        text = text.replace(old, new)
    for kind, title, block in re.findall(
        r'^```(\w+)(?: title="(.*?)")?\n(.*?)^```', text, re.M | re.S
    ):
        if title:
            Path(title).write_text(block, "utf-8")
        elif kind == "console":
            done = subprocess.run(["bash", "-ec", block], capture_output=True, text=True)
            assert done.returncode == 0, block + done.stderr
    assert Path("first-steps.html").is_file()
    assert re.search(r"^trimmed +\*?\d\d\.\d±", done.stdout, re.M)


@pytest.mark.slow
def test_the_example_saves_and_prints_its_trials(folder: Path) -> None:
    printed = run_python(str(ROOT / "examples/python_api.py"))
    table = pandas.read_csv("arms.csv")
    assert len(table) == 2 * 7
    assert (table["n"] == 2).all()
    assert "Shapley values" in printed


@pytest.mark.slow
@pytest.mark.parametrize("name", ["examples/python_api.py"])
def test_a_script_that_uses_dynaloss_passes_a_strict_type_checker(folder: Path, name: str) -> None:
    script = shutil.copy(ROOT / name, folder)
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--follow-imports=silent", script],
        env=os.environ | {"MYPYPATH": str(ROOT / "platform")},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_types_of_the_package_are_marked_as_public() -> None:
    assert (ROOT / "platform/dynaloss/py.typed").is_file()
