from __future__ import annotations

import itertools
from collections.abc import Callable

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from torch.nn import functional as F

from dynaloss.config.families import LOSSES
from dynaloss.learning.batches import Batch
from dynaloss.learning.losses import TrainingFacts
from dynaloss.learning.losses._dynamic_loss import DynamicLoss, sample_pseudo_labels
from dynaloss.learning.mixup import Mixup
from dynaloss.learning.streams import Streams
from dynaloss.learning.trainer import Trainer

STREAMS = Streams(base_seed=0, seed=0)
FACTS = TrainingFacts(class_counts=torch.tensor([5, 3, 2]), epochs=4, streams=STREAMS)


def _mixup(alpha: float = 1.0) -> Mixup:
    return Mixup(alpha, 3, STREAMS)


def test_mixes_with_the_sample_before_by_hand() -> None:
    share = float(STREAMS.numpy("mixup/4").beta(0.4, 0.4))
    mixup = _mixup(0.4)
    mixup.start_epoch(4)
    images, targets = mixup(torch.tensor([[1.0], [10.0], [100.0]]), torch.tensor([0, 2, 1]))
    rest = 1 - share
    expected = [[share + 100 * rest], [10 * share + rest], [100 * share + 10 * rest]]
    torch.testing.assert_close(images, torch.tensor(expected))
    torch.testing.assert_close(
        targets, torch.tensor([[share, rest, 0], [rest, 0, share], [0, share, rest]])
    )
    assert 0 < share < 1


def test_shares_are_those_of_the_beta_distribution() -> None:
    mixup = _mixup(0.3)
    pair = torch.eye(2)
    shares = np.array([mixup(pair, torch.tensor([0, 1]))[0][0, 0].item() for _ in range(4000)])
    # Mean 1/2 and variance 1 / (4 (2 alpha + 1)) of Beta(alpha, alpha).
    assert shares.mean() == pytest.approx(0.5, abs=0.03)
    assert shares.var() == pytest.approx(1 / (4 * 1.6), abs=0.01)


@pytest.mark.parametrize("name", ["cross_entropy", "balanced_softmax", "logit_adjustment"])
def test_loss_of_a_mixed_target_is_the_mixture_of_the_losses(name: str) -> None:
    settings = {"cross_entropy": {"label_smoothing": 0.1}, "logit_adjustment": {"tau": 0.5}}
    config = LOSSES[name].settings.model_validate(settings.get(name, {}))
    assert config.accepts_soft_targets
    loss = LOSSES[name].build(config, FACTS)
    logits = torch.randn(4, 3, generator=torch.Generator().manual_seed(0))
    first, second, indices = (
        torch.tensor([0, 1, 2, 0]),
        torch.tensor([1, 1, 0, 2]),
        torch.arange(4),
    )
    targets = 0.3 * F.one_hot(first, 3) + 0.7 * F.one_hot(second, 3)
    apart = 0.3 * loss(logits, first, indices) + 0.7 * loss(logits, second, indices)
    torch.testing.assert_close(loss(logits, targets, indices), apart)


def test_trains_on_mixed_batches_of_its_own_stream(make_trainer: Callable[..., Trainer]) -> None:
    plain, mixed = make_trainer("none"), make_trainer("none", mixup=1.0)
    seen = []
    mixed.model.register_forward_pre_hook(
        lambda model, inputs: seen.append(inputs[0]) if model.training else None
    )
    for trainer in (plain, mixed):
        list(itertools.islice(trainer.epochs(), 1))
    given = [[b.strong for b in t.train.given if b.strong is not None] for t in (plain, mixed)]
    assert all(torch.equal(a, b) for a, b in zip(*given, strict=True))
    shares = STREAMS.numpy("mixup/0").beta(1.0, 1.0, size=4)
    for images, strong, share in zip(seen, given[1], shares, strict=True):
        before = torch.cat([strong[-1:], strong[:-1]])
        torch.testing.assert_close(images, share * strong + (1 - share) * before)


