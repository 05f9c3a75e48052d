"""The command line: parses, calls, prints."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from dynaloss import __version__
from dynaloss.errors import DynalossError, InputError

if TYPE_CHECKING:
    from dynaloss.execution.launch import LaunchSummary, Workplace

__all__ = ["main"]

EXIT_FAILED_TRIALS = 1
EXIT_BAD_INPUT = 2
EXIT_INTERRUPTED = 130
FORMATS = ("table", "markdown", "latex", "csv", "json")

storage_option = click.option(
    "--storage",
    type=click.Path(file_okay=False, path_type=Path),
    envvar="DYNALOSS_STORAGE",
    default=Path("results"),
    show_default=True,
    show_envvar=True,
    help="Folder of the tracking store, artifacts and checkpoints.",
)
uri_option = click.option(
    "--tracking-uri",
    metavar="URI",
    envvar="MLFLOW_TRACKING_URI",
    show_envvar=True,
    help="MLflow tracking store; SQLite under the storage folder unless given.",
)


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
@click.option(
    "--format",
    "format_",
    type=click.Choice(["table", "json"]),
    default="table",
    show_default=True,
    help="Format of the plan.",
)
@click.option("--fresh", is_flag=True, help="Run trials again that have ended before.")
@storage_option
@uri_option
def ablate(
    study: str,
    plan_only: bool,
    format_: str,
    fresh: bool,
    storage: Path,
    tracking_uri: str | None,
) -> None:
    """Run the trials of STUDY that have not ended yet.

    STUDY is a YAML file or the name of a bundled study (see `dynaloss list`). A trial that ended
    before is never run twice: after an interruption, or with a seed or a condition added, the
    same command runs what is left.

    Exit status: 0 if every trial completed, 1 if one failed or diverged, 2 for bad input, 130
    after an interruption.
    """
    from dynaloss.cli.output import print_plan, print_summary, terminal
    from dynaloss.design.study import load_study
    from dynaloss.execution.launch import launch_ablation, plan_study

    loaded = load_study(study)
    if plan_only:
        print_plan(plan_study(loaded), format_)
        return
    summary = launch_ablation(loaded, _workplace(storage, tracking_uri), terminal(), fresh=fresh)
    print_summary(summary)
    sys.exit(_exit_status(summary))


@main.command()
@click.argument("study")
@click.option("--arm", help="Arm of the study; the trial as it is written unless given.")
@click.option("--seed", type=click.IntRange(min=0), help="Trial seed; the study's first.")
@click.option("--fresh", is_flag=True, help="Run the trial again if it has ended before.")
@storage_option
@uri_option
def train(
    study: str,
    arm: str | None,
    seed: int | None,
    fresh: bool,
    storage: Path,
    tracking_uri: str | None,
) -> None:
    """Train one trial of STUDY in this process, without Ray, and record it like the others.

    It is the `trial` of the study file as it is written, conditions aside.
    """
    from dynaloss.cli.output import print_ending, terminal
    from dynaloss.design.study import load_study
    from dynaloss.execution.launch import launch_trial, single_trial

    loaded = load_study(study)
    trial = single_trial(loaded, arm, seed)
    ending = launch_trial(
        loaded, trial, _workplace(storage, tracking_uri), terminal(), fresh=fresh
    )
    sys.exit(print_ending(trial, ending))


@main.command()
@click.argument("study")
@click.option("--metric", help="Metric to compare by; the study's own unless given.")
@click.option("--baseline", metavar="ARM", help="Arm that the others are compared with.")
@click.option(
    "--format",
    "format_",
    type=click.Choice(FORMATS),
    default="table",
    show_default=True,
    help="Format of the table.",
)
@click.option(
    "--report",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE.html",
    help="Also write a report with all figures, one self-contained HTML file.",
)
@storage_option
@uri_option
def compare(
    study: str,
    metric: str | None,
    baseline: str | None,
    format_: str,
    report: Path | None,
    storage: Path,
    tracking_uri: str | None,
) -> None:
    """Compare the arms of STUDY from the tracking store.

    STUDY is the name of a study, or its file. Arms are rows, conditions are columns; a cell
    shows mean and standard deviation over the seeds and the difference to the baseline, paired
    by seed, with its 95 % interval. Only completed trials count.
    """
    from dynaloss.cli.comparing import compare_study

    click.echo(
        compare_study(
            study,
            metric=metric,
            baseline=baseline,
            format_=format_,
            report=report,
            storage=storage,
            tracking_uri=tracking_uri,
        ),
        nl=False,
    )


@main.command("list")
def list_() -> None:
    """List bundled studies, data sources, models and losses."""
    from dynaloss.cli.output import print_catalogue

    print_catalogue()


@main.command()
@click.option("--port", type=click.IntRange(1, 65535), default=5000, show_default=True)
@storage_option
@uri_option
def ui(port: int, storage: Path, tracking_uri: str | None) -> None:
    """Open MLflow's own interface on the tracking store, on this machine only."""
    from dynaloss.tracking import resolve_artifact_root, resolve_tracking_uri, serve_ui

    uri = resolve_tracking_uri(tracking_uri, storage.resolve())
    serve_ui(uri, resolve_artifact_root(uri, storage.resolve()), port=port)


def _workplace(storage: Path, tracking_uri: str | None) -> Workplace:
    from dynaloss.execution.launch import Workplace

    return Workplace(storage=storage, tracking_uri=tracking_uri)


def _exit_status(summary: LaunchSummary) -> int:
    from dynaloss.design.record import Outcome

    if summary.interrupted:
        return EXIT_INTERRUPTED
    bad = summary.count(Outcome.FAILED) + summary.count(Outcome.DIVERGED)
    return EXIT_FAILED_TRIALS if bad else 0
