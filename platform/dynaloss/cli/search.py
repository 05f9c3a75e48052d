"""`dynaloss search`: parses, calls, prints."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from dynaloss.cli.options import storage_option, uri_option

__all__ = ["search"]


@click.command()
@click.argument("study")
@click.option("--plan", "plan_only", is_flag=True, help="Show groups and rungs, run nothing.")
@click.option(
    "--format",
    "format_",
    type=click.Choice(["table", "json"]),
    default="table",
    show_default=True,
    help="Format of the plan and of the summary.",
)
@click.option(
    "--sequential",
    is_flag=True,
    help="One trial at a time, in this process, without Ray: the same suggestions every time.",
)
@click.option("--no-confirm", is_flag=True, help="Stop before the winners are trained afresh.")
@storage_option
@uri_option
def search(
    study: str,
    plan_only: bool,
    format_: str,
    sequential: bool,
    no_confirm: bool,
    storage: Path,
    tracking_uri: str | None,
) -> None:
    """Search hyper-parameters for each condition of STUDY, and confirm the winners.

    STUDY is a YAML file or the name of a bundled search (see `dynaloss list`). Each condition
    and arm is a group with `search.trials` trials of its own; trials compete only within their
    group. `grace_epochs` is what every trial trains; at that epoch, and at each further rung
    (`reduction_factor` times as many epochs), only the best 1/reduction_factor of the group go
    on. `audit_fraction` of those to be stopped run on all the same, to show what is lost.
    Winners are chosen by validation alone, then trained afresh on train and validation with
    each of the `confirm` seeds.

    The same command goes on after an interruption, even a hard kill: no trial that ended runs
    again, and every decision is made as if nothing had happened.

    Exit status: 0 if the search is complete, 1 if a trial failed, 2 for bad input, 130 after an
    interruption.
    """
    from dynaloss.cli.output import terminal
    from dynaloss.cli.search_output import print_search_plan, print_search_summary
    from dynaloss.design.search_study import load_search
    from dynaloss.execution.launch import Workplace
    from dynaloss.execution.search_launch import launch_search, plan_search

    loaded = load_search(study)
    if plan_only:
        print_search_plan(plan_search(loaded), format_)
        return
    summary = launch_search(
        loaded,
        Workplace(storage=storage, tracking_uri=tracking_uri),
        terminal(),
        sequential=sequential,
        confirm=not no_confirm,
    )
    print_search_summary(summary, format_)
    if summary.confirmed is not None and format_ == "table":
        _print_confirmation(loaded.study, storage, tracking_uri)
    sys.exit(summary.exit_status)


def _print_confirmation(study: str, storage: Path, tracking_uri: str | None) -> None:
    """Prints the comparison of the winners, trained afresh."""
    from dynaloss.cli.comparing import Question, compare_studies

    table = compare_studies(
        Question(studies=(f"{study}-best",)),
        format_="table",
        report=None,
        storage=storage,
        tracking_uri=tracking_uri,
    )
    click.echo(f"\nconfirmation, on train + validation:\n{table}", nl=False)
