"""`dynaloss search`: runs a search, or shows its plan."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from dynaloss.cli.completion import complete_study_file
from dynaloss.cli.options import (
    cluster_options,
    format_option,
    submit_to_slurm,
    verbose_option,
    workspace_options,
)

if TYPE_CHECKING:
    from dynaloss.analysis import Result
    from dynaloss.studies.search.groups import SearchPlan
    from dynaloss.tracking import Workspace


@click.command()
@click.argument("study", shell_complete=complete_study_file)
@click.option("--plan", "plan_only", is_flag=True, help="Show groups and rungs, and run nothing.")
@format_option(help="Format of the plan and of the summary.")
@click.option(
    "--sequential",
    is_flag=True,
    help="Run one trial at a time, in this process, without Ray: suggestions are reproducible.",
)
@click.option("--no-confirm", is_flag=True, help="Stop before the winners are trained again.")
@cluster_options
@verbose_option
@workspace_options
def search(
    study: str,
    plan_only: bool,
    format_: str,
    sequential: bool,
    no_confirm: bool,
    slurm: str | None,
    workspace: Workspace,
) -> None:
    """Search hyper-parameters for each condition of STUDY, and confirm the winners.

    STUDY is a YAML file or the name of a bundled search (see `dynaloss list`). Each condition
    and arm is a group with `search.trials` trials of its own, selected by validation alone; the
    best of each race over further seeds. The winners are then trained again, to the end, on train
    and validation with each of the `confirm` seeds.

    \b
    How `scheduler` stops trials (asha), with every number in epochs:
      grace_epochs      every trial trains for this long, up to the first rung;
                        auto: from which on the trials of search.start_from
                        rank as at the end
      reduction_factor  only the best 1/reduction_factor at a rung continue; the
                        next rung is this many times further: 4, 12, 36 for 3
      rungs             number of rungs to use
      group_by          trials compete with those of the same condition and arm
      audit_fraction    share of the trials to be stopped that continue, which
                        measures what is lost

    promotion lets trials wait at a rung instead; hyperband gives trials different first rungs;
    median stops, at any epoch from grace_epochs on, a trial below the median of the others; none
    stops nothing.

    The same command continues after an interruption, even a hard kill: finished trials do not run
    again, and every decision is the same as without the interruption.

    Exit status: 0 if the search is complete, 1 if a trial failed, or records wait for a tracking
    server (`dynaloss sync`), 2 for bad input, 130 after an interruption.

    Example: dynaloss search quickstart --plan
    """  # noqa: D301 - \b is click's mark for lines to be left as they are
    from dynaloss.api.search import Search

    loaded = Search.load(study)
    if plan_only:
        _print_plan(loaded.plan(workspace), format_)
        return
    if slurm is not None:
        command = ["search", study, *["--no-confirm"] * no_confirm]
        submit_to_slurm(command, slurm, loaded.name, workspace)
        return
    found = loaded.run(workspace, confirm=not no_confirm, in_process=sequential)
    if format_ == "json":
        from dynaloss.cli.output import print_json

        print_json(found.as_json())
    else:
        click.echo(found.as_text(), nl=False)
        if (winners := found.confirmation) is not None:
            _print_confirmation(winners)
            for line in found.worth:
                click.echo(line)
    sys.exit(found.exit_status)


def _print_plan(plan: SearchPlan, format_: str) -> None:
    """Prints the groups of a search with their budgets and rungs."""
    from dynaloss.cli.output import print_columns, print_json
    from dynaloss.studies.search.groups import search_plan_as_json

    if format_ == "json":
        print_json(search_plan_as_json(plan))
        return
    rows = []
    for group in plan.groups:
        stops = ", ".join(map(str, group.rungs)) if len(group.rungs) < 8 else "every epoch"
        parameters = "\n".join(group.parameters)
        rows.append((group.name, group.trials, group.epochs, stops or "none", parameters))
    print_columns(("group", "trials", "epochs", "rungs (epochs)", "parameters"), rows)
    study = plan.study
    objectives = ", ".join(f"{name} ({mode})" for name, mode in study.search.objectives())
    total = sum(group.trials for group in plan.groups)
    click.echo(
        f"search {study.study}, plan {plan.hash}: {len(plan.groups)} groups, {total} trials, at "
        f"most {plan.most_epochs} epochs; {study.search.sampler} on {objectives}, pruned by "
        f"{study.scheduler.name}, audit {study.scheduler.audit_fraction:g}"
    )
    if (race := study.search.race) is not None:
        seeds = ", ".join(map(str, race.seeds))
        click.echo(f"race: the best {race.top} of each group again, with the seeds {seeds}")
    if study.confirm is not None:
        winners = len(plan.groups) * study.confirm.top
        conditions = len({group.condition for group in plan.groups})
        others = len(plan.groups) * study.confirm.untuned
        others += conditions * len(study.confirm.baselines)
        runs = (winners + others) * len(study.confirm.seeds)
        click.echo(f"confirmation: {winners} winners, {runs} trials on train + validation")
    for note in plan.notes:
        click.echo(f"note: {note}")


def _print_confirmation(winners: Result) -> None:
    """Prints the comparison of the winners, trained again."""
    from dynaloss.cli.compare import print_result

    click.echo("\nconfirmation, on train + validation:")
    print_result(winners)
