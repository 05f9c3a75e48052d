from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from dynaloss.config import ModelConfig
from dynaloss.config.families import MODELS
from dynaloss.learning.models.building import build_model
from dynaloss.learning.models.resnet import CifarResNet


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("input_shape", [(1, 8, 8), (3, 12, 10)], ids=str)
def test_gives_one_logit_per_class(name: str, input_shape: tuple[int, int, int]) -> None:
    model = build_model(ModelConfig(name=name), input_shape=input_shape, num_classes=7, seed=0)
    assert model(torch.zeros(2, *input_shape)).shape == (2, 7)


@pytest.mark.parametrize("name", MODELS)
def test_initial_weights_depend_on_the_seed_only(name: str) -> None:
    states = []
    for seed in (0, 0, 1):
        torch.rand(3)  # moves the global random state on
        model = build_model(
            ModelConfig(name=name), input_shape=(1, 8, 8), num_classes=4, seed=seed
        )
        states.append(torch.cat([weight.flatten() for weight in model.parameters()]))
    assert torch.equal(states[0], states[1])
    assert not torch.equal(states[0], states[2])


@pytest.mark.parametrize("name", MODELS)
def test_building_leaves_the_global_random_state_alone(name: str) -> None:
    before = torch.random.get_rng_state()
    build_model(ModelConfig(name=name), input_shape=(1, 8, 8), num_classes=4, seed=0)
    assert torch.equal(torch.random.get_rng_state(), before)


@pytest.mark.parametrize(
    ("depth", "millions"), [(20, 0.27), (32, 0.46), (44, 0.66), (56, 0.85), (110, 1.7)]
)
def test_resnet_has_as_many_parameters_as_in_the_paper(depth: int, millions: float) -> None:
    """He et al., table 6."""
    with torch.device("meta"):
        model = CifarResNet(depth=depth, input_shape=(3, 32, 32), num_classes=10)
    count = sum(parameter.numel() for parameter in model.parameters())
    assert count / 1e6 == pytest.approx(millions, rel=0.02)
    if depth == 32:
        assert count == 464_154


def test_resnet_halves_the_maps_twice() -> None:
    model = CifarResNet(depth=8, input_shape=(3, 32, 32), num_classes=10)
    assert model.stages(torch.zeros(1, 16, 32, 32)).shape == (1, 64, 8, 8)


def test_shortcut_subsamples_and_pads_with_zero_channels() -> None:
    """With the last norm of a block at zero only the shortcut is left."""
    block = CifarResNet(depth=8, input_shape=(3, 8, 8), num_classes=2).stages[1][0].eval()
    nn.init.zeros_(block.norm2.weight)
    images = torch.rand(2, 16, 8, 8)
    output = block(images)
    torch.testing.assert_close(output[:, 8:24], F.max_pool2d(images, 1, stride=2))
    assert not output[:, :8].any()
    assert not output[:, 24:].any()


@pytest.mark.parametrize("depth", [2, 9, 18, 34])
def test_resnet_refuses_a_depth_that_is_not_6n_plus_2(depth: int) -> None:
    with pytest.raises(ValueError, match=rf"`depth`.*6n \+ 2 .*at least 1\b.*got {depth}\b"):
        CifarResNet(depth=depth, input_shape=(3, 32, 32), num_classes=10)
