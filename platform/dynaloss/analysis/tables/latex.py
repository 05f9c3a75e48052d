"""LaTeX that any engine compiles with the packages booktabs, graphicx and xcolor."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from dynaloss.analysis.tables.content import Entry, Table

_SHOWN: Final = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    "–": "--",
    "\n": " ",
}
_COMMANDS: Final = (
    "·:cdot ±:pm ×:times †:dagger →:to ≤:leq ≥:geq Γ:Gamma Δ:Delta Θ:Theta Λ:Lambda Ξ:Xi Π:Pi "
    "Σ:Sigma Φ:Phi Ψ:Psi Ω:Omega α:alpha β:beta γ:gamma δ:delta ε:varepsilon ζ:zeta η:eta "
    "θ:theta ι:iota κ:kappa λ:lambda μ:mu ν:nu ξ:xi π:pi ρ:rho σ:sigma τ:tau υ:upsilon "
    "φ:varphi χ:chi ψ:psi ω:omega"
)
_SYMBOLS: Final = dict(pair.split(":") for pair in _COMMANDS.split())
_LATEX: Final = str.maketrans(
    _SHOWN
    | {character: rf"$\{name}$" for character, name in _SYMBOLS.items()}
    | {character: f"\\{character}" for character in "&%$#_{}"}
    # After `\\` or a rule, these three would be read as its arguments.
    | {character: f"{{{character}}}" for character in "[]*"}
)
_JOINED_HYPHEN: Final = re.compile("-(?=-)")
_MINUS: Final = re.compile(r"(?<![\w.-])-(?=\d)")


def escape_latex(text: str) -> str:
    """The text as LaTeX that shows it unchanged, on one line.

    Scripts other than Latin and Greek need an engine and a font that have them.
    """
    # Two hyphens in a row would make a dash.
    return _JOINED_HYPHEN.sub("-\0", text).translate(_LATEX).replace("\0", "{}")


def latex_number(text: str) -> str:
    """Text with numbers as LaTeX: as `escape_latex`, with true minus signs."""
    return _MINUS.sub("$-$", escape_latex(text))


def latex(table: Table) -> str:
    """A floating table, scaled down where it is wider than the line.

    Second lines form a row of their own, in small type; what is inconclusive is grey.
    """
    rows = [line for row in table.rows for line in _rows(row)]
    sentences = [*table.notes]
    if any(entry.place for row in table.rows for entry in row):
        sentences.append("Bold: best mean of the column; underlined: second best.")
    caption, notes = " ".join(sentences), list[str]()
    if table.title:  # a caption of its own stands alone, the notes below the table
        caption, text = f"{table.title.removesuffix('.')}.", escape_latex(caption)
        notes = [r"\par\smallskip", rf"\parbox{{\linewidth}}{{\footnotesize {text}}}"]
    label = [rf"\label{{{table.label}}}"] if table.label else []
    return "\n".join(
        [
            "% Needs the packages booktabs, graphicx and xcolor.",
            r"\begin{table}",
            r"\centering",
            r"\resizebox{\ifdim\width>\linewidth\linewidth\else\width\fi}{!}{%",
            rf"\begin{{tabular}}{{l{'r' * (len(table.header) - 1)}}}",
            r"\toprule",
            _row(map(escape_latex, table.header)),
            r"\midrule",
            *rows,
            r"\bottomrule",
            r"\end{tabular}}",
            *notes,
            rf"\caption{{{escape_latex(caption)}}}",
            *label,
            r"\end{table}",
            "",
        ]
    )


def _rows(entries: Sequence[Entry]) -> Iterator[str]:
    name, *others = entries
    yield _row([escape_latex(name.text), *map(_entry, others)])
    if any(entry.below for entry in others):
        yield _row(["", *map(_below, others)])


def _row(cells: Iterable[str]) -> str:
    return " & ".join(cells) + r" \\"


def _entry(entry: Entry) -> str:
    text = latex_number(entry.text)
    if entry.place:
        return rf"\textbf{{{text}}}" if entry.place == 1 else rf"\underline{{{text}}}"
    return rf"{{\color{{gray}} {text}}}" if entry.unclear and not entry.below else text


def _below(entry: Entry) -> str:
    if not entry.below:
        return ""
    grey = r"\color{gray}" if entry.unclear else ""
    return rf"{{\footnotesize{grey} {latex_number(entry.below)}}}"
