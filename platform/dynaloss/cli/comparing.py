"""`dynaloss compare`: from the tracking store to a table and a report."""

from __future__ import annotations

import shlex
import shutil
import sys
from pathlib import Path

import click

from dynaloss.analysis import Comparison, compare, render
from dynaloss.design.record import TrialRecord
from dynaloss.tracking import open_store, read_plan, read_records

__all__ = ["compare_study"]


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
    """Compares the arms of a study and writes the report, if one is wanted; returns the table."""
    name = _study_name(study)
    store = open_store(tracking_uri, storage, must_exist=True)
    plan = read_plan(store, name)
    everything = read_records(
        store, name, history=report is not None, diagnostics=report is not None
    )
    records = _planned(everything, plan.get("keys"))
    comparison = compare(
        records,
        metric or plan.get("metric", "test/accuracy"),
        baseline or plan.get("baseline"),
        arm_order=plan.get("arms", ()),
        condition_order=plan.get("conditions", ()),
        seeds=plan.get("seeds", ()),
    )
    if report is not None:
        _write_report(records, comparison, report)
    return _rendered(comparison, format_)


def _study_name(study: str) -> str:
    """The name that a study file gives itself, or else the words as they are."""
    if not Path(study).is_file():
        return study
    from dynaloss.design.study import load_study

    return load_study(study).study


def _planned(records: list[TrialRecord], keys: list[str] | None) -> list[TrialRecord]:
    """The records of the study's present plan; earlier plans' trials are another question."""
    if keys is None:
        return records
    planned = [record for record in records if record.key in set(keys)]
    if others := len(records) - len(planned):
        click.echo(f"note: {others} trials of earlier plans of this study are left out", err=True)
    return planned


def _write_report(records: list[TrialRecord], comparison: Comparison, report: Path) -> None:
    from dynaloss.analysis.report import write_report

    command = shlex.join(["dynaloss", *sys.argv[1:]])
    write_report(records, comparison, report, command=command)
    click.echo(f"report: {report}", err=True)


def _rendered(comparison: Comparison, format_: str) -> str:
    if format_ != "table" or not sys.stdout.isatty():
        return render(comparison, format_)
    from rich.console import Console

    from dynaloss.analysis.render import terminal

    width = shutil.get_terminal_size().columns
    Console(highlight=False).print(terminal(comparison, width=width))
    return ""
