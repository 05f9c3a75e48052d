"""The numbers of an epoch: accuracy by role, fit of the training set, what the loss learned."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dynaloss.learning.batches import Split
from dynaloss.learning.diagnostics import (
    Ranking,
    corrector_metrics,
    corrector_table,
    weak_logits,
)
from dynaloss.learning.losses import TrainingLoss
from dynaloss.learning.losses._dynamic_loss import DynamicLoss
from dynaloss.learning.losses._learned import LearnedLoss
from dynaloss.learning.metrics import (
    accuracy_metrics,
    confusion_matrix,
    expected_calibration_error,
    margin_metrics,
    memorisation_metrics,
    shot_accuracies,
    shot_groups,
    top5_metrics,
)

# The mean over this many last epochs is reported beside the last epoch.
_NUM_LAST_EPOCHS = 10
_VALIDATION = "val"


class Evaluator:
    """Evaluates a classifier and its loss after each epoch, on sets by role; changes neither."""

    def __init__(
        self,
        model: nn.Module,
        loss: LearnedLoss | TrainingLoss[Any],
        train: Split,
        evaluations: Mapping[str, Split],
        num_classes: int,
    ) -> None:
        self._model = model
        dynamic = loss if isinstance(loss, DynamicLoss) else None
        self._corrector = dynamic.corrector if dynamic else None
        self._margin = dynamic.margin if dynamic else None
        self._train = train
        self._evaluations = dict(evaluations)
        self._num_classes = num_classes
        self._groups = shot_groups(torch.bincount(train.true_labels, minlength=num_classes))
        self._last: dict[str, deque[float]] = {}

    def evaluate(self) -> dict[str, float]:
        """Accuracy and calibration by role, with the means of the last epochs.

        Validation whose observed labels are partly wrong is also scored against the true ones,
        as `val_clean/accuracy` and `val_clean/balanced_accuracy`: for information only, since
        selection by them would use clean labels.
        """
        metrics: dict[str, float] = {}
        for role, split in self._evaluations.items():
            metrics |= self._evaluate_role(role, split)
        return metrics | self._last_means(metrics)

    def _evaluate_role(self, role: str, split: Split) -> dict[str, float]:
        logits, labels = weak_logits(self._model, split), split.observed_labels
        predictions = logits.argmax(dim=1)
        matrix = self._confusion(labels, predictions)
        groups = {name: classes.cpu() for name, classes in self._groups.items()}
        error = expected_calibration_error(F.softmax(logits, dim=1), labels)
        return (
            accuracy_metrics(matrix, role)
            | top5_metrics(logits, labels, role)
            | shot_accuracies(matrix, groups, role)
            | {f"{role}/expected_calibration_error": error}
            | (self._clean_metrics(split, predictions) if role == _VALIDATION else {})
        )

    def _clean_metrics(self, split: Split, predictions: Tensor) -> dict[str, float]:
        if torch.equal(split.observed_labels, split.true_labels):
            return {}
        matrix = self._confusion(split.true_labels, predictions)
        role = f"{_VALIDATION}_clean"
        found = accuracy_metrics(matrix, role)
        return {name: found[name] for name in (f"{role}/accuracy", f"{role}/balanced_accuracy")}

    def _last_means(self, metrics: dict[str, float]) -> dict[str, float]:
        means = {}
        for name, value in metrics.items():
            window = self._last.setdefault(name, deque(maxlen=_NUM_LAST_EPOCHS))
            window.append(value)
            means[f"{name}_last{_NUM_LAST_EPOCHS}"] = sum(window) / len(window)
        return means

    def fit_metrics(self, logits: Tensor) -> dict[str, float]:
        """See `memorisation_metrics`; of the training set's logits (N, C)."""
        train = self._train
        return memorisation_metrics(logits.argmax(dim=1), train.observed_labels, train.true_labels)

    def metadata_metrics(self, metadata: Tensor, labels: Tensor) -> dict[str, float]:
        """Share of the metadata whose label is true, in all and by group of classes.

        Metadata are positions in the training set, labels those of the whole set.
        """
        drawn = labels[metadata]
        clean = (drawn == self._train.true_labels[metadata]).double()
        metrics = {"sampler/metadata_purity": float(clean.mean())}
        for name, classes in self._groups.items():
            if classes[drawn].any():
                metrics[f"sampler/metadata_purity_{name}"] = float(clean[classes[drawn]].mean())
        return metrics

    @torch.no_grad()
    def loss_metrics(self, ranking: Ranking) -> dict[str, float]:
        """What the corrector and the margins of a dynamic loss learned."""
        metrics: dict[str, float] = {}
        labels, true = self._train.observed_labels, self._train.true_labels
        if self._corrector is not None:
            metrics |= corrector_metrics(self._corrector, ranking, labels, true)
        if self._margin is not None:
            metrics |= margin_metrics(self._margin(), self._observed_counts())
        return metrics

    @torch.no_grad()
    def diagnostics(self, ranking: Ranking | None) -> dict[str, dict[str, Any]]:
        """See `Trainer.diagnostics`; `ranking` is that of the present classifier."""
        entries: dict[str, dict[str, Any]] = {}
        labels, true = self._train.observed_labels, self._train.true_labels
        if self._corrector is not None and ranking is not None:
            entries["corrector"] = corrector_table(self._corrector, ranking, labels, true)
        if self._margin is not None:
            margins, counts = self._margin().tolist(), self._observed_counts().tolist()
            entries["margins"] = {"margins": margins, "class_counts": counts}
        if "test" in self._evaluations:
            test = self._evaluations["test"]
            predictions = weak_logits(self._model, test).argmax(dim=1)
            matrix = self._confusion(test.observed_labels, predictions)
            entries["confusion"] = {"matrix": matrix.tolist()}
        return entries

    def _confusion(self, labels: Tensor, predictions: Tensor) -> Tensor:
        return confusion_matrix(labels, predictions, self._num_classes).cpu()

    def _observed_counts(self) -> Tensor:
        return torch.bincount(self._train.observed_labels, minlength=self._num_classes)

    def state_dict(self) -> dict[str, list[float]]:
        """Returns the windows of the last epochs' metrics."""
        return {name: list(window) for name, window in self._last.items()}

    def load_state_dict(self, state: Mapping[str, list[float]]) -> None:
        """Continues from what `state_dict` returned."""
        self._last = {name: deque(values, _NUM_LAST_EPOCHS) for name, values in state.items()}
