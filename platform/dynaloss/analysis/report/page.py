"""The report: one self-contained HTML file."""

from __future__ import annotations

import base64
import shlex
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jinja2
from matplotlib.figure import Figure

from dynaloss.analysis import metric_names
from dynaloss.analysis.figures import figure_bytes, gallery
from dynaloss.analysis.query import Result
from dynaloss.analysis.report.summary import summarise
from dynaloss.analysis.statistics.comparison import Cell, Comparison
from dynaloss.analysis.tables.content import Table, text_table
from dynaloss.analysis.tables.extras import EXTRAS
from dynaloss.analysis.wording import (
    EMPTY,
    counted,
    difference_text,
    interval_text,
    mean_text,
    unit_text,
    value_text,
)
from dynaloss.studies.trial_record import Outcome, TrialRecord

_MISSING = "missing"
_ENVIRONMENT = ("mlflow.source.git.", "dynaloss.environment.")


def write_report(result: Result, path: str | Path, *, command: str | None = None) -> Path:
    """Writes the first comparison of a result and its figures as one self-contained HTML file.

    The page loads nothing, follows the reader's light or dark setting, and holds no date: equal
    records give equal bytes.

    Args:
        result: Trials with history and diagnostics, their comparison, plans and tags.
        path: File to write.
        command: Command that rebuilds the page; by default `dynaloss compare` with its options.

    Returns:
        The path written.
    """
    path = Path(path)
    content = _html(result, command or _command(result.comparisons[0], path))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content, encoding="utf-8", newline="\n")
    return path


def _html(result: Result, command: str) -> str:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("dynaloss.analysis.report"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    records, comparison = result.records, result.comparisons[0]
    table, *extras = result.tables([*EXTRAS])[0]
    return environment.get_template("report.html.j2").render(
        comparison=comparison,
        head=_head(comparison),
        summary=summarise(comparison),
        table=table,
        details=[_detail(comparison, cell) for cell in comparison.cells],
        extras=extras,
        sections=_sections(result),
        plans=result.plans,
        environment=_environment(records, result.study_tags),
        data=[_data_row(records, condition) for condition in comparison.conditions],
        data_warnings=_data_warnings(records),
        coverage=_coverage(comparison),
        definitions=_definitions(records, comparison.metric),
        command=command,
    )


def _head(comparison: Comparison) -> str:
    parts = [
        unit_text(comparison),
        counted(len(comparison.arms), "arm"),
        counted(len(comparison.conditions), "condition"),
    ]
    if comparison.baseline is not None:
        parts.append(f"baseline {comparison.baseline}")
    return " · ".join(parts)


def _command(comparison: Comparison, path: Path) -> str:
    words = ["dynaloss", "compare", comparison.study, "--metric", comparison.metric]
    if comparison.baseline is not None:
        words += ["--baseline", comparison.baseline]
    return shlex.join([*words, "--report", path.name])


def _detail(comparison: Comparison, cell: Cell) -> dict[str, str]:
    seeds = [f"{seed}: {value_text(comparison, value)}" for seed, value in cell.seeds.items()]
    return {
        "condition": cell.condition,
        "arm": cell.arm,
        "n": f"{cell.n} of {cell.coverage.planned}",
        "mean": mean_text(comparison, cell),
        "ci95": interval_text(comparison, cell.ci95) if cell.ci95 else EMPTY,
        "difference": difference_text(comparison, cell) or EMPTY,
        "seeds": ", ".join(seeds) or EMPTY,
    }


def _sections(result: Result) -> list[dict[str, Any]]:
    comparison = result.comparisons[0]
    return [
        {
            "title": section.title,
            "caption": section.caption,
            "images": [
                {"source": _image_source(figure), "alt": f"{section.title} at {condition}"}
                for condition, figure in section.figures.items()
            ],
        }
        for section in gallery(result.records, comparison, result.components)
    ]


def _environment(
    records: Sequence[TrialRecord], study_tags: Mapping[str, Mapping[str, str]]
) -> list[tuple[str, str]]:
    """Values of the environment that trials recorded, or otherwise their study's last launch."""
    launches, trials = (
        _values_by_name(tags) for tags in (study_tags.values(), [r.tags for r in records])
    )
    texts = {name: ", ".join(f"{v} (last launch)" for v in launches[name]) for name in launches}
    for name, values in trials.items():
        shown = (f"{value} ({counted(n, 'trial')})" for value, n in values.most_common())
        texts[name] = ", ".join(shown)
    return sorted(texts.items())


def _values_by_name(sources: Iterable[Mapping[str, str]]) -> dict[str, Counter[str]]:
    """How often each value of each tag of the environment occurs."""
    found: dict[str, Counter[str]] = {}
    for tags in sources:
        for name, value in tags.items():
            if name.startswith(_ENVIRONMENT):
                short = name.removeprefix("mlflow.source.").removeprefix(_ENVIRONMENT[-1])
                found.setdefault(short, Counter())[value] += 1
    return found


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


def _coverage(comparison: Comparison) -> Table:
    """Number of trials per condition and outcome, of the outcomes that occur."""
    counts = {name: _outcome_counts(comparison, name) for name in comparison.conditions}
    shown = [
        name
        for name in (*Outcome, _MISSING)
        if name is Outcome.COMPLETED or any(count[name] for count in counts.values())
    ]
    rows = [(name, *(str(count[outcome]) for outcome in shown)) for name, count in counts.items()]
    return text_table("Coverage", ("condition", *map(str, shown)), rows)


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
    names = sorted({metric_names.base(name) for record in records for name in record.metrics})
    found = [(name, metric_names.definition(name)) for name in dict.fromkeys([metric, *names])]
    return [(name, text) for name, text in found if text is not None]
