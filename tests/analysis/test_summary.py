"""Sentences say no more than the numbers bear out."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from dynaloss.analysis import compare
from dynaloss.analysis.wording import summarise
from dynaloss.studies.trial_record import Outcome, TrialRecord

MakeRecord = Callable[..., TrialRecord]


def sentence(
    record: MakeRecord,
    none: Sequence[float],
    full: Sequence[float],
    *,
    baseline: str | None = "none",
) -> str:
    trials = [record("none", seed, value, condition="C") for seed, value in enumerate(none)]
    trials += [record("full", seed, value, condition="C") for seed, value in enumerate(full)]
    (text,) = summarise(compare(trials, "test/accuracy", baseline))
    return text


def test_clear_difference(record: MakeRecord) -> None:
    assert sentence(record, [0.5, 0.5625, 0.5] * 2, [0.75] * 6) == (
        "At C, full has the best mean, 75.0 ± 0.0 %, "
        "+22.9 points against none [19.5, 26.3], better, p 0.031, n = 6 seeds."
    )


def test_three_seeds_are_too_few_for_a_verdict(record: MakeRecord) -> None:
    text = sentence(record, [0.5, 0.5625, 0.5], [0.75, 0.75, 0.75])
    assert "[14.0, 31.9], inconclusive, n = 3 seeds" in text


def test_interval_over_zero_is_inconclusive(record: MakeRecord) -> None:
    assert "], inconclusive, n =" in sentence(record, [0.5, 0.75], [0.75, 0.625])


def test_one_seed_is_inconclusive(record: MakeRecord) -> None:
    text = sentence(record, [0.5], [0.75])
    assert "inconclusive with one shared seed, n = 1 seed." in text


def test_baseline_may_be_the_best(record: MakeRecord) -> None:
    text = sentence(record, [0.75], [0.5])
    end = "the baseline itself, with a clear difference to no other arm, n = 1 seed."
    assert text == f"At C, none has the best mean, 75.0 %, {end}"
    text = sentence(record, [0.75] * 6, [0.5, 0.5625, 0.5] * 2)
    assert "the baseline itself, with a clear difference to 1 of the 1 other, n = 6 seeds" in text


def test_a_shared_best_mean_names_both_arms(record: MakeRecord) -> None:
    text = sentence(record, [0.75], [0.75])
    assert "none has the best mean, 75.0 %, shared with full, the baseline itself" in text


def test_no_baseline(record: MakeRecord) -> None:
    text = sentence(record, [0.5], [0.75], baseline=None)
    assert text == "At C, full has the best mean, 75.0 %, n = 1 seed."


def test_no_shared_seed(record: MakeRecord) -> None:
    trials = [record("none", 0, 0.5), record("full", 1, 0.75)]
    (text,) = summarise(compare(trials, "test/accuracy", "none"))
    assert "not comparable with none, no seed is shared, n = 1 seed" in text


def test_missing_seeds_are_named(record: MakeRecord) -> None:
    trials = [record("full", 0), record("full", 1, None, outcome=Outcome.DIVERGED)]
    (text,) = summarise(compare(trials, "test/accuracy"))
    assert text.endswith("n = 1 seed of 2.")


def test_condition_without_results_has_a_sentence(record: MakeRecord) -> None:
    trials = [record(condition="A"), record(condition="B", outcome=Outcome.FAILED)]
    assert "At B, no trial has completed" in summarise(compare(trials, "test/accuracy"))[1]
