"""LaTeX: what is escaped, and that TeX itself takes it."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from dynaloss.analysis import compare, render
from dynaloss.analysis.latex import escape_latex, latex_number
from dynaloss.analysis.render_extra import render_extra
from dynaloss.analysis.tables import extra_tables
from dynaloss.design.record import TrialRecord

MakeRecord = Callable[..., TrialRecord]
NASTY = '50%_a & <b>$x$</b> #1 [bold]{y}\\z *| ~^--" é → Δα ≥ 1 · x'
DOCUMENT = r"""\documentclass{article}
\usepackage{booktabs,graphicx,xcolor}
\begin{document}
%s
\end{document}
"""


@pytest.mark.parametrize(
    ("text", "latex"),
    [
        ("a_b & 5 %", r"a\_b \& 5 \%"),
        ("\\{}", r"\textbackslash{}\{\}"),
        ("[x] *", "{[}x{]} {*}"),
        ("a--b – c-d", "a-{}-b -- c-d"),
        ("Δα→β", r"$\Delta$$\alpha$$\to$$\beta$"),
    ],
)
def test_text_stays_text(text: str, latex: str) -> None:
    assert escape_latex(text) == latex


def test_only_a_sign_is_a_minus() -> None:
    text = latex_number("-3.1 [-4.0, -2.2] 1e-05 p-value 2-4")
    assert text == "$-$3.1 {[}$-$4.0, $-$2.2{]} 1e-05 p-value 2-4"


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="pdflatex is not installed")
def test_every_table_compiles_and_fits_the_page(record: MakeRecord, tmp_path: Path) -> None:
    arms = ("none", "a-only", "b-only", "full", NASTY, "[0] first")
    trials = [
        record(
            arm,
            seed,
            None,
            condition=condition,
            metrics={"train/loss": 3.0 - place - 0.1 * seed * place, "time/trial_seconds": 60.0},
        )
        for place, arm in enumerate(arms)
        for condition in ("symmetric 0.4 · IR 10", NASTY, "*")
        for seed in range(3 if arm != NASTY else 2)
    ]
    comparison = compare(trials, "train/loss", "none")
    extras = extra_tables(["effects", "cost", "aggregates"], trials, comparison)
    assert len(extras) == 7
    tables = [render(comparison, "latex"), *(render_extra(table, "latex") for table in extras)]
    (tmp_path / "t.tex").write_text(DOCUMENT % "\n".join(tables), "utf-8")
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "t.tex"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout
    assert (tmp_path / "t.pdf").stat().st_size > 10_000
    assert "Overfull" not in done.stdout
