"""The comparison: rows, columns, and what enters a cell."""

from __future__ import annotations

import csv
import io
import json
import math
import re
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from dynaloss.analysis import compare, comparison_table, render
from dynaloss.analysis.statistics.comparison import collapsed_seeds
from dynaloss.analysis.statistics.intervals import PairedDifference
from dynaloss.errors import InputError
from dynaloss.studies.trial_record import Outcome, TrialRecord

MakeRecord = Callable[..., TrialRecord]
METRIC = "test/accuracy"


def test_rows_and_columns_keep_the_order_of_first_appearance(
    records: Sequence[TrialRecord],
) -> None:
    comparison = compare(records, METRIC)
    assert comparison.arms == ("none", "corrector-only", "margin-only", "full")
    assert comparison.conditions == ("symmetric 0.4 · IR 1", "symmetric 0.4 · IR 10")
    assert len(comparison.cells) == 8


def test_given_order_is_first_and_includes_missing_arms(record: MakeRecord) -> None:
    comparison = compare([record("b"), record("a")], METRIC, arm_order=["planned", "a"])
    assert comparison.arms == ("planned", "a", "b")
    cell = comparison.cell(comparison.conditions[0], "planned")
    assert (cell.n, cell.incomplete, cell.planned) == (0, True, 1)


def test_cell_summarises_its_seeds(record: MakeRecord) -> None:
    trials = [record(seed=seed, accuracy=value) for seed, value in enumerate([0.25, 0.5, 0.75])]
    (cell,) = compare(trials, METRIC).cells
    assert dict(cell.seeds) == {0: 0.25, 1: 0.5, 2: 0.75}
    assert (cell.n, cell.mean, cell.std) == (3, 0.5, 0.25)
    assert cell.ci95 == pytest.approx((0.5 - 4.302653 * 0.25 / 3**0.5, 0.5 + 0.6210344), abs=1e-6)
    assert not cell.incomplete


def test_one_seed_has_no_spread(record: MakeRecord) -> None:
    (cell,) = compare([record()], METRIC).cells
    assert math.isnan(cell.std)
    assert cell.ci95 is None
    assert not cell.incomplete


def test_difference_is_to_the_baseline_of_the_same_condition(record: MakeRecord) -> None:
    trials = [
        record(arm, seed, value, condition=condition)
        for condition, arm, seed, value in [
            ("easy", "none", 0, 0.5),
            ("easy", "full", 0, 0.75),
            ("hard", "none", 0, 0.25),
            ("hard", "full", 0, 0.375),
        ]
    ]
    comparison = compare(trials, METRIC, "none")
    easy, hard = (comparison.cell(name, "full").difference for name in ("easy", "hard"))
    assert easy is not None
    assert hard is not None
    assert (easy.mean, hard.mean) == (0.25, 0.125)
    assert comparison.cell("easy", "none").difference is None


def test_without_a_baseline_there_are_no_differences(records: Sequence[TrialRecord]) -> None:
    assert all(cell.difference is None for cell in compare(records, METRIC).cells)


@pytest.mark.parametrize("outcome", [o for o in Outcome if o is not Outcome.COMPLETED])
def test_only_completed_trials_enter_the_mean(record: MakeRecord, outcome: Outcome) -> None:
    trials = [record(seed=0, accuracy=0.5), record(seed=1, accuracy=0.9, outcome=outcome)]
    (cell,) = compare(trials, METRIC).cells
    assert (cell.n, cell.mean, cell.incomplete) == (1, 0.5, True)
    assert (cell.outcomes[Outcome.COMPLETED], cell.planned) == (1, 2)
    assert cell.not_completed == {outcome: 1}


def test_fewer_seeds_than_the_fullest_cell_is_incomplete(record: MakeRecord) -> None:
    comparison = compare([record("a", 0), record("a", 1), record("b", 0)], METRIC)
    full, short = comparison.cells
    assert (full.incomplete, short.incomplete) == (False, True)
    assert short.planned == 2


def test_fewer_seeds_than_planned_is_incomplete(record: MakeRecord) -> None:
    trial = record(seed=0)
    planned = {(trial.condition, trial.arm): 3}
    (cell,) = compare([trial], METRIC, planned=planned).cells
    assert cell.incomplete
    assert cell.planned == 3


