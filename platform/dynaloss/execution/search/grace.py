"""The grace period of a search that leaves it open, by what an earlier search has recorded.

It is decided before the search begins, and kept in its journal: a relaunch takes the same.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from dynaloss.config.families import PRUNERS
from dynaloss.errors import InputError
from dynaloss.execution.search.telling import FEWEST_TRIALS, Curve, telling
from dynaloss.journal import read_journal
from dynaloss.studies.search.groups import SearchPlan, search_trial
from dynaloss.studies.search.rungs import GracePeriod, first_rung
from dynaloss.studies.trial_record import Outcome


def grace_period(plan: SearchPlan, own: Path, earlier: Path) -> GracePeriod | None:
    """The grace period of a planned search that starts from another; None where it has its own.

    Args:
        plan: The plan, with the grace period that the study has without an earlier search.
        own: Journal of the search, which keeps the decision once the search has begun.
        earlier: Journal of the search that it starts from.
    """
    scheduler, name = plan.study.scheduler, plan.study.search.start_from
    is_open = scheduler.grace_epochs is None and PRUNERS[scheduler.name].has_rungs
    if not is_open or name is None:
        return None
    if own.is_file() and (begun := next(read_journal(own), None)) is not None:
        return GracePeriod(**begun["grace"]) if "grace" in begun else None
    return _by_record(plan, name, earlier)


def _by_record(plan: SearchPlan, name: str, path: Path) -> GracePeriod:
    groups, study = plan.groups, plan.study
    try:
        events = read_journal(path) if path.is_file() else ()
        curves = recorded_curves(plan, events)
    except InputError:
        return _by_rule(plan, f"the journal of '{name}' cannot be read")
    most = max(map(len, curves.values()), default=0)
    if most < FEWEST_TRIALS:
        found = f"a group of '{name}' has at most {most} completed trials of these settings"
        return _by_rule(plan, f"{found}, and {FEWEST_TRIALS} are needed")
    known = telling(
        curves.values(),
        earliest=1 + max(group.config.idle_epochs for group in groups),
        latest=min(group.epochs for group in groups) - 1,
    )
    if known is None:
        return _by_rule(plan, f"no epoch of '{name}' ranks trials as the last one")
    metric = study.search.objectives()[0].name
    return GracePeriod(
        epochs=known.epoch,
        note=f"grace_epochs: {known.epoch}, by {known.trials} trials recorded in '{name}' (rank "
        f"correlation of {metric} with the end {known.correlation:.2f} at epoch {known.epoch})",
    )


def _by_rule(plan: SearchPlan, why: str) -> GracePeriod:
    found = sorted({first_rung(plan.study.scheduler, group.config) for group in plan.groups})
    rule = "warm-up, ramp and an eighth of the epochs after them"
    return GracePeriod(note=f"grace_epochs: {', '.join(map(str, found))}, {rule}: {why}")


def recorded_curves(
    plan: SearchPlan, events: Iterable[Mapping[str, Any]]
) -> dict[str, list[Curve]]:
    """First objective by epoch of the completed trials of a search, by group of another one.

    Only trials count that the other search would run itself if it suggested them: the key, which
    follows from settings, length, seed and data, must be the same. Those of races do not count.
    """
    metric, groups = plan.study.search.objectives()[0].name, {g.name: g for g in plan.groups}
    curves: dict[str, dict[int, float]] = {}
    found: dict[str, list[Curve]] = {name: [] for name in groups}
    places: dict[str, str] = {}
    for event in events:
        match event:
            case {"event": "begin", "group": name, "number": number, "chosen": chosen}:
                if name in groups and event.get("race_seed") is None:
                    try:
                        trial = search_trial(plan.study, groups[name], number, chosen)
                    except InputError:  # the settings of the earlier search are not known here
                        continue
                    places[trial.key], curves[trial.key] = name, {}
            case {"event": "report", "key": key, "epoch": epoch, "metrics": metrics}:
                if key in curves and metric in metrics:
                    curves[key][epoch] = metrics[metric]
            case {"event": "end", "key": key, "outcome": Outcome.COMPLETED} if key in curves:
                found[places[key]].append(curves[key])
    return found
