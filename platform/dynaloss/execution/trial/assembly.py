"""Turns a trial's configuration into the objects that compute it."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dynaloss.config import TrialConfig
from dynaloss.config.families import LOSSES

if TYPE_CHECKING:
    import numpy as np
    import torch
    from numpy.typing import NDArray
    from torch import nn

    from dynaloss.data.sources import Source
    from dynaloss.data.splits import LabelledImages
    from dynaloss.learning.stacked_passes import Ask
    from dynaloss.learning.streams import Streams
    from dynaloss.learning.trainer import Trainer


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
    """The device of a trial with that number of GPUs."""
    import torch

    return torch.device("cuda" if gpus > 0 and torch.cuda.is_available() else "cpu")


def assemble_trial(
    config: TrialConfig,
    *,
    seed: int,
    base_seed: int,
    source: Source,
    device: torch.device,
    ask: Ask | None = None,
) -> AssembledTrial:
    """Builds the splits, the classifier, the loss and the trainer of one trial.

    Args:
        config: The resolved configuration.
        seed: Trial seed.
        base_seed: Study seed.
        source: What `load_source(config.data)` returns.
        device: Where to train.
        ask: See `Trainer`.
    """
    import torch

    from dynaloss.data.splits import make_splits, open_split
    from dynaloss.data.views.weak_and_strong import Views
    from dynaloss.learning.losses import TrainingFacts
    from dynaloss.learning.streams import Streams
    from dynaloss.learning.trainer import Trainer

    streams = Streams(base_seed=base_seed, seed=seed)
    splits = make_splits(source, config.data, streams)
    views = Views.of_source(source, device, config.data.views)
    roles = {"val": splits.validation, **splits.tests, "train": splits.train}
    opened = {
        role: open_split(images, views, device, config.data.memory)
        for role, images in roles.items()
        if images is not None
    }
    train = opened.pop("train")
    facts = TrainingFacts(
        class_counts=torch.bincount(train.observed_labels.cpu(), minlength=source.num_classes),
        epochs=config.schedule.epochs,
        streams=streams,
    )
    trainer = Trainer(
        config=config,
        model=_build_model(config, source, streams).to(device),
        loss=LOSSES[config.loss.name].build(config.loss, facts).to(device),
        train=train,
        evaluations=opened,
        num_classes=source.num_classes,
        clean_set=_clean_set(config, splits.positions, source, seed),
        num_clean_labels=_num_clean_validation_labels(config, splits.validation),
        streams=streams,
        device=device,
        ask=ask,
    )
    return AssembledTrial(trainer=trainer, data_record=splits.record)


def _build_model(config: TrialConfig, source: Source, streams: Streams) -> nn.Module:
    from dynaloss.learning.models.building import build_model
    from dynaloss.learning.models.heads import make_head_cosine
    from dynaloss.learning.models.pretrained import load_pretrained

    model = build_model(
        config.model,
        input_shape=source.input_shape,
        num_classes=source.num_classes,
        seed=streams.derive("initialisation"),
    )
    if config.model.pretrained_path is not None:
        load_pretrained(model, Path(config.model.pretrained_path))
    if config.loss.has_cosine_head:
        make_head_cosine(model)
    return model


def checks_of(
    config: TrialConfig, *, seed: int, base_seed: int
) -> dict[Hashable, Callable[[Source], object]]:
    """Checks of a trial and its source before it starts.

    Returns:
        Checks, which raise `InputError`, by all that each depends on: equal ones need no repeat.
    """
    from dynaloss.data.splits import check_bias, make_splits
    from dynaloss.learning.streams import Streams

    data, streams = config.data, Streams(base_seed=base_seed, seed=seed)
    checks: dict[Hashable, Callable[[Source], object]] = {
        ("bias", data, streams): lambda source: check_bias(source, data, streams),
        ("model", data.source_key, config.model): lambda source: _check_model(config, source),
    }
    if config.sampler.is_from_file:
        checks["clean set", data, streams, config.sampler.path] = lambda source: _clean_set(
            config, make_splits(source, data, streams).positions, source, seed
        )
    return checks


def _check_model(config: TrialConfig, source: Source) -> None:
    from dynaloss.learning.models.building import check_model

    check_model(config.model, input_shape=source.input_shape, num_classes=source.num_classes)


def _clean_set(
    config: TrialConfig, rows: Mapping[str, NDArray[np.int64]], source: Source, seed: int
) -> torch.Tensor | None:
    """Positions in the training split of the metadata that a file names; None without a file.

    Args:
        config: Names the file.
        rows: Positions in the pool of the source of each role's images; see `load_clean_set`.
        source: Source of the images.
        seed: Trial seed.
    """
    from dynaloss.learning.meta.clean_set import load_clean_set

    if not config.sampler.is_from_file:
        return None
    return load_clean_set(Path(str(config.sampler.path)), rows, len(source.pool.labels), seed)


def _num_clean_validation_labels(config: TrialConfig, validation: LabelledImages | None) -> int:
    if validation is None or config.data.validation.labels != "clean":
        return 0
    return len(validation.true)
