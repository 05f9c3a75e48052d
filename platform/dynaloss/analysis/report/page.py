"""The report: one self-contained HTML file."""

from __future__ import annotations

import base64
import re
import shlex
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Protocol

from matplotlib.figure import Figure

from dynaloss.analysis.figures import figure_bytes, gallery
from dynaloss.analysis.statistics.comparison import Comparison
from dynaloss.analysis.tables.content import Table, text_table
from dynaloss.analysis.tables.extras import EXTRAS
from dynaloss.analysis.tables.markup import html_templates
from dynaloss.analysis.wording import (
    EMPTY,
    counted,
    difference_text,
    mean_text,
    summarise,
    unit_text,
)
from dynaloss.studies import metric_names
from dynaloss.studies.stored_plan import StoredPlan
from dynaloss.studies.trial_record import Outcome, TrialRecord

_ENVIRONMENT = ("mlflow.source.git.", "dynaloss.environment.")


class Reported(Protocol):
    """The result of a query, with everything that a report shows; see `analysis.Result`."""

    @property
    def records(self) -> Sequence[TrialRecord]:
        """The trials compared."""

    @property
    def comparisons(self) -> Sequence[Comparison]:
        """One per metric."""

    @property
    def plans(self) -> Mapping[str, StoredPlan]:
        """Stored plan of each study."""

    @property
    def study_tags(self) -> Mapping[str, Mapping[str, str]]:
        """Tags of each study's own run."""

    @property
    def components(self) -> Sequence[str]:
        """Components that the designs switch."""

    def tables(self, extras: Sequence[str]) -> Sequence[Sequence[Table]]:
        """Per metric the table of its comparison, then those of the extras named."""


def write_report(result: Reported, path: str | Path, *, command: str | None = None) -> Path:
    """Writes the first comparison of a result and its figures as one self-contained HTML file.

    The page loads nothing, follows the reader's light or dark setting, and holds no date: equal
    records give equal bytes. It names the command that rebuilds it, by default `dynaloss compare`.
    """
    path = Path(path)
    content = _html(result, command or _command(result.comparisons[0], path))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content, encoding="utf-8", newline="\n")
    return path


def _html(result: Reported, command: str) -> str:
    jinja = html_templates("dynaloss.analysis.report")
    jinja.filters |= {"data_uri": _data_uri, "anchor": _anchor}
    records, comparison = result.records, result.comparisons[0]
    table, *extras = result.tables([*EXTRAS])[0]
    sections = gallery(records, comparison, result.components)
    data, coverage = _data(records, comparison.conditions), _coverage(comparison)
    definitions = _definitions(records, comparison.metric)
    environment = _environment(records, result.study_tags)
    return jinja.get_template("report.html.j2").render(
        contents=[
            "Results",
            *(section.title for section in sections),
            *(one.title for one in (*extras, data, coverage)),
            *(["Metrics"] if definitions else []),
            *(["Environment"] if environment else []),
            "Rebuild this page",
        ],
        comparison=comparison,
        counted=counted,
        unit=unit_text(comparison),
        summary=summarise(comparison),
        table=table,
        details=_details(comparison),
        extras=extras,
        sections=sections,
        plans=result.plans,
        environment=environment,
        data=data,
        data_warnings=_data_warnings(records),
        coverage=coverage,
        definitions=definitions,
        command=command,
    )


def _command(comparison: Comparison, path: Path) -> str:
    words = ["dynaloss", "compare", comparison.study, "--metric", comparison.metric]
    if comparison.baseline is not None:
        words += ["--baseline", comparison.baseline]
    return shlex.join([*words, "--report", path.name])


