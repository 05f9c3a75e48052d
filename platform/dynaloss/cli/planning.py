"""`dynaloss ablate --plan`: the trials, their expected cost, and the differences they can show."""

from __future__ import annotations

import math
from dataclasses import asdict, fields
from itertools import filterfalse
from typing import Any

import click

from dynaloss.analysis.forecast import Forecast, TrialCost, forecast, trials_left
from dynaloss.analysis.metric_names import display_unit, format_value
from dynaloss.cli.output import print_columns, print_json, terminal
from dynaloss.config.trial import ResourcesConfig
from dynaloss.execution.probe import probe_costs, trials_at_once
from dynaloss.execution.progress import clock
from dynaloss.studies.plan import Plan, plan_as_json
from dynaloss.studies.stored_plan import StoredPlan, note_on_earlier_keys, stored_plan
from dynaloss.studies.study import AblationStudy
from dynaloss.studies.trial_record import TrialRecord
from dynaloss.tracking import Workspace


def show_plan(
    study: AblationStudy,
    plan: Plan,
    workspace: Workspace,
    *,
    format_: str,
    spread: float | None,
    probe: bool,
) -> None:
    """Prints every trial of a plan, then its cost and its power.

    Cost and power come from earlier trials of the workspace, unless `probe` measures the cost now
    and `spread` gives the standard deviation of an arm over the seeds. The format is `table` or
    `json`.

    Raises:
        InputError: If a probe finds no data, or the store cannot be opened.
    """
    records, earlier = _earlier(plan.study, workspace)
    probed: dict[str, TrialCost] | None = None
    if probe:
        probed = probe_costs(trials_left(plan, records), study.resources, terminal())
    known = forecast(plan, records, spread=spread, probed=probed)
    note = note_on_earlier_keys(earlier, {r.key: r.key_version for r in records})
    remarks = {
        "warning": known.warnings,
        "note": (*plan.notes, *filter(None, [note])),
        "deviation": stored_plan(plan).deviations_from(earlier),
    }
    if format_ == "json":
        further = _as_json(known, study.resources)
        further |= {f"{kind}s": texts for kind, texts in remarks.items()}
        print_json(plan_as_json(plan) | further)
        return
    print_columns(
        ("key", "condition", "arm", "seed"),
        [(trial.key, trial.condition, trial.arm, trial.seed) for trial in plan.trials],
    )
    _print_counts(known)
    source = "a probe of every size, alone" if probe else "the recorded epochs of earlier trials"
    lines = [
        f"study {plan.study}, plan {plan.hash}: {len(plan.trials)} trials, "
        f"{known.done} done, {known.remaining} remaining (cells: done/planned)",
        *_costs(known, study.resources, source),
        _power(plan, known),
        *(f"{kind}: {text}" for kind, texts in remarks.items() for text in texts),
    ]
    click.echo("\n".join(lines))


def _earlier(study: str, workspace: Workspace) -> tuple[list[TrialRecord], StoredPlan]:
    """The study's trials and its stored plan; nothing where there is no store or study yet."""
    if workspace.has_store:
        store = workspace.open_store(must_exist=True)
        if study in store.studies():
            return store.records(study), store.plan(study)
    return [], StoredPlan()


def _as_json(known: Forecast, resources: ResourcesConfig) -> dict[str, Any]:
    cost: dict[str, Any] | None = None
    if known.costs is not None:
        slots = trials_at_once(resources)
        largest = asdict(_largest(known.costs))
        cost = {
            "hours": _hours(known, resources),
            "unit": _unit(resources),
            "wall_seconds": known.wall_seconds(slots),
            "trials_at_once": slots,
            **{name: None if math.isnan(value) else value for name, value in largest.items()},
        }
    counts = {"done": known.done, "remaining": known.remaining}
    return counts | {"cost": cost, "detectable": known.detectable}


def _print_counts(known: Forecast) -> None:
    """Prints finished/planned trials by condition and arm, such as `2/3`; the longer as rows."""
    conditions, arms = (list(dict.fromkeys(names)) for names in zip(*known.counts, strict=True))
    counts = {place: f"{ended}/{planned}" for place, (planned, ended) in known.counts.items()}
    corner, rows, columns = "condition", conditions, arms
    if len(arms) > len(conditions):
        corner, rows, columns = "arm", arms, conditions
        counts = {(arm, condition): text for (condition, arm), text in counts.items()}
    texts = [(row, *(counts.get((row, column), "–") for column in columns)) for row in rows]
    print_columns((corner, *columns), texts)


def _costs(known: Forecast, resources: ResourcesConfig, source: str) -> list[str]:
    if not known.remaining:
        return ["cost: none, every trial is finished"]
    if known.costs is None:
        return [
            "cost: unknown, since no earlier trial of this study has recorded its time; "
            "`--probe` measures it"
        ]
    slots = min(trials_at_once(resources), known.remaining)
    guess = f"; {known.guessed} trials by the mean of other arms" if known.guessed else ""
    return [
        f"cost: {_hours(known, resources):.2g} {_unit(resources)} hours, "
        f"about {clock(known.wall_seconds(slots) or 0.0)} with {slots} at a time on this machine "
        f"(from {source}{guess})",
        _memory(_largest(known.costs), resources, slots),
        _disk(known.costs, slots),
    ]


def _hours(known: Forecast, resources: ResourcesConfig) -> float:
    return (known.seconds or 0.0) / 3600 * (resources.gpu or resources.cpu)


def _unit(resources: ResourcesConfig) -> str:
    return "GPU" if resources.gpu else "CPU"


def _largest(costs: tuple[TrialCost, ...]) -> TrialCost:
    """The largest of each quantity over the trials; NaN where it is unknown for all."""
    largest = {}
    for name in (field.name for field in fields(TrialCost)):
        known = filterfalse(math.isnan, (getattr(cost, name) for cost in costs))
        largest[name] = max(known, default=math.nan)
    return TrialCost(**largest)


def _memory(largest: TrialCost, resources: ResourcesConfig, slots: int) -> str:
    if math.isnan(largest.peak_mib):
        return "memory: unknown"
    of = "of the GPU" if resources.gpu else "of the process, libraries included"
    total = f", {_size(slots * largest.peak_mib)} with {slots} at a time" if slots > 1 else ""
    return f"memory: at most {_size(largest.peak_mib)} a trial ({of}){total}"


def _disk(costs: tuple[TrialCost, ...], slots: int) -> str:
    """Disk space of results and checkpoints; a new checkpoint is complete before the old goes."""
    largest = _largest(costs)
    if math.isnan(largest.stored_mib) or math.isnan(largest.checkpoint_mib):
        return "disk: unknown"
    stored = sum(filterfalse(math.isnan, (cost.stored_mib for cost in costs)))
    while_running = 2 * slots * largest.checkpoint_mib
    return (
        f"disk: {_size(stored)} of results; {_size(while_running)} of checkpoints while running "
        f"({_size(largest.checkpoint_mib)} a trial, twice while it is replaced)"
    )


def _size(mib: float) -> str:
    return f"{mib / 1024:.1f} GiB" if mib >= 1024 else f"{mib:.3g} MiB"


def _power(plan: Plan, known: Forecast) -> str:
    seeds = len({trial.seed for trial in plan.trials})
    if known.detectable is None:
        return f"power: smallest detectable difference {known.spread_source}"
    size = format_value(plan.metric, known.detectable) + display_unit(plan.metric)
    return (
        f"power: {seeds} seeds find a paired difference of {size} in {plan.metric} "
        "with 80 % power (paired t test, two-sided, level 0.05; spread from "
        f"{known.spread_source})"
    )
