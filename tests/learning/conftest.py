from __future__ import annotations

import io
import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from dynaloss.learning.batches import Batch
from dynaloss.learning.losses.dynamic import DynamicLoss, LabelCorrector, MarginGenerator
from dynaloss.learning.meta.sampler import SamplerSettings
from dynaloss.learning.models import build_model
from dynaloss.learning.streams import Streams, default_generator_seeded
from dynaloss.learning.trainer import Trainer, TrainerSettings

NUM_CLASSES = 3
NUM_RANKS = 5
INPUT_SHAPE = (1, 4, 4)
ARMS = {
    "none": (False, False),
    "corrector": (True, False),
    "margin": (False, True),
    "full": (True, True),
}


class TinySplit:
    """Synthetic images in memory, which remembers every batch that it gave."""

    def __init__(self, images: Tensor, observed: Tensor, true: Tensor) -> None:
        self.images = images
        self.observed_labels = observed
        self.true_labels = true
        self.given: list[Batch] = []

    def batches(
        self,
        indices: Sequence[Tensor],
        *,
        weak: bool = False,
        strong: bool = False,
        generator: torch.Generator | None = None,
    ) -> Iterator[Batch]:
        for chosen in indices:
            images = self.images[chosen]
            noise = torch.randn(images.shape, generator=generator) if strong else 0.0
            batch = Batch(
                indices=chosen,
                labels=self.observed_labels[chosen],
                weak=images if weak else None,
                strong=images + 0.1 * noise if strong else None,
            )
            self.given.append(batch)
            yield batch


def _split(seed: int) -> TinySplit:
    """64 images of three classes, 32 / 20 / 12, a quarter of them mislabelled."""
    generator = torch.Generator().manual_seed(seed)
    true = torch.repeat_interleave(torch.arange(NUM_CLASSES), torch.tensor([32, 20, 12]))
    centres = 2 * torch.randn(NUM_CLASSES, *INPUT_SHAPE, generator=generator)
    images = centres[true] + torch.randn(64, *INPUT_SHAPE, generator=generator)
    hit = torch.rand(64, generator=generator) < 0.25
    observed = torch.where(hit, (true + 1) % NUM_CLASSES, true)
    return TinySplit(images, observed, true)


def _loss(arm: str, seed: int = 0) -> DynamicLoss:
    corrector, margin = ARMS[arm]
    with default_generator_seeded(seed):
        return DynamicLoss(
            corrector=LabelCorrector(num_ranks=NUM_RANKS, num_classes=NUM_CLASSES, per_class=True)
            if corrector
            else None,
            margin=MarginGenerator(num_classes=NUM_CLASSES) if margin else None,
            pseudo_labels="sampled",
            margin_in_finetune=True,
        )


def _trainer(
    arm: str = "full",
    *,
    seed: int = 0,
    dtype: Any = None,
    loss: Any = None,
    model: nn.Module | None = None,
    clean_set: Tensor | None = None,
    **settings: Any,
) -> Trainer:
    streams = Streams(base_seed=0, seed=seed)
    train, test = _split(1), _split(2)
    model = model or build_model(
        "small_cnn", input_shape=INPUT_SHAPE, num_classes=NUM_CLASSES, seed=streams.derive("model")
    )
    loss = loss or _loss(arm, streams.derive("loss"))
    if dtype is not None:
        model, loss = model.to(dtype), loss.to(dtype)
        train.images, test.images = train.images.to(dtype), test.images.to(dtype)
    defaults: dict[str, Any] = {
        "epochs": 4,
        "warmup_epochs": 1,
        "ramp_epochs": 2,
        "batch_size": 16,
        "lr": 0.05,
        "momentum": 0.9,
        "weight_decay": 5e-4,
        "meta_lr": 1e-2,
        "meta_every": 2,
        "meta_batch_size": 4,
        "num_ranks": NUM_RANKS,
        "hypergradient": "forward",
        "warm_start_epochs": 1,
        "finetune": True,
        "mixup": 0.0,
        "precision": "float32",
        "is_deterministic": False,
        "is_compiled": False,
    }
    sampler: dict[str, Any] = {
        "kind": "hierarchical",
        "random_ratio": 0.5,
        "low_loss_ratio": 0.5,
        "every": 1,
        "keep_in_train": False,
    }
    sampler |= {name: settings.pop(name) for name in list(settings) if name in sampler}
    defaults["sampler"] = SamplerSettings(**sampler)
    return Trainer(
        model=model,
        loss=loss,
        train=train,
        evaluations={"test": test},
        num_classes=NUM_CLASSES,
        settings=TrainerSettings(**(defaults | settings)),
        clean_set=clean_set,
        num_clean_labels=0,
        streams=streams,
        device=torch.device("cpu"),
    )


@pytest.fixture
def make_trainer() -> Callable[..., Trainer]:
    """Trains a small CNN on a `TinySplit`: arm, seed, dtype, model and any setting."""
    return _trainer


def _facts(trainer: Trainer, epochs: int | None = None) -> list[dict[str, float]]:
    """Everything in the reports of so many more epochs but the times."""
    return [
        {"epoch": report.epoch}
        | {name: v for name, v in report.metrics.items() if not name.startswith("time/")}
        for report in itertools.islice(trainer.epochs(), epochs)
    ]


def _resumes(make: Callable[[], Trainer], stop: int = 2) -> None:
    whole, first, second = make(), make(), make()
    expected = _facts(whole)
    found = _facts(first, stop)
    file = io.BytesIO()
    torch.save(first.state_dict(), file)
    file.seek(0)
    with default_generator_seeded(99):  # whatever else drew in between
        second.load_state_dict(torch.load(file, weights_only=True))
        found += _facts(second)
    assert found == expected
    for ours, theirs in ((second.model, whole.model), (second.loss, whole.loss)):
        pairs = zip(ours.state_dict().values(), theirs.state_dict().values(), strict=True)
        assert all(torch.equal(a, b) for a, b in pairs)
    assert second.diagnostics() == whole.diagnostics()


@pytest.fixture
def assert_resumes() -> Callable[..., None]:
    """Stopped after so many epochs, a trainer goes on from a file as if it had not been."""
    return _resumes


@pytest.fixture
def make_loss() -> Callable[..., DynamicLoss]:
    """A loss of an arm for three classes and five ranks, drawn from a seed."""
    return _loss


@pytest.fixture
def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)
