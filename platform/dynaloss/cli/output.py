"""What the commands print."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

import click
from rich.console import Console
from rich.table import Table

from dynaloss.config.registry import Kind
from dynaloss.execution.ablation import LaunchSummary
from dynaloss.execution.progress import clock
from dynaloss.execution.recording import Ending
from dynaloss.studies.plan import Plan, Trial
from dynaloss.studies.trial_record import Outcome

__all__ = ["print_catalogue", "print_ending", "print_summary", "print_trials", "terminal"]


def terminal() -> Console:
    """A console on standard error, so that standard output holds results alone."""
    return Console(stderr=True, highlight=False)


def print_trials(plan: Plan) -> None:
    """Prints every trial of a plan as a table."""
    rows = [(trial.key, trial.condition, trial.arm, str(trial.seed)) for trial in plan.trials]
    _print_columns(("key", "condition", "arm", "seed"), rows)


def print_summary(summary: LaunchSummary) -> None:
    """Prints what a launch came to, and names every trial that did not complete."""
    counts = Counter(ending.outcome for ending in summary.endings.values())
    parts = [f"{count} {outcome}" for outcome, count in sorted(counts.items())]
    if summary.skipped:
        parts.append(f"{summary.skipped} had ended before")
    click.echo(
        f"study {summary.plan.study}: {', '.join(parts) or 'nothing to run'} "
        f"(of {len(summary.plan.trials)} trials, in {clock(summary.seconds)})"
    )
    for trial in summary.plan.trials:
        ending = summary.endings.get(trial.key)
        if ending is not None and ending.outcome in (Outcome.FAILED, Outcome.DIVERGED):
            click.echo(f"{ending.outcome}: {trial.name} ({trial.key}): {_last_line(ending)}")
    for text in summary.deviations:
        click.echo(f"deviation: {text}")
    if summary.interrupted:
        click.echo("Interrupted: the same command goes on from here.")


def print_ending(trial: Trial, ending: Ending) -> int:
    """Prints the last metrics of one trial; returns the exit status."""
    _print_columns(
        ("metric", "value"),
        [(name, f"{value:.4g}") for name, value in sorted(ending.metrics.items())],
    )
    click.echo(f"\n{trial.name} ({trial.key}): {ending.outcome}")
    if "time/images_per_second" in ending.metrics:
        click.echo(_speed(ending.metrics))
    if ending.message:
        click.echo(ending.message, err=True)
    return 0 if ending.outcome is Outcome.COMPLETED else 1


def _speed(metrics: Mapping[str, float]) -> str:
    parts = [
        f"{metrics['time/images_per_second']:,.0f} training images per second",
        f"{metrics['time/epoch_seconds']:.3g} s the last epoch",
    ]
    if "memory/peak_mib" in metrics:
        parts.append(f"{metrics['memory/peak_mib']:,.0f} MiB of memory at most")
    return ", ".join(parts)


def print_catalogue() -> None:
    """Prints what can be named in a study file."""
    from dynaloss.config.families import LOSSES, MODELS, SAMPLERS, SOURCES
    from dynaloss.studies.reading.bundled import bundled_studies

    studies = {name: path.parent.name for name, path in sorted(bundled_studies().items())}
    models = {
        **_described(MODELS),
        "torchvision/NAME": "any classifier of torchvision, such as resnet50",
    }
    for title, entries in (
        ("studies", studies),
        ("data sources", _described(SOURCES)),
        ("models", models),
        ("losses", _described(LOSSES)),
        ("metadata samplers", _described(SAMPLERS)),
    ):
        click.echo(f"{title}:")
        width = max((len(name) for name in entries), default=0)
        for name, text in entries.items():
            click.echo(f"  {name:<{width}}  {text}")


def _described(kinds: Mapping[str, Kind]) -> dict[str, str]:
    return {name: kind.description for name, kind in kinds.items()}


def _last_line(ending: Ending) -> str:
    return ending.message.strip().splitlines()[-1] if ending.message.strip() else ""


def _print_columns(header: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in header:
        table.add_column(name, overflow="fold")
    for row in rows:
        table.add_row(*row)
    Console(highlight=False).print(table)
