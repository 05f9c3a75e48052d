"""The figures of a trial (from its diagnostics) and of a study (from its records).

Every function returns None where there is nothing to draw. Only completed trials are drawn.
"""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import NDArray

from dynaloss.analysis import metric_names
from dynaloss.analysis.figures.panels import ArmStyle, arm_styles, legend, panels, plain
from dynaloss.analysis.statistics import series
from dynaloss.analysis.statistics.series import Array, Diagnostics, Series
from dynaloss.studies.trial_record import TrialRecord

_Order = NDArray[np.intp]
_RANK = "loss rank within the observed class (0: lowest)"
_CLASSES = "class, most frequent first; below: training samples"
_MARGIN = "margin, mean-centred (nats)"
_WEIGHT = "corrector weight"
_CLEAN_STYLE: dict[str, Any] = {"linestyle": "--", "marker": "o", "markersize": 3.5}
_TRIAL_COLOR = "#0072B2"
_MAX_NAMED_CLASSES = 12


@dataclass(frozen=True, slots=True)
class _Drawing:
    """One arm in the panel of a condition; `place` runs from -1/2 to 1/2 over the arms."""

    axes: Axes
    condition: str
    style: ArmStyle
    place: float
    arrays: list[Array]


def learning_curves(
    records: Sequence[TrialRecord], metric: str, *, arms: Sequence[str] | None = None
) -> Figure | None:
    """A panel per condition: mean of the metric over the seeds by epoch, band from min to max.

    Args:
        records: Trials with their history.
        metric: Name of the metric.
        arms: Arms to draw, in the order that decides their colours; by default all.
    """
    values = series.collect(records, lambda record: series.curve(record, metric))
    scale = 100 if metric_names.is_percent(metric) else 1
    study = _Study(records, values, arms, x="epoch", y=metric_names.label(metric))
    for drawing in study.drawings():
        epochs, seeds = series.align(drawing.arrays)
        _band(drawing, epochs, scale * seeds)
    return study.finish()


def corrector_curves(
    records: Sequence[TrialRecord], *, arms: Sequence[str] | None = None
) -> Figure | None:
    """A panel per condition: learned weight by loss rank, beside the true share of clean labels.

    Solid: corrector weight, mean over the samples of a rank bin and the seeds, band from min to
    max. Dashed with markers: share of the samples of the bin whose observed label is true.
    """
    values = series.collect(records, lambda record: series.corrector_table(record.diagnostics))
    study = _Study(records, values, arms, x=_RANK, y=_WEIGHT)
    for drawing in study.drawings():
        ranks, weights, clean = series.align(drawing.arrays)
        _band(drawing, ranks, weights)
        mean, _, _ = series.spread(clean)
        drawing.axes.plot(ranks, mean, color=drawing.style.color, alpha=0.7, **_CLEAN_STYLE)
        drawing.axes.set(xlim=(0, 1), ylim=(-0.04, 1.04))
    return study.finish(extra=_corrector_legend())


def margins_by_class(
    records: Sequence[TrialRecord], *, arms: Sequence[str] | None = None
) -> Figure | None:
    """A panel per condition: mean-centred margins, most frequent class first.

    Centred, because cross-entropy ignores a constant added to all margins. Marker: mean over the
    seeds; bar: from min to max.
    """
    values = series.collect(records, lambda record: series.centred_margins(record.diagnostics))
    study = _Study(records, values, arms, x=_CLASSES, y=_MARGIN)
    for axes in study.axes.values():
        axes.axhline(0, color="0.6", linewidth=0.8, zorder=0)
    _draw_by_class(study)
    return study.finish(markers=True)


def per_class_accuracy(
    records: Sequence[TrialRecord], *, arms: Sequence[str] | None = None
) -> Figure | None:
    """A panel per condition: test accuracy within each class, most frequent class first."""
    values = series.collect(records, lambda record: series.recalls(record.diagnostics))
    study = _Study(records, values, arms, x=_CLASSES, y="test accuracy in the class (%)")
    _draw_by_class(study)
    return study.finish(markers=True)


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
    axes.set(xlim=(0, 1), ylim=(-0.04, 1.04))
    legend(figure, {}, _corrector_legend(_TRIAL_COLOR, "black"))
    return figure


