"""Numbers of the paper and of its authors' code, where no other test holds them.

The others:

| numbers | test |
|---|---|
| bins of the ranks | test_ranks.py |
| first weight 0.982, first margin 1, Xavier, 64 units, 1e-8 in warm-up | test_dynamic_loss.py |
| shares 0.5 of hierarchical sampling | test_metadata.py |
| epochs, warm-up, learning rates, weight decay | studies/test_config.py |
| images of the long tails, 34.1 % of labels flipped | data/test_bias.py |
| maps of asymmetric noise | data/test_noise.py |
| sub-policies and magnitudes of AutoAugment | data/test_policies.py |
| every step of an epoch | test_trainer_reference.py |
"""

from __future__ import annotations

import re
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn import functional as F

from dynaloss.config import ModelConfig, ScheduleConfig, TrialConfig
from dynaloss.data.sources.kinds.cifar import _LAYOUTS
from dynaloss.learning import DynamicLoss, LookAhead, LookAheadProblem, hypergradient
from dynaloss.learning.meta.hypergradient import unrolled_hypergradient
from dynaloss.learning.models.building import build_model
from dynaloss.learning.steps import learning_rate
from dynaloss.studies import override
from dynaloss.studies.overrides import value_at

_LOSSES = Path(__file__).parents[2] / "docs" / "losses.md"
_ROW = re.compile(r"\| `([a-z_.]+)` \| `(\w+)` \| `(\w+)` \|")


@pytest.mark.parametrize(("hidden_layers", "expected"), [(1, 16_084), (2, 24_404)])
def test_number_of_loss_parameters(hidden_layers: int, expected: int) -> None:
    """Of both parts, for 10 classes and 100 bins per class."""
    depth = {"hidden_layers": hidden_layers}
    loss = DynamicLoss(num_classes=10, corrector={**depth, "ranks": 100}, margin=depth)
    assert sum(parameter.numel() for parameter in loss.parameters()) == expected


def test_learning_rates_of_the_ramp() -> None:
    """Means of the first five epochs of 40 batches, as the long tail of CIFAR-10 has them."""
    rate = partial(learning_rate, base_lr=0.1, schedule=ScheduleConfig())
    means = [sum(rate(epoch, batch / 40) for batch in range(40)) / 40 for epoch in range(5)]
    assert [round(mean, 4) for mean in means] == [0.0188, 0.0368, 0.0548, 0.0728, 0.0907]
    assert rate(5, 0.0) == pytest.approx(0.0999416, abs=1e-7)  # 0.05 (1 + cos(5 pi / 325))


def test_normalisation_of_cifar() -> None:
    layout = _LAYOUTS["cifar10"]
    assert layout.statistics == "images"
    assert layout.image_std == (0.2023, 0.1994, 0.2010)
    assert layout.mean == (0.4914, 0.4822, 0.4465)
    assert _LAYOUTS["cifar100"].statistics == "pixels"


def _choices_of_the_authors() -> list[tuple[str, Any, Any]]:
    """Settings, with what the authors' code has and the other choice, as the document shows."""
    text = _LOSSES.read_text("utf-8").split("other choice |")[1]
    values: dict[str, Any] = {"true": True, "false": False}
    return [
        (key, *(values.get(word, int(word) if word.isdecimal() else word) for word in words))
        for key, *words in _ROW.findall(text.split("\n\n")[0])
    ]


def test_documented_choices_of_the_authors_are_the_defaults() -> None:
    choices = _choices_of_the_authors()
    assert len(choices) == 6
    trial = TrialConfig()
    assert [value_at(trial, key) for key, *_ in choices] == [theirs for _, theirs, _ in choices]
    for key, _, other in choices:
        assert value_at(override(trial, {key: other}), key) == other


@pytest.mark.parametrize(("dtype", "bound"), [(torch.float64, 1e-14), (torch.float32, 1e-5)])
def test_hypergradient_of_resnet32_equals_the_unrolled_one(
    dtype: torch.dtype, bound: float
) -> None:
    """Batch norm in train mode, with momentum and weight decay; relative to the norm."""
    draw = partial(torch.randn, dtype=dtype, generator=torch.Generator().manual_seed(0))
    config = ModelConfig(name="resnet32")
    model = build_model(config, input_shape=(3, 16, 16), num_classes=10, seed=0).to(dtype)
    loss = DynamicLoss(num_classes=10).to(dtype)
    labels, pseudo_labels = torch.arange(20) % 10, F.one_hot(torch.arange(20) % 7, 10).to(dtype)
    weights = dict(model.train().named_parameters())
    problem = LookAheadProblem(
        model=model,
        inputs=draw(20, 3, 16, 16),
        inner_loss=lambda logits: loss(logits, labels, torch.arange(20) * 5, pseudo_labels),
        outer_inputs=draw(20, 3, 16, 16),
        outer_loss=lambda logits: F.cross_entropy(logits, labels),
        loss_parameters=list(loss.parameters()),
        look_ahead=[
            LookAhead(
                weights=weights,
                lr=0.1,
                momentum=0.9,
                weight_decay=5e-4,
                buffers={name: 0.01 * draw(weight.shape) for name, weight in weights.items()},
            )
        ],
    )
    ways = (hypergradient, unrolled_hypergradient)
    found, exact = (torch.cat([g.flatten() for g in way(problem).gradients]) for way in ways)
    assert exact.norm() > 1e-5
    assert (found - exact).norm() < bound * exact.norm()
