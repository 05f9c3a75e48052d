"""From a query to its result: reads, joins, selects and compares trials."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

from dynaloss.analysis.joining import join_studies
from dynaloss.analysis.pivot import allows, demands, pivot, planned, select
from dynaloss.analysis.result import Result, StudyReader
from dynaloss.analysis.selection import curves_of
from dynaloss.analysis.statistics import costs
from dynaloss.analysis.statistics.comparison import Comparison, compare
from dynaloss.analysis.statistics.significance import Adjustment
from dynaloss.analysis.wording import counted
from dynaloss.errors import InputError
from dynaloss.studies.metric_names import is_percent
from dynaloss.studies.stored_plan import StoredPlan
from dynaloss.studies.trial_record import ENVIRONMENT, Outcome, TrialRecord


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """What to compare.

    Attributes:
        studies: Names or files of studies.
        metrics: Metrics to compare by; the first study's own where empty.
        baseline: Row that differences refer to; the first study's own unless given.
        rows: Keys whose values name the rows.
        columns: Keys whose values name the columns.
        where: Demands `key=value` on the trials.
        margin: Differences up to this do not matter; the first study's own where None.
        adjust: How p values are adjusted, see `ReportConfig`; likewise.
        include_pruned: Whether pruned trials enter the numbers.
        force: Whether studies of different data are joined.
        exact: Whether texts show every digit.
        extras: Tables beside the comparison, names of `EXTRAS`.
        everything: Whether all is read that a report and the figures can show.
    """

    studies: tuple[str, ...]
    metrics: tuple[str, ...] = ()
    baseline: str | None = None
    margin: float | None = None
    adjust: Adjustment | None = None
    rows: tuple[str, ...] = ("arm",)
    columns: tuple[str, ...] = ("condition",)
    where: tuple[str, ...] = ()
    include_pruned: bool = False
    force: bool = False
    exact: bool = False
    extras: tuple[str, ...] = ()
    everything: bool = False


def run_query(
    query: Query,
    reader: StudyReader,
    *,
    plans: Mapping[str, StoredPlan] | None = None,
    note: Callable[[str], object] = lambda text: None,
) -> Result:
    """The trials of the studies of a query, compared.

    Plans that are known already are not read; `note` receives notes on trials that are left out.

    Raises:
        InputError: If a study, a key, a metric or the baseline is unknown, no trial has
            completed, the winners of a search have not been trained, or studies of different
            data are joined without `force`.
    """
    known = reader.studies()
    found = dict(_compared_study(reader, known, source, plans or {}) for source in query.studies)
    own = next(iter(found.values())).metric
    metrics = tuple(dict.fromkeys(query.metrics or (own,)))
    records = {}
    for name, plan in found.items():
        every = _read(reader, name, query, metrics)
        records[name] = planned(every, plan)
        if others := {r.key for r in every} - {r.key for r in records[name]}:
            note(f"without {counted(len(others), 'trial')} of earlier plans")
    joined, warnings = join_studies(records, force=query.force)
    chosen = pivot(select(joined, query.where), query.rows, query.columns)
    everything = partial(run_query, replace(query, everything=True), reader, plans=found)
    return Result(
        records=chosen,
        comparisons=[_compare(query, chosen, metric, found, warnings) for metric in metrics],
        plans=found,
        study_tags={name: reader.tags(name) for name in found} if query.everything else {},
        extras=query.extras,
        reader=reader,
        with_everything=None if query.everything else everything,
    )


def _read(
    reader: StudyReader, study: str, query: Query, metrics: Sequence[str]
) -> list[TrialRecord]:
    """The trials of a study with what the query needs: thousands of trials hold much more.

    Where none has one of the metrics, all are read, so that the comparison can name them.
    """
    extras = ("rules", "cost") if query.everything else query.extras
    values, curves = [*metrics], list[str]()
    if "rules" in extras:
        curves += [name for metric in metrics for name in (metric, *curves_of(metric))]
    if "cost" in extras:
        values, curves = [*values, *costs.METRICS], [*curves, *costs.CURVES]
    diagnostics = query.everything or (["data"] if len(query.studies) > 1 else False)
    read = partial(reader.records, study, history=curves, diagnostics=diagnostics)
    if query.everything:
        return read()
    records = read(metrics=values)
    return records if {*metrics} <= {m for record in records for m in record.metrics} else read()


def _compare(
    query: Query,
    records: Sequence[TrialRecord],
    metric: str,
    plans: Mapping[str, StoredPlan],
    warnings: tuple[str, ...],
) -> Comparison:
    first = next(iter(plans.values()))
    by_arm, by_condition = query.rows == ("arm",), query.columns == ("condition",)
    arms = _planned_values(plans if by_arm else {}, "arms")
    conditions = _planned_values(plans if by_condition else {}, "conditions")
    seen = {record.arm for record in records}
    wanted = demands(query.where)
    planned_seeds = _planned_seeds(query, records, plans, as_planned=by_arm and by_condition)
    if wanted:  # trials beyond the demands are not missing
        left = {(record.condition, record.arm) for record in records}
        left |= {*(planned_seeds or ())} if _are_of_plans(wanted) else set()
        arms = [one for one in arms if any(one == arm for _, arm in left)]
        conditions = [one for one in conditions if any(one == condition for condition, _ in left)]
    own = first.baseline if by_arm and first.baseline in {*arms, *seen} else None
    lost = by_arm and first.baseline is not None and not (own or query.baseline)
    comparison = compare(
        records,
        metric,
        query.baseline or own,
        arm_order=arms,
        condition_order=conditions,
        planned=planned_seeds,
        include_pruned=query.include_pruned,
        margin=_margin(query, first, metric),
        adjust=query.adjust or first.adjust,
    )
    alone = f"No differences: the baseline {first.baseline} is not among the trials compared."
    every = (*warnings, *_mixed_environments(records), *comparison.warnings, *[alone] * lost)
    return replace(comparison, warnings=every, exact=query.exact)


def _planned_seeds(
    query: Query,
    records: Sequence[TrialRecord],
    plans: Mapping[str, StoredPlan],
    *,
    as_planned: bool,
) -> dict[tuple[str, str], int] | None:
    """Number of seeds expected of each condition and arm; None for that of the fullest cell.

    Where rows and columns are `as_planned`, it is that of the plans with both, and a cell that no
    plan has is not missing. With demands, trials beyond them are not missing either.
    """
    conditions, arms = ({getattr(r, name) for r in records} for name in ("condition", "arm"))
    by, wanted = {*query.rows, *query.columns}, demands(query.where)
    if "key" in by:  # a trial is of one condition and arm alone
        return {}
    planned: dict[tuple[str, str], set[int]] = {}
    for plan in plans.values():
        places = product(plan.conditions, plan.arms) if as_planned else product(conditions, arms)
        seeds = {seed for seed in plan.seeds if allows(wanted, "seed", seed)}
        for condition, arm in places:
            if allows(wanted, "condition", condition) and allows(wanted, "arm", arm):
                planned.setdefault((condition, arm), set()).update(seeds)
    is_known = not wanted or (as_planned and _are_of_plans(wanted))
    if is_known and "seed" not in by and any(planned.values()):
        return {cell: len(seeds) for cell, seeds in planned.items()}
    if not (as_planned and planned):
        return None
    # How many seeds of a part were planned is not known: as many as the fullest cell has.
    fullest = Counter((record.condition, record.arm) for record in records)
    return dict.fromkeys(planned, max(fullest.values(), default=0))


def _are_of_plans(wanted: Mapping[str, object]) -> bool:
    """Whether demands are on what plans name: then it is known which trials they leave."""
    return {*wanted} <= {"arm", "condition", "seed"}


def _mixed_environments(records: Sequence[TrialRecord]) -> tuple[str, ...]:
    """A warning where the completed trials were computed on different things."""
    counts = Counter(
        record.tags.get(ENVIRONMENT, "unknown")
        for record in records
        if record.outcome is Outcome.COMPLETED
    )
    if len(counts) < 2:
        return ()
    groups = "; ".join(f"{counted(n, 'trial')} on {name}" for name, n in counts.most_common())
    return (
        f"Trials of several environments, which round otherwise, are compared: {groups}. "
        "`--where environment=...` separates them.",
    )


def _margin(query: Query, plan: StoredPlan, metric: str) -> float | None:
    """The margin in the unit of the metric; a study's own holds for metrics of that unit only."""
    own = plan.margin if is_percent(metric) is is_percent(plan.metric) else None
    points = query.margin if query.margin is not None else own
    return points / 100 if points is not None and is_percent(metric) else points


