"""Searching every arm of an ablation, with an equal budget each, before the arms are compared."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from dynaloss.studies.reading.problems import Problem
from dynaloss.studies.search.search_study import SearchStudy, search_problems
from dynaloss.studies.study import AblationStudy
from dynaloss.studies.tuned import TunedConfig

__all__ = ["tuning_problems", "tuning_search", "with_tuned"]

_OWN = ("space", "search", "scheduler")


def tuning_search(study: AblationStudy) -> SearchStudy:
    """The search of a study whose `ablation.tuning` is `per_arm`: one group per condition and arm.

    Args:
        study: A study that was loaded, hence checked.
    """
    return SearchStudy.model_validate(_search_values(study))


def tuning_problems(study: AblationStudy) -> list[Problem]:
    """What is wrong with the search of a study, at the places of the study's own file."""
    return [
        Problem(("tuning", *p.path), p.text) if p.path[:1] and p.path[0] in _OWN else p
        for p in search_problems(_search_values(study))
    ]


def with_tuned(study: AblationStudy, entries: Iterable[Mapping[str, Any]]) -> AblationStudy:
    """The study with what its search has found; settings that it gives itself still count.

    Args:
        study: The study.
        entries: As `tuned` of a study file holds them.
    """
    found = tuple(TunedConfig.model_validate(entry) for entry in entries)
    return study.model_copy(update={"tuned": (*found, *study.tuned)})


def _search_values(study: AblationStudy) -> dict[str, Any]:
    tuning = study.tuning
    if tuning is None:
        raise ValueError("`study` must have [tuning], which `per_arm` asks for.")
    trial = study.trial.model_dump(exclude_unset=True)
    if not study.trial.data.validation.fraction:
        held_out = {"fraction": tuning.validation_fraction}
        trial.setdefault("data", {}).setdefault("validation", {}).update(held_out)
    return {
        "study": f"{study.study}-tuning",
        "trial": trial,
        "conditions": {key: list(values) for key, values in study.conditions.items()},
        "arms": {arm: dict(settings) for arm, settings in study.arm_overrides().items()},
        "space": tuning.space,
        "search": tuning.search,
        "scheduler": tuning.scheduler,
        "base_seed": study.base_seed,
        "resources": study.resources.model_dump(),
    }
