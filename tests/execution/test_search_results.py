from __future__ import annotations

import itertools
import math
import statistics
from collections.abc import Sequence
from typing import Any

import pytest

from dynaloss.config.search import Objective
from dynaloss.execution.search.conclusion import SearchSummary
from dynaloss.execution.search.confirmation import best_study
from dynaloss.execution.search.outcome import (
    audit_of,
    expected_best,
    group_outcome,
    pareto_front,
    selections,
    telling_epoch,
    winners,
)
from dynaloss.execution.search.searched import SearchTrial
from dynaloss.studies.search.groups import Group, make_search_plan, search_trial
from dynaloss.studies.study import SearchStudy
from dynaloss.studies.trial_record import Outcome

VAL = Objective("val/accuracy", "max")
TIME = Objective("time/trial_seconds", "min")
STUDY = SearchStudy.model_validate(
    {
        "study": "s",
        "trial": {
            "data": {"validation": {"fraction": 0.2}, "noise": {"rate": 0.4}},
            "schedule": {"epochs": 3, "warmup_epochs": 0},
        },
        "space": {"meta.lr": {"uniform": [0.001, 1.0]}},
        "search": {"race": None},
        "scheduler": {"grace_epochs": 1},
    }
)


@pytest.fixture
def group() -> Group:
    return make_search_plan(STUDY, {"digits": "d"}).groups[0]


def override_data(data: dict[str, Any]) -> SearchStudy:
    values = STUDY.model_dump(exclude_unset=True)
    values["trial"]["data"] |= data
    return SearchStudy.model_validate(values)


def trial(
    group: Group,
    number: int,
    val: Sequence[float],
    test: Sequence[float] = (0.5, 0.5, 0.5),
    *,
    seconds: float = 1.0,
    lr: float | None = None,
    audited_at: int | None = None,
) -> SearchTrial:
    chosen = {"meta.lr": lr or 0.01 * (number + 1)}
    reports = {
        epoch: {"val/accuracy": v, "test/accuracy": t, "time/trial_seconds": seconds * epoch}
        for epoch, (v, t) in enumerate(zip(val, test, strict=False), start=1)
    }
    return SearchTrial(
        trial=search_trial(STUDY, group, number, chosen),
        group=group,
        number=number,
        chosen=chosen,
        reports=reports,
        outcome=Outcome.COMPLETED if len(val) == 3 else Outcome.PRUNED,
        audited_at=audited_at,
    )


def test_winners_are_completed_differ_and_may_be_audited(group: Group) -> None:
    trials = [
        trial(group, 0, [0.1, 0.2, 0.3]),
        trial(group, 1, [0.9]),
        trial(group, 2, [0.1, 0.2, 0.8], audited_at=1),
        trial(group, 3, [0.1, 0.2, 0.8], lr=0.03),
    ]
    assert [t.number for t in winners(trials, VAL, 3)] == [2, 0]


def test_winners_apply_to_all_conditions_searched_as_one() -> None:
    kinds = {"data.noise.kind": ["none", "symmetric"], "data.noise.rate": [0.0, 0.2]}
    values = STUDY.model_dump(exclude_unset=True) | {"conditions": kinds}
    plan = make_search_plan(SearchStudy.model_validate(values), {"digits": "d"})
    trials = [trial(group, 0, [0.1, 0.2, 0.3]) for group in plan.groups]
    outcomes = [group_outcome(plan.study, group, trials) for group in plan.groups]
    found = best_study(plan.study, outcomes)
    assert found is not None
    assert len(plan.groups) == 2
    assert [entry["condition"] for entry in found["tuned"]] == [
        {"data.noise.kind": "none", "data.noise.rate": 0.0},
        {"data.noise.kind": "none", "data.noise.rate": 0.2},
        {"data.noise.kind": "symmetric", "data.noise.rate": 0.0},
        {"data.noise.kind": "symmetric", "data.noise.rate": 0.2},
    ]


def test_rules_are_shown_with_their_cost(group: Group) -> None:
    trials = [
        trial(group, 0, [0.1, 0.2, 0.6], [0.1, 0.2, 0.55]),
        trial(group, 1, [0.1, 0.7, 0.5], [0.1, 0.40, 0.45]),
        trial(group, 2, [0.1, 0.1, 0.1], [0.1, 0.60, 0.20]),
    ]
    found = {s.rule: (s.number, s.epoch, round(s.cost, 6)) for s in selections(
        trials, group, VAL, "test/accuracy"
    )}  # fmt: skip
    assert found == {
        "noisy validation, last epoch": (0, 3, 0.05),
        "noisy validation, best epoch": (1, 2, 0.2),
        "oracle on test (an upper bound, never a result)": (2, 2, 0.0),
    }


