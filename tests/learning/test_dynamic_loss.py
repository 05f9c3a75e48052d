from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from scipy import stats
from torch import Tensor
from torch.autograd import gradcheck, gradgradcheck
from torch.func import functional_call
from torch.nn import functional as F

from dynaloss.errors import InputError
from dynaloss.learning.losses._dynamic_loss import (
    DynamicLoss,
    LabelCorrector,
    MarginGenerator,
    corrected_targets,
    sample_pseudo_labels,
    warm_start_loss,
)

N, C, R = 4, 3, 5
LABELS = torch.tensor([0, 1, 2, 1])
RANKS = torch.tensor([0, 4, 2, 4])


def _probs(generator: torch.Generator, *shape: int) -> Tensor:
    return torch.rand(*shape, generator=generator, dtype=torch.float64).mul(0.8).add(0.1)


@pytest.mark.parametrize("check", [gradcheck, pytest.param(gradgradcheck, marks=pytest.mark.slow)])
@pytest.mark.parametrize("arm", ["none", "corrector", "margin", "full"])
def test_loss_differentiates_twice_in_logits_and_last_layers(
    arm: str,
    check: Callable[..., bool],
    make_loss: Callable[[str], DynamicLoss],
    generator: torch.Generator,
) -> None:
    loss = make_loss(arm).double()
    logits = torch.randn(N, C, generator=generator, dtype=torch.float64, requires_grad=True)
    pseudo_labels = F.one_hot(LABELS.roll(1), C).double()
    names = [name for name, _ in loss.named_parameters() if "layers.3" in name]
    last = [dict(loss.named_parameters())[name].detach().requires_grad_() for name in names]

    def value(z: Tensor, *parameters: Tensor) -> Tensor:
        replaced = dict(zip(names, parameters, strict=True))
        result: Tensor = functional_call(loss, replaced, (z, LABELS, RANKS, pseudo_labels))
        return result

    assert check(value, (logits, *last))


@pytest.mark.parametrize("check", [gradcheck, gradgradcheck])
@pytest.mark.parametrize("arm", ["corrector", "margin"])
def test_loss_differentiates_twice_in_every_loss_parameter(
    arm: str,
    check: Callable[..., bool],
    make_loss: Callable[[str], DynamicLoss],
    generator: torch.Generator,
) -> None:
    """Along a random direction for each parameter: the embeddings alone are 320 numbers."""
    loss = make_loss(arm).double()
    logits = torch.randn(N, C, generator=generator, dtype=torch.float64)
    pseudo_labels = F.one_hot(LABELS.roll(1), C).double()
    start = {name: p.detach() for name, p in loss.named_parameters()}
    along = {
        name: torch.randn(p.shape, generator=generator, dtype=p.dtype) for name, p in start.items()
    }

    def value(steps: Tensor) -> Tensor:
        moved = {
            name: p + step * along[name]
            for (name, p), step in zip(start.items(), steps, strict=True)
        }
        result: Tensor = functional_call(loss, moved, (logits, LABELS, RANKS, pseudo_labels))
        return result

    steps = torch.zeros(len(start), dtype=torch.float64, requires_grad=True)
    (gradient,) = torch.autograd.grad(value(steps), steps)
    assert (gradient.abs() > 1e-6).all()
    assert check(value, (steps,))


@pytest.mark.parametrize("check", [gradcheck, gradgradcheck])
def test_warm_start_loss_differentiates_twice(
    check: Callable[..., bool], generator: torch.Generator
) -> None:
    weights, probs = (_probs(generator, N).requires_grad_() for _ in range(2))
    assert check(warm_start_loss, (weights, probs))


@pytest.mark.parametrize("check", [gradcheck, gradgradcheck])
def test_corrected_targets_differentiate_twice(
    check: Callable[..., bool], generator: torch.Generator
) -> None:
    weights = _probs(generator, N).requires_grad_()
    pseudo_labels = _probs(generator, N, C).requires_grad_()
    assert check(lambda w, p: corrected_targets(w, LABELS, p), (weights, pseudo_labels))


def test_corrected_target_mixes_observed_and_pseudo_label() -> None:
    targets = corrected_targets(
        torch.tensor([0.75, 1.0]), torch.tensor([2, 0]), torch.tensor([[0.2, 0.8, 0.0]] * 2)
    )
    torch.testing.assert_close(targets, torch.tensor([[0.05, 0.2, 0.75], [1.0, 0.0, 0.0]]))


def test_loss_by_hand(make_loss: Callable[[str], DynamicLoss]) -> None:
    """One sample: w = 1/4 on class 0, the rest on class 1; margins 0, 1, 0; logits 0."""
    loss = make_loss("full").double()
    assert loss.corrector is not None
    assert loss.margin is not None
    for layers in (loss.corrector.layers, loss.margin.layers):
        torch.nn.init.zeros_(layers[-1].weight)
    with torch.no_grad():
        loss.corrector.layers[-1].bias.fill_(-torch.tensor(3.0).double().log())
        loss.margin.layers[-1].bias.copy_(torch.tensor([0.0, 1.0, 0.0]))
    value = loss(
        torch.zeros(1, C, dtype=torch.float64),
        torch.tensor([0]),
        torch.tensor([2]),
        torch.tensor([[0.0, 1.0, 0.0]], dtype=torch.float64),
    )
    e = torch.e
    assert value.item() == pytest.approx(torch.tensor(2 + e).double().log().item() - 0.75)


def test_without_components_is_cross_entropy(
    make_loss: Callable[[str], DynamicLoss], generator: torch.Generator
) -> None:
    loss = make_loss("none")
    logits = torch.randn(N, C, generator=generator)
    assert torch.equal(loss(logits, LABELS, RANKS, None), F.cross_entropy(logits, LABELS))
    assert not loss.settings.is_learned
    assert not list(loss.parameters())


