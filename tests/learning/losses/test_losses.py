from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from scipy.special import log_softmax, softmax
from torch import Tensor
from torch.autograd import gradcheck, gradgradcheck

from dynaloss.config.families import LOSSES
from dynaloss.learning import MetaWeightNet
from dynaloss.learning.losses import TrainingFacts, TrainingLoss
from dynaloss.learning.losses._interfaces import effective_number_weights
from dynaloss.learning.losses.focal import focal_losses
from dynaloss.learning.streams import Streams

N, C = 6, 3
COUNTS = np.array([64, 16, 4])
LABELS = torch.tensor([0, 1, 2, 0, 0, 1])
INDICES = torch.tensor([5, 0, 3, 9, 2, 7])
SETTINGS: dict[str, dict[str, Any]] = {
    "cross_entropy": {"label_smoothing": 0.2},
    "focal": {"gamma": 1.5},
    "gce": {"q": 0.7},
    "sce": {"alpha": 0.3, "beta": 1.2},
    "elr": {"strength": 2.0, "momentum": 0.7},
    "ldam": {"max_margin": 0.5, "scale": 3.0, "drw_epoch": 2},
    "balanced_softmax": {},
    "logit_adjustment": {"tau": 1.5},
    "class_balanced": {"beta": 0.99, "gamma": 0.5},
}

Values = Callable[[np.ndarray, np.ndarray], float]


@pytest.fixture
def logits(generator: torch.Generator) -> Tensor:
    return 2 * torch.randn(N, C, generator=generator, dtype=torch.float64)


def _facts(counts: Tensor) -> TrainingFacts:
    return TrainingFacts(class_counts=counts, epochs=5, streams=Streams(base_seed=0, seed=0))


def _loss(name: str) -> TrainingLoss[Any]:
    settings = LOSSES[name].settings.model_validate(SETTINGS[name])
    loss = LOSSES[name].build(settings, _facts(torch.tensor(COUNTS))).to(torch.float64)
    assert isinstance(loss, TrainingLoss)
    return loss


def _class_weights(beta: float) -> np.ndarray:
    """Cui et al. with the geometric series written out: E_n = 1 + beta + ... + beta^(n - 1)."""
    inverse = np.array([1 / sum(beta**i for i in range(n)) for n in COUNTS])
    return inverse * C / inverse.sum()


def _smoothed(z: np.ndarray, y: np.ndarray) -> float:
    targets = 0.8 * np.eye(C)[y] + 0.2 / C
    return -(targets * log_softmax(z, axis=1)).sum(axis=1).mean()


def _symmetric(z: np.ndarray, y: np.ndarray) -> float:
    p = softmax(z, axis=1)
    log_label = np.where(np.eye(C)[y] == 1, 0.0, -4.0)
    forward = -(np.eye(C)[y] * np.log(p)).sum(axis=1)
    return (0.3 * forward - 1.2 * (p * log_label).sum(axis=1)).mean()


def _first_elr(z: np.ndarray, y: np.ndarray) -> float:
    """From an empty memory t = 0.3 p."""
    p = softmax(z, axis=1)
    penalty = np.log(1 - 0.3 * (p**2).sum(axis=1))
    return (-np.log(p[np.arange(N), y]) + 2.0 * penalty).mean()


def _ldam(z: np.ndarray, y: np.ndarray) -> float:
    margins = 0.5 * np.array([4 / 64, 4 / 16, 1.0]) ** 0.25
    shifted = 3.0 * (z - np.eye(C)[y] * margins)
    return -log_softmax(shifted, axis=1)[np.arange(N), y].mean()


def _balanced(tau: float) -> Values:
    def value(z: np.ndarray, y: np.ndarray) -> float:
        weighted = np.exp(z) * COUNTS**tau
        return -np.log(weighted[np.arange(N), y] / weighted.sum(axis=1)).mean()

    return value


def _class_balanced(z: np.ndarray, y: np.ndarray) -> float:
    p = softmax(z, axis=1)[np.arange(N), y]
    return (_class_weights(0.99)[y] * -((1 - p) ** 0.5) * np.log(p)).mean()


def _of_p(function: Callable[[np.ndarray], np.ndarray]) -> Values:
    return lambda z, y: function(softmax(z, axis=1)[np.arange(N), y]).mean()


EXPECTED: dict[str, Values] = {
    "cross_entropy": _smoothed,
    "focal": _of_p(lambda p: -((1 - p) ** 1.5) * np.log(p)),
    "gce": _of_p(lambda p: (1 - p**0.7) / 0.7),
    "sce": _symmetric,
    "elr": _first_elr,
    "ldam": _ldam,
    "balanced_softmax": _balanced(1.0),
    "logit_adjustment": _balanced(1.5),
    "class_balanced": _class_balanced,
}


@pytest.mark.parametrize("name", SETTINGS)
def test_value_is_that_of_the_paper(name: str, logits: Tensor) -> None:
    value = _loss(name)(logits, LABELS, INDICES).item()
    # The weights and the memory are kept in single precision.
    assert value == pytest.approx(EXPECTED[name](logits.numpy(), LABELS.numpy()), rel=1e-6)


