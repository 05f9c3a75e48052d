"""A part under test: found as a study finds it, and tried in a short trial on a few images."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Self

import numpy as np
import torch

from dynaloss.config import TrialConfig
from dynaloss.data.sources import ImageArrays, Source
from dynaloss.execution.trial.assembly import AssembledTrial, assemble_trial
from dynaloss.execution.trial.checkpoints import CheckpointFile
from dynaloss.learning.trainer import Trainer
from dynaloss.studies.identity import trial_key
from dynaloss.studies.overrides import kind_keys
from dynaloss.studies.reading.problems import validated
from dynaloss.testing.rules import ContractError, rule
from dynaloss.testing.unchanged import equal, global_states, inputs

# Warm-up, an epoch that changes whatever a part remembers, and one that depends on it.
_EPOCHS, _INTERRUPTED_AFTER = 3, 2
_SHORT: dict[str, Any] = {
    "model": {"name": "mlp"},
    "loss": {"name": "dynamic", "corrector": {"ranks": 4}},
    "optimizer": {"lr": 0.05},
    "schedule": {"epochs": _EPOCHS, "warmup_epochs": 1, "ramp_epochs": 1, "batch_size": 16},
}


@dataclass(frozen=True, kw_only=True)
class Part:
    """A part in a short trial.

    Attributes:
        label: The part in words, such as `loss 'mine'`.
        kind: Its entry.
        settings: Its settings.
        config: Settings of the trial.
        source: Data of the trial.
    """

    label: str
    kind: Any
    settings: Any
    config: TrialConfig
    source: Source

    @classmethod
    def find(
        cls, key: str, name: str, settings: Mapping[str, Any], source: Source | None = None
    ) -> Self:
        """The part that a study names, with its settings.

        Args:
            key: Dotted key that names it in a trial, such as `loss.name`.
            name: Its name or address.
            settings: Those beside its name.
            source: Data of the trial; None for a few made-up images.

        Raises:
            ContractError: If the trial refuses the part or a setting.
        """
        registry, (*groups, tag) = kind_keys()[key].registry, key.split(".")
        values: dict[str, Any] = {**settings, tag: name}
        for group in reversed(groups):
            values = {group: values}
        label = f"{registry.family} '{name}'"
        config, problems = validated(TrialConfig, _SHORT | values)
        if config is None:
            raise ContractError(f"{label}: {problem}" for problem in problems)
        found: Any = config
        for group in groups:
            found = getattr(found, group)
        return cls(
            label=label,
            kind=registry[name],
            settings=found,
            config=config,
            source=source or made_up_source(),
        )

    def given(self) -> dict[str, Any]:
        """What it may look at but not change, by name: arrays and tensors, new ones each time."""
        return {}

    def result(self, given: Mapping[str, Any]) -> Any:  # noqa: ANN401 - of the part
        """What it makes of them, with generators at the start of their streams."""
        raise NotImplementedError


def made_up_source(
    shape: tuple[int, int, int] = (1, 4, 4), class_sizes: tuple[int, int, int] = (24, 16, 12)
) -> Source:
    """Images of three classes, channels x height x width: one per class, and noise on it.

    Some of them, of every class, are the test set.
    """
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(len(class_sizes)), class_sizes).astype(np.int64)
    labels = np.concatenate([labels, labels[::4]])
    centres = rng.uniform(60, 200, (len(class_sizes), *shape))
    grey = centres[labels] + rng.normal(0, 20, (len(labels), *shape))
    images, num_train = grey.clip(0, 255).astype(np.uint8), sum(class_sizes)
    return Source(
        name="made_up",
        class_names=("first", "second", "third"),
        pool=ImageArrays(images=images[:num_train], labels=labels[:num_train]),
        test=ImageArrays(images=images[num_train:], labels=labels[num_train:]),
        mean=(0.5,) * shape[0],
        std=(0.25,) * shape[0],
        crop_padding=0,
        flip=False,
    )


@rule("must have plain values as settings, which come back from the record of a study")
def keeps_its_settings(part: Part) -> Iterator[str]:
    """The settings as the processes of trials are sent them, and as files keep them."""
    again = TrialConfig.model_validate(json.loads(json.dumps(part.config.model_dump())))
    keys = {trial_key(config, 0, 0, "digest") for config in (part.config, again)}
    if again != part.config or len(keys) > 1:
        yield "the settings that come back differ"


@rule("must name settings in `uses` and `ignores`")
def names_its_settings(part: Part) -> Iterator[str]:
    """What has an effect, of a sampler or noise; what has none, of a source."""
    known = type(part.settings).model_fields
    for field in ("uses", "ignores"):
        unknown = [f"'{name}'" for name in getattr(part.kind, field, ()) if name not in known]
        if unknown:
            yield f"{', '.join(unknown)} in `{field}` is none"


@rule("must draw from the generators that it is given alone")
def draws_from_its_generators(part: Part) -> Iterator[str]:
    """No global random state changes."""
    with global_states() as changed:
        part.result(part.given())
    yield from changed


@rule("must give the same again where it is given the same")
def is_reproducible(part: Part) -> Iterator[str]:
    """Two calls, with the global random states alike."""
    results = []
    for _ in range(2):
        with global_states():
            results.append(part.result(part.given()))
    if not equal(*results):
        yield "the second time gave something else"


@rule("must leave what it is given as it is")
def leaves_what_it_is_given(part: Part) -> Iterator[str]:
    """Arrays and tensors."""
    given = part.given()
    with inputs(given) as changed:
        part.result(given)
    yield from changed


@rule("must train, and continue from a checkpoint as if there had been no interruption")
def resumes(part: Part) -> Iterator[str]:
    """Trials of three epochs, of which one is interrupted after two."""
    whole, first, second = (_assemble(part) for _ in range(3))
    expected, found = _reports(whole.trainer), _reports(first.trainer, _INTERRUPTED_AFTER)
    with TemporaryDirectory() as folder:
        checkpoint = CheckpointFile(Path(folder), "trial")
        checkpoint.write(first.trainer.state_dict())
        second.trainer.load_state_dict(checkpoint.read()[0] or {})
    found += _reports(second.trainer)
    differing = [i for i in range(_EPOCHS) if not equal(found[i], expected[i])]
    if differing:
        yield f"epoch {differing[0] + 1} gave other metrics"
    elif not equal(whole.trainer.state_dict(), second.trainer.state_dict()):
        yield "ended in another state"
    json.dumps([whole.data_record, whole.trainer.diagnostics()])  # as their artifacts


def _assemble(part: Part) -> AssembledTrial:
    """The trial as a process assembles it that was sent its settings."""
    config = TrialConfig.model_validate(part.config.model_dump())
    device = torch.device("cpu")
    return assemble_trial(config, seed=0, base_seed=0, source=part.source, device=device)


def _reports(trainer: Trainer, number: int | None = None) -> list[dict[str, float]]:
    """Metrics of so many more epochs, without the times."""
    return [
        {name: v for name, v in report.metrics.items() if not name.startswith("time/")}
        for report in islice(trainer.epochs(), number)
    ]