def test_a_cell_that_was_not_planned_is_empty_and_not_incomplete(record: MakeRecord) -> None:
    trials = [record("a", condition="x"), record("b", condition="y")]
    planned = {(trial.condition, trial.arm): 1 for trial in trials}
    comparison = compare(trials, METRIC, planned=planned)
    cell = comparison.cell("x", "b")
    assert (cell.planned, cell.n, cell.incomplete) == (0, 0, False)
    assert not any(cell.incomplete for cell in comparison.cells)


def test_condition_without_an_arm_has_an_empty_cell(record: MakeRecord) -> None:
    comparison = compare([record("a", condition="x"), record("b", condition="y")], METRIC)
    cell = comparison.cell("x", "b")
    assert math.isnan(cell.mean)
    assert cell.incomplete
    assert [cell.arm for cell in comparison.column("x") if cell.best] == ["a"]


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_value_that_is_not_finite_counts_as_missing(record: MakeRecord, value: float) -> None:
    (cell,) = compare([record(seed=0, accuracy=0.5), record(seed=1, accuracy=value)], METRIC).cells
    assert dict(cell.seeds) == {0: 0.5}
    assert cell.incomplete


def test_arm_that_never_reports_the_metric_is_empty_not_incomplete(record: MakeRecord) -> None:
    trials = [record("full", metrics={"corrector/auc": 0.9}), record("none")]
    cell = compare(trials, "corrector/auc").cell(trials[0].condition, "none")
    assert (cell.n, cell.incomplete, cell.best) == (0, False, False)


@pytest.mark.parametrize(("metric", "best"), [("test/accuracy", "b"), ("train/loss", "a")])
def test_best_follows_the_direction_of_the_metric(
    record: MakeRecord, metric: str, best: str
) -> None:
    trials = [record("a", metrics={metric: 0.25}), record("b", metrics={metric: 0.5})]
    comparison = compare(trials, metric)
    assert [cell.arm for cell in comparison.cells if cell.best] == [best]


def test_completed_trial_replaces_a_failed_one_of_its_seed(record: MakeRecord) -> None:
    failed = record(accuracy=None, outcome=Outcome.FAILED)
    for trials in ([failed, record()], [record(), failed]):
        (cell,) = compare(trials, METRIC).cells
        assert (cell.n, cell.incomplete) == (1, False)


def test_rerun_of_the_same_trial_counts_once(record: MakeRecord) -> None:
    (cell,) = compare([record(accuracy=0.5), record(accuracy=0.75)], METRIC).cells
    assert dict(cell.seeds) == {0: 0.75}


def test_two_different_trials_of_one_seed_are_refused(record: MakeRecord) -> None:
    trials = [record(key=key, parameters={"meta.lr": key}) for key in ("1e-2", "1e-3")]
    setting = r"`meta\.lr`.*\b1e-2 .*\b1e-3 "
    facts = rf"`symmetric 0\.4 · IR 1`.*`full`.*two .*completed .*seed 0\b.*{setting}"
    with pytest.raises(InputError, match=rf"{facts}.*--rows, --cols or --where"):
        compare(trials, METRIC)


def test_no_trials() -> None:
    with pytest.raises(InputError, match=r"no trials .*run the study"):
        compare([], METRIC)


def test_no_completed_trials(record: MakeRecord) -> None:
    trials = [record(outcome=Outcome.RUNNING), record(seed=1, outcome=Outcome.FAILED)]
    with pytest.raises(InputError, match=r"no completed trial.* 1 running, 1 failed"):
        compare(trials, METRIC)


def test_unknown_metric_names_the_nearest(record: MakeRecord) -> None:
    with pytest.raises(InputError, match=r"metric `test/acuracy`.*'test/accuracy'"):
        compare([record()], "test/acuracy")


def test_unknown_names_are_reported_together_with_what_exists(record: MakeRecord) -> None:
    with pytest.raises(InputError) as caught:
        compare([record("full"), record("none")], "zzz", "qqq")
    expected = ("metric `zzz`.* 'test/accuracy'", "baseline `qqq`.* 'full', 'none'")
    for problem, facts in zip(caught.value.problems, expected, strict=True):
        assert re.search(rf"{facts}\.$", problem)


@given(st.permutations(range(24)))
def test_order_of_the_records_does_not_change_the_cells(
    records: Sequence[TrialRecord], order: list[int]
) -> None:
    expected = compare(records, METRIC, "none")
    actual = compare([records[index] for index in order], METRIC, "none")
    for cell in expected.cells:
        assert actual.cell(cell.condition, cell.arm) == cell


