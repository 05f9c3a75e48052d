from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as sklearn_metrics

from dynaloss.learning.metrics import (
    accuracy_metrics,
    area_under_curve,
    confusion_matrix,
    top5_metrics,
)

PAIRS = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=50)


@given(st.lists(st.tuples(st.integers(0, 6), st.booleans()), min_size=2, max_size=50))
@settings(max_examples=100, deadline=None)
def test_area_under_curve_agrees_with_sklearn(samples: list[tuple[int, bool]]) -> None:
    scores, positive = zip(*samples, strict=True)
    found = area_under_curve(torch.tensor(scores) / 7, torch.tensor(positive))
    if len(set(positive)) < 2:
        assert math.isnan(found)
    else:
        assert found == pytest.approx(sklearn_metrics.roc_auc_score(positive, scores))


@given(PAIRS)
@settings(max_examples=100, deadline=None)
def test_accuracies_agree_with_sklearn(pairs: list[tuple[int, int]]) -> None:
    labels, predictions = (np.array(side) for side in zip(*pairs, strict=True))
    confusion = confusion_matrix(torch.tensor(labels), torch.tensor(predictions), 4)
    assert np.array_equal(
        confusion, sklearn_metrics.confusion_matrix(labels, predictions, labels=range(4))
    )
    present = np.unique(labels)
    recalls = sklearn_metrics.recall_score(
        labels, predictions, labels=present, average=None, zero_division=0
    )
    assert accuracy_metrics(confusion, "test") == pytest.approx(
        {
            "test/accuracy": sklearn_metrics.accuracy_score(labels, predictions),
            "test/balanced_accuracy": recalls.mean(),
            "test/worst_class_accuracy": recalls.min(),
        },
        rel=1e-12,
    )


def test_balanced_accuracy_agrees_with_sklearns_own() -> None:
    labels, predictions = [0, 0, 0, 0, 1, 1, 2], [0, 0, 0, 1, 1, 2, 0]
    confusion = confusion_matrix(torch.tensor(labels), torch.tensor(predictions), 3)
    assert accuracy_metrics(confusion, "test")["test/balanced_accuracy"] == pytest.approx(
        sklearn_metrics.balanced_accuracy_score(labels, predictions), rel=1e-12
    )


def test_accuracies_are_as_exact_as_python_floats() -> None:
    assert accuracy_metrics(torch.tensor([[9, 1], [0, 10]]), "val")["val/accuracy"] == 0.95


def test_top5_accuracy_is_that_of_scikit_learn() -> None:
    generator = torch.Generator().manual_seed(0)
    logits, labels = torch.randn(200, 11, generator=generator), torch.arange(200) % 11
    expected = sklearn_metrics.top_k_accuracy_score(labels, logits, k=5)
    assert top5_metrics(logits, labels, "val") == {"val/top5_accuracy": pytest.approx(expected)}
    assert not top5_metrics(logits[:, :10], labels % 10, "val")
