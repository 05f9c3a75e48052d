"""From the winners of a search to a study that trains them afresh, ready to be run again."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import yaml

from dynaloss.design.search_plan import SearchPlan
from dynaloss.design.search_study import ConfirmConfig, confirmed_name
from dynaloss.execution.search_director import SearchTrial
from dynaloss.execution.search_results import winners

__all__ = ["best_study", "write_best"]

UNTUNED = "untuned"


def best_study(plan: SearchPlan, trials: Iterable[SearchTrial]) -> dict[str, Any] | None:
    """An ablation of the winners as plain values; None where no trial has completed.

    Nothing is held out for validation any more: the choice is made, and the confirmation trains
    on all that the search had.
    """
    study, everything = plan.study, list(trials)
    confirm = study.confirm or ConfirmConfig()
    tuned: list[dict[str, Any]] = []
    arms: dict[str, dict[str, Any]] = {}
    for group in plan.groups:
        ranked = winners(everything, group, study.search.objectives()[0], confirm.top)
        for place, winner in enumerate(ranked, start=1):
            arm = group.arm if place == 1 else f"{group.arm}-{place}"
            arms.setdefault(arm, dict(study.arm_overrides()[group.arm]))
            entry = {"arm": arm, "condition": dict(group.condition_values)}
            tuned.append({**entry, "settings": dict(winner.chosen)})
    if not tuned:
        return None
    untuned: list[str] = []
    for arm, settings in study.arm_overrides().items() if confirm.untuned else ():
        untuned.append(UNTUNED if arm == "full" else f"{UNTUNED}-{arm}")
        arms[untuned[-1]] = dict(settings)
    trial = study.trial.model_dump(exclude_unset=True)
    trial.setdefault("data", {})["validation"] = {"fraction": 0.0}
    return {
        "study": confirmed_name(study.study),
        "trial": trial,
        "conditions": {key: list(values) for key, values in study.conditions.items()},
        "arms": arms,
        "tuned": tuned,
        **({"ablation": {"baseline": untuned[0]}} if untuned else {}),
        "seeds": list(confirm.seeds),
        "base_seed": study.base_seed,
        "resources": study.resources.model_dump(),
        "report": {"metric": confirm.metric},
    }


def write_best(values: dict[str, Any], path: Path, told: str) -> Path:
    """Writes a study file; the comment `told` stands on top."""
    text = yaml.dump(values, Dumper=_PlainDumper, sort_keys=False, allow_unicode=True, width=99)
    path.write_text(f"# {told}\n{text}", encoding="utf-8")
    return path


class _PlainDumper(yaml.SafeDumper):
    """Writes equal values out again: study files have no aliases."""

    def ignore_aliases(self, data: object) -> bool:
        return True
