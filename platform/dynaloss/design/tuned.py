"""Settings that hold for one arm under one condition: what a search found there."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any

from pydantic import AfterValidator, Field

from dynaloss.design.config import TrialConfig
from dynaloss.design.overrides import Overrides, apply_overrides, check_key
from dynaloss.design.problems import Problem, but_got, did_you_mean, listed, problems_of
from dynaloss.design.settings import Settings, is_single, single_value

__all__ = ["TunedConfig", "check_tuned"]

_Single = Annotated[Any, AfterValidator(single_value)]


class TunedConfig(Settings):
    """Settings for one arm, under the conditions that have the values given."""

    arm: str = Field(description="Name of the arm.")
    condition: dict[str, _Single] = Field(
        default={}, description="Values of the varied keys; all conditions that have them match."
    )
    settings: dict[str, _Single] = Field(description="Values per dotted key of `trial`.")


def check_tuned(values: Mapping[str, Any], arms: Mapping[str, Overrides]) -> Iterator[Problem]:
    """What does not hold between tuned settings and the rest of a study.

    Args:
        values: A study file as plain values.
        arms: Settings of the arms of the study, by name.
    """
    entries, conditions = values.get("tuned"), values.get("conditions")
    varied = conditions if isinstance(conditions, dict) else {}
    for i, entry in enumerate(entries if isinstance(entries, list) else []):
        given = entry if isinstance(entry, dict) else {}
        name = given.get("arm")
        if isinstance(name, str) and name not in arms:
            rule = f"must be one of the arms {listed(arms)}"
            yield Problem(("tuned", i, "arm"), but_got(rule, name, did_you_mean(name, arms)))
        for key, value in _mapping(given, "condition").items():
            if is_single(value) and value not in varied.get(key, ()):
                yield Problem(("tuned", i, "condition", key), "is no value of the conditions")
        for key in _mapping(given, "settings"):
            if text := check_key(key):
                yield Problem(("tuned", i, "settings", key), text)
        yield from _refused_values(values, given, arms, i)


def _refused_values(
    values: Mapping[str, Any], entry: Mapping[str, Any], arms: Mapping[str, Overrides], i: int
) -> Iterator[Problem]:
    settings = _mapping(entry, "settings")
    chosen = {**_mapping(entry, "condition"), **arms.get(str(entry.get("arm")), {}), **settings}
    if any(map(check_key, chosen)):
        return
    for problem in problems_of(TrialConfig, apply_overrides(values["trial"], chosen)):
        if problem.key in settings:
            yield Problem(("tuned", i, "settings", problem.key), problem.text)
        else:
            text = f"leads to {problem.key}, which {problem.text}"
            yield Problem(("tuned", i, "settings"), text)


def _mapping(values: Mapping[str, Any], key: str) -> dict[str, Any]:
    found = values.get(key)
    return found if isinstance(found, dict) else {}
