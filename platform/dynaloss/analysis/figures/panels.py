"""How every figure looks: colours per arm, one panel per condition, files with stable bytes."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from dynaloss.errors import InputError

MAX_ARMS = 14
"""Arms with styles of their own in a figure: seven colours, two dash patterns."""

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
    linestyle: Literal["-", ":"]


def arm_styles(arms: Sequence[str]) -> dict[str, ArmStyle]:
    """One style per arm by its place, so that an arm looks the same in every figure."""
    return {
        arm: ArmStyle(
            color=_COLORS[index % len(_COLORS)],
            marker=_MARKERS[index % len(_MARKERS)],
            linestyle="-" if index < len(_COLORS) else ":",
        )
        for index, arm in enumerate(arms[:MAX_ARMS])
    }


def plain(text: str) -> str:
    """The text with dollar signs that matplotlib does not read as mathematics."""
    return text.replace("$", r"\$")


def panels(titles: Sequence[str], *, x: str, y: str) -> tuple[Figure, list[Axes]]:
    """A figure with one titled panel each, at most three a row, sharing the y axis.

    Args:
        titles: One per panel.
        x: Label of the horizontal axis.
        y: Label of the vertical axis, with its unit.
    """
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
    handles = [
        Line2D(
            [],
            [],
            color=style.color,
            linestyle=style.linestyle,
            marker=style.marker if markers else "",
        )
        for style in styles.values()
    ]
    names = [plain(arm) for arm in styles] + [str(line.get_label()) for line in extra]
    widest = max(len(name) for name in names)
    width = figure.get_figwidth()
    figure.legend(
        [*handles, *extra],
        names,
        loc="outside lower center",
        ncols=max(1, min(len(names), int(width * 10 / (widest + 6)))),
        frameon=False,
    )


def figure_bytes(figure: Figure, format: str) -> bytes:  # noqa: A002
    """The figure as a file: equal figures give equal bytes.

    Args:
        figure: What to draw.
        format: `png`, `pdf` or `svg`.

    Raises:
        InputError: If the format is another.
    """
    if format not in _METADATA:
        known = ", ".join(_METADATA)
        raise InputError(f"Unknown figure format `{format}`; known: {known}.")
    buffer = io.BytesIO()
    with matplotlib.rc_context({"svg.hashsalt": "dynaloss", "svg.fonttype": "path"}):
        figure.savefig(buffer, format=format, dpi=150, metadata=_METADATA[format])
    return buffer.getvalue()


def save_figure(figure: Figure, path: str | Path) -> Path:
    """Writes the figure in the format of the suffix: `.png`, `.pdf` or `.svg`."""
    path = Path(path)
    path.write_bytes(figure_bytes(figure, path.suffix.lstrip(".").lower()))
    return path
