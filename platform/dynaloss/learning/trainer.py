"""Trains one classifier with the Dynamic Loss, epoch by epoch.

Source: arXiv 2211.12506 v2 and, where the paper is silent, the authors' released code. The order
of an epoch: rank all samples; in warm-up train with cross-entropy; afterwards draw metadata, then
per batch look ahead, update the loss, update the classifier; at last pass over the metadata.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dynaloss.errors import InputError
from dynaloss.learning.batches import Batch, Split, equal_batches
from dynaloss.learning.diagnostics import (
    Ranking,
    confusion,
    corrector_metrics,
    corrector_table,
    rank_split,
)
from dynaloss.learning.dynamic_loss import (
    DynamicLoss,
    LabelCorrector,
    sample_pseudo_labels,
    warm_start_loss,
)
from dynaloss.learning.hypergradient import LookAhead, batch_statistics, hypergradient
from dynaloss.learning.metadata import hierarchical_sample
from dynaloss.learning.metrics import accuracy_metrics
from dynaloss.learning.reports import Diverged, EpochReport
from dynaloss.learning.schedule import learning_rate
from dynaloss.learning.settings import TrainerSettings
from dynaloss.learning.streams import Streams

__all__ = ["Diverged", "EpochReport", "Trainer", "TrainerSettings"]

# The mean over this many last epochs is reported beside the last epoch.
NUM_LAST_EPOCHS = 10
STREAMS = ("augmentation", "batch_order", "metadata", "metadata_order", "pseudo_labels")


@dataclass(slots=True, kw_only=True)
class _Tally:
    """Gathers an epoch's losses on the device, and the time that meta steps take."""

    losses: list[Tensor] = field(default_factory=list)
    meta_seconds: float = 0.0


