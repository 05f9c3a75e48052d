"""`dynaloss ablate --plan`: the trials, their expected cost, and the differences they can show."""

from __future__ import annotations

import math
from dataclasses import asdict, fields, replace
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
    spread: float | None = None,
    probe: bool = False,
) -> None:
    """Prints every trial of a plan, then its cost and its power.

    Args:
        study: The study.
        plan: Its plan.
        workspace: Where earlier trials are recorded.
        format_: `table` or `json`.
        spread: Standard deviation of an arm over the seeds; from earlier trials by default.
        probe: Whether to measure the cost now instead of using earlier trials.

    Raises:
        InputError: If a probe finds no data, or the store cannot be opened.
    """
    records, earlier = _known(plan.study, workspace)
    probed: dict[str, TrialCost] | None = None
    if probe:
        probed = probe_costs(trials_left(plan, records), study.resources, terminal())
    known = forecast(plan, records, spread=spread, probed=probed)
    note = note_on_earlier_keys(earlier, {r.key: r.key_version for r in records})
    plan = replace(plan, notes=(*plan.notes, *filter(None, [note])))
    changes = stored_plan(plan).deviations_from(earlier)
    if format_ == "json":
        print_json(plan_as_json(plan) | _as_json(study, plan, known, changes))
        return
    print_columns(
        ("key", "condition", "arm", "seed"),
        [(trial.key, trial.condition, trial.arm, str(trial.seed)) for trial in plan.trials],
    )
    _print_counts(known)
    source = "a probe of every size, alone" if probe else "the recorded epochs of earlier trials"
    for line in _lines(study, plan, known, source):
        click.echo(line)
    for text in changes:
        click.echo(f"deviation: {text}")


def _known(study: str, workspace: Workspace) -> tuple[list[TrialRecord], StoredPlan]:
    """The study's trials and its stored plan; nothing where there is no store or study yet."""
    if not workspace.has_store:
        return [], StoredPlan()
    store = workspace.open_store(must_exist=True)
    if study not in store.studies():
        return [], StoredPlan()
    return store.records(study), store.plan(study)


def _as_json(
    study: AblationStudy, plan: Plan, known: Forecast, changes: tuple[str, ...]
) -> dict[str, Any]:
    slots = trials_at_once(study.resources)
    costs = None
    if known.costs is not None:
        costs = {
            "hours": _hours(known, study.resources),
            "unit": _unit(study.resources),
            "wall_seconds": known.wall_seconds(slots),
            "trials_at_once": slots,
            **{
                name: None if math.isnan(value) else value
                for name, value in asdict(_largest(known.costs)).items()
            },
        }
    return {
        "done": known.done,
        "remaining": known.remaining,
        "cost": costs,
        "detectable": known.detectable,
        "warnings": [*known.warnings],
        "notes": [*plan.notes],
        "deviations": [*changes],
    }


def _print_counts(known: Forecast) -> None:
    """Prints finished/planned trials by condition and arm, such as `2/3`; the longer as rows."""
    conditions, arms = (list(dict.fromkeys(names)) for names in zip(*known.counts, strict=True))
    down = len(arms) > len(conditions)
    rows, columns = (arms, conditions) if down else (conditions, arms)
    texts = []
    for row in rows:
        counts = [known.counts.get((c, row) if down else (row, c)) for c in columns]
        texts.append((row, *(f"{c[1]}/{c[0]}" if c else "–" for c in counts)))
    print_columns(("arm" if down else "condition", *columns), texts)


def _lines(study: AblationStudy, plan: Plan, known: Forecast, source: str) -> list[str]:
    lines = [
        f"study {plan.study}, plan {plan.hash}: {len(plan.trials)} trials, "
        f"{known.done} done, {known.remaining} remaining (cells: done/planned)",
        *_costs(known, study.resources, source),
        _power(plan, known),
    ]
    lines += [f"warning: {text}" for text in known.warnings]
    return lines + [f"note: {note}" for note in plan.notes]


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
        *_memory(_largest(known.costs), resources, slots),
        *_disk(known.costs, slots),
    ]


def _hours(known: Forecast, resources: ResourcesConfig) -> float:
    return (known.seconds or 0.0) / 3600 * (resources.gpu or resources.cpu)


def _unit(resources: ResourcesConfig) -> str:
    return "GPU" if resources.gpu else "CPU"


def _largest(costs: tuple[TrialCost, ...]) -> TrialCost:
    """The largest of each quantity over the trials; NaN where it is unknown for all."""

    def largest(name: str) -> float:
        values = (getattr(cost, name) for cost in costs)
        return max((value for value in values if not math.isnan(value)), default=math.nan)

    return TrialCost(**{field.name: largest(field.name) for field in fields(TrialCost)})


def _memory(largest: TrialCost, resources: ResourcesConfig, slots: int) -> list[str]:
    if math.isnan(largest.peak_mib):
        return ["memory: unknown"]
    of = "of the GPU" if resources.gpu else "of the process, libraries included"
    total = f", {_size(slots * largest.peak_mib)} with {slots} at a time" if slots > 1 else ""
    return [f"memory: at most {_size(largest.peak_mib)} a trial ({of}){total}"]


def _disk(costs: tuple[TrialCost, ...], slots: int) -> list[str]:
    """Disk space of results and checkpoints; a new checkpoint is complete before the old goes."""
    largest = _largest(costs)
    if math.isnan(largest.stored_mib) or math.isnan(largest.checkpoint_mib):
        return ["disk: unknown"]
    stored = sum(cost.stored_mib for cost in costs if not math.isnan(cost.stored_mib))
    while_running = 2 * slots * largest.checkpoint_mib
    return [
        f"disk: {_size(stored)} of results; {_size(while_running)} of checkpoints while running "
        f"({_size(largest.checkpoint_mib)} a trial, twice while it is replaced)"
    ]


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
