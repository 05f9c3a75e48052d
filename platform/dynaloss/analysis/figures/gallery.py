"""The figures of a comparison, for the report and as files."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from matplotlib.figure import Figure

from dynaloss.analysis.figures import overview, training
from dynaloss.analysis.figures.panels import MAX_ARMS, save_figure
from dynaloss.analysis.statistics.comparison import POOLED, Comparison
from dynaloss.analysis.statistics.effects import effects
from dynaloss.analysis.statistics.intervals import mean
from dynaloss.analysis.wording import counted
from dynaloss.studies import metric_names
from dynaloss.studies.trial_record import TrialRecord

_Draw = Callable[[Sequence[TrialRecord]], Figure | None]


@dataclass(frozen=True, slots=True)
class Section:
    """One kind of figure.

    Attributes:
        stem: Start of the names of its files.
        title: Heading.
        caption: What it shows.
        figures: The figures by condition, or by `POOLED` where one holds all conditions.
    """

    stem: str
    title: str
    caption: str
    figures: Mapping[str, Figure]


def gallery(
    records: Sequence[TrialRecord], comparison: Comparison, components: Sequence[str] = ()
) -> list[Section]:
    """Every figure for which the records hold something to draw."""
    arms = _shown_arms(comparison)
    drawn = [
        *_of_table(comparison, components, arms),
        *_of_trials(records, comparison, arms),
    ]
    return [section for section in drawn if section.figures]


def save_gallery(
    sections: Sequence[Section], folder: Path, formats: Sequence[str] = ("png", "pdf")
) -> list[Path]:
    """Writes every figure in every format; returns the paths."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for section in sections:
        for number, figure in enumerate(section.figures.values(), start=1):
            stem = section.stem if len(section.figures) == 1 else f"{section.stem}-{number}"
            paths += [save_figure(figure, folder / f"{stem}.{end}") for end in formats]
    return paths


def _of_table(
    comparison: Comparison, components: Sequence[str], arms: Sequence[str]
) -> list[Section]:
    heatmap = overview.effects_heatmap(comparison.metric, effects(comparison, components))
    profile = overview.performance_profiles(comparison, arms)
    better = "above" if metric_names.higher_is_better(comparison.metric) else "below"
    return [
        Section(
            "effects",
            "Effect of each component",
            "Shapley value where the design allows it, else the nearest that it does. "
            "Italics: inconclusive by the test of the table of effects.",
            {POOLED: heatmap} if heatmap else {},
        ),
        Section(
            "profiles",
            "Performance profiles",
            "Share of the trials above each value, all conditions weighted equally: "
            f"a curve {better} another is better everywhere.{_left_out(comparison, arms)}",
            {POOLED: profile} if profile else {},
        ),
    ]


def _of_trials(
    records: Sequence[TrialRecord], comparison: Comparison, arms: Sequence[str]
) -> list[Section]:
    metric = comparison.metric
    kinds: list[tuple[str, str, str, _Draw]] = [
        (
            "curves",
            "Learning curves",
            f"{metric_names.label(metric)} by epoch. Line: mean over seeds; band: min to max.",
            partial(training.learning_curves, metric=metric, arms=arms),
        ),
        (
            "corrector",
            "Label corrector",
            "How far the corrector trusts the observed label, by the rank of the sample's loss. "
            "Solid: learned weight; dashed: the share of labels that are in fact true.",
            partial(training.corrector_curves, arms=arms),
        ),
        (
            "margins",
            "Margins",
            "Learned margin per class minus the mean over the classes, because a constant shift "
            "changes nothing. Marker: mean over seeds; bar: from min to max.",
            partial(training.margins_by_class, arms=arms),
        ),
        (
            "classes",
            "Accuracy per class",
            "Test accuracy within each class. Marker: mean over seeds; bar: from min to max.",
            partial(training.per_class_accuracy, arms=arms),
        ),
    ]
    left_out = _left_out(comparison, arms)
    return [
        Section(stem, title, caption + left_out, _by_condition(records, comparison, draw))
        for stem, title, caption, draw in kinds
    ]


def _by_condition(
    records: Sequence[TrialRecord], comparison: Comparison, draw: _Draw
) -> dict[str, Figure]:
    """A figure per condition, with one vertical range, so that heights compare across them."""
    drawn = {}
    for condition in comparison.conditions:
        figure = draw([record for record in records if record.condition == condition])
        if figure is not None:
            drawn[condition] = figure
    panels = [axes for figure in drawn.values() for axes in figure.axes]
    limits = [axes.get_ylim() for axes in panels]
    for axes in panels:
        axes.set_ylim(min(low for low, _ in limits), max(high for _, high in limits))
    return drawn


def _shown_arms(comparison: Comparison) -> list[str]:
    """The arms that figures show: all, or the baseline and those that are best on average."""
    if len(comparison.arms) <= MAX_ARMS:
        return [*comparison.arms]
    sign = -1 if metric_names.higher_is_better(comparison.metric) else 1

    def place(arm: str) -> tuple[bool, float]:
        means = [cell.mean for cell in comparison.cells if cell.arm == arm and cell.n]
        return arm != comparison.baseline, sign * mean(means) if means else math.inf

    return sorted(comparison.arms, key=place)[:MAX_ARMS]


def _left_out(comparison: Comparison, arms: Sequence[str]) -> str:
    """A sentence on the arms that a figure does not show; empty where it shows all."""
    hidden = len(comparison.arms) - len(arms)
    verb = "is" if hidden == 1 else "are"
    return f" {counted(hidden, 'arm')} {verb} left out of the figures." if hidden else ""
