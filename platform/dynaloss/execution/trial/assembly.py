"""Turns a trial's configuration into the objects that compute it."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dynaloss.config.losses import LDAMConfig, MetaWeightNetConfig
from dynaloss.config.trial import DataConfig, DynamicLossConfig, SamplerConfig, TrialConfig

if TYPE_CHECKING:
    import numpy as np
    import torch
    from numpy.typing import NDArray

    from dynaloss.data.sources import Source
    from dynaloss.data.splits import LabelledImages
    from dynaloss.learning.losses import LearnedLoss, TrainingLoss
    from dynaloss.learning.losses.dynamic import DynamicLoss
    from dynaloss.learning.streams import Streams
    from dynaloss.learning.trainer import Trainer, TrainerSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class AssembledTrial:
    """A trial that is ready to train.

    Attributes:
        trainer: Yields a report an epoch.
        data_record: What was done to the data; see `TrialSplits.record`.
    """

    trainer: Trainer
    data_record: dict[str, Any]


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
        source: What `load_source(config.data)` returns.
        device: Where to train.
    """
    from dynaloss.data.splits import make_splits, open_split
    from dynaloss.data.views.weak_and_strong import Views
    from dynaloss.learning.models import build_model
    from dynaloss.learning.models.heads import make_head_cosine
    from dynaloss.learning.models.pretrained import load_pretrained
    from dynaloss.learning.streams import Streams
    from dynaloss.learning.trainer import Trainer

    streams = Streams(base_seed=base_seed, seed=seed)
    splits = make_splits(source, config.data, streams)
    views = Views.of_source(source, device, config.data.views)
    roles = {
        role: open_split(samples, views, device, config.data.memory)
        for role, samples in (("val", splits.validation), ("test", splits.test))
        if samples is not None
    }
    model = build_model(
        config.model.name,
        input_shape=source.input_shape,
        num_classes=source.num_classes,
        seed=streams.derive("initialisation"),
    )
    train = open_split(splits.train, views, device, config.data.memory)
    if config.model.pretrained_path is not None:
        load_pretrained(model, Path(config.model.pretrained_path))
    if isinstance(config.loss, LDAMConfig) and config.loss.cosine_head:
        make_head_cosine(model)
    trainer = Trainer(
        model=model.to(device),
        loss=_build_loss(config, train.observed_labels, source.num_classes, streams).to(device),
        train=train,
        evaluations=roles,
        num_classes=source.num_classes,
        settings=_trainer_settings(config),
        clean_set=_load_clean_set(
            config.sampler,
            splits.positions,
            source,
            seed,
        ),
        num_clean_labels=_num_clean_validation_labels(config.data, splits.validation),
        streams=streams,
        device=device,
    )
    return AssembledTrial(trainer=trainer, data_record=splits.record)


def checks_of(
    config: TrialConfig, *, seed: int, base_seed: int
) -> dict[Hashable, Callable[[Source], object]]:
    """What has to hold of a trial and its source before it starts.

    Returns:
        Checks, which raise `InputError`, by all that each depends on: equal ones need no repeat.
    """
    from dynaloss.config.families import NOISES
    from dynaloss.data.splits import assign_roles, check_bias
    from dynaloss.learning.streams import Streams

    data, streams = config.data, Streams(base_seed=base_seed, seed=seed)
    checks: dict[Hashable, Callable[[Source], object]] = {
        ("bias", data): lambda source: check_bias(source, data),
        ("model", data.source_key, config.model): lambda source: _check_model(config, source),
    }
    if not NOISES[data.noise.kind].is_costly:
        checks["labels", data, streams] = lambda source: assign_roles(source, data, streams)
    if config.sampler.kind == "clean":
        checks["clean set", data, streams, config.sampler.path] = lambda source: _load_clean_set(
            config.sampler, assign_roles(source, data, streams).positions, source, seed
        )
    return checks


