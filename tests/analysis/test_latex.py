"""LaTeX: what is escaped, that tables are whole, and that TeX itself takes them."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from dynaloss.analysis import compare, comparison_table, render
from dynaloss.analysis.tables.extras import extra_tables
from dynaloss.analysis.tables.latex import escape_latex, latex_number
from dynaloss.studies.trial_record import TrialRecord

MakeRecord = Callable[..., TrialRecord]
NASTY = '50%_a & <b>$x$</b> #1 [bold]{y}\\z *| ~^--" ---- é → Δα ≥ 1 · x'
ARMS = ("none", "a-only", "b-only", "full", NASTY, "[0] first")
CONDITIONS = ("symmetric 0.4 · IR 10", NASTY, "*")
DOCUMENT = r"""\documentclass{article}
\usepackage{booktabs,graphicx,xcolor}
\begin{document}
%s
\end{document}
"""
# What TeX shows for the commands that a name can hold.
SHOWN = {
    **{rf"\{character}": character for character in "&%$#_{}"},
    **{f"{{{character}}}": character for character in "[]*"},
    r"\textbackslash{}": "\\",
    r"\textasciitilde{}": "~",
    r"\textasciicircum{}": "^",
    r"\textless{}": "<",
    r"\textgreater{}": ">",
    r"\textbar{}": "|",
    "{}": "",
    "--": "–",
    r"$\cdot$": "·",
    r"$\to$": "→",
    r"$\Delta$": "Δ",
    r"$\alpha$": "α",
    r"$\geq$": "≥",
}
COMMANDS = re.compile("|".join(map(re.escape, sorted(SHOWN, key=len, reverse=True))))


@pytest.fixture
def tables(record: MakeRecord) -> list[str]:
    """The comparison and every table beside it, with names that LaTeX reads as markup."""
    trials = [
        record(
            arm,
            seed,
            None,
            condition=condition,
            metrics={"train/loss": 3.0 - place - 0.1 * seed * place, "time/trial_seconds": 60.0},
        )
        for place, arm in enumerate(ARMS)
        for condition in CONDITIONS
        for seed in range(3 if arm != NASTY else 2)
    ]
    comparison = compare(trials, "train/loss", "none")
    extras = extra_tables(["effects", "cost", "aggregates"], trials, comparison)
    assert len(extras) == 6
    return [render(table, "latex") for table in (comparison_table(comparison), *extras)]


def as_shown(latex: str) -> str:
    """What TeX shows for text with the commands of `SHOWN`."""
    return COMMANDS.sub(lambda command: SHOWN[command[0]], latex)


def cells(table: str) -> list[list[str]]:
    """The cells of a table, row by row, still as LaTeX; the heading is the first row.

    Raises:
        AssertionError: If the table is not whole.
    """
    comment, _, code = table.partition("\n")
    assert comment.startswith("%")
    code = code.replace("%\n", "\n", 1)  # after the brace that `\resizebox` opens
    opened: list[str] = []
    for kind, name in re.findall(r"\\(begin|end)\{(\w+)\}", code):
        if kind == "begin":
            opened.append(name)
        else:
            assert opened.pop() == name, "environments are not balanced"
    assert not opened, "environments are not balanced"
    bare = re.sub(r"\\[^A-Za-z]", "", code)  # escaped characters and the ends of rows
    depths = [0]
    for brace in re.findall("[{}]", bare):
        depths.append(depths[-1] + (1 if brace == "{" else -1))
    assert (min(depths), depths[-1]) == (0, 0), "braces are not balanced"
    mathematics = re.compile(r"\$(-|\\[A-Za-z]+)\$")
    assert not re.search(r"[%#_^~$]", mathematics.sub("", bare)), "a character is not escaped"
    rules = re.findall(r"\\\w+rule\b", code)
    assert rules == [r"\toprule", r"\midrule", r"\bottomrule"]
    tabular = re.search(r"\\begin\{tabular\}\{(lr*)\}\n(.*)\\end\{tabular\}", code, re.DOTALL)
    assert tabular is not None
    outside = code[: tabular.start()] + code[tabular.end() :]
    assert not re.search(r"(?<!\\)&", outside), "a character is not escaped"
    lines = [line for line in tabular[2].splitlines() if line not in rules]
    assert all(line.endswith(r" \\") for line in lines)
    rows = [re.split(r" ?(?<!\\)& ?", line.removesuffix(r" \\")) for line in lines]
    assert {len(row) for row in rows} == {len(tabular[1])}, "rows differ in their columns"
    return rows


@pytest.mark.parametrize(
    ("text", "latex"),
    [
        ("a_b & 5 %", r"a\_b \& 5 \%"),
        ("\\{}", r"\textbackslash{}\{\}"),
        ("[x] *", "{[}x{]} {*}"),
        ("a--b – c-d", "a-{}-b -- c-d"),
        ("a---b", "a-{}-{}-b"),
        ("a\n\nb", "a  b"),
        ("Δα→β", r"$\Delta$$\alpha$$\to$$\beta$"),
    ],
)
def test_text_stays_text(text: str, latex: str) -> None:
    assert escape_latex(text) == latex


def test_only_a_sign_is_a_minus() -> None:
    text = latex_number("-3.1 [-4.0, -2.2] 1e-05 p-value 2-4")
    assert text == "$-$3.1 {[}$-$4.0, $-$2.2{]} 1e-05 p-value 2-4"


def test_every_table_is_whole_and_shows_names_unchanged(tables: list[str]) -> None:
    comparison, *extras = map(cells, tables)
    assert tuple(map(as_shown, comparison[0])) == ("arm", *CONDITIONS, "all conditions")
    assert tuple(as_shown(row[0]) for row in comparison[1:] if row[0]) == ARMS
    aggregates = next(rows for rows in extras if rows[0][1] == "mean difference")
    assert tuple(as_shown(row[0]) for row in aggregates[1:]) == ARMS[1:]
    captions = [table.rpartition(r"\caption{")[2].partition("}\n")[0] for table in tables]
    assert f"{NASTY}: 2 of 3" in as_shown(captions[0])


@pytest.mark.parametrize(
    ("part", "instead"),
    [
        (r"\end{table}", ""),
        (r"\end{tabular}}", r"\end{tabular}"),
        (r"\bottomrule" + "\n", ""),
        (r"\_a", "_a"),
        (r"\% ", "% "),
        (r"\&", "&"),
        (" & ", " "),
        ("{tabular}{lrrrr}", "{tabular}{lrrr}"),
    ],
)
def test_the_check_finds_a_broken_table(tables: list[str], part: str, instead: str) -> None:
    assert part in tables[0]
    with pytest.raises(AssertionError):
        cells(tables[0].replace(part, instead, 1))


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="pdflatex is not installed")
def test_every_table_compiles_and_fits_the_page(tables: list[str], tmp_path: Path) -> None:
    (tmp_path / "t.tex").write_text(DOCUMENT % "\n".join(tables), "utf-8")
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "t.tex"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout
    assert (tmp_path / "t.pdf").stat().st_size > 10_000
    assert "Overfull" not in done.stdout