def test_mixed_training_continues_bit_for_bit(
    make_trainer: Callable[..., Trainer], assert_resumes: Callable[..., None]
) -> None:
    assert_resumes(lambda: make_trainer("none", mixup=0.4))


@pytest.mark.parametrize("arm", ["corrector", "margin", "full"])
def test_mixed_criterion_is_the_loss_of_mixed_corrected_targets(
    arm: str, make_loss: Callable[..., DynamicLoss]
) -> None:
    """Against a cross-entropy of targets that are mixed themselves."""
    loss, draws = make_loss(arm), torch.Generator().manual_seed(0)
    images, logits = (torch.randn(6, 3, generator=draws) for _ in range(2))
    labels, ranks = torch.arange(6) % 3, torch.arange(6) % 5
    before = torch.randn(6, 3, generator=draws)
    streams = [torch.Generator().manual_seed(1) for _ in range(2)]
    criterion = loss.real_loss(before, labels, ranks, streams[0])
    mixed, of_mixed = _mixup(0.5).with_criterion(images, criterion)
    share = float(STREAMS.numpy("mixup/0").beta(0.5, 0.5))
    with torch.no_grad():
        pseudo = sample_pseudo_labels(before, streams[1])
        targets, margins = loss.targets(labels, ranks, pseudo), loss.margins()
    if targets.ndim == 1:
        targets = F.one_hot(targets, 3).float()
    order = [5, 0, 1, 2, 3, 4]
    torch.testing.assert_close(mixed, share * images + (1 - share) * images[order])
    expected = F.cross_entropy(logits + margins, share * targets + (1 - share) * targets[order])
    torch.testing.assert_close(of_mixed(logits), expected)
    assert not torch.allclose(expected, F.cross_entropy(logits + margins, targets))


def test_a_learned_loss_trains_on_mixed_batches_throughout(
    make_trainer: Callable[..., Trainer],
) -> None:
    """Warm-up, real steps and the pass over the metadata; the look-ahead sees none."""
    trainer = make_trainer("full", mixup=0.5, meta_every=1)
    seen: list[torch.Tensor] = []
    trainer.model.register_forward_pre_hook(
        lambda model, inputs: seen.append(inputs[0]) if model.training else None
    )
    list(itertools.islice(trainer.epochs(), 2))
    for batches, epoch in zip(_epochs_of(trainer), (0, 1), strict=True):
        shares = STREAMS.numpy(f"mixup/{epoch}")
        for batch in batches:
            share = shares.beta(0.5, 0.5)
            expected = share * batch.strong + (1 - share) * batch.strong.roll(1, 0)
            assert any(_is_close(images, expected) for images in seen)
            assert not any(_is_close(images, batch.strong) for images in seen)


def _is_close(images: torch.Tensor, expected: torch.Tensor) -> bool:
    return images.shape == expected.shape and torch.allclose(images, expected, atol=1e-6)


def _epochs_of(trainer: Trainer) -> list[list[Batch]]:
    """The batches that each of two epochs descends on: those of the outer loss are left out."""
    given = trainer.train.given
    starts = [number for number, batch in enumerate(given) if batch.strong is None]
    warmup, meta = given[starts[0] + 1 : starts[1]], given[starts[1] + 1 : starts[2]]
    last = max(number for number, batch in enumerate(meta) if batch.weak is not None)
    real = [batch for batch in meta if batch.weak is not None]
    return [warmup, real + meta[last + 2 :]]


def test_mixed_training_of_a_learned_loss_continues_bit_for_bit(
    make_trainer: Callable[..., Trainer], assert_resumes: Callable[..., None]
) -> None:
    assert_resumes(lambda: make_trainer("full", mixup=0.4))


def test_mixup_refuses_a_loss_that_is_not_linear_in_its_target(
    make_trainer: Callable[..., Trainer],
) -> None:
    facts = r"'cross_entropy'.* data\.views\.mixup .*above 0.*'meta_weight_net'.*no target"
    with pytest.raises(ValidationError, match=facts):
        make_trainer(loss={"name": "meta_weight_net"}, mixup=1.0)
