"""Several studies in one table: only where they saw the same data."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from dynaloss.design.record import TrialRecord
from dynaloss.errors import InputError

__all__ = ["data_conflicts", "join_studies"]

_MOST_SHOWN = 5
_Cell = tuple[str, int]


def join_studies(
    studies: Mapping[str, Sequence[TrialRecord]], *, force: bool = False
) -> tuple[list[TrialRecord], tuple[str, ...]]:
    """The trials of all studies, if those of equal condition and seed saw the same data.

    Args:
        studies: Trials by the name of their study, with the diagnostics `data`.
        force: Whether to join in spite of a difference, and say so.

    Returns:
        The trials, study by study, and what the table has to warn of.

    Raises:
        InputError: If data differ or cannot be checked, unless forced.
    """
    records = [record for trials in studies.values() for record in trials]
    conflicts = data_conflicts(studies) if len(studies) > 1 else []
    if conflicts and not force:
        raise InputError([*conflicts, "Give --force to join them all the same."])
    if not conflicts:
        return records, ()
    return records, (f"FORCED: the studies did not see the same data. {' '.join(conflicts)}",)


def data_conflicts(studies: Mapping[str, Sequence[TrialRecord]]) -> list[str]:
    """Each difference between the data of two studies, one sentence each, the first few."""
    names = list(studies)
    first = names[0]
    known = _data_by_cell(studies[first])
    found: list[str] = []
    for name in names[1:]:
        other = _data_by_cell(studies[name])
        shared = [cell for cell in known if cell in other]
        if not shared:
            found.append(f"`{first}` and `{name}` share no condition and seed with known data.")
        found += [
            f"At {cell[0]}, seed {cell[1]}, `{first}` and `{name}` saw different data: "
            f"{_difference(known[cell], other[cell])}."
            for cell in shared
            if _digests(known[cell]) != _digests(other[cell])
        ]
    more = len(found) - _MOST_SHOWN
    return found[:_MOST_SHOWN] + ([f"And {more} more such differences."] if more > 0 else [])


def _data_by_cell(records: Sequence[TrialRecord]) -> dict[_Cell, Mapping[str, Any]]:
    found: dict[_Cell, Mapping[str, Any]] = {}
    for record in records:
        if "data" in record.diagnostics:
            found.setdefault((record.condition, record.seed), record.diagnostics["data"])
    return found


def _digests(data: Mapping[str, Any]) -> dict[str, Any]:
    """What identifies the data: digests, and the counts that follow from tail and noise."""
    names = ("source", "splits", "true_class_counts", "observed_class_counts", "flip_rate")
    return {name: value for name, value in data.items() if "digest" in name or name in names}


def _difference(one: Mapping[str, Any], other: Mapping[str, Any]) -> str:
    left, right = _digests(one), _digests(other)
    texts = [
        f"{name} is {_shown(left.get(name))} in one, {_shown(right.get(name))} in the other"
        for name in {**left, **right}
        if left.get(name) != right.get(name)
    ]
    return "; ".join(texts)


def _shown(value: object) -> str:
    text = value if isinstance(value, str) else json.dumps(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
