"""The command line: parses, calls, prints."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from dynaloss import __version__
from dynaloss.cli.compare import compare
from dynaloss.cli.diff import diff
from dynaloss.cli.options import format_option, workspace_options
from dynaloss.cli.search import search
from dynaloss.cli.show import show
from dynaloss.errors import DynalossError, InputError

if TYPE_CHECKING:
    from dynaloss.execution.ablation import LaunchSummary
    from dynaloss.studies.study import AblationStudy
    from dynaloss.tracking import Workspace

__all__ = ["main"]

EXIT_FAILED_TRIALS = 1
EXIT_BAD_INPUT = 2
EXIT_INTERRUPTED = 130


class _Commands(click.Group):
    """Prints an error of ours as what it is, one problem a line, and never a traceback."""

    def invoke(self, ctx: click.Context) -> object:
        try:
            return super().invoke(ctx)
        except InputError as error:
            for problem in error.problems:
                click.echo(f"error: {problem}", err=True)
            ctx.exit(EXIT_BAD_INPUT)
        except DynalossError as error:
            click.echo(f"error: {error}", err=True)
            ctx.exit(EXIT_FAILED_TRIALS)


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="dynaloss")
def main() -> None:
    """Launch ablation grids of a meta-learned loss, and compare the runs.

    A study is one YAML file: conditions (data bias) x arms (settings of the components) x seeds.
    Try `dynaloss ablate quickstart`, then `dynaloss compare quickstart`.
    """


@main.command()
@click.argument("study")
@click.option("--plan", "plan_only", is_flag=True, help="List every trial and run nothing.")
@format_option("the plan")
@click.option(
    "--spread",
    type=click.FloatRange(min=0, min_open=True),
    help="With --plan: standard deviation over seeds, as a share such as 0.012, for the smallest "
    "detectable difference; from earlier runs unless given.",
)
@click.option(
    "--probe",
    is_flag=True,
    help="With --plan: measure the cost by two epochs of one trial of every size, here and now; "
    "from earlier runs unless given. Nothing of it is recorded.",
)
@click.option("--fresh", is_flag=True, help="Run trials again that have ended before.")
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
    """Run the trials of STUDY that have not ended yet.

    STUDY is a YAML file or the name of a bundled study (see `dynaloss list`). A trial that ended
    before is never run twice: after an interruption, or with a seed or a condition added, the
    same command runs what is left.

    Exit status: 0 if every trial completed, 1 if one failed or diverged, 2 for bad input, 130
    after an interruption.
    """
    from dynaloss.cli.output import print_summary, terminal
    from dynaloss.execution.ablation import launch_ablation, plan_study
    from dynaloss.studies.study import load_study

    loaded = load_study(study)
    if loaded.is_tuned_per_arm:
        loaded = _tuned(loaded, workspace, run=not plan_only)
    if plan_only:
        from dynaloss.cli.planning import show_plan

        show_plan(
            loaded,
            plan_study(loaded),
            format_=format_,
            workspace=workspace,
            spread=spread,
            probe=probe,
        )
        return
    if probe or spread is not None:
        raise InputError("--probe and --spread tell about a plan: give --plan as well")
    summary = launch_ablation(loaded, workspace, terminal(), fresh=fresh)
    print_summary(summary)
    sys.exit(_exit_status(summary))


@main.command()
@click.argument("study")
@click.option("--arm", help="Arm of the study; the trial as it is written unless given.")
@click.option("--seed", type=click.IntRange(min=0), help="Trial seed; the study's first.")
@click.option("--fresh", is_flag=True, help="Run the trial again if it has ended before.")
@workspace_options
def train(
    study: str,
    arm: str | None,
    seed: int | None,
    fresh: bool,
    workspace: Workspace,
) -> None:
    """Train one trial of STUDY in this process, without Ray, and record it like the others.

    It is the `trial` of the study file as it is written, conditions aside.
    """
    from dynaloss.cli.output import print_ending, terminal
    from dynaloss.execution.ablation import launch_trial, single_trial
    from dynaloss.studies.study import load_study

    loaded = load_study(study)
    trial = single_trial(loaded, arm, seed)
    ending = launch_trial(loaded, trial, workspace, terminal(), fresh=fresh)
    sys.exit(print_ending(trial, ending))


main.add_command(search)
main.add_command(compare)
main.add_command(diff)
main.add_command(show)


@main.command("list")
def list_() -> None:
    """List bundled studies, data sources, models and losses."""
    from dynaloss.cli.output import print_catalogue

    print_catalogue()


@main.command()
@click.option("--port", type=click.IntRange(1, 65535), default=5000, show_default=True)
@workspace_options
def ui(port: int, workspace: Workspace) -> None:
    """Open MLflow's own interface on the tracking store, on this machine only."""
    from dynaloss.tracking import serve_ui

    serve_ui(
        workspace.store_uri,
        workspace.artifact_root,
        port=port,
        announce=lambda page: click.echo(f"Open {page}"),
    )


def _tuned(study: AblationStudy, workspace: Workspace, *, run: bool) -> AblationStudy:
    """The study with what the search of its arms finds, or has found so far."""
    from dynaloss.cli.output import terminal
    from dynaloss.cli.search_output import print_search_summary
    from dynaloss.execution.search.tuning_launch import tune_arms, with_stored_tuning

    if run:
        summary = tune_arms(study, workspace, terminal())
        print_search_summary(summary, "table")
        if summary.exit_status:
            sys.exit(summary.exit_status)
    return with_stored_tuning(study, workspace)


def _exit_status(summary: LaunchSummary) -> int:
    from dynaloss.studies.trial_record import Outcome

    if summary.interrupted:
        return EXIT_INTERRUPTED
    bad = summary.count(Outcome.FAILED) + summary.count(Outcome.DIVERGED)
    return EXIT_FAILED_TRIALS if bad else 0