def _details(comparison: Comparison) -> Table:
    """Every seed of every cell."""
    header = (
        "condition", "arm", "n", "mean ± std", "95 % interval", "difference",
        "95 % for all differences", "seeds",
    )  # fmt: skip
    metric, exact = comparison.metric, comparison.exact
    rows = []
    for cell in (*comparison.cells, *(comparison.pooled if comparison.baseline else ())):
        at_once = cell.difference and cell.difference.simultaneous
        seeds = (
            f"{seed}: {metric_names.format_value(metric, value, exact=exact)}"
            for seed, value in cell.seeds.items()
        )
        texts = (
            cell.condition,
            cell.arm,
            f"{cell.n} of {cell.planned}",
            mean_text(comparison, cell),
            cell.ci95 and metric_names.format_interval(metric, cell.ci95, exact=exact),
            difference_text(comparison, cell),
            at_once and metric_names.format_interval(metric, at_once, exact=exact),
            ", ".join(seeds),
        )
        rows.append([text or EMPTY for text in texts])
    return text_table("Every seed", header, rows)


def _environment(
    records: Sequence[TrialRecord], study_tags: Mapping[str, Mapping[str, str]]
) -> list[tuple[str, str]]:
    """Values of the environment that trials recorded, or otherwise their study's last launch."""
    launches = _values_by_name(study_tags.values())
    trials = _values_by_name(record.tags for record in records)
    texts = {
        name: ", ".join(f"{value} (last launch)" for value in values)
        for name, values in launches.items()
    } | {
        name: ", ".join(f"{value} ({counted(n, 'trial')})" for value, n in values.most_common())
        for name, values in trials.items()
    }
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


def _anchor(title: str) -> str:
    """Name of the place of a heading on the page."""
    return re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-")


def _data_uri(figure: Figure) -> str:
    """The figure as an image, which keeps the ids and styles of its SVG to itself."""
    content = base64.b64encode(figure_bytes(figure, "svg")).decode("ascii")
    return f"data:image/svg+xml;base64,{content}"


def _data(records: Sequence[TrialRecord], conditions: Sequence[str]) -> Table:
    """Bias of the training data under each condition; a range where the seeds differ."""
    header = ["condition", "source", "train", "test", "labels flipped"]
    header += ["class sizes, true", "class sizes, observed", "seeds"]
    recorded = [record for record in records if "data" in record.diagnostics]
    rows = []
    for condition in conditions:
        by_seed = {r.seed: r.diagnostics["data"] for r in recorded if r.condition == condition}
        found = [*by_seed.values()]
        texts = (
            ", ".join(dict.fromkeys(str(data["source"]) for data in found)),
            _range([data["splits"]["train"] for data in found]),
            _range([data["splits"]["test"] for data in found]),
            _range([100 * data["flip_rate"] for data in found], "{:.1f} %"),
            _most_and_least([data["true_class_counts"] for data in found]),
            _most_and_least([data["observed_class_counts"] for data in found]),
            ", ".join(map(str, sorted(by_seed))),
        )
        rows.append((condition, *(text or EMPTY for text in texts)))
    return text_table("Data", header, rows)


def _range(values: Sequence[float], form: str = "{:,.0f}") -> str:
    ends = (min(values), max(values)) if values else ()
    return " to ".join(dict.fromkeys(map(form.format, ends)))


def _most_and_least(counts: Sequence[Sequence[float]]) -> str:
    return " / ".join(_range([end(one) for one in counts]) for end in (max, min)) if counts else ""


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
    counts: dict[str, Counter[str]] = {c: Counter() for c in comparison.conditions}
    for cell in comparison.cells:
        counts[cell.condition].update(cell.outcomes)
        counts[cell.condition]["missing"] += cell.planned - sum(cell.outcomes.values())
    seen = sum(counts.values(), Counter[str]())
    shown = [o for o in (*Outcome, "missing") if seen[o] or o == Outcome.COMPLETED]
    rows = [(c, *(str(count[outcome]) for outcome in shown)) for c, count in counts.items()]
    return text_table("Coverage", ("condition", *map(str, shown)), rows)


def _definitions(records: Sequence[TrialRecord], metric: str) -> list[tuple[str, str]]:
    """Meaning of the metric compared, then of the other built-in ones that trials reported."""
    names = sorted({metric_names.base(name) for record in records for name in record.metrics})
    every = dict.fromkeys([metric, *names])
    return [(name, text) for name in every if (text := metric_names.definition(name))]