def test_p_values_are_corrected_over_the_table(record: MakeRecord) -> None:
    values = {"none": 0.0, "a": 0.1, "b": 0.2}
    trials = [
        record(arm, seed, value + 0.01 * seed * value)
        for arm, value in values.items()
        for seed in range(6)
    ]
    cells = compare(trials, METRIC, "none").cells
    found = [cell.difference for cell in cells if cell.difference]
    assert [(d.p, d.p_adjusted, d.verdict) for d in found] == [(1 / 32, 1 / 32, "better")] * 2
    cells = compare(trials, METRIC, "none", adjust="holm").cells
    found = [cell.difference for cell in cells if cell.difference]
    assert [(d.p, d.p_adjusted, d.verdict) for d in found] == [
        (1 / 32, 1 / 16, "inconclusive")
    ] * 2


def test_equivalence_is_adjusted_over_the_table(record: MakeRecord) -> None:
    """By Holm's method, so not where three have p .02 each; and never of five seeds."""
    noise = np.array([1.0, -1.2, 0.9, -1.1, 1.3, -1.0])

    def found(arms: int, seeds: int) -> list[PairedDifference]:
        trials = [record("none", seed, 0.5) for seed in range(seeds)]
        for arm in range(arms):
            trials += [record(f"arm {arm}", s, 0.5 + 0.01 * noise[s]) for s in range(seeds)]
        cells = compare(trials, METRIC, "none", margin=0.0135).cells
        return [cell.difference for cell in cells if cell.difference]

    above = stats.ttest_1samp(0.01 * noise, -0.0135, alternative="greater").pvalue
    below = stats.ttest_1samp(0.01 * noise, 0.0135, alternative="less").pvalue
    p = max(above, below)
    assert 0.05 / 3 < p < 0.05
    (alone,), few = found(1, 6), found(1, 5)
    assert alone.p_equivalent == pytest.approx(p)
    assert alone.verdict == "equivalent"
    assert [d.p_equivalent for d in found(3, 6)] == pytest.approx([3 * p] * 3)
    assert {d.verdict for d in found(3, 6)} == {"inconclusive"}
    assert math.isnan(few[0].p_equivalent)
    assert few[0].verdict == "inconclusive"


@pytest.mark.parametrize(
    ("differences", "margin", "verdict"),
    [
        ([0.010, 0.012, 0.009, 0.011, 0.013, 0.010], None, "better"),
        ([-0.010, -0.012, -0.009, -0.011, -0.013, -0.010], None, "worse"),
        ([0.010, -0.012, 0.009, -0.011, 0.013, -0.010], None, "inconclusive"),
        ([0.010, -0.012, 0.009, -0.011, 0.013, -0.010], 0.02, "equivalent"),
        ([0.010, -0.012, 0.009, -0.011, 0.013, -0.010], 0.009, "inconclusive"),
        ([0.010, 0.012, 0.009, 0.011, 0.013, 0.010], 0.02, "equivalent"),
    ],
)
def test_verdicts(
    record: MakeRecord, differences: list[float], margin: float | None, verdict: str
) -> None:
    """Equivalent exactly where both one-sided tests of scipy reject at 0.05."""
    trials = [record("none", seed, 0.5) for seed in range(6)]
    trials += [record("full", seed, 0.5 + d) for seed, d in enumerate(differences)]
    found = compare(trials, METRIC, "none", margin=margin).cells[1].difference
    assert found is not None
    assert found.verdict == verdict
    if margin is not None:
        above = stats.ttest_1samp(differences, -margin, alternative="greater").pvalue
        below = stats.ttest_1samp(differences, margin, alternative="less").pvalue
        assert (max(above, below) < 0.05) == (verdict == "equivalent")


def test_a_lower_error_is_better(record: MakeRecord) -> None:
    metric = "test/expected_calibration_error"
    trials = [
        replace(record(arm, seed), metrics={metric: value - 0.001 * seed * value})
        for arm, value in (("none", 0.2), ("full", 0.1))
        for seed in range(6)
    ]
    found = compare(trials, metric, "none").cells[1].difference
    assert found is not None
    assert found.verdict == "better"