def _planned_values(plans: Mapping[str, StoredPlan], name: str) -> list[Any]:
    """What the stored plans list under a name, such as `arms`: each value once, in order."""
    return list(dict.fromkeys(value for plan in plans.values() for value in getattr(plan, name)))


def _compared_study(
    reader: StudyReader, known: Sequence[str], source: str, plans: Mapping[str, StoredPlan]
) -> tuple[str, StoredPlan]:
    """Name and plan of the study that a file, a study or a bundled study means.

    A search means the study of its winners, trained again: its own trials have one seed each, and
    were chosen among.
    """
    if source in plans:
        return source, plans[source]
    name = _study_name(source, known)
    plan = reader.plan(name)
    if plan.kind != "search":
        return name, plan
    from dynaloss.studies.study import confirmed_name

    best = confirmed_name(name)
    if best not in known:
        raise InputError(
            f"`{name}` is a search whose winners have not been trained again yet: run "
            f"`dynaloss search {source}` to its end, without --no-confirm."
        )
    return best, reader.plan(best)


def _study_name(source: str, known: Sequence[str]) -> str:
    """The name inside a study file, or otherwise the source itself."""
    from dynaloss.studies.reading.bundled import bundled_studies

    path = Path(source) if Path(source).is_file() else None
    if path is None and source not in known:
        path = bundled_studies().get(source)
    if path is None:
        return source
    from dynaloss.studies.reading.document import read_document

    return str(read_document(path).values.get("study", source))
