"""`dynaloss ablate --plan`: the trials, their expected cost, and the differences they can show."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import fields
from itertools import filterfalse
from typing import Any

import click

from dynaloss.analysis.forecast import Forecast, Pace, TrialCost, forecast, trials_left
from dynaloss.analysis.wording import counted
from dynaloss.cli.output import print_columns, print_json
from dynaloss.config.trial import ResourcesConfig
from dynaloss.execution.probe import probe_costs, trials_at_once
from dynaloss.execution.progress import progress_console
from dynaloss.execution.progress_file import clock
from dynaloss.studies.metric_names import display_unit, format_value, is_percent
from dynaloss.studies.plan import Plan, plan_as_json
from dynaloss.studies.stored_plan import StoredPlan, note_on_earlier_keys, stored_plan
from dynaloss.studies.trial_record import TrialRecord
from dynaloss.tracking import Workspace


def show_plan(
    plan: Plan,
    resources: ResourcesConfig,
    workspace: Workspace,
    *,
    format_: str,
    spread: float | None,
    effect: float | None,
    probe: bool,
    trials: bool,
) -> None:
    """Prints the cost and the power of a plan, then how many trials each cell has, or each trial.

    Cost and power come from earlier trials of the workspace, unless `probe` measures the cost now
    and `spread` gives the standard deviation of an arm over the seeds. `effect` asks for the seeds
    that find it. Both are in points where the metric is shown in percent. The format is `table` or
    `json`.

    Raises:
        InputError: If a probe finds no data, or the store cannot be opened.
    """
    records, earlier, pace = _earlier(plan.study, workspace)
    probed: dict[str, TrialCost] | None = None
    if probe:
        probed = probe_costs(trials_left(plan, records), resources, progress_console())
    unit = 0.01 if is_percent(plan.metric) else 1.0
    spread, effect = (None if given is None else unit * given for given in (spread, effect))
    known = forecast(plan, records, spread=spread, effect=effect, probed=probed, pace=pace)
    note = note_on_earlier_keys(earlier, {r.key: r.key_version for r in records})
    remarks = {
        "warning": (*plan.warnings, *known.warnings),
        "note": (*plan.notes, *filter(None, [note])),
        "deviation": stored_plan(plan).deviations_from(earlier),
    }
    cost = _cost(known, resources)
    if format_ == "json":
        content = plan_as_json(plan) | {"done": known.done, "remaining": known.remaining}
        content |= {"cost": cost, "detectable": known.detectable}
        content |= {"seeds_needed": known.seeds_needed} if effect is not None else {}
        print_json(content | {f"{kind}s": texts for kind, texts in remarks.items()})
        return
    source = "a probe of every size, alone" if probe else "the recorded epochs of earlier trials"
    lines = [
        f"study {plan.study}, plan {plan.hash}: {len(plan.trials)} trials, "
        f"{known.done} done, {known.remaining} remaining",
        *_cost_lines(known, cost, source),
        *_power(plan, known, effect),
        *(f"{kind}: {text}" for kind, texts in remarks.items() for text in texts),
    ]
    click.echo("\n".join(lines))
    if trials:
        print_columns(
            ("key", "condition", "arm", "seed"),
            [(trial.key, trial.condition, trial.arm, trial.seed) for trial in plan.trials],
        )
    else:
        click.echo("trials done/planned (`--trials` lists them with their keys):")
        _print_counts(known)


def _earlier(study: str, workspace: Workspace) -> tuple[list[TrialRecord], StoredPlan, Pace]:
    """The study's trials, its stored plan and its pace; nothing before its first launch."""
    if workspace.has_store:
        store = workspace.open_store(must_exist=True)
        if study in store.studies():
            return store.records(study), store.plan(study), Pace.of(store.tags(study))
    return [], StoredPlan(), Pace()


def _cost(known: Forecast, resources: ResourcesConfig) -> dict[str, Any] | None:
    """Cost of the trials left, and the largest of each quantity of one; None where unknown."""
    if known.costs is None:
        return None
    cost = {
        "hours": (known.seconds or 0.0)
        / 3600
        * (resources.gpu or resources.cpu)
        / resources.stack,
        "unit": "GPU" if resources.gpu else "CPU",
        "wall_seconds": known.wall_seconds(trials_at_once(resources)),
        "trials_at_once": trials_at_once(resources),
    }
    for name in (field.name for field in fields(TrialCost)):
        values = filterfalse(math.isnan, (getattr(cost, name) for cost in known.costs))
        cost[name] = max(values, default=None)
    return cost


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


def _cost_lines(known: Forecast, cost: Mapping[str, Any] | None, source: str) -> list[str]:
    if not known.remaining:
        return ["cost: none, every trial is finished"]
    if cost is None or known.costs is None:
        return [
            "cost: unknown, since no earlier trial of this study has recorded its time; "
            "`--probe` measures it"
        ]
    slots = min(cost["trials_at_once"], known.remaining)
    guess = f"; {known.guessed} trials by the mean of other arms" if known.guessed else ""
    stored = sum(filterfalse(math.isnan, (trial.stored_mib for trial in known.costs)))
    return [
        f"cost: {cost['hours']:.2g} {cost['unit']} hours, about {clock(cost['wall_seconds'])} "
        f"with {slots} at a time on this machine (from {source}{guess})",
        _memory(cost, slots),
        _disk(cost, slots, stored),
    ]


def _memory(cost: Mapping[str, Any], slots: int) -> str:
    if cost["peak_mib"] is None:
        return "memory: unknown"
    of = "of the GPU" if cost["unit"] == "GPU" else "of the process, libraries included"
    total = f", {_size(slots * cost['peak_mib'])} with {slots} at a time" if slots > 1 else ""
    return f"memory: at most {_size(cost['peak_mib'])} a trial ({of}){total}"


def _disk(cost: Mapping[str, Any], slots: int, stored: float) -> str:
    """Disk space of results and checkpoints; a new checkpoint is complete before the old goes."""
    checkpoint = cost["checkpoint_mib"]
    if cost["stored_mib"] is None or checkpoint is None:
        return "disk: unknown"
    return (
        f"disk: {_size(stored)} of results; {_size(2 * slots * checkpoint)} of checkpoints while "
        f"running ({_size(checkpoint)} a trial, twice while it is replaced)"
    )


def _size(mib: float) -> str:
    return f"{mib / 1024:.1f} GiB" if mib >= 1024 else f"{mib:.3g} MiB"


def _power(plan: Plan, known: Forecast, effect: float | None) -> list[str]:
    if known.spread is None:
        return [f"power: smallest detectable difference {known.spread_source}"]
    seeds, unit = len({trial.seed for trial in plan.trials}), display_unit(plan.metric)
    found = "none"
    if known.detectable is not None:
        found = f"one of {format_value(plan.metric, known.detectable)}{unit}"
    how = {"maxt": "step-down maxT", "holm": "Holm's method"}[plan.adjust]
    lines = [
        f"power: of {counted(known.comparisons, 'difference')} in {plan.metric}, {seeds} seeds "
        f"find {found} with 80 % power (sign-flip test by {how}, level 0.05, simulated; spread "
        f"from {known.spread_source})"
    ]
    if effect is not None:
        needed = "more than 100" if known.seeds_needed is None else str(known.seeds_needed)
        size = format_value(plan.metric, effect)
        lines.append(f"power: {needed} seeds find a difference of {size}{unit} likewise")
    return lines