def test_all_conditions_are_pooled_seed_by_seed(record: MakeRecord) -> None:
    """Seed 2 is missing in one cell, so it counts for no mean of that arm."""
    values = {("A", "none"): [0.1, 0.2, 0.3], ("B", "none"): [0.5, 0.6, 0.7]}
    values |= {("A", "full"): [0.2, 0.4, 0.3], ("B", "full"): [0.5, 0.8]}
    trials = [
        record(arm, seed, value, condition=condition)
        for (condition, arm), row in values.items()
        for seed, value in enumerate(row)
    ]
    comparison = compare(trials, METRIC, "none")
    none, full = comparison.pooled
    assert none.seeds == pytest.approx({0: 0.3, 1: 0.4, 2: 0.5})
    assert full.seeds == pytest.approx({0: 0.35, 1: 0.6})
    assert full.difference is not None
    assert full.difference.by_seed == pytest.approx({0: 0.05, 1: 0.2})
    assert (none.incomplete, full.incomplete) == (False, True)
    assert compare(trials[:3], METRIC, "none").pooled == ()


def test_intervals_for_all_differences_at_once_are_those_of_sidak(record: MakeRecord) -> None:
    rng = np.random.default_rng(0)
    trials = [
        record(arm, seed, float(rng.uniform(0.4, 0.6)))
        for arm in ("none", "a", "b", "c")
        for seed in range(6)
    ]
    for cell in compare(trials, METRIC, "none").cells[1:]:
        found = cell.difference
        assert found is not None
        assert found.simultaneous is not None
        own = [*found.by_seed.values()]
        expected = stats.t.interval(0.95 ** (1 / 3), 5, np.mean(own), stats.sem(own))
        assert found.simultaneous == pytest.approx(expected)
        bias = 1 - 3 / (4 * 5 - 1)
        assert found.effect_size == pytest.approx(np.mean(own) / np.std(own, ddof=1) * bias)


def test_runs_far_below_their_cell_are_found() -> None:
    values = {0: 0.90, 1: 0.91, 2: 0.92, 3: 0.10, 4: 0.89, 5: 0.65}
    assert collapsed_seeds(values, METRIC) == [3, 5]
    assert collapsed_seeds({seed: -value for seed, value in values.items()}, "train/loss") == [
        3,
        5,
    ]
    assert not collapsed_seeds({0: 0.9, 1: 0.1, 2: 0.9}, METRIC)
    assert not collapsed_seeds({0: 0.900, 1: 0.900, 2: 0.900, 3: 0.890}, METRIC)


def test_second_best_and_best_seed(record: MakeRecord) -> None:
    trials = [
        record(arm, s, v)
        for arm, row in {"a": (0.5, 0.5), "b": (0.25, 0.5), "c": (0.25, 0.25)}.items()
        for s, v in enumerate(row)
    ]
    one, two, three = compare(trials, METRIC).cells
    assert [(c.best, c.second) for c in (one, two, three)] == [
        (True, False),
        (False, True),
        (False, False),
    ]
    assert two.best_seed == 0.5


def test_pruned_trials_enter_on_demand_with_a_warning(record: MakeRecord) -> None:
    trials = [record(seed=0, accuracy=0.5), record(seed=1, accuracy=1.0, outcome=Outcome.PRUNED)]
    comparison = compare(trials, METRIC, include_pruned=True)
    (cell,) = comparison.cells
    assert (cell.n, cell.mean, cell.incomplete) == (2, 0.75, True)
    assert re.search("^Pruned trials .*last value", comparison.warnings[0])


def test_a_condition_is_named_by_the_settings_that_tell_it_from_the_others(
    record: MakeRecord,
) -> None:
    """The margin varies between arms, momentum nowhere, the seed between trials."""
    trials = [
        record(
            arm,
            seed,
            condition=f"rate {rate}",
            parameters={
                "data.noise.rate": rate,
                "meta.lr": "0.1" if rate == "0.2" else "0.2",
                "loss.margin.enabled": str(arm == "full"),
                "optimizer.momentum": "0.9",
                "seed": str(seed),
            },
        )
        for rate in ("0.2", "0.4")
        for arm in ("none", "full")
        for seed in (0, 1)
    ]
    comparison = compare(trials, METRIC, condition_order=["rate 0.2", "rate 0.4", "no trial yet"])
    assert comparison.settings == {
        "rate 0.2": {"data.noise.rate": "0.2", "meta.lr": "0.1"},
        "rate 0.4": {"data.noise.rate": "0.4", "meta.lr": "0.2"},
    }
    cells = json.loads(render(comparison_table(comparison), "json"))["cells"]
    assert cells[0]["settings"] == {"data.noise.rate": 0.2, "meta.lr": 0.1}
    assert cells[-1]["settings"] == {"data.noise.rate": None, "meta.lr": None}
    rows = list(csv.DictReader(io.StringIO(render(comparison_table(comparison), "csv"))))
    assert (rows[2]["meta.lr"], rows[-1]["meta.lr"]) == ("0.2", "")
