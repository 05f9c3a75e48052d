from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dynaloss.config.families import PRUNERS
from dynaloss.config.search import SchedulerConfig
from dynaloss.execution.search.pruning import Candidate, Decision, Pruner, Verdict, make_pruner

Report = tuple[str, int, float]

EPOCHS = 9
# Hand-made: in pool "easy" everything beats everything in pool "hard"; one trial gives NaN.
TABLE: Sequence[Report] = [
    ("easy-0", 1, 0.80), ("hard-0", 1, 0.30), ("easy-1", 1, 0.70), ("hard-1", 1, 0.35),
    ("easy-2", 1, math.nan), ("hard-1", 2, 0.36), ("easy-3", 1, 0.90), ("hard-2", 1, 0.20),
    ("easy-0", 2, 0.82), ("easy-0", 3, 0.84), ("hard-1", 3, 0.40), ("easy-3", 2, 0.90),
    ("easy-3", 3, 0.83), ("easy-4", 1, 0.75), ("hard-3", 1, 0.34), ("hard-3", 2, 0.38),
    ("hard-3", 3, 0.41), ("easy-0", 9, 0.90), ("hard-3", 9, 0.50),
]  # fmt: skip


class Made(NamedTuple):
    """A pruner, and the rungs of its trials."""

    pruner: Pruner
    rungs: Sequence[int]


def make(
    name: str = "asha", *, audit: float = 0.0, mode: str = "max", most: int | None = None
) -> Made:
    config = SchedulerConfig(
        name=name, grace_epochs=1, reduction_factor=3, rungs=most, audit_fraction=audit
    )
    rungs = PRUNERS[name].rungs(config, 1, EPOCHS)
    return Made(make_pruner(config, seed=0, mode=mode), rungs)


def replay(made: Made, reports: Sequence[Report]) -> list[Decision]:
    decisions = []
    for key, epoch, value in reports:
        pool, number = key.split("-")
        trial = Candidate(key=key, number=int(number), pool=pool, rungs=made.rungs, epochs=EPOCHS)
        decisions.append(made.pruner.report(trial, epoch, value))
    return decisions


def test_a_hand_made_table_is_decided_as_by_hand() -> None:
    decisions = replay(make(), TABLE)
    told = {
        (key, epoch): d.verdict
        for (key, epoch, _), d in zip(TABLE, decisions, strict=True)
        if d.verdict is not Verdict.CONTINUE
    }
    assert told == {
        ("easy-1", 1): Verdict.PRUNE,  # second of two, one goes on
        ("easy-2", 1): Verdict.DIVERGED,
        ("hard-2", 1): Verdict.PRUNE,  # third of three
        ("easy-3", 3): Verdict.PRUNE,  # second of two at the second rung
        ("easy-4", 1): Verdict.PRUNE,  # third of four, two go on: NaN was never recorded
    }


def test_minimising_reverses_the_order() -> None:
    losses = [(key, epoch, -value) for key, epoch, value in TABLE]
    assert replay(make(mode="min"), losses) == replay(make(), TABLE)


def test_pruner_ignores_other_pools() -> None:
    mixed = dict(zip(TABLE, replay(make(), TABLE), strict=True))
    hard = [report for report in TABLE if report[0].startswith("hard")]
    alone = dict(zip(hard, replay(make(), hard), strict=True))
    assert all(mixed[report] == decision for report, decision in alone.items())


@pytest.mark.parametrize("name", ["asha", "median", "hyperband", "none"])
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_non_finite_result_ends_a_trial_and_is_never_recorded(name: str, value: float) -> None:
    pruner = make(name)
    (decision,) = replay(pruner, [("a-0", 1, value)])
    assert decision.verdict is Verdict.DIVERGED
    (first,) = replay(pruner, [("a-1", 1, 0.1)])
    assert first.verdict is Verdict.CONTINUE


def test_the_last_epoch_stops_nothing() -> None:
    decisions = replay(make(), [("a-0", 9, 0.9), ("a-1", 9, 0.1)])
    assert {d.verdict for d in decisions} == {Verdict.CONTINUE}


def test_an_audited_trial_runs_on_and_changes_nothing_for_others() -> None:
    reports = [("a-0", 1, 0.9), ("a-1", 1, 0.1), ("a-1", 3, 0.99), ("a-0", 3, 0.5)]
    all_audited = replay(make(audit=1.0), reports)
    assert [d.verdict for d in all_audited] == [
        Verdict.CONTINUE, Verdict.AUDIT, Verdict.CONTINUE, Verdict.CONTINUE,
    ]  # fmt: skip
    assert all_audited[-1].among == 1  # at rung 3 only the trial that was not audited


