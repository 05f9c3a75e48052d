"""How every figure looks: colours per arm, one panel per condition, files with stable bytes."""

from __future__ import annotations

import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from dynaloss.errors import InputError

# Okabe and Ito, "Color universal design" (2008), without yellow, which is faint on white.
_COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000")
_MARKERS = ("o", "s", "^", "D", "v", "P", "X")
_METADATA: Mapping[str, dict[str, Any]] = {
    "png": {},
    "pdf": {"CreationDate": None},
    "svg": {"Date": None},
}


@dataclass(frozen=True, slots=True)
class ArmStyle:
    """How an arm is drawn in every figure."""

    color: str
    marker: str
    linestyle: str

    def line(self, *, marker: bool = False) -> dict[str, Any]:
        """Keywords of its lines."""
        shape = self.marker if marker else ""
        return {"color": self.color, "linestyle": self.linestyle, "marker": shape}


_STYLES = [
    ArmStyle(color, marker, linestyle)
    for linestyle in ("-", ":")
    for color, marker in zip(_COLORS, _MARKERS, strict=True)
]
MAX_ARMS = len(_STYLES)


def arm_styles(arms: Iterable[str]) -> dict[str, ArmStyle]:
    """One style per arm by its place, for `MAX_ARMS`: an arm looks the same in every figure."""
    return dict(zip(arms, _STYLES, strict=False))


def plain(text: str) -> str:
    """The text with dollar signs that matplotlib does not read as mathematics."""
    return text.replace("$", r"\$")


def panels(titles: Sequence[str], *, x: str, y: str) -> tuple[Figure, list[Axes]]:
    """A figure with one panel per title, at most three a row, and labels of its axes."""
    columns = min(3, len(titles))
    rows = -(-len(titles) // columns)
    figure = Figure(figsize=(0.8 + 4.2 * columns, 0.6 + 3.2 * rows), layout="constrained")
    grid = figure.subplots(rows, columns, squeeze=False, sharey=True).ravel()
    for axes in grid[len(titles) :]:
        axes.remove()
    used: list[Axes] = list(grid[: len(titles)])
    for axes, title in zip(used, titles, strict=True):
        axes.set_title(plain(title), fontsize="medium")
        axes.grid(alpha=0.25)
        axes.spines[["top", "right"]].set_visible(False)
        axes.set_xlabel(plain(x))
    for axes in used[::columns]:
        axes.set_ylabel(plain(y))
    return figure, used


def legend(
    figure: Figure,
    styles: Mapping[str, ArmStyle],
    extra: Sequence[Line2D] = (),
    *,
    markers: bool = False,
) -> None:
    """Names the arms below the panels, outside of the data."""
    lines = [
        Line2D([], [], label=plain(arm), **style.line(marker=markers))
        for arm, style in styles.items()
    ]
    names = [str(line.get_label()) for line in (*lines, *extra)]
    fitting = int(figure.get_figwidth() * 10 / (max(map(len, names)) + 6))
    figure.legend(
        [*lines, *extra],
        names,
        loc="outside lower center",
        ncols=max(1, min(len(names), fitting)),
        frameon=False,
    )


def figure_bytes(figure: Figure, format: str) -> bytes:  # noqa: A002
    """The figure as PNG, PDF or SVG: equal figures give equal bytes.

    Raises:
        InputError: If the format is another.
    """
    if format not in _METADATA:
        raise InputError(f"Unknown figure format `{format}`; known: {', '.join(_METADATA)}.")
    buffer = io.BytesIO()
    with matplotlib.rc_context({"svg.hashsalt": "dynaloss", "svg.fonttype": "path"}):
        figure.savefig(buffer, format=format, dpi=150, metadata=_METADATA[format])
    return buffer.getvalue()


def save_figure(figure: Figure, path: str | Path) -> Path:
    """Writes the figure in the format of the suffix: `.png`, `.pdf` or `.svg`."""
    path = Path(path)
    path.write_bytes(figure_bytes(figure, path.suffix.lstrip(".").lower()))
    return path
