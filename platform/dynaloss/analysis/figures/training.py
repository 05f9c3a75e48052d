"""The figures of a trial (from its diagnostics) and of a study (from its records).

Every function returns None where there is nothing to draw. Only completed trials are drawn.
"""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import NDArray

from dynaloss.analysis.figures.panels import ArmStyle, arm_styles, legend, panels, plain
from dynaloss.analysis.statistics import series
from dynaloss.analysis.statistics.series import Array, Diagnostics, Series
from dynaloss.studies import metric_names
from dynaloss.studies.trial_record import TrialRecord

_Order = NDArray[np.intp]
_RANK = "loss rank within the observed class (0: lowest)"
_CLASSES = "class, most frequent first; below: training samples"
_MARGIN = "margin, mean-centred (nats)"
_WEIGHT = "corrector weight"
_CLEAN_STYLE: dict[str, Any] = {"linestyle": "--", "marker": "o", "markersize": 3.5}
_UNIT_SQUARE: dict[str, Any] = {"xlim": (0, 1), "ylim": (-0.04, 1.04)}
_TRIAL_COLOR = "#0072B2"
_MAX_NAMED_CLASSES = 12


class _Drawn(NamedTuple):
    """One arm in a panel: one array per seed; `place` runs from -1/2 to 1/2 over the arms."""

    style: ArmStyle
    place: float
    arrays: list[Array]


_Draw = Callable[[Axes, list[_Drawn], list[TrialRecord]], object]
"""Draws the arms of a condition in its panel."""


def learning_curves(
    records: Sequence[TrialRecord], metric: str, *, arms: Sequence[str] | None = None
) -> Figure | None:
    """A panel per condition: mean of the metric over the seeds by epoch, band from min to max.

    The order of the arms decides their colours; by default all are drawn.
    """
    scale = 100 if metric_names.is_percent(metric) else 1

    def draw(axes: Axes, drawn: list[_Drawn], _records: list[TrialRecord]) -> None:
        for arm in drawn:
            epochs, seeds = series.align(arm.arrays)
            _band(axes, arm.style, epochs, scale * seeds)

    values = series.collect(records, lambda record: series.curve(record, metric))
    return _study(records, values, arms, draw, x="epoch", y=metric_names.label(metric))


def corrector_curves(
    records: Sequence[TrialRecord], *, arms: Sequence[str] | None = None
) -> Figure | None:
    """A panel per condition: learned weight by loss rank, beside the true share of clean labels.

    Solid: corrector weight, mean over the samples of a rank bin and the seeds, band from min to
    max. Dashed with markers: share of the samples of the bin whose observed label is true.
    """

    def draw(axes: Axes, drawn: list[_Drawn], _records: list[TrialRecord]) -> None:
        for arm in drawn:
            ranks, weights, clean = series.align(arm.arrays)
            _band(axes, arm.style, ranks, weights)
            mean, _, _ = series.spread(clean)
            axes.plot(ranks, mean, color=arm.style.color, alpha=0.7, **_CLEAN_STYLE)
        axes.set(**_UNIT_SQUARE)

    values = series.collect(records, lambda record: series.corrector_table(record.diagnostics))
    lines = _corrector_legend("0.3", "0.3")
    return _study(records, values, arms, draw, x=_RANK, y=_WEIGHT, extra=lines)


def margins_by_class(
    records: Sequence[TrialRecord], *, arms: Sequence[str] | None = None
) -> Figure | None:
    """A panel per condition: mean-centred margins, most frequent class first.

    Centred, because cross-entropy ignores a constant added to all margins. Marker: mean over the
    seeds; bar: from min to max.
    """

    def draw(axes: Axes, drawn: list[_Drawn], records: list[TrialRecord]) -> None:
        axes.axhline(0, color="0.6", linewidth=0.8, zorder=0)
        _draw_by_class(axes, drawn, records)

    values = series.collect(records, lambda record: series.centred_margins(record.diagnostics))
    return _study(records, values, arms, draw, x=_CLASSES, y=_MARGIN, markers=True)


def per_class_accuracy(
    records: Sequence[TrialRecord], *, arms: Sequence[str] | None = None
) -> Figure | None:
    """A panel per condition: test accuracy within each class, most frequent class first."""
    values = series.collect(records, lambda record: series.recalls(record.diagnostics))
    y = "test accuracy in the class (%)"
    return _study(records, values, arms, _draw_by_class, x=_CLASSES, y=y, markers=True)


def corrector_curve(diagnostics: Diagnostics) -> Figure | None:
    """Corrector of one trial: w(rank), a thin line per class where it has one, and the truth."""
    table = series.corrector_table(diagnostics)
    if table is None:
        return None
    ranks, weights, clean = table
    by_class = np.asarray(diagnostics["corrector"]["weights"], dtype=np.float64)
    figure, (axes,) = panels(["label corrector"], x=_RANK, y=_WEIGHT)
    if np.ptp(by_class, axis=1).any():
        axes.plot(ranks, by_class, color=_TRIAL_COLOR, alpha=0.35, linewidth=0.7)
    axes.plot(ranks, weights, color=_TRIAL_COLOR, linewidth=2)
    axes.plot(ranks, clean, color="black", **_CLEAN_STYLE)
    axes.set(**_UNIT_SQUARE)
    legend(figure, {}, _corrector_legend(_TRIAL_COLOR, "black"))
    return figure


