"""`dynaloss compare`: from the tracking store to a table and a report."""

from __future__ import annotations

import json
import shlex
import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import click

from dynaloss.analysis import Comparison, compare, costs, render
from dynaloss.analysis.joining import join_studies
from dynaloss.analysis.pivot import pivot, planned, planned_values, select
from dynaloss.analysis.render import as_values
from dynaloss.analysis.render_extra import extra_values, render_extra
from dynaloss.analysis.selection import curves_of
from dynaloss.analysis.tables import Table, extra_tables
from dynaloss.analysis.wording import counted
from dynaloss.errors import InputError
from dynaloss.studies.stored_plan import StoredPlan
from dynaloss.studies.trial_record import TrialRecord
from dynaloss.tracking import (
    Store,
    Workspace,
    list_studies,
    read_plan,
    read_records,
    read_tags,
)

__all__ = ["Question", "compare_studies"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What is asked of the store.

    Attributes:
        studies: Names or files of studies.
        metrics: Metrics to compare by; the first study's own where empty.
        baseline: Row that differences refer to; the first study's own unless given.
        rows: Keys whose values name the rows.
        columns: Keys whose values name the columns.
        where: Demands `key=value` on the trials.
        include_pruned: Whether pruned trials enter the numbers.
        force: Whether studies of different data are joined.
        exact: Whether texts hold every digit.
        extras: What else to show, names of `EXTRAS`.
    """

    studies: tuple[str, ...]
    metrics: tuple[str, ...] = ()
    baseline: str | None = None
    rows: tuple[str, ...] = ("arm",)
    columns: tuple[str, ...] = ("condition",)
    where: tuple[str, ...] = ()
    include_pruned: bool = False
    force: bool = False
    exact: bool = False
    extras: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """The records behind a comparison, its tables, and what is known of its studies."""

    records: list[TrialRecord]
    comparisons: list[Comparison]
    plans: Mapping[str, StoredPlan]
    study_tags: Mapping[str, Mapping[str, str]]

    @property
    def components(self) -> list[str]:
        """Components that the designs of the studies switch."""
        return planned_values(self.plans.values(), "components")


def compare_studies(
    question: Question,
    *,
    format_: str,
    report: Path | None,
    workspace: Workspace,
    figures: Path | None = None,
) -> str:
    """Answers a question from the store, and writes report and figures where wanted.

    Returns:
        The tables as text; empty where they went to the terminal already.
    """
    everything = report is not None or figures is not None
    answer = _answer(question, workspace, everything)
    if report is not None:
        _write_report(answer, report)
    if figures is not None:
        _write_figures(answer, figures)
    return _rendered(answer, question, format_)


def _answer(question: Question, workspace: Workspace, everything: bool) -> Answer:
    store = workspace.open_store(must_exist=True)
    known = list_studies(store)
    plans = dict(_compared_study(store, known, source) for source in question.studies)
    own = next(iter(plans.values())).metric
    metrics = tuple(dict.fromkeys(question.metrics or (own,)))
    needs = _Needs.of(metrics, question.extras, len(plans), everything)
    records = {name: _planned(needs.read(store, name), plan) for name, plan in plans.items()}
    joined, warnings = join_studies(records, force=question.force)
    chosen = pivot(select(joined, question.where), question.rows, question.columns)
    comparisons = [_compare(chosen, metric, question, plans, warnings) for metric in metrics]
    environment = {name: read_tags(store, name) for name in plans} if everything else {}
    return Answer(records=chosen, comparisons=comparisons, plans=plans, study_tags=environment)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Needs:
    """What must be read to answer a question: thousands of trials hold much more.

    Attributes:
        compared: Metrics that are compared by.
        metrics: Metrics whose last values are needed; None for all.
        curves: Metrics whose curves are.
        diagnostics: JSON artifacts that are; True for all.
    """

    compared: tuple[str, ...]
    metrics: tuple[str, ...] | None
    curves: tuple[str, ...]
    diagnostics: tuple[str, ...] | bool

    @classmethod
    def of(
        cls, metrics: tuple[str, ...], extras: Sequence[str], num_studies: int, everything: bool
    ) -> _Needs:
        with_rules, with_cost = (everything or name in extras for name in ("rules", "cost"))
        curves = [name for metric in metrics for name in (metric, *curves_of(metric))]
        return cls(
            compared=metrics,
            metrics=None if everything else (*metrics, *(costs.METRICS if with_cost else ())),
            curves=(*(curves if with_rules else ()), *(costs.CURVES if with_cost else ())),
            diagnostics=everything or (("data",) if num_studies > 1 else False),
        )

    def read(self, store: Store, study: str) -> list[TrialRecord]:
        """The trials; with all their metrics where none has one of those wanted.

        Then the comparison refuses, and names those that there are.
        """
        read = partial(
            read_records, store, study, history=self.curves, diagnostics=self.diagnostics
        )
        records = read(metrics=self.metrics)
        found = {name for record in records for name in record.metrics}
        return records if self.metrics is None or found >= {*self.compared} else read()


def _compare(
    records: Sequence[TrialRecord],
    metric: str,
    question: Question,
    plans: Mapping[str, StoredPlan],
    warnings: tuple[str, ...],
) -> Comparison:
    first = next(iter(plans.values()))
    by_arm, by_condition = question.rows == ("arm",), question.columns == ("condition",)
    narrowed = bool(question.where)
    by_seed = "seed" in (*question.rows, *question.columns)
    comparison = compare(
        records,
        metric,
        question.baseline or (_baseline(first, records) if by_arm else None),
        arm_order=_order(plans if by_arm else {}, "arms", records, "arm", narrowed=narrowed),
        condition_order=_order(
            plans if by_condition else {}, "conditions", records, "condition", narrowed=narrowed
        ),
        seeds=() if narrowed or by_seed else planned_values(plans.values(), "seeds"),
        include_pruned=question.include_pruned,
    )
    return replace(comparison, warnings=(*warnings, *comparison.warnings), exact=question.exact)


def _baseline(plan: StoredPlan, records: Sequence[TrialRecord]) -> str | None:
    """The study's own baseline, unless what is left of the trials has none of it."""
    arms = {*plan.arms, *(record.arm for record in records)}
    return plan.baseline if plan.baseline in arms else None


def _order(
    plans: Mapping[str, StoredPlan],
    name: str,
    records: Sequence[TrialRecord],
    field: str,
    *,
    narrowed: bool,
) -> list[str]:
    """The planned rows or columns; of a narrowed question only those that have trials."""
    present = {getattr(record, field) for record in records}
    values = planned_values(plans.values(), name)
    return [value for value in values if not narrowed or value in present]


def _compared_study(store: Store, known: Sequence[str], source: str) -> tuple[str, StoredPlan]:
    """Name and plan of what a file, a study or a bundled study stands for in the store.

    A search stands for the study of its winners, trained afresh: its own trials have one seed
    each, and were chosen among.

    Raises:
        InputError: If the winners of a search have not been trained yet, or there is no such
            study.
    """
    name = _study_name(source, known)
    plan = read_plan(store, name)
    if plan.kind != "search":
        return name, plan
    from dynaloss.studies.search.search_study import confirmed_name

    best = confirmed_name(name)
    if best in known:
        return best, read_plan(store, best)
    raise InputError(
        f"`{name}` is a search whose winners have not been trained afresh yet: run "
        f"`dynaloss search {source}` to its end, without --no-confirm."
    )


def _study_name(source: str, known: Sequence[str]) -> str:
    """The name that a study file gives itself, or else the words as they are."""
    from dynaloss.studies.reading.bundled import bundled_studies

    path = Path(source) if Path(source).is_file() else None
    if path is None and source not in known:
        path = bundled_studies().get(source)
    if path is None:
        return source
    from dynaloss.studies.reading.document import read_document

    return str(read_document(path).values.get("study", source))


def _planned(records: list[TrialRecord], plan: StoredPlan) -> list[TrialRecord]:
    left = planned(records, plan)
    if others := len({*(r.key for r in records)} - {*(r.key for r in left)}):
        click.echo(f"note: without {counted(others, 'trial')} of earlier plans", err=True)
    return left


def _write_report(answer: Answer, report: Path) -> None:
    from dynaloss.analysis.report import write_report

    write_report(
        answer.records,
        answer.comparisons[0],
        report,
        command=shlex.join(["dynaloss", *sys.argv[1:]]),
        plans=answer.plans,
        study_tags=answer.study_tags,
    )
    click.echo(f"report: {report}", err=True)


def _write_figures(answer: Answer, folder: Path) -> None:
    from dynaloss.analysis.gallery import gallery, save_gallery

    paths = save_gallery(gallery(answer.records, answer.comparisons[0], answer.components), folder)
    click.echo(f"figures: {len(paths)} files in {folder}", err=True)


def _rendered(answer: Answer, question: Question, format_: str) -> str:
    extras = [
        extra_tables(question.extras, answer.records, comparison, answer.components)
        for comparison in answer.comparisons
    ]
    if format_ == "json":
        return _as_json(answer, extras)
    if format_ == "table" and sys.stdout.isatty():
        _print_tables(answer, extras)
        return ""
    tables = [render(comparison, format_) for comparison in answer.comparisons]
    if format_ == "csv":  # one table: the heading once, and no place for a warning
        for text in dict.fromkeys(text for one in answer.comparisons for text in one.warnings):
            click.echo(f"note: {text}", err=True)
        tables = ["".join([tables[0], *(table.partition("\n")[2] for table in tables[1:])])]
    tables += [render_extra(table, format_) for made in extras for table in made]
    return "\n".join(tables)


def _as_json(answer: Answer, extras: Sequence[Sequence[Table]]) -> str:
    """The first metric's table at the top level, those of further metrics below it."""
    contents = [as_values(comparison) for comparison in answer.comparisons]
    for content, tables in zip(contents, extras, strict=True):
        if tables:
            content["extras"] = [extra_values(table) for table in tables]
    first, *others = contents
    content = {**first, "further": others} if others else first
    return json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def _print_tables(answer: Answer, extras: Sequence[Sequence[Table]]) -> None:
    from rich.console import Console

    from dynaloss.analysis.render import terminal
    from dynaloss.analysis.render_extra import terminal_extra

    width = shutil.get_terminal_size().columns
    console = Console(highlight=False)
    for comparison, tables in zip(answer.comparisons, extras, strict=True):
        console.print(terminal(comparison, width=width))
        for table in tables:
            console.print(terminal_extra(table))
