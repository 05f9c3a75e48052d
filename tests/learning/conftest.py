from __future__ import annotations

import io
import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from dynaloss.config import (
    MetaConfig,
    ModelConfig,
    OptimizerConfig,
    SamplerConfig,
    ScheduleConfig,
    TrialConfig,
)
from dynaloss.config.families import LOSSES
from dynaloss.learning.batches import Batch
from dynaloss.learning.losses import TrainingFacts
from dynaloss.learning.losses._dynamic_loss import DynamicLoss
from dynaloss.learning.models.building import build_model
from dynaloss.learning.streams import Streams, default_generator_seeded
from dynaloss.learning.trainer import Trainer

NUM_CLASSES = 3
NUM_RANKS = 5
INPUT_SHAPE = (1, 4, 4)
ARMS = {  # corrector, margin, pass over the metadata
    "none": (False, False, False),
    "finetune": (False, False, True),
    "corrector": (True, False, True),
    "margin": (False, True, True),
    "full": (True, True, True),
}
PLACES = {
    ("hypergradient" if name == "hypergradient" else f"meta_{name}"): ("meta", name)
    for name in MetaConfig.model_fields
} | {
    name: (group, name)
    for group, model in (
        ("schedule", ScheduleConfig),
        ("optimizer", OptimizerConfig),
        ("sampler", SamplerConfig),
    )
    for name in model.model_fields
}
DEFAULTS: dict[str, Any] = {
    "epochs": 4,
    "warmup_epochs": 1,
    "ramp_epochs": 2,
    "batch_size": 16,
    "lr": 0.05,
    "meta_lr": 1e-2,
    "meta_every": 2,
    "meta_batch_size": 4,
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


def _loss_settings(
    arm: str,
    *,
    warm_start_epochs: int = 1,
    finetune: bool = True,
    in_finetune: bool = True,
    look_ahead_view: str = "weak",
    **of_corrector: Any,
) -> dict[str, Any]:
    corrector, margin, passes = ARMS[arm]
    return {
        "look_ahead_view": look_ahead_view,
        "corrector": {
            "enabled": corrector,
            "ranks": NUM_RANKS,
            "warm_start": warm_start_epochs > 0,
            "warm_start_epochs": warm_start_epochs or None,
            **of_corrector,
        },
        "margin": {"enabled": margin, "in_finetune": in_finetune},
        "finetune": finetune and passes,
    }


def _facts_of(class_counts: Tensor, seed: int) -> TrainingFacts:
    streams = Streams(base_seed=0, seed=seed)
    return TrainingFacts(class_counts=class_counts, epochs=4, streams=streams)


def _loss(arm: str, seed: int = 0, **settings: Any) -> DynamicLoss:
    config = TrialConfig.model_validate({"loss": _loss_settings(arm, **settings)}).loss
    loss = LOSSES["dynamic"].build(config, _facts_of(torch.ones(NUM_CLASSES), seed))
    assert isinstance(loss, DynamicLoss)
    return loss


def _config(loss: dict[str, Any], settings: dict[str, Any]) -> TrialConfig:
    """A trial whose groups hold the settings, named as in `PLACES`."""
    mixup = settings.pop("mixup", 0.0)
    values: dict[str, Any] = {"data": {"views": {"mixup": mixup}}, "loss": loss}
    for name, value in (DEFAULTS | settings).items():
        group, field = PLACES[name]
        values.setdefault(group, {})[field] = value
    return TrialConfig.model_validate(values)


def _trainer(
    arm: str = "full",
    *,
    seed: int = 0,
    dtype: Any = None,
    loss: dict[str, Any] | None = None,
    model: nn.Module | None = None,
    clean_set: Tensor | None = None,
    **settings: Any,
) -> Trainer:
    streams = Streams(base_seed=0, seed=seed)
    train, test = _split(1), _split(2)
    model = model or build_model(
        ModelConfig(name="small_cnn"),
        input_shape=INPUT_SHAPE,
        num_classes=NUM_CLASSES,
        seed=streams.derive("model"),
    )
    if clean_set is not None:
        settings["path"] = "named, but not read"
    names = [name for name in settings if name not in PLACES and name != "mixup"]
    dynamic = _loss_settings(arm, **{name: settings.pop(name) for name in names})
    config = _config(loss or dynamic, settings)
    facts = _facts_of(torch.bincount(train.observed_labels), seed)
    built = LOSSES[config.loss.name].build(config.loss, facts)
    if dtype is not None:
        model, built = model.to(dtype), built.to(dtype)
        train.images, test.images = train.images.to(dtype), test.images.to(dtype)
    return Trainer(
        config=config,
        model=model,
        loss=built,
        train=train,
        evaluations={"test": test},
        num_classes=NUM_CLASSES,
        clean_set=clean_set,
        num_clean_labels=0,
        streams=streams,
        device=torch.device("cpu"),
    )


@pytest.fixture
def make_trainer() -> Callable[..., Trainer]:
    """Trains a small CNN on a `TinySplit`: arm or loss, seed, dtype, model and any setting."""
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