def test_the_oracle_minimises_a_metric_of_which_less_is_better(group: Group) -> None:
    trials = [
        trial(group, 0, [0.1, 0.2, 0.6], seconds=2.0),
        trial(group, 1, [0.1, 0.1, 0.5], seconds=0.5),
    ]
    found = {s.rule: (s.number, s.test, s.cost) for s in selections(
        trials, group, VAL, "time/trial_seconds"
    )}  # fmt: skip
    assert found["oracle on test (an upper bound, never a result)"] == (1, 0.5, 0.0)
    assert found["noisy validation, last epoch"] == (0, 6.0, 5.5)


def test_rules_by_clean_validation_count_the_labels_that_they_use(group: Group) -> None:
    trials = [
        trial(group, 0, [0.1, 0.2, 0.6], [0.1, 0.2, 0.55]),
        trial(group, 1, [0.1, 0.7, 0.5], [0.1, 0.60, 0.45]),
    ]
    for one, clean in zip(trials, ([0.1, 0.2, 0.3], [0.1, 0.9, 0.2]), strict=True):
        one.data = {"splits": {"train": 80, "validation": 20, "test": 50}}
        for epoch, value in enumerate(clean, start=1):
            one.reports[epoch] |= {"val_clean/accuracy": value, "labels/clean_used": 3.0}
    found = {s.rule: (s.number, s.epoch, s.clean_labels) for s in selections(
        trials, group, VAL, "test/accuracy"
    )}  # fmt: skip
    assert found == {
        "noisy validation, last epoch": (0, 3, 3),
        "noisy validation, best epoch": (1, 2, 3),
        "clean validation, last epoch": (0, 3, 23),
        "clean validation, best epoch": (1, 2, 23),
        "oracle on test (an upper bound, never a result)": (1, 2, 53),
    }


@pytest.mark.parametrize(
    ("data", "told"),
    [
        ({"noise": {"rate": 0.0}}, "clean validation, last epoch"),
        ({"validation": {"fraction": 0.2, "labels": "clean"}}, "clean validation, last epoch"),
        ({}, "noisy validation, last epoch"),
    ],
)
def test_validation_is_called_noisy_only_where_it_is(data: dict[str, Any], told: str) -> None:
    study = override_data(data)
    (group,) = make_search_plan(study, {"digits": "d"}).groups
    assert (
        selections([trial(group, 0, [0.1, 0.2, 0.3])], group, VAL, "test/accuracy")[0].rule == told
    )


def test_an_audit_counts_what_pruning_would_have_lost(group: Group) -> None:
    trials = [
        trial(group, 0, [0.5, 0.5, 0.6]),
        trial(group, 1, [0.3, 0.5, 0.9], audited_at=1),
        trial(group, 2, [0.2, 0.5, 0.1], audited_at=1),
        trial(group, 3, [0.1]),
    ]
    audit = audit_of(trials, group, VAL, 3)
    assert (audit.audited, audit.finished, audit.among_best) == (2, 2, 1)
    assert audit.false_share == 0.5
    assert audit.chance == pytest.approx(1 / 3)  # one of three completed is the best third
    correlation, n = audit.correlations[1]
    assert n == 3
    assert correlation == pytest.approx(0.5)


def test_without_an_audit_there_is_no_share(group: Group) -> None:
    assert math.isnan(audit_of([trial(group, 0, [0, 0, 0])], group, VAL, 3).false_share)


def test_the_front_holds_trials_that_no_other_beats_in_every_objective(group: Group) -> None:
    trials = [
        trial(group, 0, [0, 0, 0.9], seconds=9),
        trial(group, 1, [0, 0, 0.8], seconds=1),
        trial(group, 2, [0, 0, 0.7], seconds=2),
    ]
    assert [t.number for t in pareto_front(trials, [VAL, TIME])] == [0, 1]


def test_equal_trials_share_the_front_and_unmeasured_ones_are_left_out(group: Group) -> None:
    trials = [
        trial(group, 0, [0, 0, 0.8], seconds=1),
        trial(group, 1, [0, 0, 0.8], seconds=1),
        trial(group, 2, [0, 0, 0.9], seconds=math.nan),
        trial(group, 3, [0.99], seconds=0),
    ]
    assert [t.number for t in pareto_front(trials, [VAL, TIME])] == [0, 1]


