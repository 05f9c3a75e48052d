"""`dynaloss search`: parses, calls, prints."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from dynaloss.cli.options import format_option, workspace_options

if TYPE_CHECKING:
    from dynaloss.tracking import Workspace

__all__ = ["search"]


@click.command()
@click.argument("study")
@click.option("--plan", "plan_only", is_flag=True, help="Show groups and rungs, run nothing.")
@format_option("the plan and of the summary")
@click.option(
    "--sequential",
    is_flag=True,
    help="One trial at a time, in this process, without Ray: the same suggestions every time.",
)
@click.option("--no-confirm", is_flag=True, help="Stop before the winners are trained afresh.")
@workspace_options
def search(
    study: str,
    plan_only: bool,
    format_: str,
    sequential: bool,
    no_confirm: bool,
    workspace: Workspace,
) -> None:
    """Search hyper-parameters for each condition of STUDY, and confirm the winners.

    STUDY is a YAML file or the name of a bundled search (see `dynaloss list`). Each condition
    and arm is a group with `search.trials` trials of its own, chosen by validation alone. The
    winners are then trained afresh on train and validation with each of the `confirm` seeds.

    \b
    How `scheduler` stops trials (asha), with every number in epochs:
      grace_epochs      every trial trains so long; then comes the first rung
      reduction_factor  at a rung only the best 1/reduction_factor of the results there go on,
                        and the next rung is so many times as far: 3, 9, 27 for 3 and 3
      rungs             use only the first so many of them
      group_by          trials compete with those of the same condition and arm
      audit_fraction    so many of those to be stopped run on, to show what is lost
    hyperband gives trials different first rungs; median stops, at any epoch from grace_epochs on,
    what is below the median of the others; none stops nothing.

    The same command goes on after an interruption, even a hard kill: no trial that ended runs
    again, and every decision is made as if nothing had happened.

    Exit status: 0 if the search is complete, 1 if a trial failed, 2 for bad input, 130 after an
    interruption.
    """  # noqa: D301 - \b is click's mark for lines to be left as they are
    from dynaloss.cli.output import terminal
    from dynaloss.cli.search_output import print_search_plan, print_search_summary
    from dynaloss.execution.search.search_launch import launch_search, plan_search
    from dynaloss.studies.search.search_study import load_search

    loaded = load_search(study)
    if plan_only:
        print_search_plan(plan_search(loaded), format_)
        return
    summary = launch_search(
        loaded,
        workspace,
        terminal(),
        sequential=sequential,
        confirm=not no_confirm,
    )
    print_search_summary(summary, format_)
    if summary.confirmed is not None and format_ == "table":
        _print_confirmation(loaded.study, workspace)
    sys.exit(summary.exit_status)


def _print_confirmation(study: str, workspace: Workspace) -> None:
    """Prints the comparison of the winners, trained again."""
    from dynaloss.analysis import Query, run_query
    from dynaloss.cli.compare import print_result
    from dynaloss.tracking import StoreReader

    click.echo("\nconfirmation, on train + validation:")
    reader = StoreReader(workspace.open_store(must_exist=True))
    print_result(run_query(Query(studies=(study,)), reader))