@pytest.mark.parametrize("per_class", [True, False])
def test_corrector_starts_at_the_bias_plus_a_random_part(per_class: bool) -> None:
    corrector = LabelCorrector(num_ranks=100, num_classes=10, per_class=per_class, hidden_layers=1)
    with torch.no_grad():
        table = corrector.table()
        assert table.shape == (100, 10)
        assert (table.mean() - 0.982).abs() < 0.01
        corrector.layers[3].weight.zero_()
        flat = corrector.table()
    torch.testing.assert_close(flat, torch.full((100, 10), 3.98).sigmoid())
    assert flat[0, 0].item() == pytest.approx(0.982, abs=5e-4)


@pytest.mark.parametrize("per_class", [True, False])
def test_corrector_looks_up_the_observed_class(per_class: bool) -> None:
    corrector = LabelCorrector(num_ranks=R, num_classes=C, per_class=per_class, hidden_layers=1)
    table = corrector.table().detach()
    expected = torch.stack([table[r, c] for r, c in zip(RANKS, LABELS, strict=True)])
    assert torch.equal(corrector(RANKS, LABELS), expected)
    assert bool((table == table[:, :1]).all()) is not per_class


@pytest.mark.parametrize("hidden_layers", [1, 2])
@pytest.mark.parametrize("per_class", [True, False])
def test_layers_have_64_units(per_class: bool, hidden_layers: int) -> None:
    corrector = LabelCorrector(
        num_ranks=100, num_classes=10, per_class=per_class, hidden_layers=hidden_layers
    )
    margin = MarginGenerator(num_classes=10, hidden_layers=hidden_layers)
    hidden = [(64, 64), (64,)] * hidden_layers
    for module, rows, outputs in ((corrector, 100, 10 if per_class else 1), (margin, 1, 10)):
        sizes = [tuple(p.shape) for p in module.parameters()]
        assert sizes == [(rows, 64), *hidden, (outputs, 64), (outputs,)]
        kinds = [type(layer).__name__ for layer in module.layers]
        assert kinds == ["Embedding", *("Linear", "ReLU") * hidden_layers, "Linear"]


@pytest.mark.parametrize("layer", [0, 1, 3, 5])
def test_weights_are_drawn_by_xavier_and_biases_are_zero(layer: int) -> None:
    corrector = LabelCorrector(num_ranks=300, num_classes=200, per_class=True, hidden_layers=2)
    weight = corrector.layers[layer].weight
    std = (2 / sum(weight.shape)) ** 0.5
    assert weight.std().item() == pytest.approx(std, rel=0.05)
    if layer == 0:
        assert weight.abs().max().item() <= 3**0.5 * std + 1e-6
    elif layer != 5:
        assert not corrector.layers[layer].bias.any()


def test_random_ranks_need_a_generator_and_those_by_loss_ignore_it(
    generator: torch.Generator,
) -> None:
    losses, labels = torch.arange(40.0), torch.zeros(40, dtype=torch.int64)
    by_loss, by_chance = (
        DynamicLoss(num_classes=C, corrector={"ranks": R, "ranking": ranking})
        for ranking in ("loss", "random")
    )
    ascending = torch.arange(40) * R // 41
    assert torch.equal(by_loss.ranks(losses, labels, generator), ascending)
    assert not torch.equal(by_chance.ranks(losses, labels, generator), ascending)
    with pytest.raises(InputError, match=r"`generator` must be given .*'random'"):
        by_chance.ranks(losses, labels)


def test_equal_margins_are_inert(
    make_loss: Callable[[str], DynamicLoss], generator: torch.Generator
) -> None:
    loss = make_loss("margin").double()
    assert loss.margin is not None
    torch.nn.init.zeros_(loss.margin.layers[3].weight)
    logits = torch.randn(N, C, generator=generator, dtype=torch.float64)
    assert torch.equal(loss.margin().detach(), torch.ones(C).double())
    torch.testing.assert_close(
        loss(logits, LABELS, RANKS, None), F.cross_entropy(logits, LABELS), rtol=1e-12, atol=0
    )


def test_pseudo_labels_are_distributed_as_the_softmax(generator: torch.Generator) -> None:
    logits = torch.tensor([1.0, -1.0, 0.0, 2.0, -3.0])
    draws = sample_pseudo_labels(logits.expand(50_000, -1), generator)
    assert torch.equal(draws.sum(dim=1), torch.ones(50_000))
    expected = 50_000 * logits.double().softmax(0)
    assert stats.chisquare(draws.double().sum(dim=0), expected).pvalue > 1e-3


def test_pseudo_labels_are_drawn_anew_and_carry_no_gradient(
    generator: torch.Generator,
) -> None:
    logits = torch.zeros(100, C, requires_grad=True)
    first, second = (sample_pseudo_labels(logits, generator) for _ in range(2))
    assert not first.requires_grad
    assert not torch.equal(first, second)


def test_extreme_logits_give_their_class(generator: torch.Generator) -> None:
    logits = torch.tensor([[0.0, 1e4, 0.0], [-1e4, -1e4, 0.0]]).repeat(500, 1)
    draws = sample_pseudo_labels(logits, generator).argmax(dim=1)
    assert torch.equal(draws, torch.tensor([1, 2]).repeat(500))


def test_warm_start_loss_by_hand() -> None:
    """Without the small term the first would be infinite."""
    weights, probs = torch.tensor([[0.0, 0.5], [0.0, 0.5]], dtype=torch.float64)
    expected = (-math.log(1e-8) - math.log(0.75 + 1e-8)) / 2
    assert warm_start_loss(weights, probs).item() == pytest.approx(expected, rel=1e-12)
