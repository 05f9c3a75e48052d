from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from sklearn.metrics import accuracy_score, balanced_accuracy_score

from dynaloss.learning.diagnostics import weak_logits
from dynaloss.learning.evaluation import Evaluator
from dynaloss.learning.trainer import Trainer


@pytest.fixture
def trainer(make_trainer: Callable[..., Trainer]) -> Trainer:
    trainer = make_trainer("none", epochs=1)
    next(trainer.epochs())
    return trainer


def _evaluate(trainer: Trainer) -> dict[str, float]:
    evaluator = Evaluator(
        model=trainer.model,
        loss=trainer.loss,
        train=trainer.train,
        evaluations={"val": trainer.evaluations["test"]},
        num_classes=3,
    )
    return evaluator.evaluate()


def test_noisy_validation_is_scored_against_the_true_labels_too(trainer: Trainer) -> None:
    split = trainer.evaluations["test"]
    metrics = _evaluate(trainer)
    predictions = weak_logits(trainer.model, split).argmax(dim=1)
    for role, labels in (("val", split.observed_labels), ("val_clean", split.true_labels)):
        assert metrics[f"{role}/accuracy"] == pytest.approx(accuracy_score(labels, predictions))
        assert metrics[f"{role}/balanced_accuracy"] == pytest.approx(
            balanced_accuracy_score(labels, predictions)
        )
    assert metrics["val/accuracy"] != metrics["val_clean/accuracy"]
    assert metrics["val_clean/accuracy_last10"] == metrics["val_clean/accuracy"]


def test_labels_that_are_all_true_have_no_clean_metrics(trainer: Trainer) -> None:
    split = trainer.evaluations["test"]
    split.observed_labels = split.true_labels  # type: ignore[misc] # plain attributes here
    assert not [name for name in _evaluate(trainer) if "clean" in name]
    assert torch.equal(split.observed_labels, split.true_labels)
