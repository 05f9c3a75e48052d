"""Trials of a comparison, and the keys of its rows and columns."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from dynaloss.analysis.wording import EMPTY
from dynaloss.errors import InputError
from dynaloss.studies.identity import flatten
from dynaloss.studies.plan import Plan, Repeat
from dynaloss.studies.reading.problems import did_you_mean
from dynaloss.studies.stored_plan import StoredPlan
from dynaloss.studies.trial_record import Outcome, TrialRecord

_FIELDS = ("arm", "condition", "seed", "study", "outcome", "key")


def planned(records: Sequence[TrialRecord], plan: StoredPlan) -> list[TrialRecord]:
    """The trials of a stored plan, without those of earlier plans of the study."""
    keys = None if plan.keys is None else {*plan.keys}
    return fill_repeats([r for r in records if keys is None or r.key in keys], plan.repeats)


def fill_repeats(records: Sequence[TrialRecord], repeats: Iterable[Repeat]) -> list[TrialRecord]:
    """The records of a study, with one more for every cell that shares another cell's trial.

    An arm that ignores a setting the conditions vary computes the same under all of them, so it
    runs once; its other cells show the same values.
    """
    by_key = {record.key: record for record in records}
    copies = [
        replace(by_key[cell.key], condition=cell.condition, arm=cell.arm, seed=cell.seed)
        for cell in repeats
        if cell.key in by_key
    ]
    return [*records, *copies]


def as_records(plan: Plan) -> list[TrialRecord]:
    """The trials of a plan as if they were recorded, without results."""
    return [
        TrialRecord(
            study=plan.study,
            key=trial.key,
            run_id="",
            condition=trial.condition,
            arm=trial.arm,
            seed=trial.seed,
            outcome=Outcome.RUNNING,
            parameters={name: str(value) for name, value in flatten(trial.config).items()},
        )
        for trial in plan.trials
    ]


def select(records: Sequence[TrialRecord], where: Sequence[str]) -> list[TrialRecord]:
    """The records whose values are as `key=value` demands; one key may allow several values.

    Raises:
        InputError: If a demand is malformed, a key is recorded nowhere, or nothing is left.
    """
    wanted: dict[str, list[str]] = {}
    for name, values in demands(where).items():
        key, *others = _keys(records, name)
        if others:
            raise InputError(f"`{name}` may mean {', '.join([key, *others])}: give one of them.")
        wanted.setdefault(key, []).extend(values)
    for key, values in wanted.items():
        left = [record for record in records if allows(wanted, key, _value(record, key))]
        if not left:
            seen = ", ".join(dict.fromkeys(_value(record, key) for record in records))
            text = f"No trial has {key} = {' or '.join(values)}; there are: {seen}."
            several = any("," in value for value in values)
            raise InputError(text + " Each of several values is a demand of its own." * several)
        records = left
    return [*records]


def demands(where: Sequence[str]) -> dict[str, list[str]]:
    """The values that `key=value` demands allow, by key as it is written.

    Raises:
        InputError: If one is malformed.
    """
    wanted: dict[str, list[str]] = {}
    for demand in where:
        name, equals, value = demand.partition("=")
        if not (name and equals):
            raise InputError(f"--where must be key=value, but got `{demand}`.")
        wanted.setdefault(name.strip(), []).append(value.strip())
    return wanted


def allows(wanted: Mapping[str, Sequence[str]], key: str, value: object) -> bool:
    """Whether `demands` allow a value of a key; any, where they do not name the key."""
    return key not in wanted or any(_equal(str(value), other) for other in wanted[key])


def pivot(
    records: Sequence[TrialRecord], rows: Sequence[str], columns: Sequence[str]
) -> list[TrialRecord]:
    """The records with the values of the row keys as their arms, of the columns' as conditions.

    A key is `arm`, `condition`, `seed`, `study`, `outcome`, `key` (that of the trial), a tag or a
    parameter; the end or a group of a dotted key is enough (`noise` means those of
    `data.noise.kind`, `data.noise.rate` that differ between the trials). Without column keys there
    is a single column.

    Raises:
        InputError: If a key is recorded nowhere.
    """
    if list(rows) == ["arm"] and list(columns) == ["condition"]:
        return [*records]
    down, across = (
        list(dict.fromkeys(key for name in names for key in _keys(records, name)))
        for names in (rows, columns)
    )
    return [
        replace(record, arm=_label(record, down), condition=_label(record, across) or "all")
        for record in records
    ]


def _label(record: TrialRecord, keys: Sequence[str]) -> str:
    """`full` for one key, `noise.rate=0.4 · imbalance_factor=10` for dotted ones."""
    names = ("" if key in _FIELDS else f"{_short(key, keys)}=" for key in keys)
    return " · ".join(name + _value(record, key) for name, key in zip(names, keys, strict=True))


def _short(key: str, keys: Sequence[str]) -> str:
    """Last part of a dotted key, or as many parts as distinguish it from the others."""
    parts = key.split(".")
    ends = [".".join(parts[i:]) for i in reversed(range(len(parts)))]
    others = [f".{other}" for other in keys if other != key]
    return next(end for end in ends if not any(other.endswith(f".{end}") for other in others))


def _value(record: TrialRecord, key: str) -> str:
    if key in _FIELDS:
        return str(getattr(record, key))
    return record.parameters.get(key, record.tags.get(key, EMPTY))


def _keys(records: Sequence[TrialRecord], name: str) -> list[str]:
    """The keys that a name means: itself, or otherwise those that contain it and vary."""
    recorded = (key for record in records for key in (*record.parameters, *record.tags))
    known = list(dict.fromkeys([*_FIELDS, *recorded]))
    if name in known:
        return [name]
    parts = [key for key in known if key.endswith(f".{name}")]
    parts = parts or [key for key in known if f".{name}." in f".{key}."]
    parts = parts or [key for key in known if any(p.startswith(name) for p in key.split("."))]
    if not parts:
        hint = did_you_mean(name, known)
        raise InputError(f"Nothing is recorded under `{name}`{f'; {hint}' if hint else '.'}")
    varied = [key for key in parts if len({_value(record, key) for record in records}) > 1]
    return varied or parts[:1]


def _equal(one: str, other: str) -> bool:
    """Whether two values are the same text, the same truth value or the same number."""
    if one.lower() == other.lower():
        return True
    try:
        return math.isclose(float(one), float(other), rel_tol=1e-12)
    except ValueError:
        return False
