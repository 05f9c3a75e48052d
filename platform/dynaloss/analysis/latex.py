"""LaTeX that any engine compiles with the packages booktabs, graphicx and xcolor."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

__all__ = ["escape_latex", "latex_number", "latex_row", "latex_table"]

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
    """The text as LaTeX that shows it as it is, on one line.

    Scripts other than Latin and Greek need an engine and a font that have them.
    """
    # Two hyphens in a row would make a dash.
    return _JOINED_HYPHEN.sub("-\0", text).translate(_LATEX).replace("\0", "{}")


def latex_number(text: str) -> str:
    """Numbers in words as LaTeX: as `escape_latex`, with true minus signs."""
    return _MINUS.sub("$-$", escape_latex(text))


def latex_row(cells: Sequence[str]) -> str:
    """A row of cells that are LaTeX already."""
    return " & ".join(cells) + r" \\"


def latex_table(header: Sequence[str], rows: Sequence[str], caption: str) -> str:
    """A floating table, scaled down where it is wider than the line.

    Args:
        header: Names of the columns, as plain text; the first column is flush left.
        rows: Rows as `latex_row` gives them.
        caption: Text below, as plain text.
    """
    return "\n".join(
        [
            "% Needs the packages booktabs, graphicx and xcolor.",
            r"\begin{table}",
            r"\centering",
            r"\resizebox{\ifdim\width>\linewidth\linewidth\else\width\fi}{!}{%",
            rf"\begin{{tabular}}{{l{'r' * (len(header) - 1)}}}",
            r"\toprule",
            latex_row([escape_latex(name) for name in header]),
            r"\midrule",
            *rows,
            r"\bottomrule",
            r"\end{tabular}}",
            rf"\caption{{{escape_latex(caption)}}}",
            r"\end{table}",
            "",
        ]
    )
