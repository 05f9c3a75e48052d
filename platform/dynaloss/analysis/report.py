"""The report: one HTML file that holds everything it shows."""

from __future__ import annotations

import base64
import shlex
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2
from matplotlib.figure import Figure

from dynaloss.analysis import figures, metrics
from dynaloss.analysis.cells import Cell, Comparison
from dynaloss.analysis.panels import MAX_ARMS, figure_bytes
from dynaloss.analysis.summary import summarise
from dynaloss.analysis.wording import EMPTY, difference_text, mean_text, notes
from dynaloss.design.record import Outcome, TrialRecord

__all__ = ["write_report"]

_MISSING = "missing"
_Draw = Callable[[Sequence[TrialRecord]], Figure | None]


@dataclass(frozen=True, slots=True)
class _Section:
    """One kind of figure, drawn once per condition."""

    title: str
    caption: str
    images: Sequence[Mapping[str, str]]


def write_report(
    records: Sequence[TrialRecord],
    comparison: Comparison,
    path: str | Path,
    *,
    command: str | None = None,
) -> Path:
    """Writes the comparison and its figures as one self-contained HTML file.

    The page loads nothing, follows the reader's light or dark setting, and holds no date: equal
    records give equal bytes.

    Args:
        records: The trials behind the comparison, with history and diagnostics.
        comparison: The table to show.
        path: File to write.
        command: Command that rebuilds the page; by default `dynaloss compare` with its options.

    Returns:
        The path written.
    """
    path = Path(path)
    command = command or _command(comparison, path)
    path.write_text(_html(records, comparison, command), encoding="utf-8", newline="\n")
    return path