def margins(diagnostics: Diagnostics) -> Figure | None:
    """Mean-centred margins of one trial, most frequent class first."""
    values = series.centred_margins(diagnostics)
    if values is None:
        return None
    counts = np.asarray(diagnostics["margins"]["class_counts"], dtype=np.float64)
    figure, (axes,) = panels(["margins"], x=_CLASSES, y=_MARGIN)
    order = np.argsort(-counts, kind="stable")
    axes.bar(np.arange(len(order)), values[order], color=_TRIAL_COLOR)
    axes.axhline(0, color="0.6", linewidth=0.8)
    _name_classes(axes, order, counts, series.class_names(diagnostics, len(order)))
    return figure


def confusion(diagnostics: Diagnostics) -> Figure | None:
    """Confusion matrix of one trial on the test set, each row in percent of its true class."""
    if "confusion" not in diagnostics:
        return None
    matrix = np.asarray(diagnostics["confusion"]["matrix"], dtype=np.float64)
    shares = 100 * series.row_shares(matrix)
    figure = Figure(figsize=(6.0, 5.0), layout="constrained")
    axes = figure.subplots()
    image = axes.imshow(shares, cmap="cividis", vmin=0, vmax=100)
    figure.colorbar(image, ax=axes, label="% of the true class")
    axes.set(xlabel="predicted class", ylabel="true class")
    if len(shares) <= _MAX_NAMED_CLASSES:
        _annotate(axes, shares, series.class_names(diagnostics, len(shares)))
    return figure


def trial_figures(diagnostics: Diagnostics) -> dict[str, Figure]:
    """Every figure that the diagnostics of a trial allow, by the stem of its artifact."""
    drawn = {
        "corrector": corrector_curve(diagnostics),
        "margins": margins(diagnostics),
        "confusion": confusion(diagnostics),
    }
    return {stem: figure for stem, figure in drawn.items() if figure is not None}


def _study(
    records: Sequence[TrialRecord],
    values: Series,
    arms: Sequence[str] | None,
    draw: _Draw,
    *,
    x: str,
    y: str,
    extra: Sequence[Line2D] = (),
    markers: bool = False,
) -> Figure | None:
    """A panel per condition that has something to draw, with a legend of the arms drawn."""
    styles = arm_styles(dict.fromkeys(r.arm for r in records) if arms is None else arms)
    values = {cell: arrays for cell, arrays in values.items() if cell[1] in styles}
    if not values:
        return None
    conditions, seen = (list(dict.fromkeys(names)) for names in zip(*values, strict=True))
    styles = {arm: style for arm, style in styles.items() if arm in seen}
    places = np.linspace(-0.5, 0.5, len(styles)).tolist()
    figure, grid = panels(conditions, x=x, y=y)
    for condition, axes in zip(conditions, grid, strict=True):
        drawn = [
            _Drawn(style, place, values[condition, arm])
            for (arm, style), place in zip(styles.items(), places, strict=True)
            if (condition, arm) in values
        ]
        draw(axes, drawn, [record for record in records if record.condition == condition])
    legend(figure, styles, extra, markers=markers)
    return figure


def _band(axes: Axes, style: ArmStyle, x: Array, seeds: Array) -> None:
    mean, low, high = series.spread(seeds)
    axes.fill_between(x, low, high, color=style.color, alpha=0.15, linewidth=0)
    axes.plot(x, mean, linewidth=1.8, **style.line())


def _draw_by_class(axes: Axes, drawn: list[_Drawn], records: list[TrialRecord]) -> None:
    num_classes = len(drawn[0].arrays[0])
    counts = series.class_counts(records)
    sizes = np.zeros(num_classes) if counts is None else counts
    order = np.argsort(-sizes, kind="stable")
    for arm in drawn:
        mean, low, high = series.spread(np.stack(arm.arrays)[:, order])
        x = np.arange(num_classes) + 0.4 * arm.place
        axes.vlines(x, low, high, color=arm.style.color, linewidth=0.9)
        axes.plot(x, mean, markersize=4, linewidth=0.6, **arm.style.line(marker=True))
    names = series.class_names(ChainMap(*(dict(r.diagnostics) for r in records)), num_classes)
    _name_classes(axes, order, counts, names)


def _name_classes(axes: Axes, order: _Order, counts: Array | None, names: Sequence[str]) -> None:
    """Ticks with name and count; every k-th class where there are many."""
    step = -(-len(order) // _MAX_NAMED_CLASSES)
    labels = [
        plain(_short(names[index])) + ("" if counts is None else f"\n{counts[index]:.0f}")
        for index in order[::step]
    ]
    axes.set_xticks(range(0, len(order), step), labels, fontsize="small")


def _short(name: str) -> str:
    return name if len(name) <= 5 else f"{name[:4]}…"


def _annotate(axes: Axes, shares: Array, names: Sequence[str]) -> None:
    labels = [plain(_short(name)) for name in names]
    axes.set_xticks(range(len(names)), labels)
    axes.set_yticks(range(len(names)), labels)
    for (row, column), share in np.ndenumerate(shares):
        if share >= 0.5:
            color = "black" if share > 50 else "white"
            axes.text(column, row, f"{share:.0f}", ha="center", va="center", color=color, size=8)


def _corrector_legend(weight: str, clean: str) -> list[Line2D]:
    return [
        Line2D([], [], color=weight, label="learned weight"),
        Line2D([], [], color=clean, label="true clean share", **_CLEAN_STYLE),
    ]
