"""Trains one classifier with its loss, epoch by epoch.

Source: arXiv 2211.12506 v2 and, where the paper is silent, the authors' released code. The order
of an epoch with a learned loss: rank all samples; in warm-up train with cross-entropy; afterwards
draw metadata, then per batch look ahead, update the loss, update the classifier; finally pass
over the metadata. Without a part to learn, that pass alone remains of it. Any other loss trains
plainly from the first epoch to the last.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dynaloss.config.trial import TrialConfig
from dynaloss.learning.batches import Batch, Split, TrainingBatches
from dynaloss.learning.classifier import Classifier
from dynaloss.learning.determinism import check_determinism, deterministic_algorithms
from dynaloss.learning.diagnostics import Ranking, ranking_of, weak_logits
from dynaloss.learning.evaluation import Evaluator
from dynaloss.learning.losses import TrainingLoss
from dynaloss.learning.losses._learned import LearnedLoss
from dynaloss.learning.meta.metadata import MetadataSampler
from dynaloss.learning.mixup import Mixup
from dynaloss.learning.reports import Diverged, EpochReport
from dynaloss.learning.stacked_passes import Ask, StackedClassifier, StackedNetwork
from dynaloss.learning.steps import LossLearner, Stepper, present
from dynaloss.learning.streams import LayerStream, Streams

_STREAMS = ("augmentation", "batch_order", "metadata", "metadata_order", "pseudo_labels")


@dataclass(slots=True, kw_only=True)
class _Tally:
    """Gathers an epoch's losses on the device, and the time of the meta steps."""

    losses: list[Tensor] = field(default_factory=list)
    finetune_losses: list[Tensor] = field(default_factory=list)
    meta_seconds: float = 0.0