def _html(records: Sequence[TrialRecord], comparison: Comparison, command: str) -> str:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("dynaloss.analysis"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    template = environment.get_template("report.html.j2")
    shown = _shown_arms(comparison)
    outcomes, coverage = _coverage(comparison)
    return template.render(
        comparison=comparison,
        metric_label=metrics.label(comparison.metric),
        summary=summarise(comparison),
        rows=[(arm, _row(comparison, arm)) for arm in comparison.arms],
        notes=notes(comparison),
        details=[_detail(comparison, cell) for cell in comparison.cells],
        sections=_sections(records, comparison, shown),
        hidden_arms=len(comparison.arms) - len(shown),
        data=[_data_row(records, condition) for condition in comparison.conditions],
        data_warnings=_data_warnings(records),
        outcomes=outcomes,
        coverage=coverage,
        definitions=_definitions(records, comparison.metric),
        command=command,
    )


def _command(comparison: Comparison, path: Path) -> str:
    words = ["dynaloss", "compare", comparison.study, "--metric", comparison.metric]
    if comparison.baseline is not None:
        words += ["--baseline", comparison.baseline]
    return shlex.join([*words, "--report", path.name])


def _row(comparison: Comparison, arm: str) -> list[dict[str, Any]]:
    cells = [comparison.cell(condition, arm) for condition in comparison.conditions]
    return [_table_cell(comparison, cell) for cell in cells]


def _table_cell(comparison: Comparison, cell: Cell) -> dict[str, Any]:
    return {
        "mean": mean_text(comparison, cell),
        "difference": difference_text(comparison, cell),
        "best": cell.best,
        "unclear": not _is_clear(cell),
        "value": repr(cell.mean) if cell.n else "",
    }


def _is_clear(cell: Cell) -> bool:
    """Whether the interval of the difference leaves zero out."""
    interval = cell.difference and cell.difference.ci95
    return bool(interval and not interval[0] <= 0 <= interval[1])


def _detail(comparison: Comparison, cell: Cell) -> dict[str, str]:
    metric = comparison.metric
    seeds = [f"{seed}: {metrics.format_value(metric, v)}" for seed, v in cell.seeds.items()]
    return {
        "condition": cell.condition,
        "arm": cell.arm,
        "n": f"{cell.n} of {cell.coverage.planned}",
        "mean": mean_text(comparison, cell),
        "ci95": metrics.format_interval(metric, cell.ci95) if cell.ci95 else EMPTY,
        "difference": difference_text(comparison, cell) or EMPTY,
        "seeds": ", ".join(seeds) or EMPTY,
    }


def _shown_arms(comparison: Comparison) -> list[str]:
    """The arms that figures show: all, or the baseline and those that are best on average."""
    if len(comparison.arms) <= MAX_ARMS:
        return [*comparison.arms]
    sign = -1 if metrics.higher_is_better(comparison.metric) else 1
    ranked = sorted(
        (arm for arm in comparison.arms if arm != comparison.baseline),
        key=lambda arm: _mean_over_conditions(comparison, arm, sign),
    )
    first = [comparison.baseline] if comparison.baseline is not None else []
    return [*first, *ranked][:MAX_ARMS]


def _mean_over_conditions(comparison: Comparison, arm: str, sign: int) -> float:
    means = [cell.mean for cell in comparison.cells if cell.arm == arm and cell.n]
    return sign * sum(means) / len(means) if means else float("inf")


def _sections(
    records: Sequence[TrialRecord], comparison: Comparison, arms: Sequence[str]
) -> list[_Section]:
    metric = comparison.metric
    drawn = [
        _section(
            "Learning curves",
            f"{metrics.label(metric)} by epoch. Line: mean over seeds; band: from min to max.",
            records,
            comparison,
            lambda chosen: figures.learning_curves(chosen, metric, arms=arms),
        ),
        _section(
            "Label corrector",
            "How far the corrector trusts the observed label, by the rank of the sample's loss. "
            "Solid: learned weight; dashed: the share of labels that are in fact true.",
            records,
            comparison,
            lambda chosen: figures.corrector_curves(chosen, arms=arms),
        ),
        _section(
            "Margins",
            "Learned margin per class minus the mean over the classes, because a constant shift "
            "changes nothing. Marker: mean over seeds; bar: from min to max.",
            records,
            comparison,
            lambda chosen: figures.margins_by_class(chosen, arms=arms),
        ),
        _section(
            "Accuracy per class",
            "Test accuracy within each class. Marker: mean over seeds; bar: from min to max.",
            records,
            comparison,
            lambda chosen: figures.per_class_accuracy(chosen, arms=arms),
        ),
    ]
    return [section for section in drawn if section.images]


def _section(
    title: str,
    caption: str,
    records: Sequence[TrialRecord],
    comparison: Comparison,
    draw: _Draw,
) -> _Section:
    drawn = {
        condition: draw([record for record in records if record.condition == condition])
        for condition in comparison.conditions
    }
    found = {condition: figure for condition, figure in drawn.items() if figure is not None}
    _share_y([*found.values()])
    images = [
        {"source": _image_source(figure), "alt": f"{title} at {condition}"}
        for condition, figure in found.items()
    ]
    return _Section(title=title, caption=caption, images=images)


def _share_y(drawn: Sequence[Figure]) -> None:
    """One vertical range for all conditions, so that heights compare across figures."""
    axes = [axes for figure in drawn for axes in figure.axes]
    limits = [one.get_ylim() for one in axes]
    for one in axes:
        one.set_ylim(min(low for low, _ in limits), max(high for _, high in limits))


def _image_source(figure: Figure) -> str:
    """A data URI; an image keeps the ids and styles of one SVG out of all others."""
    content = base64.b64encode(figure_bytes(figure, "svg")).decode("ascii")
    return f"data:image/svg+xml;base64,{content}"


def _data_by_seed(records: Sequence[TrialRecord], condition: str) -> dict[int, Mapping[str, Any]]:
    return {
        record.seed: record.diagnostics["data"]
        for record in records
        if record.condition == condition and "data" in record.diagnostics
    }


def _data_row(records: Sequence[TrialRecord], condition: str) -> dict[str, str]:
    seeds = _data_by_seed(records, condition)
    found = [*seeds.values()]
    rates = [100 * data["flip_rate"] for data in found]
    return {
        "condition": condition,
        "source": ", ".join(dict.fromkeys(str(data["source"]) for data in found)) or EMPTY,
        "train": _range([data["splits"]["train"] for data in found]),
        "test": _range([data["splits"]["test"] for data in found]),
        "flip_rate": _range(rates, "{:.1f} %"),
        "true": _most_and_least(found, "true_class_counts"),
        "observed": _most_and_least(found, "observed_class_counts"),
        "seeds": ", ".join(map(str, sorted(seeds))) or EMPTY,
    }


def _range(values: Sequence[float], form: str = "{:,.0f}") -> str:
    if not values:
        return EMPTY
    ends = dict.fromkeys(form.format(value) for value in (min(values), max(values)))
    return " to ".join(ends)


def _most_and_least(found: Sequence[Mapping[str, Any]], name: str) -> str:
    if not found:
        return EMPTY
    most, least = (_range([end(data[name]) for data in found]) for end in (max, min))
    return f"{most} / {least}"


def _data_warnings(records: Sequence[TrialRecord]) -> list[str]:
    """Seeds whose arms did not see the same data, so that their differences are not paired."""
    digests: dict[tuple[str, int], set[str]] = {}
    for record in records:
        if "data" in record.diagnostics:
            known = digests.setdefault((record.condition, record.seed), set())
            known.add(record.diagnostics["data"]["digest"])
    return [
        f"At {condition}, the arms of seed {seed} saw different data: not paired."
        for (condition, seed), found in digests.items()
        if len(found) > 1
    ]


def _coverage(comparison: Comparison) -> tuple[list[str], list[tuple[str, list[int]]]]:
    """Names of the outcomes that occur, and their counts by condition."""
    counts = {name: _outcome_counts(comparison, name) for name in comparison.conditions}
    shown = [
        name
        for name in (*Outcome, _MISSING)
        if name is Outcome.COMPLETED or any(count[name] for count in counts.values())
    ]
    return [str(name) for name in shown], [
        (condition, [count[name] for name in shown]) for condition, count in counts.items()
    ]


def _outcome_counts(comparison: Comparison, condition: str) -> Counter[str]:
    counts: Counter[str] = Counter()
    for cell in comparison.column(condition):
        coverage = cell.coverage
        ended = {Outcome.COMPLETED: coverage.completed, **coverage.outcomes}
        counts.update(ended)
        counts[_MISSING] += coverage.planned - sum(ended.values())
    return counts


def _definitions(records: Sequence[TrialRecord], metric: str) -> list[tuple[str, str]]:
    """Meaning of the metric compared, then of the other built-in ones that trials reported."""
    names = sorted({name for record in records for name in record.metrics if "_last" not in name})
    found = [(name, metrics.definition(name)) for name in dict.fromkeys([metric, *names])]
    return [(name, text) for name, text in found if text is not None]
