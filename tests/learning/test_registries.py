"""The registries of losses, metadata samplers and models: complete, buildable, without torch."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest
import torch

from dynaloss.config import TrialConfig
from dynaloss.config.families import LOSSES, MODELS, SAMPLERS
from dynaloss.lazy import Late
from dynaloss.learning.losses import TrainingFacts, TrainingLoss
from dynaloss.learning.losses._learned import LearnedLoss
from dynaloss.learning.meta.metadata import MetadataSampler
from dynaloss.learning.streams import Streams
from dynaloss.learning.trainer import Trainer

WITHOUT_TORCH = """
import sys
from dynaloss.config import TrialConfig
from dynaloss.config.families import LOSSES, MODELS, SAMPLERS
for name in LOSSES:
    TrialConfig.model_validate({"loss": {"name": name}})
print(len(MODELS), len(SAMPLERS), "torch" in sys.modules)
"""


def _run(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False
    )


def test_trials_are_validated_without_torch() -> None:
    done = _run(WITHOUT_TORCH)
    assert done.stdout.split() == [str(len(MODELS)), str(len(SAMPLERS)), "False"], done.stderr


@pytest.mark.parametrize(
    ("module", "name"),
    [("dynaloss.learning.models.small", "Lost"), ("dynaloss.learning.models.lost", "MLP")],
    ids=["class", "module"],
)
def test_a_kind_without_an_implementation_fails_at_import(module: str, name: str) -> None:
    with pytest.raises(ImportError, match=f"`{module}`.*`{name}`"):
        Late(module, name)


@pytest.mark.parametrize("family", [LOSSES, SAMPLERS, MODELS], ids=lambda family: family.family)
def test_every_kind_is_described_in_one_line(family: Any) -> None:
    for name, kind in family.items():
        assert kind.name == name
        assert kind.description
        assert "\n" not in kind.description
        assert not kind.description.endswith(".")


def _build(name: str) -> Any:
    config = TrialConfig.model_validate({"loss": {"name": name}}).loss
    streams = Streams(base_seed=0, seed=0)
    facts = TrainingFacts(class_counts=torch.tensor([4, 2]), epochs=3, streams=streams)
    return LOSSES[name].build(config, facts)


@pytest.mark.parametrize("name", LOSSES)
def test_every_loss_is_built_from_its_settings(name: str) -> None:
    loss = _build(name)
    assert loss.settings.name == name
    assert isinstance(loss, LearnedLoss if loss.settings.is_learned else TrainingLoss)


@pytest.mark.parametrize("kind", SAMPLERS)
def test_every_sampler_trains_an_epoch(kind: str, make_trainer: Callable[..., Trainer]) -> None:
    clean_set = torch.tensor([3, 40]) if "path" in SAMPLERS[kind].uses else None
    trainer = make_trainer(kind=kind, clean_set=clean_set, warmup_epochs=0)
    report = next(trainer.epochs())
    assert report.metrics["labels/clean_used"] == (0 if clean_set is None else 2)


@pytest.mark.parametrize(
    ("settings", "clean_set"),
    [
        ({"kind": "clean", "path": "set.npy"}, None),
        ({}, torch.tensor([1])),
    ],
    ids=["missing", "unused"],
)
def test_a_clean_set_is_given_where_a_file_names_it(
    settings: dict[str, str], clean_set: torch.Tensor | None
) -> None:
    with pytest.raises(ValueError, match=r"`clean_set`.*`path`"):
        MetadataSampler(
            torch.tensor([0, 1]),
            clean_set=clean_set,
            **settings,
        )