@pytest.mark.parametrize(
    ("at_rung", "at_end", "expected"),
    [
        ((0.1, 0.2, 0.3, 0.4), (0.4, 0.3, 0.2, 0.1), -1.0),
        # Ranks 1, 2, 3, 4 against 2, 1, 4, 3: 1 - 6 * 4 / (4 * 15).
        ((0.1, 0.2, 0.3, 0.4), (0.2, 0.1, 0.4, 0.3), 0.6),
        # Ranks 1.5, 1.5, 3, 4 against 1, 2, 3, 4: covariance 4.5, variances 4.5 and 5.
        ((0.1, 0.1, 0.3, 0.4), (0.1, 0.2, 0.3, 0.4), 4.5 / math.sqrt(4.5 * 5)),
        ((0.1, 0.1, 0.1, 0.1), (0.1, 0.2, 0.3, 0.4), math.nan),
    ],
    ids=["reversed", "swapped", "tied", "constant"],
)
def test_rank_correlation_of_a_rung_with_the_end(
    group: Group, at_rung: Sequence[float], at_end: Sequence[float], expected: float
) -> None:
    pairs = enumerate(zip(at_rung, at_end, strict=True))
    trials = [trial(group, i, [first, 0.5, last]) for i, (first, last) in pairs]
    audit = audit_of(trials, group, VAL, 3)
    correlation, n = audit.correlations[1]
    assert n == 4
    assert correlation == pytest.approx(expected, nan_ok=True)
    assert (1 in audit.known_correlations) is not math.isnan(expected)


@pytest.mark.parametrize(
    ("swapped_until", "num_trials", "expected"),
    [(1, 8, 2), (2, 8, None), (0, 8, 1), (0, 7, None)],
    ids=["from the second epoch", "only at the end", "from the first", "too few trials"],
)
def test_epoch_from_which_trials_rank_as_at_the_end(
    swapped_until: int, num_trials: int, expected: int | None
) -> None:
    values = STUDY.model_dump(exclude_unset=True)
    values["trial"]["schedule"]["ramp_epochs"] = 0
    study = SearchStudy.model_validate(values)
    group = make_search_plan(study, {"digits": "d"}).groups[0]
    signs = [-1 if epoch <= swapped_until else 1 for epoch in (1, 2, 3)]
    trials = [
        trial(group, i, [0.5 + sign * 0.01 * i for sign in signs]) for i in range(num_trials)
    ]
    outcome = group_outcome(study, group, trials)
    assert telling_epoch([outcome], "val/accuracy") == expected


def test_the_expected_best_is_the_mean_over_all_draws(group: Group) -> None:
    values = [0.1, 0.4, 0.2, 0.9]
    trials = [trial(group, i, [0, 0, value]) for i, value in enumerate(values)]
    for k, expected in enumerate(expected_best(trials, VAL), start=1):
        draws = [max(drawn) for drawn in itertools.combinations(values, k)]
        assert expected == pytest.approx(statistics.fmean(draws))


def test_the_summary_shows_winners_rules_audit_trade_offs_and_failures() -> None:
    values = STUDY.model_dump(exclude_unset=True)
    values["search"] |= {"metrics": [{"val/accuracy": "max"}, {"time/trial_seconds": "min"}]}
    plan = make_search_plan(SearchStudy.model_validate(values), {"digits": "d"})
    group = plan.groups[0]
    trials = [
        trial(group, 0, [0.1, 0.2, 0.3]),
        trial(group, 1, [0.3, 0.2, 0.4], audited_at=1),
        trial(group, 2, [0.2, 0.1, 0.35], [0.4, 0.5, 0.6], seconds=0.5),
        trial(group, 3, [0.2]),
    ]
    trials[3].outcome, trials[3].message = Outcome.FAILED, "Traceback\nOSError: <disk> full\n"
    outcome = group_outcome(plan.study, group, trials, {"meta.lr": 0.75, "optimizer.lr": 0.25})
    summary = SearchSummary(plan=plan, trials=tuple(trials), groups=(outcome,), seconds=65.0)
    lines = summary.as_text().splitlines()
    assert lines[0] == "search s: 3 of 16 trials completed in 1:05"
    assert f"{group.name}: 3 of 16 completed, 1 failed; 10 epochs" in lines
    assert "  winner #1 (audited): val/accuracy 0.4000 with meta.lr=0.02" in lines
    oracle = next(line for line in lines if "oracle" in line)
    assert oracle.split()[-6:] == ["#2", "epoch", "3", "0.6000", "costs", "0.0000"]
    assert "n = 1; 0.3 by chance" in next(
        line for line in lines if line.startswith("  audit: 1 of 1")
    )
    assert "  rank correlation with the end: epoch 1: +1.00 (n = 3)" in lines
    assert "    #2: val/accuracy 0.35, time/trial_seconds 1.5" in lines
    assert "  importance: meta.lr 0.75, optimizer.lr 0.25" in lines
    assert lines[-1] == f"failed: {group.name} · #3: OSError: <disk> full"
    assert summary.exit_status == 1