class Trainer:
    """Trains a classifier, and its loss, on one biased training set.

    Args:
        model: Classifier on `device`; trained in place.
        loss: The loss on `device`; its parameters are meta-learned in place.
        train: The biased training set.
        evaluations: Sets to evaluate after every epoch, by role (`validation`, `test`).
        num_classes: Number of classes C.
        settings: See `TrainerSettings`.
        streams: Source of the random streams.
        device: Where the tensors live.
    """

    def __init__(
        self,
        *,
        model: nn.Module,
        loss: DynamicLoss,
        train: Split,
        evaluations: Mapping[str, Split],
        num_classes: int,
        settings: TrainerSettings,
        streams: Streams,
        device: torch.device,
    ) -> None:
        self.model = model
        self.loss = loss
        self.train = train
        self.evaluations = dict(evaluations)
        self.num_classes = num_classes
        self.settings = settings
        self.epoch = 0
        self.optimizer = torch.optim.SGD(
            model.parameters(),
            lr=settings.lr,
            momentum=settings.momentum,
            weight_decay=settings.weight_decay,
        )
        self.meta_optimizer = torch.optim.Adam(
            [{"params": loss.parameters()}], lr=settings.meta_lr
        )
        self._generators = {name: streams.torch(name, device) for name in STREAMS}
        self._last: dict[str, deque[float]] = {}

    # -- epochs ---------------------------------------------------------------------------

    def epochs(self) -> Iterator[EpochReport]:
        """Trains on, one report an epoch, until the last epoch.

        Raises:
            Diverged: If the training loss is not finite.
        """
        while self.epoch < self.settings.epochs:
            yield self._run_epoch()

    def _run_epoch(self) -> EpochReport:
        started = time.perf_counter()
        self._set_learning_rate()
        tally = _Tally()
        metrics = self._train_epoch(tally)
        metrics["train/loss"] = self._mean_loss(tally)
        training_seconds = time.perf_counter() - started
        self.epoch += 1
        metrics |= self._evaluate()
        metrics["time/epoch_seconds"] = time.perf_counter() - started
        if self.loss.is_learned:
            metrics["time/meta_share"] = tally.meta_seconds / training_seconds
        return EpochReport(epoch=self.epoch, metrics=metrics)

    def _train_epoch(self, tally: _Tally) -> dict[str, float]:
        everything = torch.arange(len(self.train.observed_labels))
        if not self.loss.is_learned:
            self._warmup(everything, tally)
            return {}
        ranking = rank_split(self.model, self.train, self.settings.num_ranks)
        if self.epoch < self.settings.warmup_epochs:
            self._warmup(everything, tally, ranking.ranks)
            return self._corrector_metrics(ranking)
        metadata = self._draw_metadata(ranking)
        rest = _without(everything, metadata)
        if not len(rest):
            raise InputError(
                "`random_ratio` x `low_loss_ratio` leaves no sample to train on: lower one."
            )
        self._meta_epoch(rest, metadata, ranking.ranks, tally)
        if self.settings.finetune:
            self._finetune(metadata)
        return self._corrector_metrics(ranking) | {
            "sampler/metadata_purity": self._purity(metadata)
        }

    def _set_learning_rate(self) -> None:
        lr = learning_rate(
            self.epoch,
            base_lr=self.settings.lr,
            epochs=self.settings.epochs,
            ramp_epochs=self.settings.ramp_epochs,
        )
        for group in self.optimizer.param_groups:
            group["lr"] = lr

    def _mean_loss(self, tally: _Tally) -> float:
        losses = torch.stack(tally.losses)
        broken = torch.nonzero(~torch.isfinite(losses)).flatten().tolist()
        if broken:
            raise Diverged(self.epoch + 1, broken[0] + 1)
        return float(losses.mean())

    # -- the parts of an epoch ------------------------------------------------------------

    def _draw_metadata(self, ranking: Ranking) -> Tensor:
        return hierarchical_sample(
            ranking.losses,
            self.train.observed_labels,
            random_ratio=self.settings.random_ratio,
            low_loss_ratio=self.settings.low_loss_ratio,
            generator=self._generators["metadata"],
        )

    def _warmup(self, indices: Tensor, tally: _Tally, ranks: Tensor | None = None) -> None:
        """Cross-entropy on observed labels; a warm-started corrector is fitted beside it."""
        corrector = self.loss.corrector if self.settings.warm_start else None
        self.model.train()
        for batch in self._train_batches(indices, weak=corrector is not None):
            if corrector is not None and ranks is not None:
                self._fit_corrector(corrector, batch, ranks[batch.indices])
            loss = F.cross_entropy(self.model(batch.strong), batch.labels)
            self._descend(loss)
            tally.losses.append(loss.detach())

    def _fit_corrector(self, corrector: LabelCorrector, batch: Batch, ranks: Tensor) -> None:
        probs = F.softmax(self._train_mode_logits(batch.weak), dim=1)
        observed = probs.gather(1, batch.labels.unsqueeze(1)).squeeze(1)
        loss = warm_start_loss(corrector(ranks, batch.labels), observed)
        self._update_loss(torch.autograd.grad(loss, self._loss_parameters(), allow_unused=True))

    def _meta_epoch(
        self, indices: Tensor, metadata: Tensor, all_ranks: Tensor, tally: _Tally
    ) -> None:
        self.model.train()
        metadata_batches = self._endless(metadata)
        for number, batch in enumerate(self._train_batches(indices, weak=True)):
            ranks = all_ranks[batch.indices]
            if number % self.settings.meta_every == 0:
                started = time.perf_counter()
                logits = self._meta_step(batch, ranks, next(metadata_batches))
                tally.meta_seconds += time.perf_counter() - started
            else:
                logits = None
            tally.losses.append(self._real_step(batch, ranks, logits))

    def _meta_step(self, batch: Batch, ranks: Tensor, metadata: Batch) -> Tensor:
        """Updates the loss parameters; returns the weak logits before the real step."""
        result = hypergradient(
            self.model,
            _present(batch.weak),
            partial(self._inner_loss, labels=batch.labels, ranks=ranks),
            _present(metadata.strong),
            partial(F.cross_entropy, target=metadata.labels),
            self._loss_parameters(),
            self._look_ahead(),
        )
        self._update_loss(result.gradients)
        return result.logits

    def _inner_loss(self, logits: Tensor, *, labels: Tensor, ranks: Tensor) -> Tensor:
        loss: Tensor = self.loss(logits, labels, ranks, self._pseudo_labels(logits))
        return loss

    def _real_step(self, batch: Batch, ranks: Tensor, logits: Tensor | None) -> Tensor:
        """One step of SGD on the strong view with the present loss; returns its loss."""
        if logits is None and self.loss.corrector is not None:
            logits = self._train_mode_logits(batch.weak)
        with torch.no_grad():
            pseudo_labels = None if logits is None else self._pseudo_labels(logits)
            targets = self.loss.targets(batch.labels, ranks, pseudo_labels)
            margins = self.loss.margins()
        loss = F.cross_entropy(self.model(batch.strong) + margins, targets)
        self._descend(loss)
        return loss.detach()

    def _finetune(self, metadata: Tensor) -> None:
        """One pass over the metadata: strong view, observed labels, with the margin."""
        order = self._shuffled(metadata, "metadata_order")
        batches = equal_batches(order, self.settings.meta_batch_size)
        with torch.no_grad():
            margins = self.loss.margins()
        for batch in self._augmented(batches):
            self._descend(F.cross_entropy(self.model(batch.strong) + margins, batch.labels))

    # -- steps and batches ----------------------------------------------------------------

    def _descend(self, loss: Tensor) -> None:
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call] # torch has no annotation for it
        self.optimizer.step()

    def _update_loss(self, gradients: tuple[Tensor | None, ...]) -> None:
        for parameter, gradient in zip(self._loss_parameters(), gradients, strict=True):
            parameter.grad = gradient
        self.meta_optimizer.step()

    def _loss_parameters(self) -> list[nn.Parameter]:
        return list(self.loss.parameters())

    def _look_ahead(self) -> LookAhead:
        state = self.optimizer.state
        return LookAhead(
            lr=self.optimizer.param_groups[0]["lr"],
            momentum=self.settings.momentum,
            weight_decay=self.settings.weight_decay,
            buffers={
                name: state[weight]["momentum_buffer"]
                for name, weight in self.model.named_parameters()
                if state[weight].get("momentum_buffer") is not None
            },
        )

    @torch.no_grad()
    def _train_mode_logits(self, images: Tensor | None) -> Tensor:
        with batch_statistics(self.model):
            logits: Tensor = self.model(images)
        return logits

    def _pseudo_labels(self, logits: Tensor) -> Tensor | None:
        if self.loss.corrector is None:
            return None
        return sample_pseudo_labels(logits, self._generators["pseudo_labels"])

    def _shuffled(self, indices: Tensor, stream: str) -> Tensor:
        generator = self._generators[stream]
        order = torch.randperm(len(indices), generator=generator, device=generator.device)
        return indices[order.to(indices.device)]

    def _train_batches(self, indices: Tensor, *, weak: bool) -> Iterator[Batch]:
        order = self._shuffled(indices, "batch_order")
        return self._augmented(equal_batches(order, self.settings.batch_size), weak=weak)

    def _augmented(self, batches: list[Tensor], *, weak: bool = False) -> Iterator[Batch]:
        return self.train.batches(
            batches, weak=weak, strong=True, generator=self._generators["augmentation"]
        )

    def _endless(self, metadata: Tensor) -> Iterator[Batch]:
        """Yields metadata batches without end, in a new order at each pass."""
        while True:
            order = self._shuffled(metadata, "metadata_order")
            yield from self._augmented(equal_batches(order, self.settings.meta_batch_size))

    # -- reports --------------------------------------------------------------------------

    def _evaluate(self) -> dict[str, float]:
        metrics: dict[str, float] = {}
        for role, split in self.evaluations.items():
            metrics |= accuracy_metrics(confusion(self.model, split, self.num_classes), role)
        return metrics | self._last_means(metrics)

    def _last_means(self, metrics: dict[str, float]) -> dict[str, float]:
        means = {}
        for name, value in metrics.items():
            window = self._last.setdefault(name, deque(maxlen=NUM_LAST_EPOCHS))
            window.append(value)
            means[f"{name}_last{NUM_LAST_EPOCHS}"] = sum(window) / len(window)
        return means

    def _purity(self, metadata: Tensor) -> float:
        observed, true = self.train.observed_labels[metadata], self.train.true_labels[metadata]
        return float((observed == true).double().mean())

    def _corrector_metrics(self, ranking: Ranking) -> dict[str, float]:
        if self.loss.corrector is None:
            return {}
        labels = self.train.observed_labels
        return corrector_metrics(self.loss.corrector, ranking, labels, self.train.true_labels)

    @torch.no_grad()
    def diagnostics(self) -> dict[str, dict[str, Any]]:
        """Returns what the loss learned and what the classifier confuses, as plain values.

        `corrector`: see `corrector_table`, with ranks by the present classifier; `margins`: per
        class, with the observed class counts; `confusion`: of the test set, rows true classes.
        What does not exist in this trial has no entry.
        """
        entries: dict[str, dict[str, Any]] = {}
        labels = self.train.observed_labels
        if self.loss.corrector is not None:
            ranking = rank_split(self.model, self.train, self.settings.num_ranks)
            entries["corrector"] = corrector_table(
                self.loss.corrector, ranking, labels, self.train.true_labels
            )
        if self.loss.margin is not None:
            counts = torch.bincount(labels, minlength=self.num_classes)
            margins = self.loss.margin().tolist()
            entries["margins"] = {"margins": margins, "class_counts": counts.tolist()}
        if "test" in self.evaluations:
            matrix = confusion(self.model, self.evaluations["test"], self.num_classes)
            entries["confusion"] = {"matrix": matrix.tolist()}
        return entries

    # -- state ----------------------------------------------------------------------------

    def state_dict(self) -> dict[str, Any]:
        """Returns everything that the next epoch depends on; plain values and tensors only.

        The tensors are the live ones: save or copy them before training on.
        """
        return {
            "epoch": self.epoch,
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "loss": self.loss.state_dict(),
            "meta_optimizer": self.meta_optimizer.state_dict(),
            "generators": {name: g.get_state() for name, g in self._generators.items()},
            "last": {name: list(window) for name, window in self._last.items()},
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continues from a state that `state_dict` returned, bit for bit on CPU."""
        self.epoch = state["epoch"]
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.loss.load_state_dict(state["loss"])
        self.meta_optimizer.load_state_dict(state["meta_optimizer"])
        for name, generator in self._generators.items():
            generator.set_state(state["generators"][name])
        self._last = {
            name: deque(values, maxlen=NUM_LAST_EPOCHS) for name, values in state["last"].items()
        }


def _without(everything: Tensor, removed: Tensor) -> Tensor:
    keep = torch.ones(len(everything), dtype=torch.bool)
    keep[removed.cpu()] = False
    return everything[keep]


def _present(view: Tensor | None) -> Tensor:
    if view is None:
        raise ValueError("the split made no view although it was asked for one.")
    return view
