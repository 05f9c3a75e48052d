"""The derivative after a pass, against torch's own forward mode and against differences."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torchvision
from torch import Tensor, nn
from torch.func import functional_call, jvp

from dynaloss.config import ModelConfig
from dynaloss.learning.meta.hypergradient import batch_statistics
from dynaloss.learning.meta.linearized import LinearizedPass
from dynaloss.learning.models.building import build_model

C = 5


def _cifar(name: str) -> nn.Module:
    return build_model(ModelConfig(name=name), input_shape=(3, 16, 16), num_classes=C, seed=0)


NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "mlp": lambda: _cifar("mlp"),
    "small_cnn": lambda: _cifar("small_cnn"),
    "resnet8": lambda: _cifar("resnet8"),
    "preact_resnet18": lambda: _cifar("preact_resnet18"),
    # Activations in place, after a batch norm and straight after a convolution with a bias.
    "resnet18": lambda: torchvision.models.resnet18(num_classes=C),
    "conv-relu": lambda: nn.Sequential(
        nn.Conv2d(3, 6, 3, padding=1),
        nn.ReLU(inplace=True),
        nn.Conv2d(6, 6, 3, padding=1, groups=3),
        nn.BatchNorm2d(6, affine=False),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(6 * 16 * 16, C),
    ),
    # Operations that go by torch's own rules.
    "other-norms": lambda: nn.Sequential(
        nn.Conv2d(3, 6, 3, padding=1, padding_mode="reflect"),
        nn.GroupNorm(2, 6),
        nn.GELU(),
        nn.Flatten(1, 2),
        nn.Conv1d(6 * 16, 4, 3),
        nn.BatchNorm1d(4),
        nn.Flatten(),
        nn.LayerNorm(4 * 14),
        nn.Linear(4 * 14, C),
        nn.BatchNorm1d(C),
    ),
}


@pytest.fixture
def images(generator: torch.Generator) -> Tensor:
    return torch.randn(6, 3, 16, 16, dtype=torch.float64, generator=generator)


def _direction(model: nn.Module, generator: torch.Generator) -> dict[str, Tensor]:
    return {
        name: torch.randn(weight.shape, dtype=torch.float64, generator=generator)
        for name, weight in model.named_parameters()
    }


def _by_torch(model: nn.Module, images: Tensor, direction: dict[str, Tensor]) -> Tensor:
    weights = {name: w.detach() for name, w in model.named_parameters() if name in direction}
    tangent: Tensor = jvp(lambda at: functional_call(model, at, images), (weights,), (direction,))[
        1
    ]
    return tangent


@pytest.mark.parametrize("training", [True, False], ids=["train", "eval"])
@pytest.mark.parametrize("name", NETWORKS)
def test_equals_forward_mode_of_torch(
    name: str, training: bool, images: Tensor, generator: torch.Generator
) -> None:
    model = NETWORKS[name]().double().train(training)
    direction = _direction(model, generator)
    with batch_statistics(model) if training else torch.no_grad():
        first = LinearizedPass(model, images)
        torch.testing.assert_close(first.logits, model(images), rtol=0, atol=0)
        expected = _by_torch(model, images, direction)
        torch.testing.assert_close(first.derivative(direction), expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("part", ["weight", "bias"])
@pytest.mark.parametrize("layer", ["0.", "3.", "6."])
def test_weights_without_a_tangent_stay_fixed(
    part: str, layer: str, images: Tensor, generator: torch.Generator
) -> None:
    model = NETWORKS["conv-relu"]()
    model[3] = nn.BatchNorm2d(6)  # type: ignore[index] # a Sequential
    model = model.double()
    direction = {
        name: tangent
        for name, tangent in _direction(model, generator).items()
        if not name.startswith(layer) or name.endswith(part)
    }
    with batch_statistics(model):
        derivative = LinearizedPass(model, images).derivative(direction)
        expected = _by_torch(model, images, direction)
    torch.testing.assert_close(derivative, expected, rtol=1e-9, atol=1e-9)


def test_no_direction_gives_zero(images: Tensor) -> None:
    model = NETWORKS["mlp"]().double()
    assert not LinearizedPass(model, images).derivative({}).any()


def test_both_passes_drop_the_same_units(images: Tensor, generator: torch.Generator) -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(768, 64), nn.Dropout(0.5), nn.Linear(64, C))
    model = model.double()
    direction = _direction(model, generator)
    step = 1e-6
    with torch.random.fork_rng([]):
        torch.manual_seed(3)  # noqa: TID251 # dropout draws from the global stream
        first = LinearizedPass(model, images)
        torch.rand(7)
        before = torch.get_rng_state()
        derivative = first.derivative(direction)
        torch.testing.assert_close(torch.get_rng_state(), before)

        def logits_at(distance: float) -> Tensor:
            torch.manual_seed(3)  # noqa: TID251
            moved = {
                name: weight.detach() + distance * direction[name]
                for name, weight in model.named_parameters()
            }
            logits: Tensor = functional_call(model, moved, images)
            return logits

        difference = (logits_at(step) - logits_at(-step)) / (2 * step)
    torch.testing.assert_close(derivative, difference, rtol=1e-6, atol=1e-6)


def test_leaves_the_model_as_it_was(images: Tensor, generator: torch.Generator) -> None:
    model = NETWORKS["resnet8"]().double()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with batch_statistics(model):
        LinearizedPass(model, images).derivative(_direction(model, generator))
    for name, value in model.state_dict().items():
        torch.testing.assert_close(value, before[name], rtol=0, atol=0)
    assert all(weight.grad is None for weight in model.parameters())


def test_a_half_precision_first_pass_still_has_a_full_precision_derivative(
    generator: torch.Generator,
) -> None:
    model = NETWORKS["resnet8"]()
    images = torch.randn(6, 3, 16, 16, generator=generator)
    direction = {name: d.float() for name, d in _direction(model, generator).items()}
    with batch_statistics(model):
        with torch.autocast("cpu", torch.bfloat16):
            first = LinearizedPass(model, images)
            derivative = first.derivative(direction)
        expected = _by_torch(model, images, direction)
    assert first.logits.dtype == torch.bfloat16
    assert derivative.dtype == torch.float32
    torch.testing.assert_close(derivative, expected, rtol=1e-3, atol=1e-3)
