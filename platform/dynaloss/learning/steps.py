"""The steps that change a classifier and its loss, one batch at a time."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable

import torch
from torch import Tensor, nn

from dynaloss.config.trial import OptimizerConfig, ScheduleConfig, TrialConfig
from dynaloss.learning.batches import Batch
from dynaloss.learning.classifier import Classifier
from dynaloss.learning.losses._learned import LearnedLoss
from dynaloss.learning.meta.network import Network
from dynaloss.learning.meta_step import MetaStep

_RAMP_START = 0.1


class Stepper:
    """Steps of SGD or AdamW, which train the classifier in place."""

    def __init__(self, classifier: Classifier, config: TrialConfig) -> None:
        self._classifier = classifier
        self._inner, self._schedule = config.optimizer, config.schedule
        weights = classifier.model.parameters()
        self.optimizer = _optimizer(weights, config.optimizer)

    def set_rate(self, epoch: int, share: float) -> None:
        """Sets the classifier's learning rate in an epoch; see `learning_rate`."""
        lr = learning_rate(epoch, share, base_lr=self._inner.lr, schedule=self._schedule)
        for group in self.optimizer.param_groups:
            group["lr"] = lr

    def descend(self, loss: Tensor) -> Tensor:
        """One step of the classifier; returns the loss without its graph."""
        self.optimizer.zero_grad(set_to_none=True)
        self._classifier.backward(loss)
        self.optimizer.step()
        return loss.detach()


def _optimizer(weights: Iterable[nn.Parameter], config: OptimizerConfig) -> torch.optim.Optimizer:
    if config.name == "adamw":
        betas = config.beta1, config.beta2
        return torch.optim.AdamW(
            weights, config.lr, betas, config.eps, weight_decay=config.weight_decay
        )
    return torch.optim.SGD(
        weights, lr=config.lr, momentum=config.momentum, weight_decay=config.weight_decay
    )


class LossLearner:
    """Steps of Adam on the batches of a split, which train a learned loss in place."""

    def __init__(
        self,
        loss: LearnedLoss,
        classifier: Classifier,
        optimizer: torch.optim.Optimizer,
        config: TrialConfig,
        pseudo_labels: torch.Generator,
        network: Network | None = None,
    ) -> None:
        self.loss = loss
        self._classifier = classifier
        self.meta = MetaStep(
            classifier.model,
            optimizer,
            loss,
            lr=config.meta.lr,
            hypergradient=config.meta.hypergradient,
            seed=pseudo_labels,
            network=network,
        )

    @property
    def needs_weak(self) -> bool:
        """Whether the loss looks at weak views."""
        return self.loss.look_ahead_view == "weak"

    def warm_start(self, batch: Batch, ranks: Tensor) -> None:
        """See `MetaStep.warm_start`."""
        with self._classifier.precision():
            self.meta.warm_start(self._view(batch), batch.labels, ranks)

    def criterion(
        self, batch: Batch, ranks: Tensor, metadata: Batch | None
    ) -> Callable[[Tensor], Tensor]:
        """The loss of the classifier's step, after a meta step if there are metadata."""
        view = self._view(batch)
        with self._classifier.precision():
            if metadata is None:
                return self.meta.criterion(view, batch.labels, ranks)
            outer = present(metadata.strong)
            return self.meta.step(view, batch.labels, ranks, outer, metadata.labels)

    def _view(self, batch: Batch) -> Tensor:
        return present(batch.weak if self.needs_weak else batch.strong)


def learning_rate(epoch: int, share: float, *, base_lr: float, schedule: ScheduleConfig) -> float:
    """Returns the learning rate in an epoch: a linear ramp, and a decay, by default a cosine.

    Source: arXiv 2211.12506, implementation details, which leave the relation of the two open;
    `ScheduleConfig.cosine` chooses it. The ramp goes from a tenth to the whole over the first
    `ramp_epochs`; the decay is set once an epoch.

    Args:
        epoch: Counted from 0.
        share: Of the epoch's batches that are done, in [0, 1).
        base_lr: Peak learning rate.
        schedule: Lengths of ramp and training, the decay, and `cosine`.
    """
    epochs, ramp_epochs = schedule.epochs, schedule.ramp_epochs
    if schedule.cosine == "from_start":
        ramp = _ramp(epoch + share, ramp_epochs) if epoch < ramp_epochs else 1.0
        return ramp * _decayed(base_lr, epoch / epochs, schedule)
    if epoch < ramp_epochs:
        return base_lr * _ramp(epoch, ramp_epochs)
    progress = (epoch - ramp_epochs) / max(1, epochs - ramp_epochs)
    return _decayed(base_lr, progress, schedule)


def _ramp(epochs: float, ramp_epochs: int) -> float:
    return _RAMP_START + (1 - _RAMP_START) * epochs / ramp_epochs


def _decayed(base_lr: float, progress: float, schedule: ScheduleConfig) -> float:
    """The rate after a share of the epochs that it falls over."""
    match schedule.decay:
        case "cosine":
            return base_lr * 0.5 * (1 + math.cos(math.pi * progress))
        case "linear":
            return base_lr * (1 - progress)
        case "steps":
            passed = sum(
                progress >= share for share in (schedule.first_step, schedule.second_step)
            )
            return base_lr * schedule.step_factor**passed
    return base_lr


def present(view: Tensor | None) -> Tensor:
    """Returns a view that was asked for."""
    if view is None:
        raise ValueError("the split made no view although it was asked for one.")
    return view
