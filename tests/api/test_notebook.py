"""The notebook of the examples runs, cell by cell, and shows what it says."""

from __future__ import annotations

import re
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

NOTEBOOK = Path(__file__).parents[2] / "examples" / "notebook.ipynb"


def _rows(cell: nbformat.NotebookNode) -> list[list[str]]:
    """The cells of the only table that a cell of the notebook shows, row by row."""
    (html,) = (o.data["text/html"] for o in cell.outputs if "text/html" in o.get("data", ()))
    rows = re.findall(r"<tr.*?>(.*?)</tr>", html, re.DOTALL)
    return [re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row, re.DOTALL) for row in rows]


@pytest.mark.slow
def test_the_notebook_runs_in_an_empty_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("MLFLOW_TRACKING_URI", "DYNALOSS_STORAGE"):
        monkeypatch.delenv(name, raising=False)
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    for cell in notebook.cells:
        cell.source = cell.source.replace('"schedule.epochs": 12', '"schedule.epochs": 4')
        cell.source = cell.source.replace("[0, 1, 2, 3, 4, 5]", "[0, 1]")
    NotebookClient(notebook, resources={"metadata": {"path": str(tmp_path)}}).execute()
    plan, trials, curves, compared, text, differences, runs, weights = (
        cell for cell in notebook.cells if cell.cell_type == "code"
    )
    arms = {*_rows(plan)[0][1:]}
    assert len(arms) == 7
    assert len(_rows(trials)) >= 14
    assert any("image/png" in output.get("data", ()) for output in curves.outputs)
    assert {row[0] for row in _rows(compared)[1:]} == arms
    assert all(arm in text.outputs[0].text for arm in arms)
    assert arms - {"none"} <= {row[0] for row in _rows(differences)}
    assert {row[2] for row in _rows(runs)[1:]} <= arms
    assert str(weights.outputs[-1].data["text/plain"]).count("\n") == 4
