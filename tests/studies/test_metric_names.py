"""What a metric's name says."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from dynaloss.studies import metric_names


@pytest.mark.parametrize(
    "metric",
    [
        "test/accuracy",
        "test/accuracy_last10",
        "corrector/auc",
        "corrector/weight_clean",
        "time/images_per_second",
    ],
)
def test_higher_is_better(metric: str) -> None:
    assert metric_names.higher_is_better(metric)


@pytest.mark.parametrize(
    "metric",
    [
        "train/loss",
        "train/loss_last10",
        "test/calibration_error",
        "time/epoch_seconds",
        "memorisation/observed_fit_noisy",
        "corrector/weight_noisy",
        "corrector/saturated",
    ],
)
def test_lower_is_better(metric: str) -> None:
    assert not metric_names.higher_is_better(metric)


def test_accuracy_is_shown_in_percent_with_one_decimal() -> None:
    assert metric_names.format_mean("test/accuracy", 0.8734, 0.0119) == "87.3 ± 1.2"


def test_other_metrics_have_four_significant_digits() -> None:
    assert metric_names.format_mean("train/loss", 0.123456, 1.23456e-5) == "0.1235 ± 1.235e-05"


def test_one_seed_shows_the_mean_alone() -> None:
    assert metric_names.format_mean("test/accuracy", 0.8734, math.nan) == "87.3"


def test_difference_always_has_a_sign() -> None:
    assert metric_names.format_signed("test/accuracy", 0.062) == "+6.2"
    assert metric_names.format_signed("train/loss", -0.5) == "-0.5"


def test_mean_of_the_last_epochs_is_defined_by_its_metric() -> None:
    text = metric_names.definition("test/accuracy_last10")
    assert text is not None
    assert text.endswith("Mean of the last 10 epochs.")


@pytest.mark.parametrize("loss", ["dynamic", "cross_entropy"])
def test_every_metric_that_a_trial_reports_is_defined(loss: str, tmp_path: Path) -> None:
    from dynaloss.config import DataConfig, TrialConfig
    from dynaloss.data.sources import load_source
    from dynaloss.execution.trial.runner import TrialOrder, TrialRunner

    config = TrialConfig.model_validate(
        {
            "data": {
                "noise": {"rate": 0.4},
                "imbalance_factor": 10.0,
                "validation": {"fraction": 0.2},
            },
            "model": {"name": "mlp"},
            "loss": {"name": loss},
            "schedule": {"epochs": 2, "warmup_epochs": 1, "batch_size": 256},
        }
    )
    order = TrialOrder(
        key="k",
        config=config.model_dump(),
        source="digits",
        seed=0,
        base_seed=0,
        checkpoints=str(tmp_path),
    )
    runner = TrialRunner(order, load_source(DataConfig()), gpus=0)
    reported: set[str] = set()
    while (result := runner.step()).outcome is None:
        reported |= {name for _, metrics in result.reports for name in metrics}
    assert len(reported) > 20
    assert {name for name in reported if metric_names.definition(name) is None} == set()


def test_unknown_metric_has_no_definition() -> None:
    assert metric_names.definition("my/own") is None
