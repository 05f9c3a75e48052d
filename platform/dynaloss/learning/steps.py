"""The steps that change a classifier and its loss, one batch at a time."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from dynaloss.config.trial import TrialConfig
from dynaloss.learning.batches import Batch
from dynaloss.learning.classifier import Classifier
from dynaloss.learning.losses import TrainingLoss
from dynaloss.learning.losses._dynamic_loss import LabelCorrector, warm_start_loss
from dynaloss.learning.losses._learned import LearnedLoss
from dynaloss.learning.meta.hypergradient import (
    HYPERGRADIENTS,
    LookAhead,
    MetaStep,
    batch_statistics,
)
from dynaloss.learning.models.heads import last_linear

_RAMP_START = 0.1


class Stepper:
    """Both optimisers and their steps, which train the classifier and the loss in place."""

    def __init__(
        self,
        classifier: Classifier,
        loss: LearnedLoss | TrainingLoss[Any],
        config: TrialConfig,
        pseudo_labels: torch.Generator,
    ) -> None:
        self._classifier = classifier
        self._model = model = classifier.model
        self._inner, self._schedule = config.optimizer, config.schedule
        self._pseudo_labels = pseudo_labels
        self._phi = list(loss.parameters()) if isinstance(loss, LearnedLoss) else []
        self._is_head = config.meta.hypergradient == "head"
        self._hypergradient = HYPERGRADIENTS[config.meta.hypergradient]
        self.optimizer = torch.optim.SGD(model.parameters(), **config.optimizer.model_dump())
        self.meta_optimizer = torch.optim.Adam([{"params": self._phi}], lr=config.meta.lr)

    def start_epoch(self, epoch: int) -> None:
        """Sets the classifier's learning rate of an epoch, counted from 0."""
        epochs, ramp_epochs = self._schedule.epochs, self._schedule.ramp_epochs
        lr = learning_rate(epoch, base_lr=self._inner.lr, epochs=epochs, ramp_epochs=ramp_epochs)
        for group in self.optimizer.param_groups:
            group["lr"] = lr

    def descend(self, loss: Tensor) -> Tensor:
        """One step of SGD on the classifier; returns the loss without its graph."""
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call] # torch has no annotation for it
        self.optimizer.step()
        return loss.detach()

    def fit_corrector(self, corrector: LabelCorrector, batch: Batch, ranks: Tensor) -> None:
        """One step of the corrector's warm start, on the weak view."""
        probs = F.softmax(self._train_mode_logits(present(batch.weak)), dim=1)
        observed = probs.gather(1, batch.labels.unsqueeze(1)).squeeze(1)
        loss = warm_start_loss(corrector(ranks, batch.labels), observed)
        self._update_loss(torch.autograd.grad(loss, self._phi, allow_unused=True))

    def meta_step(self, loss: LearnedLoss, batch: Batch, ranks: Tensor, metadata: Batch) -> Tensor:
        """Updates the loss parameters; returns the look-ahead logits before the real step."""
        inner = partial(
            loss.look_ahead_loss, labels=batch.labels, ranks=ranks, generator=self._pseudo_labels
        )
        with self._only_looked_ahead():
            step = MetaStep(
                model=self._model,
                inputs=_look_ahead_view(loss, batch),
                inner_loss=inner,
                outer_inputs=present(metadata.strong),
                outer_loss=partial(F.cross_entropy, target=metadata.labels),
                loss_parameters=self._phi,
                look_ahead=self._look_ahead(),
                precision=self._classifier.precision,
            )
            result = self._hypergradient(step)
        self._update_loss(result.gradients)
        return result.logits

    def real_step(
        self, loss: LearnedLoss, batch: Batch, ranks: Tensor, logits: Tensor | None
    ) -> Tensor:
        """One step of SGD on the strong view with the present loss; returns its loss."""
        # After a meta step its look-ahead logits serve: the weights have not moved since.
        if logits is None and loss.needs_logits:
            logits = self._train_mode_logits(_look_ahead_view(loss, batch))
        real_loss = loss.real_loss(logits, batch.labels, ranks, self._pseudo_labels)
        return self.descend(real_loss(self._classifier(present(batch.strong))))

    def _update_loss(self, gradients: tuple[Tensor | None, ...]) -> None:
        for parameter, gradient in zip(self._phi, gradients, strict=True):
            parameter.grad = gradient
        self.meta_optimizer.step()

    def _look_ahead(self) -> LookAhead:
        state = self.optimizer.state
        return LookAhead(
            lr=self.optimizer.param_groups[0]["lr"],
            momentum=self._inner.momentum,
            weight_decay=self._inner.weight_decay,
            buffers={
                name: state[weight]["momentum_buffer"]
                for name, weight in self._model.named_parameters()
                if weight.requires_grad and state[weight].get("momentum_buffer") is not None
            },
        )

    @contextmanager
    def _only_looked_ahead(self) -> Iterator[None]:
        """Lets only the weights that the look-ahead step moves require gradients, for a block."""
        moved = last_linear(self._model) if self._is_head else self._model
        kept = {id(weight) for weight in moved.parameters()}
        frozen = [w for w in self._model.parameters() if w.requires_grad and id(w) not in kept]
        for weight in frozen:
            weight.requires_grad_(False)
        try:
            yield
        finally:
            for weight in frozen:
                weight.requires_grad_(True)

    @torch.no_grad()
    def _train_mode_logits(self, images: Tensor) -> Tensor:
        with batch_statistics(self._model):
            return self._classifier(images)  # type: ignore[no-any-return] # a module's call has no type


def learning_rate(epoch: int, *, base_lr: float, epochs: int, ramp_epochs: int) -> float:
    """Returns the learning rate of an epoch: a linear ramp, then a cosine down to zero.

    Source: arXiv 2211.12506, implementation details. The ramp goes from 0.1 x `base_lr` to
    `base_lr` over the first `ramp_epochs`; the cosine, set once an epoch, spans the others of
    `epochs`. An epoch is counted from 0.
    """
    if epoch < ramp_epochs:
        return base_lr * (_RAMP_START + (1 - _RAMP_START) * epoch / ramp_epochs)
    progress = (epoch - ramp_epochs) / max(1, epochs - ramp_epochs)
    return base_lr * 0.5 * (1 + math.cos(math.pi * progress))


def _look_ahead_view(loss: LearnedLoss, batch: Batch) -> Tensor:
    return present(batch.weak if loss.look_ahead_view == "weak" else batch.strong)


def present(view: Tensor | None) -> Tensor:
    """Returns a view that was asked for."""
    if view is None:
        raise ValueError("the split made no view although it was asked for one.")
    return view