def margins(diagnostics: Diagnostics) -> Figure | None:
    """Mean-centred margins of one trial, most frequent class first."""
    values = series.centred_margins(diagnostics)
    if values is None:
        return None
    counts = np.asarray(diagnostics["margins"]["class_counts"], dtype=np.float64)
    figure, (axes,) = panels(["margins"], x=_CLASSES, y=_MARGIN)
    order = _most_frequent_first(counts)
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


class _Study:
    """The panels of a study's figure, one per condition that has something to draw."""

    def __init__(
        self,
        records: Sequence[TrialRecord],
        values: Series,
        arms: Sequence[str] | None,
        *,
        x: str,
        y: str,
    ) -> None:
        order = arms if arms is not None else [*dict.fromkeys(record.arm for record in records)]
        styles = arm_styles(order)
        self.records = records
        self.values = {place: arrays for place, arrays in values.items() if place[1] in styles}
        drawn = {arm for _, arm in self.values}
        self.styles = {arm: style for arm, style in styles.items() if arm in drawn}
        conditions = [*dict.fromkeys(condition for condition, _ in self.values)]
        self.figure: Figure | None = None
        self.axes: dict[str, Axes] = {}
        if conditions:
            self.figure, grid = panels(conditions, x=x, y=y)
            self.axes = dict(zip(conditions, grid, strict=True))

    def drawings(self) -> Iterator[_Drawing]:
        """Every arm of every panel."""
        for condition, axes in self.axes.items():
            for index, (arm, style) in enumerate(self.styles.items()):
                if (condition, arm) in self.values:
                    place = index / max(1, len(self.styles) - 1) - 0.5
                    arrays = self.values[condition, arm]
                    yield _Drawing(axes, condition, style, place, arrays)

    def finish(self, *, extra: Sequence[Line2D] = (), markers: bool = False) -> Figure | None:
        """The figure with its legend, or None without panels."""
        if self.figure is not None:
            legend(self.figure, self.styles, extra, markers=markers)
        return self.figure


def _band(drawing: _Drawing, x: Array, seeds: Array) -> None:
    mean, low, high = series.spread(seeds)
    style = drawing.style
    drawing.axes.fill_between(x, low, high, color=style.color, alpha=0.15, linewidth=0)
    drawing.axes.plot(x, mean, color=style.color, linestyle=style.linestyle, linewidth=1.8)


def _draw_by_class(study: _Study) -> None:
    for condition, axes in study.axes.items():
        records = [record for record in study.records if record.condition == condition]
        arrays = [drawing for drawing in study.drawings() if drawing.axes is axes]
        num_classes = len(arrays[0].arrays[0])
        counts = series.class_counts(records)
        order = np.arange(num_classes) if counts is None else _most_frequent_first(counts)
        for drawing in arrays:
            _points(drawing, order)
        names = series.class_names(ChainMap(*(dict(r.diagnostics) for r in records)), num_classes)
        _name_classes(axes, order, counts, names)


def _points(drawing: _Drawing, order: _Order) -> None:
    mean, low, high = series.spread(np.stack(drawing.arrays)[:, order])
    x = np.arange(len(order)) + 0.4 * drawing.place
    style = drawing.style
    drawing.axes.vlines(x, low, high, color=style.color, linewidth=0.9)
    drawing.axes.plot(
        x,
        mean,
        color=style.color,
        marker=style.marker,
        markersize=4,
        linestyle=style.linestyle,
        linewidth=0.6,
    )


def _most_frequent_first(counts: Array) -> _Order:
    return np.argsort(-counts, kind="stable")


def _name_classes(axes: Axes, order: _Order, counts: Array | None, names: Sequence[str]) -> None:
    """Ticks with name and count; every k-th class where there are many."""
    step = -(-len(order) // _MAX_NAMED_CLASSES)
    places = range(0, len(order), step)
    labels = [plain(_short(names[order[place]])) for place in places]
    if counts is not None:
        labels = [
            f"{label}\n{counts[order[place]]:.0f}"
            for label, place in zip(labels, places, strict=True)
        ]
    axes.set_xticks(places, labels, fontsize="small")


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


def _corrector_legend(weight: str = "0.3", clean: str = "0.3") -> list[Line2D]:
    return [
        Line2D([], [], color=weight, label="learned weight"),
        Line2D([], [], color=clean, label="true clean share", **_CLEAN_STYLE),
    ]
