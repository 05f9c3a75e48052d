"""`dynaloss ablate`: runs the trials of an ablation, or shows its plan."""

from __future__ import annotations

import sys
from collections import Counter
from typing import TYPE_CHECKING

import click

from dynaloss.cli.options import format_option, workspace_options
from dynaloss.errors import InputError

if TYPE_CHECKING:
    from dynaloss.execution.ablation import LaunchSummary
    from dynaloss.studies.study import AblationStudy
    from dynaloss.tracking import Workspace


@click.command()
@click.argument("study")
@click.option("--plan", "plan_only", is_flag=True, help="List every trial and run nothing.")
@format_option(help="Format of the plan.")
@click.option(
    "--spread",
    type=click.FloatRange(min=0, min_open=True),
    help="With --plan: standard deviation over seeds, as a fraction such as 0.012, for the "
    "smallest detectable difference; by default from earlier runs.",
)
@click.option(
    "--probe",
    is_flag=True,
    help="With --plan: measure the cost now, in two epochs of one trial of every size, instead of "
    "using earlier runs. Records nothing.",
)
@click.option("--fresh", is_flag=True, help="Re-run finished trials.")
@workspace_options
def ablate(
    study: str,
    plan_only: bool,
    format_: str,
    probe: bool,
    spread: float | None,
    fresh: bool,
    workspace: Workspace,
) -> None:
    """Run the unfinished trials of STUDY.

    STUDY is a YAML file or the name of a bundled study (see `dynaloss list`). A finished trial
    never runs twice: after an interruption, or with a seed or a condition added, the same command
    runs the rest.

    Exit status: 0 if every trial completed, 1 if one failed or diverged, 2 for bad input, 130
    after an interruption.
    """
    if (probe or spread is not None) and not plan_only:
        raise InputError("`--probe` and `--spread` require `--plan`.")
    from dynaloss.cli.output import terminal
    from dynaloss.execution.ablation import launch_ablation, plan_study
    from dynaloss.studies.loading import load_study

    loaded = load_study(study)
    if loaded.is_tuned_per_arm:
        loaded = _tuned(loaded, workspace, run=not plan_only)
    if plan_only:
        from dynaloss.cli.planning import show_plan

        plan = plan_study(loaded)
        show_plan(loaded, plan, workspace, format_=format_, spread=spread, probe=probe)
        return
    summary = launch_ablation(loaded, workspace, terminal(), fresh=fresh)
    _print_summary(summary)
    sys.exit(summary.exit_status)


def _tuned(study: AblationStudy, workspace: Workspace, *, run: bool) -> AblationStudy:
    """The study with what the search of its arms has found so far; `run` completes it first."""
    from dynaloss.cli.output import terminal
    from dynaloss.execution.search.confirmation import with_stored_tuning
    from dynaloss.execution.search.launching import launch_search
    from dynaloss.studies.search.arm_tuning import tuning_search

    if run:
        summary = launch_search(tuning_search(study), workspace, terminal(), confirm=False)
        click.echo(summary.as_text(), nl=False)
        if summary.exit_status:
            sys.exit(summary.exit_status)
    return with_stored_tuning(study, workspace)


def _print_summary(summary: LaunchSummary) -> None:
    """Prints the outcomes of a launch, and every trial that failed or diverged."""
    from dynaloss.execution.progress import clock
    from dynaloss.studies.trial_record import Outcome

    counts = Counter(ending.outcome for ending in summary.endings.values())
    parts = [f"{count} {outcome}" for outcome, count in sorted(counts.items())]
    if summary.skipped:
        parts.append(f"{summary.skipped} finished before")
    click.echo(
        f"study {summary.plan.study}: {', '.join(parts) or 'nothing to run'} "
        f"(of {len(summary.plan.trials)} trials, in {clock(summary.seconds)})"
    )
    for trial in summary.plan.trials:
        ending = summary.endings.get(trial.key)
        if ending is not None and ending.outcome in (Outcome.FAILED, Outcome.DIVERGED):
            reason = (ending.message.strip().splitlines() or [""])[-1]
            click.echo(f"{ending.outcome}: {trial.name} ({trial.key}): {reason}")
    for text in summary.deviations:
        click.echo(f"deviation: {text}")
    if summary.interrupted:
        click.echo("Interrupted. Run the same command again to continue.")
