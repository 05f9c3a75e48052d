"""What a metric's name says."""

from __future__ import annotations

import math

import pytest

from dynaloss.analysis import metrics


@pytest.mark.parametrize(
    "metric", ["test/accuracy", "test/accuracy_last10", "corrector/auc", "corrector/weight_clean"]
)
def test_higher_is_better(metric: str) -> None:
    assert metrics.higher_is_better(metric)


@pytest.mark.parametrize(
    "metric",
    [
        "train/loss",
        "train/loss_last10",
        "test/calibration_error",
        "time/epoch_seconds",
        "memorisation/observed_fit_noisy",
        "corrector/weight_noisy",
    ],
)
def test_lower_is_better(metric: str) -> None:
    assert not metrics.higher_is_better(metric)


def test_accuracy_is_shown_in_percent_with_one_decimal() -> None:
    assert metrics.format_mean("test/accuracy", 0.8734, 0.0119) == "87.3 ± 1.2"


def test_other_metrics_have_four_significant_digits() -> None:
    assert metrics.format_mean("train/loss", 0.123456, 1.23456e-5) == "0.1235 ± 1.235e-05"


def test_one_seed_shows_the_mean_alone() -> None:
    assert metrics.format_mean("test/accuracy", 0.8734, math.nan) == "87.3"


def test_difference_always_has_a_sign() -> None:
    assert metrics.format_signed("test/accuracy", 0.062) == "+6.2"
    assert metrics.format_signed("train/loss", -0.5) == "-0.5"


def test_mean_of_the_last_epochs_is_defined_by_its_metric() -> None:
    text = metrics.definition("test/accuracy_last10")
    assert text is not None
    assert text.endswith("Mean of the last 10 epochs.")


def test_unknown_metric_has_no_definition() -> None:
    assert metrics.definition("my/own") is None
