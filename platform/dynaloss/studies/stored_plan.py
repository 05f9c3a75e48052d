"""The plan as the tracking store keeps it, and how a later plan departs from it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from dynaloss.studies.plan import Plan, Repeat, Trial

__all__ = ["amended_plan", "deviations", "stored_plan"]

_MOST_NAMED = 8


def stored_plan(plan: Plan) -> dict[str, Any]:
    """What a comparison has to know of the plan, as values for JSON."""
    trials = plan.trials
    cells: list[Trial | Repeat] = [*trials, *plan.repeats]
    return {
        "study": plan.study,
        "hash": plan.hash,
        "metric": plan.metric,
        "baseline": plan.baseline,
        "arms": _distinct(cell.arm for cell in cells),
        "conditions": _distinct(cell.condition for cell in cells),
        "seeds": _distinct(cell.seed for cell in cells),
        "keys": [trial.key for trial in trials],
        "cells": [[trial.condition, trial.arm, trial.seed] for trial in trials],
        "repeats": [asdict(repeat) for repeat in plan.repeats],
        "components": list(plan.components),
        "notes": list(plan.notes),
    }


def amended_plan(plan: Plan, earlier: Mapping[str, Any]) -> dict[str, Any]:
    """The plan to store now, with every deviation from the plans stored before it.

    Args:
        plan: The present plan.
        earlier: What is stored of the study so far; empty before its first launch.
    """
    stored = stored_plan(plan)
    stored["first_hash"] = earlier.get("first_hash", earlier.get("hash", plan.hash))
    stored["deviations"] = [*earlier.get("deviations", ()), *deviations(earlier, stored)]
    return stored


def deviations(old: Mapping[str, Any], new: Mapping[str, Any]) -> tuple[str, ...]:
    """How a plan departs from the one stored before, one sentence each.

    Args:
        old: An earlier plan as `stored_plan` gives it; older layouts may lack entries, and what
            both do not hold is not compared.
        new: The present plan, likewise.

    Returns:
        The deviations; none where the plans agree, or there is no earlier one.
    """
    if not old or old.get("hash") == new.get("hash"):
        return ()
    found = [
        *_changed_values(old, new, "metric"),
        *_changed_values(old, new, "baseline"),
        *_changed_lists(old, new, "seeds"),
        *_changed_lists(old, new, "arms"),
        *_changed_lists(old, new, "conditions"),
        *_changed_settings(old, new),
    ]
    change = f"plan {old.get('hash', 'unknown')} became {new.get('hash', 'unknown')}"
    return tuple(f"{change}: {text}." for text in found or [_otherwise(old, new)])


def _otherwise(old: Mapping[str, Any], new: Mapping[str, Any]) -> str:
    """What differs where no list does: keys without cells, as older plans were stored."""
    gone = len({*old.get("keys", ())} - {*new.get("keys", ())})
    return f"{gone} trials have other settings, data or code" if gone else "the order changed"


def _changed_values(old: Mapping[str, Any], new: Mapping[str, Any], name: str) -> list[str]:
    if name not in old or old[name] == new.get(name):
        return []
    return [f"{name} '{old[name]}' became '{new.get(name)}'"]


def _changed_lists(old: Mapping[str, Any], new: Mapping[str, Any], name: str) -> list[str]:
    if name not in old:
        return []
    before, after = old[name], new.get(name, [])
    added = [value for value in after if value not in before]
    dropped = [value for value in before if value not in after]
    texts = [("added", added), ("dropped", dropped)]
    return [f"{name} {verb}: {_named(values)}" for verb, values in texts if values]


def _changed_settings(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """Cells whose trial has another key than before: settings, data or results version changed."""
    before, after = (_keys_by_cell(plan) for plan in (old, new))
    changed = [cell for cell in after if cell in before and before[cell] != after[cell]]
    if not changed:
        return []
    cells = [f"{arm} · {condition} · seed {seed}" for condition, arm, seed in changed]
    return [
        f"settings, data or code of the results changed in {len(cells)} cells: {_named(cells)}"
    ]


def _keys_by_cell(plan: Mapping[str, Any]) -> dict[tuple[str, str, int], str]:
    cells = [
        (str(condition), str(arm), int(seed)) for condition, arm, seed in plan.get("cells", ())
    ]
    return dict(zip(cells, plan.get("keys", ()), strict=False))


def _named(values: Sequence[Any]) -> str:
    shown = [str(value) for value in values[:_MOST_NAMED]]
    if len(values) > _MOST_NAMED:
        shown.append(f"and {len(values) - _MOST_NAMED} more")
    return ", ".join(shown)


def _distinct(values: Iterable[Any]) -> list[Any]:
    return list(dict.fromkeys(values))
