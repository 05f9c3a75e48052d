"""Searching every arm of an ablation, with an equal budget each, before the arms are compared."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import count, islice
from typing import Any

from dynaloss.config.ablation import TunedConfig, TuningConfig
from dynaloss.config.search import RaceConfig
from dynaloss.config.settings import list_at, mapping_at
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
    reused = [
        Problem(("seeds",), f"must not hold {seed}, which the search of the arms trains with")
        for seed in _seeds_of(search["search"]) & _whole_numbers(values, "seeds")
    ]
    return reused + [
        Problem(("tuning", *p.path), p.text) if p.path[0] in _OWN else p
        for p in problems
        if p.path[0] in (*_OWN, "trial")  # the rest is checked as part of the ablation
    ]


def with_tuned(study: AblationStudy, entries: Iterable[Mapping[str, Any]]) -> AblationStudy:
    """The study with further entries of `tuned` from its search; its own ones still count."""
    found = map(TunedConfig.model_validate, entries)
    return study.model_copy(update={"tuned": (*found, *study.tuned)})


def _with_new_seeds(values: Mapping[str, Any]) -> dict[str, Any]:
    """Settings of the search, by default with seeds that the arms are not compared on."""
    given, used = mapping_at(values, "tuning", "search"), _whole_numbers(values, "seeds")
    search = {"trial_seed": next(seed for seed in count() if seed not in used), **given}
    race = search.get("race", {})
    if isinstance(race, Mapping) and "seeds" not in race:
        rounds = len(RaceConfig().seeds)
        free = (seed for seed in count(100) if seed not in used | {search["trial_seed"]})
        search["race"] = {**race, "seeds": [*islice(free, rounds)]}
    return search


def _seeds_of(search: Mapping[str, Any]) -> set[int]:
    return {search["trial_seed"]} | _whole_numbers(search, "race", "seeds")


def _whole_numbers(values: Mapping[str, Any], *path: str) -> set[int]:
    return {one for one in list_at(values, *path) if type(one) is int}


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
        "search": _with_new_seeds(values),
        **{name: values[name] for name in ("base_seed", "resources", "limits") if name in values},
    }
