"""Dotted keys of a trial's settings, and trials with some of them set otherwise."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

from dynaloss.config.families import LOSSES
from dynaloss.config.registry import groups_of
from dynaloss.config.settings import Scalar, Settings
from dynaloss.config.trial import TrialConfig
from dynaloss.errors import InputError
from dynaloss.studies.reading.problems import Problem, did_you_mean, problems_of

__all__ = ["Overrides", "apply_overrides", "check_key", "override", "setting_keys", "value_at"]

Overrides = Mapping[str, Scalar]


@cache
def setting_keys() -> tuple[str, ...]:
    """Dotted key of every single setting of a trial, of all losses, in order."""
    return tuple(dict.fromkeys(_keys(TrialConfig, "")))


def check_key(key: str) -> str | None:
    """What is wrong with `key` as a dotted key of one setting, or None."""
    keys = setting_keys()
    if key in keys:
        return None
    members = [k for k in keys if k.startswith(f"{key}.")]
    if members:
        return f"is a group of settings; name one of them, such as '{members[0]}'"
    question = did_you_mean(key, keys)
    return "is not a setting of the trial" + (f"; {question}" if question else "")


def override(trial: TrialConfig, overrides: Overrides) -> TrialConfig:
    """`trial` with the settings of `overrides`, validated as a whole.

    Raises:
        InputError: If a key does not exist or the trial refuses a value.
    """
    unknown = [Problem((key,), text) for key in overrides if (text := check_key(key))]
    values = {} if unknown else apply_overrides(trial.model_dump(), overrides)
    problems = unknown or problems_of(TrialConfig, values)
    if problems:
        raise InputError(str(problem) for problem in problems)
    return TrialConfig.model_validate(values)


def apply_overrides(values: Mapping[str, Any], overrides: Overrides) -> dict[str, Any]:
    """Copy of the nested `values` with each dotted key set; nothing is validated.

    Another `loss.name` drops the settings that only the former loss has; it is set first.
    """
    result = copy.deepcopy(dict(values))
    for key in sorted(overrides, key=lambda key: key != "loss.name"):
        *groups, leaf = key.split(".")
        group = result
        for name in groups:
            if not isinstance(group.get(name), dict):
                group[name] = {}
            group = group[name]
        group[leaf] = overrides[key]
        if key == "loss.name":
            _drop_foreign_settings(group)
    return result


def value_at(trial: TrialConfig, key: str) -> object:
    """Value of a dotted key, or None where this trial has no such setting."""
    value: object = trial
    for name in key.split("."):
        value = getattr(value, name, None)
    return value


def _drop_foreign_settings(loss: dict[str, Any]) -> None:
    kind = LOSSES.get(str(loss["name"]))
    own = {"name"} if kind is None else {*kind.settings.model_fields}
    for setting in [name for name in loss if name not in own]:
        del loss[setting]


def _keys(model: type[Settings], prefix: str) -> Iterator[str]:
    for name, field in model.model_fields.items():
        groups = groups_of(field)
        if not groups:
            yield prefix + name
        for group in groups:
            yield from _keys(group, f"{prefix}{name}.")
