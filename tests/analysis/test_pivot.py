"""Rows, columns and the trials that a comparison holds."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from dynaloss.analysis import compare
from dynaloss.analysis.pivot import fill_repeats, pivot, select
from dynaloss.errors import InputError
from dynaloss.studies.plan import Repeat
from dynaloss.studies.trial_record import TrialRecord

MakeRecord = Callable[..., TrialRecord]
METRIC = "test/accuracy"


@pytest.fixture
def trials(record: MakeRecord) -> list[TrialRecord]:
    return [
        record(
            arm,
            condition=f"symmetric {rate} · IR {factor}",
            key=f"{arm}{rate}{factor}",
            parameters={
                "data.noise.kind": "symmetric",
                "data.noise.rate": rate,
                "data.imbalance_factor": factor,
            },
            tags={"machine": "a"},
        )
        for arm in ("none", "full")
        for rate in ("0.2", "0.4")
        for factor in ("1.0", "10.0")
    ]


def test_columns_accept_keys_by_group_and_by_beginning(trials: list[TrialRecord]) -> None:
    comparison = compare(pivot(trials, ["arm"], ["noise", "imbalance"]), METRIC)
    assert comparison.arms == ("none", "full")
    assert comparison.conditions[0] == "rate=0.2 · imbalance_factor=1.0"
    assert len(comparison.conditions) == 4


def test_rows_may_be_a_parameter_and_columns_the_arms(trials: list[TrialRecord]) -> None:
    chosen = pivot(select(trials, ["imbalance=1"]), ["data.noise.rate"], ["arm"])
    comparison = compare(chosen, METRIC)
    assert comparison.arms == ("rate=0.2", "rate=0.4")
    assert comparison.conditions == ("none", "full")


def test_tags_and_a_single_column(trials: list[TrialRecord]) -> None:
    (one,) = {r.condition for r in pivot(trials, ["arm"], [])}
    assert one == "all"
    assert pivot(trials, ["machine"], ["condition"])[0].arm == "machine=a"


def test_cells_that_mix_settings_are_refused(trials: list[TrialRecord]) -> None:
    facts = r"`data\.imbalance_factor`.*\b1\.0 .*\b10\.0 .*--rows, --cols or --where"
    with pytest.raises(InputError, match=facts):
        compare(pivot(trials, ["arm"], ["noise"]), METRIC)


def test_where_compares_numbers_and_allows_several_values(trials: list[TrialRecord]) -> None:
    assert len(select(trials, ["data.noise.rate=0.40", "arm=full"])) == 2
    assert len(select(trials, ["rate=0.2", "rate=.4"])) == 8


@pytest.mark.parametrize(
    ("where", "facts"),
    [
        ("arm", "--where .*key=value.*got `arm`"),
        ("arm=fulll", r"No trial .*\barm = fulll\b.* none, full\b"),
        ("machin_e=1", "`machin_e`.*'machine'"),
        ("data=1", r"`data`.* data\.noise\.rate, data\.imbalance_factor\b"),
    ],
)
def test_bad_demands_are_named(trials: list[TrialRecord], where: str, facts: str) -> None:
    with pytest.raises(InputError, match=facts):
        select(trials, [where])


def test_arm_that_runs_once_fills_its_other_conditions(record: MakeRecord) -> None:
    records = [record("ce", 0, 0.5, condition="A", key="k")]
    repeats = [
        Repeat(condition="B", arm="ce", seed=0, key="k"),
        Repeat(condition="B", arm="ce", seed=1, key="not run yet"),
    ]
    comparison = compare(fill_repeats(records, repeats), METRIC)
    assert [comparison.cell(c, "ce").mean for c in ("A", "B")] == [0.5, 0.5]
