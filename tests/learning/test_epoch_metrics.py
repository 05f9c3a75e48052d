from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import stats

from dynaloss.learning.metrics import (
    expected_calibration_error,
    margin_metrics,
    memorisation_metrics,
    shot_accuracies,
    shot_groups,
    spearman_correlation,
)


def _members(counts: list[int]) -> dict[str, list[int]]:
    groups = shot_groups(torch.tensor(counts))
    return {name: classes.nonzero().flatten().tolist() for name, classes in groups.items()}


def test_calibration_error_by_bins_counted_in_numpy(generator: torch.Generator) -> None:
    probs = torch.randn(500, 4, generator=generator).mul(2).softmax(1)
    labels = torch.randint(4, (500,), generator=generator)
    confidence, hit = probs.max(1).values.numpy(), (probs.argmax(1) == labels).numpy()
    expected = 0.0
    for low, high in zip(np.linspace(0, 1, 16)[:-1], np.linspace(0, 1, 16)[1:], strict=True):
        inside = (confidence > low) & (confidence <= high)
        if inside.any():
            gap = abs(hit[inside].mean() - confidence[inside].astype(np.float64).mean())
            expected += inside.mean() * gap
    assert expected > 0.1
    assert expected_calibration_error(probs, labels) == pytest.approx(expected, rel=1e-9)


def test_a_sure_and_right_classifier_is_calibrated() -> None:
    assert expected_calibration_error(torch.eye(3), torch.arange(3)) == 0


def test_shots_by_the_known_thresholds() -> None:
    groups = _members([300, 101, 100, 20, 19, 5])
    assert groups == {"many_shot": [0, 1], "medium_shot": [2, 3], "few_shot": [4, 5]}


def test_shots_by_thirds_where_a_group_would_be_empty() -> None:
    groups = _members([200, 5000, 1000, 500, 400, 300, 900])
    assert groups == {"many_shot": [1, 2], "medium_shot": [3, 4, 6], "few_shot": [0, 5]}


@pytest.mark.parametrize("counts", [[50, 50, 50], [60, 40, 50], [100, 1]])
def test_balanced_data_have_no_shots(counts: list[int]) -> None:
    assert _members(counts) == {}


def test_accuracy_of_the_shots_is_the_mean_over_their_classes() -> None:
    confusion = torch.tensor([[8, 2, 0, 0], [1, 1, 0, 0], [0, 0, 0, 5], [0, 0, 0, 0]])
    many, few = torch.tensor([True, True, False, False]), torch.tensor([False, False, True, True])
    found = shot_accuracies(confusion, {"many_shot": many, "few_shot": few}, "test")
    expected = {"test/many_shot_accuracy": 0.65, "test/few_shot_accuracy": 0.0}
    assert found == pytest.approx(expected)


def test_memorisation_counted_by_hand() -> None:
    observed = torch.tensor([0, 0, 1, 1, 2, 2])
    true = torch.tensor([0, 0, 1, 2, 0, 1])
    predictions = torch.tensor([0, 1, 1, 1, 0, 0])
    assert memorisation_metrics(predictions, observed, true) == pytest.approx(
        {
            "memorisation/observed_fit_noisy": 1 / 3,
            "memorisation/true_fit_noisy": 1 / 3,
            "memorisation/fit_clean": 2 / 3,
        }
    )


def test_without_noise_there_is_nothing_to_memorise() -> None:
    labels = torch.arange(3)
    assert memorisation_metrics(labels, labels, labels) == {"memorisation/fit_clean": 1.0}


def test_spearman_equals_that_of_scipy(generator: torch.Generator) -> None:
    first = torch.randint(5, (20,), generator=generator)
    second = torch.randint(5, (20,), generator=generator) + first
    expected = stats.spearmanr(first, second).statistic
    assert spearman_correlation(first, second) == pytest.approx(expected)


def test_margins_of_balanced_classes_have_no_correlation() -> None:
    found = margin_metrics(torch.tensor([1.0, 3.0, 2.0]), torch.tensor([5, 5, 5]))
    assert found == {"margin/range": 2.0}
