"""Layers that draw from torch's default generator, in a trainer that leaves it alone."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from dynaloss.config import ModelConfig
from dynaloss.learning.meta.hypergradient import (
    Hypergradient,
    LookAhead,
    LookAheadProblem,
    hypergradient,
    unrolled_hypergradient,
)
from dynaloss.learning.models.building import build_model
from dynaloss.learning.streams import LayerStream, default_generator_seeded
from dynaloss.learning.trainer import Trainer

MakeTrainer = Callable[..., Trainer]
CPU = torch.device("cpu")


def _network() -> nn.Module:
    with default_generator_seeded(0):
        return nn.Sequential(
            nn.Conv2d(1, 8, 3, padding=1),
            nn.BatchNorm2d(8),
            nn.ReLU(inplace=True),
            nn.Dropout2d(0.3),
            nn.Flatten(),
            nn.Linear(8 * 16, 16),
            nn.ReLU(inplace=True),
            nn.Dropout(0.5),
            nn.Linear(16, 3),
        )


def _run(trainer: Trainer, epochs: int) -> list[dict[str, float]]:
    return [
        {name: v for name, v in report.metrics.items() if not name.startswith("time/")}
        for report in itertools.islice(trainer.epochs(), epochs)
    ]


def test_an_active_stream_continues_where_it_was_and_leaves_no_trace() -> None:
    expected = torch.rand(6, generator=torch.Generator().manual_seed(3))
    stream, before = LayerStream(3, CPU), torch.get_rng_state()
    with stream.active():
        first = torch.rand(4)
    assert torch.equal(torch.get_rng_state(), before)
    with stream.active():
        second = torch.rand(2)
    assert torch.equal(torch.cat([first, second]), expected)


def test_an_active_stream_ends_after_an_error() -> None:
    before = torch.get_rng_state()
    with pytest.raises(RuntimeError, match="cannot be multiplied"), LayerStream(3, CPU).active():
        torch.rand(4, 2) @ torch.rand(3, 2)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("hypergradient", ["forward", "unrolled", "head"])
def test_dropout_leaves_the_global_state_alone_and_follows_the_seed(
    hypergradient: str, make_trainer: MakeTrainer
) -> None:
    before = torch.get_rng_state()
    runs = [
        _run(make_trainer(model=_network(), seed=seed, hypergradient=hypergradient), 3)
        for seed in (0, 0, 1)
    ]
    assert torch.equal(torch.get_rng_state(), before)
    assert runs[0] == runs[1]
    assert runs[0] != runs[2]


@pytest.mark.parametrize("stop", [1, 2])
def test_dropout_continues_bit_for_bit(
    stop: int, make_trainer: MakeTrainer, assert_resumes: Callable[..., None]
) -> None:
    assert_resumes(lambda: make_trainer(model=_network()), stop)


def test_a_network_of_torchvision_with_dropout_continues_bit_for_bit(
    make_trainer: MakeTrainer, assert_resumes: Callable[..., None]
) -> None:
    """SqueezeNet has the dropout of VGG, and far fewer weights."""

    def trainer() -> Trainer:
        model = build_model(
            ModelConfig(name="torchvision/squeezenet1_1"),
            input_shape=(3, 32, 32),
            num_classes=3,
            seed=0,
        )
        return make_trainer(model=nn.Sequential(_Enlarged(), model), epochs=2)

    assert_resumes(trainer, 1)


class _Enlarged(nn.Module):
    def forward(self, images: Tensor) -> Tensor:
        return nn.functional.interpolate(images.expand(-1, 3, -1, -1), size=(32, 32))


def test_look_ahead_and_derivative_see_the_same_mask() -> None:
    """With one mask the two exact ways agree, and without dropout's noise nothing is left."""
    generator = torch.Generator().manual_seed(0)
    model = _network().double().train()
    inputs, outer = torch.randn(2, 12, 1, 4, 4, generator=generator, dtype=torch.float64)
    labels = torch.randint(3, (12,), generator=generator)
    phi = torch.zeros(3, dtype=torch.float64, requires_grad=True)
    step = LookAheadProblem(
        model=model,
        inputs=inputs,
        inner_loss=lambda logits: nn.functional.cross_entropy(logits + phi, labels),
        outer_inputs=outer,
        outer_loss=lambda logits: nn.functional.cross_entropy(logits, labels),
        loss_parameters=[phi],
        look_ahead=[
            LookAhead(
                weights=dict(model.named_parameters()),
                lr=0.3,
                momentum=0.0,
                weight_decay=0.0,
                buffers={},
            )
        ],
    )

    def gradient(way: Callable[[LookAheadProblem], Hypergradient]) -> Tensor:
        with LayerStream(5, CPU).active():
            return way(step).gradients[0]

    exact = gradient(unrolled_hypergradient)
    assert exact.abs().max() > 1e-5
    torch.testing.assert_close(gradient(hypergradient), exact, rtol=1e-9, atol=1e-12)
