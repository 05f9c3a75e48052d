"""`dynaloss ablate --plan`: what would run, what it takes, what it can show."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import click
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from dynaloss.analysis.forecast import Forecast, forecast
from dynaloss.analysis.metrics import format_value, is_percent
from dynaloss.cli.output import print_plan
from dynaloss.design.plan import Plan
from dynaloss.design.record import TrialRecord
from dynaloss.design.stored import deviations, stored_plan
from dynaloss.design.study import AblationStudy, ResourcesConfig
from dynaloss.errors import InputError
from dynaloss.execution.progress import clock

__all__ = ["show_plan"]


def show_plan(
    study: AblationStudy,
    plan: Plan,
    *,
    format_: str,
    storage: Path,
    tracking_uri: str | None,
    spread: float | None = None,
) -> None:
    """Prints every trial, then what the store knows of the plan; JSON holds the trials alone."""
    print_plan(plan, format_)
    if format_ == "json":
        return
    records, earlier = _known(plan.study, storage, tracking_uri)
    known = forecast(plan, records, spread=spread)
    _print_counts(known)
    for line in _lines(study, plan, known):
        click.echo(line)
    for text in deviations(earlier, stored_plan(plan)):
        click.echo(f"deviation: {text}")


def _known(
    study: str, storage: Path, tracking_uri: str | None
) -> tuple[list[TrialRecord], Mapping[str, object]]:
    """The study's trials and its stored plan; nothing where there is no store or study yet."""
    if tracking_uri is None and not (storage / "mlflow.db").is_file():
        return [], {}
    from dynaloss.tracking import open_store, read_plan, read_records

    try:
        store = open_store(tracking_uri, storage, must_exist=True)
        return read_records(store, study), read_plan(store, study)
    except InputError:  # the store has no such study yet
        return [], {}


def _print_counts(known: Forecast) -> None:
    """Trials by condition and arm, those that have ended first: `2/3`."""
    arms = list(dict.fromkeys(arm for _, arm in known.counts))
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name in ("condition", *arms):
        table.add_column(Text(name), overflow="fold")
    for condition in dict.fromkeys(condition for condition, _ in known.counts):
        cells = [known.counts.get((condition, arm)) for arm in arms]
        table.add_row(Text(condition), *(f"{c[1]}/{c[0]}" if c else "–" for c in cells))
    Console(highlight=False).print(table)


def _lines(study: AblationStudy, plan: Plan, known: Forecast) -> list[str]:
    lines = [
        f"study {plan.study}, plan {plan.hash}: {len(plan.trials)} trials, "
        f"{known.done} done, {known.remaining} remaining (cells: done/planned)",
        _cost(known, study.resources),
        _power(plan, known),
    ]
    lines += [f"warning: {text}" for text in known.warnings]
    return lines + [f"note: {note}" for note in plan.notes]


def _cost(known: Forecast, resources: ResourcesConfig) -> str:
    if not known.remaining:
        return "cost: nothing is left to run"
    if known.seconds is None:
        return "cost: unknown, no earlier trial of this study has recorded its time"
    unit = "GPU" if resources.gpu else "CPU"
    hours = known.seconds / 3600 * (resources.gpu or resources.cpu)
    text = f"cost: {hours:.2g} {unit} hours"
    if not resources.gpu:
        slots = max(1, int((os.cpu_count() or 1) / resources.cpu))
        rounds = max(1, min(slots, known.remaining))
        text += f", about {clock(known.seconds / rounds)} with {rounds} trials at a time"
    guess = f"; {known.guessed} trials by the mean of other arms" if known.guessed else ""
    return f"{text} (from the recorded epochs of earlier trials{guess})"


def _power(plan: Plan, known: Forecast) -> str:
    seeds = len({trial.seed for trial in plan.trials})
    if known.detectable is None:
        return f"power: smallest detectable difference {known.spread_source}"
    unit = " points" if is_percent(plan.metric) else ""
    size = format_value(plan.metric, known.detectable)
    return (
        f"power: {seeds} seeds find a paired difference of {size}{unit} in {plan.metric} "
        "with 80 % power (paired t test, two-sided, level 0.05; spread from "
        f"{known.spread_source})"
    )