@pytest.mark.parametrize("check", [gradcheck, gradgradcheck])
@pytest.mark.parametrize("name", SETTINGS)
def test_differentiates_twice(name: str, check: Callable[..., bool], logits: Tensor) -> None:
    loss = _loss(name)
    if name == "elr":
        # The memory stays, as it must between two evaluations.
        loss.settings = loss.settings.model_copy(update={"momentum": 1.0})
        loss.memory += 0.2
    assert check(lambda z: loss(z, LABELS, INDICES), (logits.requires_grad_(),))


@pytest.mark.parametrize("name", SETTINGS)
def test_extreme_logits_give_finite_losses_and_slopes(name: str) -> None:
    logits = torch.tensor([[60.0, 0.0, 0.0], [0.0, -80.0, 80.0]]).repeat(3, 1).requires_grad_()
    value = _loss(name).to(torch.float32)(logits, LABELS, INDICES)
    value.backward()
    assert value.isfinite()
    assert logits.grad is not None
    assert logits.grad.isfinite().all()


def test_focal_loss_without_focus_is_cross_entropy(logits: Tensor) -> None:
    expected = torch.nn.functional.cross_entropy(logits, LABELS, reduction="none")
    torch.testing.assert_close(focal_losses(logits, LABELS, 0.0), expected)


def test_ldam_weighs_classes_from_its_epoch_on(logits: Tensor) -> None:
    loss = _loss("ldam")
    values = []
    for epoch in range(4):
        loss.start_epoch(epoch)
        values.append(loss(logits, LABELS, INDICES).item())
    y, weights = LABELS.numpy(), _class_weights(0.9999)[LABELS.numpy()]
    shifted = 3.0 * (
        logits.numpy() - np.eye(C)[y] * 0.5 * np.array([1 / 16, 0.25, 1])[y, None] ** 0.25
    )
    single = -log_softmax(shifted, axis=1)[np.arange(N), y]
    assert values[0] == values[1] == pytest.approx(single.mean())
    assert values[2] == values[3] == pytest.approx((weights * single).sum() / weights.sum())


def test_elr_remembers_a_moving_average_of_the_predictions(logits: Tensor) -> None:
    loss = _loss("elr")
    for step in (1.0, 0.5):
        loss(step * logits, LABELS, INDICES)
    first, second = softmax(logits.numpy(), axis=1), softmax(0.5 * logits.numpy(), axis=1)
    expected = 0.7 * 0.3 * first + 0.3 * second
    np.testing.assert_allclose(loss.memory[INDICES].numpy(), expected, rtol=1e-3)
    others = [i for i in range(10) if i not in INDICES]
    assert not loss.memory[others].any()


@pytest.mark.parametrize("beta", [0.0, 0.9, 0.9999])
def test_effective_number_weights(beta: float) -> None:
    weights = effective_number_weights(torch.tensor(COUNTS), beta)
    np.testing.assert_allclose(weights.numpy(), _class_weights(beta), rtol=1e-5)


def test_a_class_without_a_sample_has_no_weight_and_no_share() -> None:
    counts = torch.tensor([8, 0, 8])
    assert effective_number_weights(counts, 0.9).tolist() == pytest.approx([1, 0, 1])
    kind = LOSSES["balanced_softmax"]
    loss = kind.build(kind.settings(), _facts(counts))
    value = loss(torch.tensor([[0.0, 50.0, 0.0]]), torch.tensor([0]), torch.tensor([0]))
    assert value.item() == pytest.approx(np.log(2))


def _weight_net(hidden_size: int) -> MetaWeightNet:
    return MetaWeightNet(hidden_size=hidden_size).double()


@pytest.mark.parametrize("check", [gradcheck, gradgradcheck])
def test_meta_weight_net_differentiates_in_its_parameters(
    check: Callable[..., bool], logits: Tensor
) -> None:
    """The weights take no gradient from the loss that they look at, so not in the logits."""
    net = _weight_net(4)
    names = [name for name, _ in net.named_parameters()]
    start = [p.detach().requires_grad_() for p in net.parameters()]

    def value(*parameters: Tensor) -> Tensor:
        replaced = dict(zip(names, parameters, strict=True))
        result: Tensor = torch.func.functional_call(net, replaced, (logits, LABELS))
        return result

    assert check(value, start)


def test_meta_weight_net_weighs_each_loss(logits: Tensor, generator: torch.Generator) -> None:
    net = _weight_net(5)
    first, _, second, _ = net.layers
    losses = -log_softmax(logits.numpy(), axis=1)[np.arange(N), LABELS]
    w1, b1, w2, b2 = (p.detach().numpy() for p in (*first.parameters(), *second.parameters()))
    weights = 1 / (1 + np.exp(-(np.maximum(losses[:, None] @ w1.T + b1, 0) @ w2.T + b2)))[:, 0]
    expected = (weights * losses).mean()
    ranks = torch.zeros(N, dtype=torch.int64)
    ahead = net.look_ahead_loss(logits, LABELS, ranks, generator)
    assert ahead.item() == pytest.approx(expected)
    assert net.real_loss(None, LABELS, ranks, generator)(logits).item() == pytest.approx(expected)