def test_audit_draws_depend_on_trial_and_rung_alone() -> None:
    losers = [(f"a-{i}", 1, 0.1) for i in range(1, 400)]
    first = [("a-0", 1, 0.9)]

    def audited(reports: Sequence[Report]) -> set[str]:
        # A fresh winner before each loser, so that every loser is to be stopped.
        made = make(audit=0.25)
        replay(made, [*first, *reports])
        return set(made.pruner.audited)

    falling = [(key, epoch, 0.5 - i * 1e-3) for i, (key, epoch, _) in enumerate(losers)]
    rising = [(k, e, 0.5 - i * 1e-3) for i, (k, e, _) in enumerate(reversed(losers))]
    both = audited(falling) & audited(rising)
    only = audited(falling) ^ audited(rising)
    assert 50 < len(audited(falling)) < 150
    assert len(only) < len(both)


_reports = st.lists(
    st.tuples(
        st.sampled_from([f"{pool}-{i}" for pool in "ab" for i in range(6)]),
        st.floats(0, 1) | st.just(math.nan),
    ),
    max_size=60,
)


@pytest.mark.parametrize("name", ["asha", "promotion", "pasha", "median", "hyperband", "none"])
@given(drawn=_reports, cut=st.integers(0, 60))
def test_a_pruner_rebuilt_from_reports_decides_the_same(
    name: str, drawn: list[tuple[str, float]], cut: int
) -> None:
    epochs: dict[str, int] = {}
    reports = []
    for key, value in drawn:
        epochs[key] = epochs.get(key, 0) + 1
        reports.append((key, epochs[key], value))
    whole = replay(make(name, audit=0.3), reports)
    rebuilt = make(name, audit=0.3)
    assert replay(rebuilt, reports[:cut]) == whole[:cut]
    again = make(name, audit=0.3)
    replay(again, reports[:cut])
    assert replay(again, reports[cut:]) == whole[cut:]


@given(st.lists(st.floats(0, 1), min_size=1, max_size=40))
def test_the_best_result_at_a_rung_always_continues(values: list[float]) -> None:
    decisions = replay(make(), [(f"a-{i}", 1, value) for i, value in enumerate(values)])
    for i, decision in enumerate(decisions):
        if values[i] >= max(values[: i + 1]):
            assert decision.verdict is Verdict.CONTINUE


def pasha_with_four_at_the_second_rung(last: dict[str, Sequence[float]]) -> tuple[Made, Decision]:
    """Ten trials at epoch 1, three of them and a-9 on to epoch 3; returns the last decision."""
    made = make("pasha")
    replay(made, [(f"a-{i}", 1, 0.9 - 0.1 * i) for i in range(9)])
    while (key := made.pruner.promotable()) is not None:
        made.pruner.promote(key)
    decisions = replay(made, [("a-9", 1, 0.85)])
    assert decisions[0].verdict is Verdict.CONTINUE
    for key, values in last.items():
        decisions = replay(made, [(key, 2, values[0]), (key, 3, values[1])])
    return made, decisions[-1]


STEADY = {"a-0": (0.92, 0.93), "a-1": (0.81, 0.82), "a-2": (0.7, 0.7)}


@pytest.mark.parametrize(
    ("last", "goes_on"),
    [
        pytest.param({**STEADY, "a-9": (0.86, 0.87)}, False, id="ranks stay"),
        pytest.param({**STEADY, "a-9": (0.86, 0.95)}, True, id="ranks change"),
        # a-9 and a-1 cross twice and end .07 apart: a-9 and a-0, .05 apart at epoch 1, are level.
        pytest.param(
            {**STEADY, "a-1": (0.86, 0.88), "a-9": (0.85, 0.95)}, False, id="within the noise"
        ),
    ],
)
def test_pasha_opens_the_next_rung_where_ranks_change(
    last: dict[str, Sequence[float]], goes_on: bool
) -> None:
    made, decision = pasha_with_four_at_the_second_rung(last)
    assert decision.verdict is (Verdict.CONTINUE if goes_on else Verdict.PAUSE)
    assert made.pruner.promotable() is None
    assert (decision.rung, decision.among) == (3, 4)


def test_the_median_rule_waits_for_company() -> None:
    reports = [(f"a-{i}", 1, value) for i, value in enumerate([0.9, 0.8, 0.7, 0.1, 0.85])]
    verdicts = [d.verdict for d in replay(make("median"), reports)]
    assert verdicts == [Verdict.CONTINUE] * 3 + [Verdict.PRUNE] + [Verdict.CONTINUE]


def test_hyperband_brackets_do_not_compete() -> None:
    reports = [(f"a-{i}", 1, 0.9 - 0.1 * i) for i in range(6)]
    decisions = replay(make("hyperband"), reports)
    # Some of the falling results are in brackets without a rung at epoch 1, and go on.
    assert {d.rung for d in decisions} == {None, 1}


@pytest.mark.parametrize(("most", "compared"), [(1, 6), (None, 5)])
def test_hyperband_has_a_bracket_for_each_rung_and_one_for_none(
    most: int | None, compared: int
) -> None:
    """Sizes 3 : 2 of ten trials with one rung; with two, at epochs 1 and 3, 9 : 4.5 : 3."""
    decisions = replay(make("hyperband", most=most), [(f"a-{i}", 1, 0.5) for i in range(10)])
    assert sum(d.rung == 1 for d in decisions) == compared
