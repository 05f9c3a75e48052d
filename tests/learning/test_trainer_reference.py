"""The trainer against the method written out plainly, replayed on the trainer's own batches."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Callable, Iterator

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional as F

from dynaloss.config import ScheduleConfig
from dynaloss.learning.batches import Batch
from dynaloss.learning.losses._dynamic_loss import sample_pseudo_labels, warm_start_loss
from dynaloss.learning.meta.ranks import rank_bins
from dynaloss.learning.steps import learning_rate
from dynaloss.learning.streams import Streams
from dynaloss.learning.trainer import Trainer

MakeTrainer = Callable[..., Trainer]


def _sgd(model: nn.Module) -> torch.optim.SGD:
    return torch.optim.SGD(model.parameters(), lr=1.0, momentum=0.9, weight_decay=5e-4)


def _set_rate(optimizer: torch.optim.SGD, epoch: int, number: int) -> None:
    """Of a batch of four."""
    schedule = ScheduleConfig(epochs=4, warmup_epochs=1, ramp_epochs=2)
    rate = learning_rate(epoch, number / 4, base_lr=0.05, schedule=schedule)
    optimizer.param_groups[0]["lr"] = rate


def test_without_components_is_plain_cross_entropy_training(make_trainer: MakeTrainer) -> None:
    trainer = make_trainer("none")
    model = copy.deepcopy(trainer.model)
    reports = list(trainer.epochs())
    optimizer, batches = _sgd(model), iter(trainer.train.given)
    for epoch, report in enumerate(reports):
        losses = []
        model.train()
        for number, batch in enumerate(itertools.islice(batches, 4)):
            assert batch.weak is None
            _set_rate(optimizer, epoch, number)
            loss = F.cross_entropy(model(batch.strong), batch.labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        assert next(batches).strong is None  # how far the training set is fitted
        assert report.metrics["train/loss"] == pytest.approx(np.mean(losses))
    assert next(batches, None) is None
    assert torch.equal(
        torch.cat([weight.flatten() for weight in trainer.model.parameters()]),
        torch.cat([weight.flatten() for weight in model.parameters()]),
    )


def test_the_pass_over_the_metadata_alone_follows_cross_entropy_on_the_rest(
    make_trainer: MakeTrainer,
) -> None:
    """An epoch of warm-up, and one whose metadata, three of each class, come at the end."""
    trainer = make_trainer("finetune")
    model = copy.deepcopy(trainer.model)
    list(itertools.islice(trainer.epochs(), 2))
    descended = [batch for batch in trainer.train.given if batch.strong is not None]
    warmup, rest, metadata = descended[:4], descended[4:8], descended[8:]
    of_metadata = torch.cat([batch.indices for batch in metadata])
    everything = torch.cat([*(batch.indices for batch in rest), of_metadata])
    assert torch.equal(everything.sort().values, torch.arange(64))
    assert trainer.train.observed_labels[of_metadata].bincount().tolist() == [3, 3, 3]
    optimizer = _sgd(model)
    model.train()
    for epoch, batches in enumerate((warmup, rest)):
        for number, batch in enumerate(batches):
            _set_rate(optimizer, epoch, number)
            _descend(model, optimizer, batch)
    for batch in metadata:
        _descend(model, optimizer, batch)
    for name, value in model.state_dict().items():
        assert torch.equal(trainer.model.state_dict()[name], value)


def _descend(model: nn.Module, optimizer: torch.optim.SGD, batch: Batch) -> None:
    optimizer.zero_grad()
    F.cross_entropy(model(batch.strong), batch.labels).backward()
    optimizer.step()


class _Unrolled:
    """The method written out plainly, with a second-order graph, on the batches of a trainer."""

    def __init__(self, trainer: Trainer) -> None:
        self.model, self.loss = copy.deepcopy(trainer.model), copy.deepcopy(trainer.loss)
        self.optimizer = _sgd(self.model)
        self.adam = torch.optim.Adam(self.loss.parameters(), lr=1e-2)
        self.generator = Streams(base_seed=0, seed=0).torch("pseudo_labels")

    def replay(self, batches: Iterator[Batch], labels: Tensor, meta_every: int) -> None:
        """One epoch of warm-up, then one with meta steps."""
        ranks = self._rank(next(batches), labels)
        for number, batch in enumerate(itertools.islice(batches, 4)):
            _set_rate(self.optimizer, 0, number)
            probs = self.model(batch.weak).softmax(1).detach()  # counts in the statistics
            observed = probs[torch.arange(len(batch.labels)), batch.labels]
            weights = self.loss.corrector(ranks[batch.indices], batch.labels)
            self._adam_step(warm_start_loss(weights, observed))
            self._descend(F.cross_entropy(self.model(batch.strong), batch.labels))
        ranks = self._rank(next(batches), labels)
        for number, batch in enumerate(itertools.islice(_train_batches(batches), 4)):
            _set_rate(self.optimizer, 1, number)
            logits = self._forward(self._copy(), batch.weak)
            if number % meta_every == 0:
                self._meta_step(batch, logits, ranks, next(batches))
            self.optimizer.zero_grad()
            pseudo_labels = sample_pseudo_labels(logits, self.generator)
            logits = self.model(batch.strong)
            self._descend(self.loss(logits, batch.labels, ranks[batch.indices], pseudo_labels))
        for batch in batches:
            logits = self.model(batch.strong) + self.loss.margin().detach()
            self._descend(F.cross_entropy(logits, batch.labels))

    def _rank(self, everything: Batch, labels: Tensor) -> Tensor:
        with torch.no_grad():
            logits = self.model.eval()(everything.weak)
        self.model.train()
        return rank_bins(F.cross_entropy(logits, labels, reduction="none"), labels, 5)

    def _copy(self) -> dict[str, Tensor]:
        return dict(self.model.named_parameters())

    def _forward(self, weights: dict[str, Tensor], inputs: Tensor | None) -> Tensor:
        buffers = {name: buffer.clone() for name, buffer in self.model.named_buffers()}
        logits: Tensor = functional_call(self.model, {**weights, **buffers}, (inputs,))
        return logits

    def _meta_step(self, batch: Batch, logits: Tensor, ranks: Tensor, metadata: Batch) -> None:
        pseudo_labels = sample_pseudo_labels(logits, self.generator)
        inner = self.loss(logits, batch.labels, ranks[batch.indices], pseudo_labels)
        weights = self._copy()
        gradients = torch.autograd.grad(inner, list(weights.values()), create_graph=True)
        lr = self.optimizer.param_groups[0]["lr"]
        ahead = {
            name: w - lr * (0.9 * self.optimizer.state[w]["momentum_buffer"] + g + 5e-4 * w)
            for (name, w), g in zip(weights.items(), gradients, strict=True)
        }
        outer = F.cross_entropy(self._forward(ahead, metadata.strong), metadata.labels)
        self._adam_step(outer)

    def _adam_step(self, loss: Tensor) -> None:
        self.adam.zero_grad()
        loss.backward()
        self.adam.step()

    def _descend(self, loss: Tensor) -> None:
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()


def _train_batches(batches: Iterator[Batch]) -> Iterator[Batch]:
    for batch in batches:
        assert batch.weak is not None
        yield batch


@pytest.mark.parametrize("meta_every", [1, 2, 3])
def test_equals_the_method_with_an_unrolled_gradient(
    meta_every: int, make_trainer: MakeTrainer
) -> None:
    trainer = make_trainer("full", dtype=torch.float64, meta_every=meta_every)
    reference = _Unrolled(trainer)
    start = [p.detach().clone() for p in trainer.loss.parameters()]
    list(itertools.islice(trainer.epochs(), 2))
    batches = iter(trainer.train.given[:-1])  # the last one looks at the fit
    reference.replay(batches, trainer.train.observed_labels, meta_every)
    pairs = [(trainer.model, reference.model), (trainer.loss, reference.loss)]
    for ours, theirs in pairs:
        for name, value in theirs.state_dict().items():
            torch.testing.assert_close(ours.state_dict()[name], value, rtol=1e-7, atol=1e-9)
    moved = zip(trainer.loss.parameters(), start, strict=True)
    assert all((after - before).abs().max() > 1e-3 for after, before in moved)
