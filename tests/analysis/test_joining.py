"""Several studies in one table."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest

from dynaloss.analysis.joining import join_studies
from dynaloss.errors import InputError
from dynaloss.studies.trial_record import TrialRecord

MakeRecord = Callable[..., TrialRecord]


@pytest.fixture
def trial(record: MakeRecord) -> Callable[..., TrialRecord]:
    def make(study: str, seed: int = 0, **data: Any) -> TrialRecord:
        known = {"digest": "d1", "flip_rate": 0.3} | data
        return record(study, seed, study=study, condition="C", diagnostics={"data": known})

    return make


def test_studies_of_the_same_data_are_joined(trial: Callable[..., TrialRecord]) -> None:
    records, warnings = join_studies({"a": [trial("a")], "b": [trial("b")]})
    assert [r.study for r in records] == ["a", "b"]
    assert warnings == ()


def test_other_data_is_refused_and_the_difference_named(
    trial: Callable[..., TrialRecord],
) -> None:
    studies = {"a": [trial("a")], "b": [trial("b", flip_rate=0.4)]}
    facts = r"\bC, seed 0, `a` and `b`.*\bflip_rate .*\b0\.3 .*\b0\.4 .*\n.*--force"
    with pytest.raises(InputError, match=facts):
        join_studies(studies)


def test_force_joins_and_marks(trial: Callable[..., TrialRecord]) -> None:
    studies = {"a": [trial("a")], "b": [trial("b", digest="d2")]}
    records, (warning,) = join_studies(studies, force=True)
    assert len(records) == 2
    assert re.search(r"^FORCED: .*\bC, seed 0, `a` and `b`.*\bdigest .*\bd1 .*\bd2 ", warning)


def test_every_study_is_compared_with_all_before_it(trial: Callable[..., TrialRecord]) -> None:
    studies = {
        "a": [trial("a", 0)],
        "b": [trial("b", 0), trial("b", 1)],
        "c": [trial("c", 1, digest="d2")],
    }
    with pytest.raises(InputError, match=r"\bC, seed 1, `b` and `c`.*\bdigest .*\bd1 .*\bd2 "):
        join_studies(studies)
    studies["c"] = [trial("c", 1)]
    assert join_studies(studies)[1] == ()
    studies["c"] = [trial("c", 2)]
    with pytest.raises(InputError, match=r"`a`, `b` and `c`.*no condition and seed"):
        join_studies(studies)


def test_data_that_cannot_be_checked_is_refused(
    trial: Callable[..., TrialRecord], record: MakeRecord
) -> None:
    with pytest.raises(InputError, match=r"`a` and `b`.*no condition and seed .*known data"):
        join_studies({"a": [trial("a")], "b": [record()]})


def test_many_differences_are_cut(trial: Callable[..., TrialRecord]) -> None:
    left = [trial("a", seed) for seed in range(9)]
    right = [trial("b", seed, digest="d2") for seed in range(9)]
    with pytest.raises(InputError, match=r"\b4 more\b"):
        join_studies({"a": left, "b": right})


def test_one_study_needs_no_data(record: MakeRecord) -> None:
    assert join_studies({"a": [record()]})[1] == ()