class Trainer:
    """Trains a classifier, and its loss, on one biased training set.

    Args:
        config: Settings of the trial.
        model: Classifier on `device`; trained in place.
        loss: The loss of `config.loss` on `device`; its parameters are meta-learned in place.
        train: The biased training set.
        evaluations: Sets to evaluate after every epoch, by role (`val`, `test`).
        num_classes: Number of classes C.
        clean_set: Where `config.sampler` names a file of metadata: positions in the training
            set; otherwise None.
        num_clean_labels: Clean labels that the trial uses elsewhere, such as for validation.
        streams: Source of the random streams.
        device: Where the tensors live.
        ask: Where the passes of the classifier are computed together with those of other
            trials; None where they are computed at once.
    """

    def __init__(
        self,
        *,
        config: TrialConfig,
        model: nn.Module,
        loss: LearnedLoss | TrainingLoss[Any],
        train: Split,
        evaluations: Mapping[str, Split],
        num_classes: int,
        clean_set: Tensor | None,
        num_clean_labels: int,
        streams: Streams,
        device: torch.device,
        ask: Ask | None = None,
    ) -> None:
        self._config = config
        self.model = model
        self.loss = loss
        self.train = train
        self.evaluations = dict(evaluations)
        self.epoch = 0
        self.has_diverged = False
        self._streams, self._device = streams, device
        self._layers = LayerStream(streams.derive("layers"), device)
        self._plain = loss if isinstance(loss, TrainingLoss) else None
        alpha = config.data.views.mixup
        self._mixup = Mixup(alpha, num_classes, streams) if alpha else None
        network = None if ask is None else StackedNetwork(model, config, ask)
        self._classifier = (
            Classifier(model, config.schedule, device)
            if network is None
            else StackedClassifier(network, config.schedule, device)
        )
        generators = {name: streams.torch(name, device) for name in _STREAMS}
        self._generators = generators
        self._stepper = Stepper(self._classifier, config)
        self._learner: LossLearner | None = None
        if isinstance(loss, LearnedLoss) and config.loss.is_learned:
            optimizer, pseudo_labels = self._stepper.optimizer, generators["pseudo_labels"]
            self._learner = LossLearner(
                loss, self._classifier, optimizer, config, pseudo_labels, network
            )
        self._sampler = MetadataSampler(
            train.observed_labels,
            clean_set=clean_set,
            seed=generators["metadata"],
            **dict(config.sampler),
        )
        self._clean_labels = num_clean_labels + self._sampler.num_clean_labels
        is_true = self._sampler.has_true_labels
        self._metadata_labels = train.true_labels if is_true else train.observed_labels
        self._batches = TrainingBatches(train, self._metadata_labels, config, generators)
        self._evaluator = Evaluator(self._classifier, loss, train, evaluations, num_classes)
        self._everything = torch.arange(len(train.observed_labels))
        # Logits of the training set by the present classifier, once they are known.
        self._train_logits: Tensor | None = None
        if config.schedule.deterministic:
            check_determinism(device)

    @property
    def is_done(self) -> bool:
        """Whether the last epoch is over."""
        return self.epoch >= self._config.schedule.epochs

    def epochs(self) -> Iterator[EpochReport]:
        """Trains to the last epoch, and yields one report an epoch.

        Raises:
            Diverged: If a loss or a weight is not finite; the state is then no longer good.
        """
        is_deterministic = self._config.schedule.deterministic
        while not self.is_done:
            with self._layers.active(), deterministic_algorithms(is_deterministic):
                report = self._run_epoch()
            yield report

    def _run_epoch(self) -> EpochReport:
        started = time.perf_counter()
        tally = _Tally()
        metrics = self._train_epoch(tally)
        metrics["train/loss"] = self._mean_loss(tally)
        training_seconds = time.perf_counter() - started
        self.epoch += 1
        metrics |= self._evaluator.evaluate()
        metrics |= self._evaluator.fit_metrics(self._logits_of_train())
        metrics["labels/clean_used"] = float(self._clean_labels)
        metrics["time/epoch_seconds"] = time.perf_counter() - started
        metrics["time/images_per_second"] = len(self._everything) / training_seconds
        if self._learner is not None:
            metrics["time/meta_share"] = tally.meta_seconds / training_seconds
        return EpochReport(epoch=self.epoch, metrics=metrics)

    def _train_epoch(self, tally: _Tally) -> dict[str, float]:
        if self._mixup is not None:
            self._mixup.start_epoch(self.epoch)
        if isinstance(self.loss, TrainingLoss) or not self._config.loss.draws_metadata:
            if self._plain is not None:
                self._plain.start_epoch(self.epoch)
            self._plain_epoch(self._everything, tally)
            return {}
        ranking = self._ranking()
        if self.epoch < self._config.schedule.warmup_epochs:
            self._warmup_epoch(ranking.ranks, tally)
            return self._evaluator.loss_metrics(ranking)
        metadata, rest = self._sampler.draw(self.epoch, ranking.losses)
        if self._learner is None:
            self._plain_epoch(rest, tally)
        else:
            self._meta_epoch(self._learner, metadata, rest, ranking.ranks, tally)
        if self._config.loss.finetunes:
            self._finetune(self.loss, metadata, tally)
        purity = self._evaluator.metadata_metrics(metadata, self._metadata_labels)
        return self._evaluator.loss_metrics(ranking) | purity

    def _mean_loss(self, tally: _Tally) -> float:
        """Mean of the training losses; checks all that must be finite after an epoch."""
        # Once an epoch rather than once a batch: every look at a value waits for the device.
        losses = torch.stack(tally.losses + tally.finetune_losses)
        broken = torch.nonzero(~torch.isfinite(losses)).flatten().tolist()
        if broken:
            self._diverge(broken[0] + 1, "the training loss")
        # A loss is computed before its step, so the last step's damage shows in the weights only.
        state = [*self.model.state_dict().values(), *self.loss.state_dict().values()]
        finite = torch.stack([torch.isfinite(tensor).all() for tensor in state])
        if not finite.all():
            self._diverge(len(losses), "a weight")
        return float(losses[: len(tally.losses)].mean())

    def _diverge(self, batch: int, what: str) -> None:
        self.has_diverged = True
        raise Diverged(self.epoch + 1, batch, what)

    def _plain_epoch(self, indices: Tensor, tally: _Tally) -> None:
        """Trains on the strong view."""
        self._start_training()
        for batch in self._paced(indices, weak=False):
            tally.losses.append(self._plain_step(batch))

    def _warmup_epoch(self, all_ranks: Tensor, tally: _Tally) -> None:
        """Trains by cross-entropy on the strong view; the loss may be fitted beside it."""
        length = self._config.loss.warm_start_length(self._config.schedule.warmup_epochs)
        learner = self._learner if self.epoch < length else None
        needs_weak = learner is not None and learner.needs_weak
        self._start_training()
        for batch in self._paced(self._everything, weak=needs_weak):
            if learner is not None:
                learner.warm_start(batch, all_ranks[batch.indices])
            tally.losses.append(self._plain_step(batch))

    def _plain_step(self, batch: Batch) -> Tensor:
        images, labels = self._mixed(batch)
        logits = self._classifier(images)
        if self._plain is None:
            return self._stepper.descend(F.cross_entropy(logits, labels))
        return self._stepper.descend(self._plain(logits, labels, batch.indices))

    def _mixed(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Strong views and labels, mixed where `data.views.mixup` says so."""
        images = present(batch.strong)
        return (images, batch.labels) if self._mixup is None else self._mixup(images, batch.labels)

    def _meta_epoch(
        self,
        learner: LossLearner,
        metadata: Tensor,
        rest: Tensor,
        all_ranks: Tensor,
        tally: _Tally,
    ) -> None:
        """Trains loss and classifier on the rest; every so many batches with a meta step."""
        self._start_training()
        metadata_batches = self._batches.endless_metadata(metadata)
        batches = self._paced(rest, weak=learner.needs_weak)
        for number, batch in enumerate(batches):
            started, ranks = time.perf_counter(), all_ranks[batch.indices]
            is_meta_step = number % self._config.meta.every == 0
            outer = next(metadata_batches) if is_meta_step else None
            criterion = learner.criterion(batch, ranks, outer)
            if is_meta_step:
                tally.meta_seconds += time.perf_counter() - started
            images = present(batch.strong)
            if self._mixup is not None:
                images, criterion = self._mixup.with_criterion(images, criterion)
            logits = self._classifier(images)
            tally.losses.append(self._stepper.descend(criterion(logits)))

    def _paced(self, indices: Tensor, *, weak: bool) -> Iterator[Batch]:
        """Batches of the epoch, each at its learning rate; the last one's stays afterwards."""
        count = self._batches.count(indices)
        for number, batch in enumerate(self._batches.of(indices, weak=weak)):
            self._stepper.set_rate(self.epoch, number / count)
            yield batch

    def _finetune(self, loss: LearnedLoss, metadata: Tensor, tally: _Tally) -> None:
        """One pass over the metadata: strong view, their labels, with the margin."""
        with torch.no_grad():
            margins = loss.finetune_margins()
        for batch in self._batches.metadata(metadata):
            images, labels = self._mixed(batch)
            logits = self._classifier(images) + margins
            value = self._stepper.descend(F.cross_entropy(logits, labels))
            tally.finetune_losses.append(value)

    def _start_training(self) -> None:
        self._classifier.train()
        self._train_logits = None

    def _logits_of_train(self) -> Tensor:
        """Logits of the training set on the weak view; computed once for one classifier."""
        if self._train_logits is None:
            self._train_logits = weak_logits(self._classifier, self.train)
        return self._train_logits

    def _ranking(self) -> Ranking:
        loss, labels = self._config.loss, self.train.observed_labels
        generator = None
        if loss.has_random_ranks:  # a stream of the epoch, so that no state is to be remembered
            generator = self._streams.torch(f"ranks/{self.epoch}", self._device)
        return ranking_of(self._logits_of_train(), labels, loss.num_ranks, generator)

    def diagnostics(self) -> dict[str, dict[str, Any]]:
        """Returns what the loss learned and what the classifier confuses, as plain values.

        `corrector`: see `corrector_table`, with ranks by the present classifier; `margins`: per
        class, with the observed class counts; `confusion`: of the test set, rows true classes.
        What does not exist in this trial has no entry.
        """
        with deterministic_algorithms(self._config.schedule.deterministic):
            return self._evaluator.diagnostics(self._ranking() if self._learner else None)

    def state_dict(self) -> dict[str, Any]:
        """Returns everything that the next epoch depends on; plain values and tensors only.

        The tensors are the live ones: save or copy them before training on.
        """
        return {
            "epoch": self.epoch,
            "generators": {name: g.get_state() for name, g in self._generators.items()},
            **{name: part.state_dict() for name, part in self._parts().items()},
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continues from a state that `state_dict` returned, bit for bit where torch is exact.

        It is on a CPU, and on a GPU with `schedule.deterministic`.
        """
        self.epoch = state["epoch"]
        self.has_diverged = False
        self._train_logits = None
        for name, generator in self._generators.items():
            generator.set_state(state["generators"][name])
        for name, part in self._parts().items():
            part.load_state_dict(state[name])

    def _parts(self) -> dict[str, Any]:
        """Whatever has a state of its own, by its name in a state."""
        return {
            "model": self.model,
            "optimizer": self._stepper.optimizer,
            "loss": self.loss,
            "sampler": self._sampler,
            "layers": self._layers,
            "last": self._evaluator,
            **({"meta_optimizer": self._learner.meta.optimizer} if self._learner else {}),
        }
