"""Turns a trial's configuration into the objects that compute it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dynaloss.design.config import DataConfig, DynamicLossConfig, TrialConfig

if TYPE_CHECKING:
    import torch

    from dynaloss.data.sources import Source
    from dynaloss.data.splits import BiasSettings
    from dynaloss.learning.dynamic_loss import DynamicLoss
    from dynaloss.learning.streams import Streams
    from dynaloss.learning.trainer import Trainer, TrainerSettings

__all__ = ["AssembledTrial", "assemble_trial", "load_source_of", "trial_device"]


@dataclass(frozen=True, slots=True, kw_only=True)
class AssembledTrial:
    """A trial that is ready to train.

    Attributes:
        trainer: Yields a report an epoch.
        data_record: What was done to the data; see `TrialSplits.record`.
    """

    trainer: Trainer
    data_record: dict[str, Any]


def load_source_of(config: DataConfig) -> Source:
    """Loads the data source that a trial trains on."""
    from dynaloss.data.sources import load_source

    return load_source(config.source)


def trial_device(gpus: float) -> torch.device:
    """The device of a trial that was given so many GPUs."""
    import torch

    return torch.device("cuda" if gpus > 0 and torch.cuda.is_available() else "cpu")


def assemble_trial(
    config: TrialConfig, *, seed: int, base_seed: int, source: Source, device: torch.device
) -> AssembledTrial:
    """Builds the splits, the classifier, the loss and the trainer of one trial.

    Args:
        config: The resolved configuration.
        seed: Trial seed.
        base_seed: Study seed.
        source: What `load_source_of(config.data)` returns.
        device: Where to train.
    """
    from dynaloss.data.resident import ResidentSplit
    from dynaloss.data.splits import make_splits
    from dynaloss.data.views import Views
    from dynaloss.learning.models import build_model
    from dynaloss.learning.streams import Streams
    from dynaloss.learning.trainer import Trainer

    streams = Streams(base_seed=base_seed, seed=seed)
    splits = make_splits(source, _bias_settings(config.data), streams)
    views = Views.of_source(source, device)
    roles = {
        role: ResidentSplit(samples, views, device)
        for role, samples in (("val", splits.validation), ("test", splits.test))
        if samples is not None
    }
    model = build_model(
        config.model.name,
        input_shape=source.input_shape,
        num_classes=source.num_classes,
        seed=streams.derive("initialisation"),
    )
    trainer = Trainer(
        model=model.to(device),
        loss=_build_loss(config, source.num_classes, streams).to(device),
        train=ResidentSplit(splits.train, views, device),
        evaluations=roles,
        num_classes=source.num_classes,
        settings=_trainer_settings(config),
        streams=streams,
        device=device,
    )
    return AssembledTrial(trainer=trainer, data_record=splits.record)


def _bias_settings(data: DataConfig) -> BiasSettings:
    from dynaloss.data.splits import BiasSettings

    return BiasSettings(
        noise_kind=data.noise.kind,
        noise_rate=data.noise.rate,
        imbalance_factor=data.imbalance_factor,
        n_max=data.n_max,
        test_fraction=data.test_fraction,
        validation_fraction=data.validation.fraction,
        validation_labels=data.validation.labels,
    )


def _build_loss(config: TrialConfig, num_classes: int, streams: Streams) -> DynamicLoss:
    from dynaloss.learning.dynamic_loss import DynamicLoss, LabelCorrector, MarginGenerator
    from dynaloss.learning.streams import default_generator_seeded

    corrector, margin, loss = None, None, config.loss
    if isinstance(loss, DynamicLossConfig) and loss.corrector.enabled:
        with default_generator_seeded(streams.derive("corrector")):
            corrector = LabelCorrector(
                num_ranks=loss.corrector.ranks,
                num_classes=num_classes,
                per_class=loss.corrector.per_class,
            )
    if isinstance(loss, DynamicLossConfig) and loss.margin.enabled:
        with default_generator_seeded(streams.derive("margin")):
            margin = MarginGenerator(num_classes=num_classes)
    return DynamicLoss(corrector=corrector, margin=margin)


def _trainer_settings(config: TrialConfig) -> TrainerSettings:
    from dynaloss.learning.trainer import TrainerSettings

    # Any other loss has no part that these three act on.
    dynamic = config.loss if isinstance(config.loss, DynamicLossConfig) else DynamicLossConfig()
    return TrainerSettings(
        epochs=config.schedule.epochs,
        warmup_epochs=config.schedule.warmup_epochs,
        ramp_epochs=config.schedule.ramp_epochs,
        batch_size=config.schedule.batch_size,
        lr=config.optimizer.lr,
        momentum=config.optimizer.momentum,
        weight_decay=config.optimizer.weight_decay,
        meta_lr=config.meta.lr,
        meta_every=config.meta.every,
        meta_batch_size=config.meta.batch_size or config.schedule.batch_size,
        num_ranks=dynamic.corrector.ranks,
        warm_start=dynamic.corrector.warm_start,
        finetune=dynamic.finetune,
        random_ratio=config.sampler.random_ratio,
        low_loss_ratio=config.sampler.low_loss_ratio,
    )
