"""Searching every arm of an ablation, with an equal budget each, before the arms are compared."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from dynaloss.config.ablation import TunedConfig, TuningConfig
from dynaloss.config.settings import mapping_at
from dynaloss.studies.arms import arms_in, values_of
from dynaloss.studies.cells import cells_in
from dynaloss.studies.reading.problems import Problem, validated
from dynaloss.studies.search.feasibility import check_search
from dynaloss.studies.study import AblationStudy, SearchStudy

_OWN = ("space", "search", "scheduler")


def tuning_search(study: AblationStudy) -> SearchStudy:
    """The search of a loaded study tuned per arm: one group per condition and arm."""
    trial = study.trial.model_dump(mode="json", exclude_unset=True)
    values = study.model_dump(mode="json") | {"trial": trial}
    return SearchStudy.model_validate(_search_values(values))


def tuning_problems(values: Mapping[str, Any]) -> list[Problem]:
    """What is wrong with the search of each arm, at the places of the ablation's own file."""
    if mapping_at(values, "ablation").get("tuning") != "per_arm":
        return []
    if values.get("tuning") is None:
        text = "is 'per_arm', which needs [tuning.space]: the values to choose from"
        return [Problem(("ablation", "tuning"), text)]
    search = _search_values(values)
    _, problems = validated(SearchStudy, search)
    problems += check_search(search, list(cells_in(search)))
    return [
        Problem(("tuning", *p.path), p.text) if p.path[0] in _OWN else p
        for p in problems
        if p.path[0] in (*_OWN, "trial")  # the rest is checked as part of the ablation
    ]


def with_tuned(study: AblationStudy, entries: Iterable[Mapping[str, Any]]) -> AblationStudy:
    """The study with further entries of `tuned` from its search; its own ones still count."""
    found = map(TunedConfig.model_validate, entries)
    return study.model_copy(update={"tuned": (*found, *study.tuned)})


def _search_values(values: Mapping[str, Any]) -> dict[str, Any]:
    """The search of a study's arms; both as plain values, well-formed or not."""
    tuning, trial = mapping_at(values, "tuning"), mapping_at(values, "trial")
    data, validation = mapping_at(trial, "data"), mapping_at(trial, "data", "validation")
    if not validation.get("fraction"):
        known = validated(TuningConfig, tuning)[0] or TuningConfig(space={})
        held_out = {**validation, "fraction": known.validation_fraction}
        trial = {**trial, "data": {**data, "validation": held_out}}
    return {
        "study": f"{values.get('study')}-tuning",
        "trial": trial,
        "conditions": mapping_at(values, "conditions"),
        "arms": {arm: values_of(choices) for arm, choices in arms_in(values).items()},
        **{name: tuning[name] for name in _OWN if name in tuning},
        **{name: values[name] for name in ("base_seed", "resources") if name in values},
    }
