"""The report: one HTML file that holds everything it shows."""

from __future__ import annotations

import base64
import shlex
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jinja2
from matplotlib.figure import Figure

from dynaloss.analysis import metrics
from dynaloss.analysis.cells import Cell, Comparison
from dynaloss.analysis.gallery import gallery
from dynaloss.analysis.panels import figure_bytes
from dynaloss.analysis.pivot import planned_values
from dynaloss.analysis.summary import summarise
from dynaloss.analysis.tables import EXTRAS, Table, extra_tables
from dynaloss.analysis.wording import (
    EMPTY,
    counted,
    difference_text,
    interval_text,
    mean_text,
    notes,
    unit_text,
    value_text,
)
from dynaloss.studies.stored_plan import StoredPlan
from dynaloss.studies.trial_record import Outcome, TrialRecord

__all__ = ["write_report"]

_MISSING = "missing"
_ENVIRONMENT = ("mlflow.source.git.", "dynaloss.environment.")


def write_report(
    records: Sequence[TrialRecord],
    comparison: Comparison,
    path: str | Path,
    *,
    command: str | None = None,
    plans: Mapping[str, StoredPlan] | None = None,
    study_tags: Mapping[str, Mapping[str, str]] | None = None,
) -> Path:
    """Writes the comparison and its figures as one self-contained HTML file.

    The page loads nothing, follows the reader's light or dark setting, and holds no date: equal
    records give equal bytes.

    Args:
        records: The trials behind the comparison, with history and diagnostics.
        comparison: The table to show.
        path: File to write.
        command: Command that rebuilds the page; by default `dynaloss compare` with its options.
        plans: Stored plan of each study, for its hash, its components and its deviations.
        study_tags: Tags of each study's own run, for the environment.

    Returns:
        The path written.
    """
    path = Path(path)
    command = command or _command(comparison, path)
    content = _html(records, comparison, command, plans or {}, study_tags or {})
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content, encoding="utf-8", newline="\n")
    return path


def _html(
    records: Sequence[TrialRecord],
    comparison: Comparison,
    command: str,
    plans: Mapping[str, StoredPlan],
    study_tags: Mapping[str, Mapping[str, str]],
) -> str:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("dynaloss.analysis"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    template = environment.get_template("report.html.j2")
    components = planned_values(plans.values(), "components")
    extras = extra_tables([*EXTRAS], records, comparison, components)
    outcomes, coverage = _coverage(comparison)
    return template.render(
        comparison=comparison,
        head=_head(comparison),
        summary=summarise(comparison),
        rows=[(arm, _row(comparison, arm)) for arm in comparison.arms],
        notes=notes(comparison),
        details=[_detail(comparison, cell) for cell in comparison.cells],
        extras=[_extra(table) for table in extras],
        sections=_sections(records, comparison, components),
        plans=[_plan(name, plan) for name, plan in plans.items()],
        environment=_environment(records, study_tags),
        data=[_data_row(records, condition) for condition in comparison.conditions],
        data_warnings=_data_warnings(records),
        outcomes=outcomes,
        coverage=coverage,
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


def _row(comparison: Comparison, arm: str) -> list[dict[str, Any]]:
    cells = [comparison.cell(condition, arm) for condition in comparison.conditions]
    return [_table_cell(comparison, cell) for cell in cells]


def _table_cell(comparison: Comparison, cell: Cell) -> dict[str, Any]:
    return {
        "mean": mean_text(comparison, cell),
        "difference": difference_text(comparison, cell),
        "best": cell.best,
        "unclear": not (cell.difference and cell.difference.clear),
        "value": repr(cell.mean) if cell.n else "",
    }


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


def _sections(
    records: Sequence[TrialRecord], comparison: Comparison, components: Sequence[str]
) -> list[dict[str, Any]]:
    return [
        {
            "title": section.title,
            "caption": section.caption,
            "images": [
                {"source": _image_source(figure), "alt": f"{section.title} at {condition}"}
                for condition, figure in section.figures.items()
            ],
        }
        for section in gallery(records, comparison, components)
    ]


def _extra(table: Table) -> dict[str, Any]:
    """A further table with every cell beside whether it is greyed."""
    return {
        "title": table.title,
        "header": table.header,
        "notes": table.notes,
        "rows": [
            [(text, (row, column) in table.unclear) for column, text in enumerate(texts)]
            for row, texts in enumerate(table.rows)
        ],
    }


def _plan(name: str, plan: StoredPlan) -> dict[str, Any]:
    return {
        "study": name,
        "hash": plan.hash,
        "notes": plan.notes,
        "deviations": plan.deviations,
    }


def _environment(
    records: Sequence[TrialRecord], study_tags: Mapping[str, Mapping[str, str]]
) -> list[tuple[str, str]]:
    """Where the trials ran: every value recorded with them, else that of their study's launch."""
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
    names = sorted({metrics.base(name) for record in records for name in record.metrics})
    found = [(name, metrics.definition(name)) for name in dict.fromkeys([metric, *names])]
    return [(name, text) for name, text in found if text is not None]
