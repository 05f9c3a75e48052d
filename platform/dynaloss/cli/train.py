"""`dynaloss train`: trains one trial in this process."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from dynaloss.cli.completion import complete_arm, complete_study_file
from dynaloss.cli.options import workspace_options

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dynaloss.tracking import Workspace


@click.command()
@click.argument("study", shell_complete=complete_study_file)
@click.option(
    "--arm",
    shell_complete=complete_arm,
    help="Arm of the study; by default the trial as written.",
)
@click.option("--seed", type=click.IntRange(min=0), help="Trial seed; by default the first one.")
@click.option("--fresh", is_flag=True, help="Re-run the trial if it is finished.")
@workspace_options
def train(
    study: str, arm: str | None, seed: int | None, fresh: bool, workspace: Workspace
) -> None:
    """Train one trial of STUDY in this process, without Ray, and record it like the others.

    The trial is the `trial` of the study file as written, without conditions.

    Example: dynaloss train quickstart --arm full
    """
    from dynaloss.cli.output import print_columns
    from dynaloss.execution.ablation import launch_trial, single_trial
    from dynaloss.execution.progress import progress_console
    from dynaloss.studies.loading import load_study
    from dynaloss.studies.trial_record import Outcome

    loaded = load_study(study)
    trial = single_trial(loaded, arm, seed)
    ending = launch_trial(loaded, trial, workspace, progress_console(), fresh=fresh)
    metrics = sorted(ending.metrics.items())
    print_columns(("metric", "value"), [(name, f"{value:.4g}") for name, value in metrics])
    click.echo(f"{trial.name} ({trial.key}): {ending.outcome}")
    if "time/images_per_second" in ending.metrics:
        click.echo(_speed(ending.metrics))
    if ending.message:
        click.echo(ending.message, err=True)
    sys.exit(0 if ending.outcome is Outcome.COMPLETED else 1)


def _speed(metrics: Mapping[str, float]) -> str:
    parts = [
        f"{metrics['time/images_per_second']:,.0f} training images per second",
        f"{metrics['time/epoch_seconds']:.3g} s for the last epoch",
    ]
    if "memory/peak_mib" in metrics:
        parts.append(f"{metrics['memory/peak_mib']:,.0f} MiB of memory at most")
    return ", ".join(parts)
