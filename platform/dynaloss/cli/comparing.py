"""`dynaloss compare`: from the tracking store to a table and a report."""

from __future__ import annotations

import json
import shlex
import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import click

from dynaloss.analysis import Comparison, compare, render
from dynaloss.analysis.joining import join_studies
from dynaloss.analysis.pivot import fill_repeats, pivot, select
from dynaloss.analysis.render_extra import render_extra
from dynaloss.analysis.tables import Table, extra_tables
from dynaloss.design.record import TrialRecord
from dynaloss.tracking import open_store, read_plan, read_records

__all__ = ["Question", "compare_studies", "compare_study"]


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
        exact: Whether Markdown holds every digit.
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
    """The records behind a comparison, its tables, and the plans of its studies."""

    records: list[TrialRecord]
    comparisons: list[Comparison]
    plans: Mapping[str, Mapping[str, Any]]

    @property
    def components(self) -> list[str]:
        """Components that the designs of the studies switch."""
        return _union(self.plans, "components")


def compare_study(
    study: str,
    *,
    metric: str | None,
    baseline: str | None,
    format_: str,
    report: Path | None,
    storage: Path,
    tracking_uri: str | None,
) -> str:
    """Compares the arms of one study, as `compare_studies` with nothing else asked."""
    question = Question(studies=(study,), metrics=(metric,) if metric else (), baseline=baseline)
    return compare_studies(
        question, format_=format_, report=report, storage=storage, tracking_uri=tracking_uri
    )


def compare_studies(
    question: Question,
    *,
    format_: str,
    report: Path | None,
    storage: Path,
    tracking_uri: str | None,
    figures: Path | None = None,
) -> str:
    """Answers a question from the store, and writes report and figures where wanted.

    Returns:
        The tables as text; empty where they went to the terminal already.
    """
    everything = report is not None or figures is not None
    answer = _answer(question, storage, tracking_uri, everything)
    if report is not None:
        _write_report(answer, report)
    if figures is not None:
        _write_figures(answer, figures)
    return _rendered(answer, question, format_)


def _answer(
    question: Question, storage: Path, tracking_uri: str | None, everything: bool
) -> Answer:
    store = open_store(tracking_uri, storage, must_exist=True)
    names = tuple(dict.fromkeys(map(_study_name, question.studies)))
    plans = {name: read_plan(store, name) for name in names}
    wanted = everything or "rules" in question.extras or "cost" in question.extras
    records = {
        name: _planned(
            read_records(store, name, history=wanted, diagnostics=everything or len(names) > 1),
            plans[name],
        )
        for name in names
    }
    joined, warnings = join_studies(records, force=question.force)
    chosen = pivot(select(joined, question.where), question.rows, question.columns)
    metrics = question.metrics or (str(plans[names[0]].get("metric", "test/accuracy")),)
    comparisons = [
        _compare(chosen, metric, question, plans, warnings) for metric in dict.fromkeys(metrics)
    ]
    return Answer(records=chosen, comparisons=comparisons, plans=plans)


def _compare(
    records: Sequence[TrialRecord],
    metric: str,
    question: Question,
    plans: Mapping[str, Mapping[str, Any]],
    warnings: tuple[str, ...],
) -> Comparison:
    first = next(iter(plans.values()))
    by_arm, by_condition = question.rows == ("arm",), question.columns == ("condition",)
    narrowed = bool(question.where)
    comparison = compare(
        records,
        metric,
        question.baseline or (_baseline(first, records) if by_arm else None),
        arm_order=_order(plans if by_arm else {}, "arms", records, "arm", narrowed=narrowed),
        condition_order=_order(
            plans if by_condition else {}, "conditions", records, "condition", narrowed=narrowed
        ),
        seeds=() if narrowed else _union(plans, "seeds"),
        include_pruned=question.include_pruned,
    )
    return replace(comparison, warnings=(*warnings, *comparison.warnings), exact=question.exact)


def _baseline(plan: Mapping[str, Any], records: Sequence[TrialRecord]) -> str | None:
    """The study's own baseline, unless what is left of the trials has none of it."""
    baseline = plan.get("baseline")
    planned = {*plan.get("arms", ()), *(record.arm for record in records)}
    return baseline if baseline in planned else None


def _order(
    plans: Mapping[str, Mapping[str, Any]],
    name: str,
    records: Sequence[TrialRecord],
    field: str,
    *,
    narrowed: bool,
) -> list[str]:
    """The planned rows or columns; of a narrowed question only those that have trials."""
    present = {getattr(record, field) for record in records}
    return [value for value in _union(plans, name) if not narrowed or value in present]


def _union(plans: Mapping[str, Mapping[str, Any]], name: str) -> list[Any]:
    return list(dict.fromkeys(value for plan in plans.values() for value in plan.get(name, ())))


def _study_name(study: str) -> str:
    """The name that a study file gives itself, or else the words as they are."""
    if not Path(study).is_file():
        return study
    from dynaloss.design.reader import read_document

    return str(read_document(Path(study)).values.get("study", study))


def _planned(records: list[TrialRecord], plan: Mapping[str, Any]) -> list[TrialRecord]:
    """The records of the study's present plan; earlier plans' trials are another question."""
    if plan.get("keys") is None:
        return records
    keys = set(plan["keys"])
    planned = [record for record in records if record.key in keys]
    if others := len(records) - len(planned):
        click.echo(f"note: {others} trials of earlier plans of this study are left out", err=True)
    return fill_repeats(planned, plan.get("repeats", ()))


def _write_report(answer: Answer, report: Path) -> None:
    from dynaloss.analysis.report import write_report

    command = shlex.join(["dynaloss", *sys.argv[1:]])
    first = answer.comparisons[0]
    write_report(answer.records, first, report, command=command, plans=answer.plans)
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
    if format_ == "csv":  # one table: the heading once
        tables = ["".join([tables[0], *(table.partition("\n")[2] for table in tables[1:])])]
    tables += [render_extra(table, format_) for made in extras for table in made]
    return "\n".join(tables)


def _as_json(answer: Answer, extras: Sequence[Sequence[Table]]) -> str:
    """The first metric's table at the top level, those of further metrics below it."""
    contents = [json.loads(render(comparison, "json")) for comparison in answer.comparisons]
    for content, tables in zip(contents, extras, strict=True):
        if tables:
            content["extras"] = [json.loads(render_extra(table, "json")) for table in tables]
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