def _check_model(config: TrialConfig, source: Source) -> None:
    from dynaloss.learning.models import check_model

    pretrained = config.model.pretrained_path
    check_model(
        config.model.name,
        input_shape=source.input_shape,
        num_classes=source.num_classes,
        pretrained=None if pretrained is None else Path(pretrained),
    )


def _build_loss(
    config: TrialConfig, observed: torch.Tensor, num_classes: int, streams: Streams
) -> LearnedLoss | TrainingLoss:
    import torch

    from dynaloss.learning.losses import TRAINING_LOSSES, MetaWeightNet, TrainingFacts
    from dynaloss.learning.streams import default_generator_seeded

    loss = config.loss
    if isinstance(loss, DynamicLossConfig):
        return _build_dynamic_loss(loss, num_classes, streams)
    if isinstance(loss, MetaWeightNetConfig):
        with default_generator_seeded(streams.derive("meta_weight_net")):
            return MetaWeightNet(hidden_size=loss.hidden_size)
    facts = TrainingFacts(
        class_counts=torch.bincount(observed.cpu(), minlength=num_classes),
        num_samples=len(observed),
    )
    settings = loss.model_dump(exclude={"name"})
    if isinstance(loss, LDAMConfig):
        # The head is the model's; the epoch is said outright.
        settings = {
            "max_margin": loss.max_margin,
            "scale": loss.scale,
            "drw_epoch": loss.first_reweighted(config.schedule.epochs),
        }
    return TRAINING_LOSSES[loss.name](facts, **settings)


def _build_dynamic_loss(
    loss: DynamicLossConfig, num_classes: int, streams: Streams
) -> DynamicLoss:
    from dynaloss.learning.losses.dynamic import DynamicLoss, LabelCorrector, MarginGenerator
    from dynaloss.learning.streams import default_generator_seeded

    corrector, margin = None, None
    if loss.corrector.enabled:
        with default_generator_seeded(streams.derive("corrector")):
            corrector = LabelCorrector(
                num_ranks=loss.corrector.ranks,
                num_classes=num_classes,
                per_class=loss.corrector.per_class,
            )
    if loss.margin.enabled:
        with default_generator_seeded(streams.derive("margin")):
            margin = MarginGenerator(num_classes=num_classes)
    return DynamicLoss(
        corrector=corrector,
        margin=margin,
        pseudo_labels=loss.corrector.pseudo_labels,
        margin_in_finetune=loss.margin.in_finetune,
    )


def _load_clean_set(
    sampler: SamplerConfig, rows: Mapping[str, NDArray[np.int64]], source: Source, seed: int
) -> torch.Tensor | None:
    """Positions in the training split of the clean set that the user gives, if there is one.

    Args:
        sampler: Names the file.
        rows: Positions in the pool of the source of each role's images; see `load_clean_set`.
        source: What the positions are of.
        seed: Trial seed.
    """
    from dynaloss.learning.meta.clean_set import load_clean_set

    if sampler.kind != "clean":
        return None
    return load_clean_set(Path(str(sampler.path)), rows, len(source.pool.labels), seed)


def _num_clean_validation_labels(data: DataConfig, validation: LabelledImages | None) -> int:
    if validation is None or data.validation.labels != "clean":
        return 0
    return len(validation.true)


def _trainer_settings(config: TrialConfig) -> TrainerSettings:
    from dynaloss.learning.meta.sampler import SamplerSettings
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
        hypergradient=config.meta.hypergradient,
        warm_start_epochs=dynamic.corrector.warm_start_length(config.schedule.warmup_epochs),
        finetune=dynamic is config.loss and dynamic.finetune,
        mixup=config.data.views.mixup,
        precision=config.schedule.precision,
        is_deterministic=config.schedule.deterministic,
        is_compiled=config.schedule.compile,
        sampler=SamplerSettings(
            kind=config.sampler.kind,
            random_ratio=config.sampler.random_ratio,
            low_loss_ratio=config.sampler.low_loss_ratio,
            every=config.sampler.every,
            keep_in_train=config.sampler.keep_in_train,
        ),
    )
