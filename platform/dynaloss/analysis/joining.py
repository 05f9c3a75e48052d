"""Several studies in one table, only where they saw the same data."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from dynaloss.analysis.wording import shortened
from dynaloss.errors import InputError
from dynaloss.studies.trial_record import TrialRecord

_MOST_SHOWN = 5
_COUNTS = ("source", "splits", "true_class_counts", "observed_class_counts", "flip_rate")
_Cell = tuple[str, int]


def join_studies(
    studies: Mapping[str, Sequence[TrialRecord]], *, force: bool = False
) -> tuple[list[TrialRecord], tuple[str, ...]]:
    """The trials of all studies, and warnings, if equal conditions and seeds saw the same data.

    By the diagnostics `data` of the trials.

    Raises:
        InputError: If data differ or cannot be checked, unless forced: then it is a warning.
    """
    records = [record for trials in studies.values() for record in trials]
    conflicts = _data_conflicts(studies) if len(studies) > 1 else []
    if conflicts and not force:
        raise InputError([*conflicts, "Give --force to join them nevertheless."])
    if not conflicts:
        return records, ()
    return records, (f"FORCED: the studies did not see the same data. {' '.join(conflicts)}",)


def _data_conflicts(studies: Mapping[str, Sequence[TrialRecord]]) -> list[str]:
    """The first few differences between the data of a study and those before it, as sentences.

    A cell is compared with that of the first study that has it.
    """
    known: dict[_Cell, tuple[str, Mapping[str, Any]]] = {}
    found: list[str] = []
    before = ""
    for name, trials in studies.items():
        own = _data_by_cell(trials)
        shared = [cell for cell in known if cell in own]
        if before and not shared:
            found.append(f"{before} and `{name}` share no condition and seed with known data.")
        found += [
            f"At {condition}, seed {seed}, `{known[condition, seed][0]}` and `{name}` saw "
            f"different data: {text}."
            for condition, seed in shared
            if (text := _difference(known[condition, seed][1], own[condition, seed]))
        ]
        known = {cell: (name, data) for cell, data in own.items()} | known
        before = f"{before}, `{name}`" if before else f"`{name}`"
    more = len(found) - _MOST_SHOWN
    return found[:_MOST_SHOWN] + ([f"And {more} more such differences."] if more > 0 else [])


def _data_by_cell(records: Sequence[TrialRecord]) -> dict[_Cell, Mapping[str, Any]]:
    found: dict[_Cell, Mapping[str, Any]] = {}
    for record in records:
        if "data" in record.diagnostics:
            found.setdefault((record.condition, record.seed), record.diagnostics["data"])
    return found


def _difference(one: Mapping[str, Any], other: Mapping[str, Any]) -> str:
    """Differences in digests and in the counts that follow from tail and noise, or empty."""
    texts = [
        f"{name} is {_shown(one.get(name))} in one, {_shown(other.get(name))} in the other"
        for name in {**one, **other}
        if ("digest" in name or name in _COUNTS) and one.get(name) != other.get(name)
    ]
    return "; ".join(texts)


def _shown(value: object) -> str:
    return shortened(value if isinstance(value, str) else json.dumps(value), 60)
