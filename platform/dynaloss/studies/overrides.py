"""Dotted keys of a trial's settings, and trials with some of them set otherwise."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

from pydantic.fields import FieldInfo

from dynaloss.config.outside import is_address
from dynaloss.config.registry import OneOf, groups_of, one_of_in
from dynaloss.config.settings import Scalar, Settings, show
from dynaloss.config.trial import TrialConfig
from dynaloss.errors import InputError
from dynaloss.studies.reading.problems import Problem, did_you_mean, validated

Overrides = Mapping[str, Scalar]


def setting_keys() -> tuple[str, ...]:
    """Dotted key of every single setting of a trial, of all kinds in use, in order."""
    return _setting_keys(tuple(mark.all_settings() for mark in kind_keys().values()))


@cache
def _setting_keys(_: tuple[tuple[type[Settings], ...], ...]) -> tuple[str, ...]:
    keys = (key for key, field in fields_by_key(TrialConfig) if not groups_of(field))
    return tuple(dict.fromkeys(keys))


def key_problem(key: str) -> str | None:
    """What is wrong with `key` as a dotted key of one setting, or None."""
    keys = setting_keys()
    if key in keys:
        return None
    members = [k for k in keys if k.startswith(f"{key}.")]
    if members:
        return f"is a group of settings; name one of them, such as '{members[0]}'"
    question = did_you_mean(key, keys)
    return "is not a setting of the trial" + (f"; {question}" if question else "")


def import_kinds(values: object, path: str = "") -> set[str]:
    """Imports the kinds of other packages that plain values name, so that their settings are keys.

    `path` holds the dotted keys around the values. Returns the groups, such as `loss`, of which a
    kind cannot be imported, so that its settings are not known; validation gives the reasons.
    """
    if isinstance(values, Mapping):
        found = [import_kinds(value, f"{path}.{name}") for name, value in values.items()]
    elif isinstance(values, list | tuple):
        found = [import_kinds(value, path) for value in values]
    else:
        named = (key for key in kind_keys() if f".{key}." in f"{path}.")
        found = [{key.rpartition(".")[0]} for key in named if _is_out_of_reach(key, values)]
    return set().union(*found)


def _is_out_of_reach(key: str, name: object) -> bool:
    registry = kind_keys()[key].registry
    is_outside = isinstance(name, str) and (is_address(name) or name in registry.installed())
    return is_outside and name not in registry


def shown(key: str, value: object) -> str:
    """A value of a dotted key in a label, where a kind has its own name and not an address."""
    mark = kind_keys().get(key)
    kind = mark.registry.get(value) if mark and isinstance(value, str) else None
    if kind is not None:
        return str(kind.name)
    return value if isinstance(value, str) else show(value)


def override(trial: TrialConfig, overrides: Overrides) -> TrialConfig:
    """`trial` with the settings of `overrides`, validated as a whole.

    Raises:
        InputError: If a key does not exist or the trial refuses a value.
    """
    problems = [Problem((key,), text) for key in overrides if (text := key_problem(key))]
    changed = None
    if not problems:
        values = apply_overrides(trial.model_dump(), overrides)
        changed, problems = validated(TrialConfig, values)
    if changed is None:
        raise InputError(str(problem) for problem in problems)
    return changed


def apply_overrides(values: Mapping[str, Any], overrides: Overrides) -> dict[str, Any]:
    """Copy of the nested `values` with each dotted key set; nothing is validated.

    What names a kind, such as `loss.name`, is set first. Settings that only the former kind has
    are dropped, and so are those at its defaults: the new kind has its own.
    """
    result = copy.deepcopy(dict(values))
    marks = kind_keys()
    for key in sorted(overrides, key=lambda key: key not in marks):
        *groups, leaf = key.split(".")
        group = result
        for name in groups:
            if not isinstance(group.get(name), dict):
                group[name] = {}
            group = group[name]
        if key in marks:
            _drop_foreign_settings(group, marks[key], overrides[key])
        group[leaf] = overrides[key]
    return result


def value_at(trial: TrialConfig, key: str) -> object:
    """Value of a dotted key, or None where this trial has no such setting."""
    value: object = trial
    for name in key.split("."):
        value = getattr(value, name, None)
    return value


def _drop_foreign_settings(group: dict[str, Any], mark: OneOf[Any], kind: object) -> None:
    former, settings = mark.settings_of(group.get(mark.tag, mark.default)), mark.settings_of(kind)
    if former is settings is not None:
        return
    own = {} if settings is None else settings.model_fields
    before = {} if former is None else former.model_fields
    for name, value in list(group.items()):
        if name not in own or (name in before and value == before[name].default):
            del group[name]


@cache
def kind_keys() -> dict[str, OneOf[Any]]:
    """The dotted keys that name a kind whose settings form their group, each with its family."""
    marks = ((key, one_of_in(field)) for key, field in fields_by_key(TrialConfig))
    return {f"{key}.{mark.tag}": mark for key, mark in marks if mark is not None}


def fields_by_key(model: type[Settings], prefix: str = "") -> Iterator[tuple[str, FieldInfo]]:
    """Every setting and group of settings, those of all kinds, by dotted key."""
    for name, field in model.model_fields.items():
        yield prefix + name, field
        for group in groups_of(field):
            yield from fields_by_key(group, f"{prefix}{name}.")
