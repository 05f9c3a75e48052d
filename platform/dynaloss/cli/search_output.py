"""What `dynaloss search` prints."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import click
from rich.console import Console
from rich.table import Table

from dynaloss.studies.search.search_plan import SearchPlan, search_plan_as_json

if TYPE_CHECKING:
    from dynaloss.execution.search.search_launch import SearchSummary

__all__ = ["print_search_plan", "print_search_summary"]


def print_search_plan(plan: SearchPlan, format_: str) -> None:
    """Prints the groups of a search with their budgets and rungs."""
    if format_ == "json":
        click.echo(json.dumps(search_plan_as_json(plan), indent=2, ensure_ascii=False))
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("group", "trials", "epochs", "rungs (epochs)", "parameters"):
        table.add_column(name, overflow="fold")
    for group in plan.groups:
        stops = ", ".join(map(str, group.rungs)) if len(group.rungs) < 8 else "every epoch"
        table.add_row(
            group.name,
            str(group.trials),
            str(group.epochs),
            stops or "none",
            "\n".join(group.parameters),
        )
    Console(highlight=False).print(table)
    study = plan.study
    objectives = ", ".join(f"{name} ({mode})" for name, mode in study.search.objectives())
    total = sum(group.trials for group in plan.groups)
    click.echo(
        f"\nsearch {study.study}, plan {plan.hash}: {len(plan.groups)} groups, {total} trials, at "
        f"most {plan.most_epochs} epochs; {study.search.sampler} on {objectives}, pruned by "
        f"{study.scheduler.name}, audit {study.scheduler.audit_fraction:g}"
    )
    if study.confirm is not None:
        winners = len(plan.groups) * study.confirm.top
        runs = (winners + len(plan.groups) * study.confirm.untuned) * len(study.confirm.seeds)
        click.echo(f"confirmation: {winners} winners, {runs} trials on train + validation")
    for note in plan.notes:
        click.echo(f"note: {note}")


def print_search_summary(summary: SearchSummary, format_: str) -> None:
    """Prints what a search came to."""
    if format_ == "json":
        click.echo(json.dumps(summary.as_json(), indent=2, ensure_ascii=False))
        return
    click.echo(summary.as_text(), nl=False)
