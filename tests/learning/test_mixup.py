from __future__ import annotations

import itertools
from collections.abc import Callable

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from torch.nn import functional as F

from dynaloss.config.families import LOSSES
from dynaloss.learning.losses import TrainingFacts
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


def test_mixup_refuses_a_learned_loss(make_trainer: Callable[..., Trainer]) -> None:
    facts = r"'cross_entropy'.* data\.views\.mixup .*above 0.*'dynamic'.*no target"
    with pytest.raises(ValidationError, match=facts):
        make_trainer("full", mixup=1.0)
