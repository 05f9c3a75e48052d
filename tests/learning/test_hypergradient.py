from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional as F

from dynaloss.config import ModelConfig
from dynaloss.config.families import MODELS
from dynaloss.learning.losses._dynamic_loss import DynamicLoss
from dynaloss.learning.meta.hypergradient import (
    Hypergradient,
    LookAheadProblem,
    batch_statistics,
    hypergradient,
    unrolled_hypergradient,
)
from dynaloss.learning.meta.look_ahead import AdamWLookAhead, LookAhead
from dynaloss.learning.models.resnet import CifarResNet
from dynaloss.learning.streams import default_generator_seeded

N, C, R = 12, 3, 5
INPUT_SHAPE = (2, 6, 6)
LR, MOMENTUM, WEIGHT_DECAY = 0.3, 0.9, 5e-2


@dataclass
class Problem:
    """One look-ahead step: a classifier with momentum, a loss, a batch and a metadata batch."""

    model: nn.Module
    loss: DynamicLoss
    inputs: Tensor
    labels: Tensor
    ranks: Tensor
    pseudo_labels: Tensor
    outer_inputs: Tensor
    outer_labels: Tensor
    buffers: dict[str, Tensor]

    @property
    def phi(self) -> list[nn.Parameter]:
        return list(self.loss.parameters())

    def inner(self, logits: Tensor) -> Tensor:
        loss: Tensor = self.loss(logits, self.labels, self.ranks, self.pseudo_labels)
        return loss

    def outer(self, logits: Tensor) -> Tensor:
        return F.cross_entropy(logits, self.outer_labels)

    @property
    def step(self) -> LookAheadProblem:
        return LookAheadProblem(
            model=self.model,
            inputs=self.inputs,
            inner_loss=self.inner,
            outer_inputs=self.outer_inputs,
            outer_loss=self.outer,
            loss_parameters=self.phi,
            look_ahead=[
                LookAhead(
                    weights={n: w for n, w in self.model.named_parameters() if w.requires_grad},
                    lr=LR,
                    momentum=MOMENTUM,
                    weight_decay=WEIGHT_DECAY,
                    buffers=self.buffers,
                )
            ],
        )

    def solve(self) -> Hypergradient:
        return hypergradient(self.step)

    def unrolled(self) -> tuple[Tensor, ...]:
        """The same gradient through a whole second-order graph, batch norm's buffers cloned."""

        def logits(weights: Mapping[str, Tensor], inputs: Tensor) -> Tensor:
            clones = {name: buffer.clone() for name, buffer in self.model.named_buffers()}
            output: Tensor = functional_call(self.model, {**weights, **clones}, inputs)
            return output

        weights = dict(self.model.named_parameters())
        inner = self.inner(logits(weights, self.inputs))
        gradients = torch.autograd.grad(inner, list(weights.values()), create_graph=True)
        ahead = {
            name: weight - LR * (MOMENTUM * self.buffers[name] + g + WEIGHT_DECAY * weight)
            for (name, weight), g in zip(weights.items(), gradients, strict=True)
        }
        return torch.autograd.grad(self.outer(logits(ahead, self.outer_inputs)), self.phi)

    def outer_loss_after_real_step(self) -> float:
        """Outer loss after one step of a real optimiser on a deep copy."""
        model = copy.deepcopy(self.model)
        optimizer = torch.optim.SGD(
            model.parameters(), lr=LR, momentum=MOMENTUM, weight_decay=WEIGHT_DECAY
        )
        for name, weight in model.named_parameters():
            optimizer.state[weight]["momentum_buffer"] = self.buffers[name].clone()
        self.inner(model(self.inputs)).backward()
        optimizer.step()
        return self.outer(model(self.outer_inputs)).item()


def _classifier(name: str) -> nn.Module:
    with default_generator_seeded(3):
        if name == "resnet8":
            return CifarResNet(depth=8, input_shape=INPUT_SHAPE, num_classes=C)
        return MODELS[name].build(ModelConfig(name=name), input_shape=INPUT_SHAPE, num_classes=C)


def _norm(tensors: tuple[Tensor, ...]) -> Tensor:
    return torch.cat([tensor.flatten() for tensor in tensors]).norm()


@pytest.fixture
def make_problem(
    make_loss: Callable[[str], DynamicLoss], generator: torch.Generator
) -> Callable[[str, str], Problem]:
    def make(name: str, arm: str) -> Problem:
        def normal(*shape: int) -> Tensor:
            return torch.randn(*shape, generator=generator, dtype=torch.float64)

        model = _classifier(name).double().train()
        labels = torch.arange(N) % C
        return Problem(
            model=model,
            loss=make_loss(arm).double(),
            inputs=normal(N, *INPUT_SHAPE),
            labels=labels,
            ranks=torch.randint(R, (N,), generator=generator),
            pseudo_labels=F.one_hot(labels.roll(1), C).double(),
            outer_inputs=normal(6, *INPUT_SHAPE),
            outer_labels=torch.arange(6) % C,
            buffers={name: 0.1 * normal(*p.shape) for name, p in model.named_parameters()},
        )

    return make


@pytest.mark.parametrize("arm", ["corrector", "margin", "full"])
@pytest.mark.parametrize("name", ["mlp", "small_cnn", "resnet8"])
def test_equals_the_fully_unrolled_gradient(
    name: str, arm: str, make_problem: Callable[..., Problem]
) -> None:
    problem = make_problem(name, arm)
    exact = problem.unrolled()
    found = problem.solve().gradients
    assert _norm(exact) > 1e-3
    errors = tuple(a - b for a, b in zip(found, exact, strict=True))
    assert _norm(errors) < 1e-10 * _norm(exact)


@pytest.mark.parametrize("arm", ["corrector", "margin", "full"])
@pytest.mark.parametrize("name", ["mlp", "small_cnn", "resnet8"])
def test_equals_central_differences_through_a_real_step(
    name: str, arm: str, make_problem: Callable[..., Problem], generator: torch.Generator
) -> None:
    problem = make_problem(name, arm)
    gradients = problem.solve().gradients
    eps, scale = 1e-5, _norm(gradients)
    for direction in (
        tuple(g / scale for g in gradients),
        tuple(torch.randn(g.shape, generator=generator, dtype=g.dtype) for g in gradients),
    ):
        losses = []
        for step in (eps, -eps):
            moved = copy.deepcopy(problem)
            with torch.no_grad():
                for parameter, d in zip(moved.phi, direction, strict=True):
                    parameter.add_(d, alpha=step)
            losses.append(moved.outer_loss_after_real_step())
        numeric = (losses[0] - losses[1]) / (2 * eps)
        analytic = sum(float((g * d).sum()) for g, d in zip(gradients, direction, strict=True))
        assert abs(analytic) > 1e-4
        assert numeric == pytest.approx(analytic, rel=1e-5)


def test_equals_the_closed_form_of_a_quadratic_problem(generator: torch.Generator) -> None:
    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    X, Y, t, b = normal(7, 4), normal(5, 4), normal(5, 1), normal(1, 4)
    phi = normal(7, 1).requires_grad_()
    model = nn.Linear(4, 1, bias=False).double()
    theta = model.weight.detach().T
    step = LookAheadProblem(
        model=model,
        inputs=X,
        inner_loss=lambda logits: 0.5 * (logits - phi).square().sum(),
        outer_inputs=Y,
        outer_loss=lambda logits: 0.5 * (logits - t).square().sum(),
        loss_parameters=[phi],
        look_ahead=[
            LookAhead(
                weights=dict(model.named_parameters()),
                lr=0.1,
                momentum=0.9,
                weight_decay=0.2,
                buffers={"weight": b},
            )
        ],
    )
    found = hypergradient(step)
    ahead = theta - 0.1 * (0.9 * b.T + X.T @ (X @ theta - phi.detach()) + 0.2 * theta)
    expected = 0.1 * X @ Y.T @ (Y @ ahead - t)
    assert expected.norm() > 0.1
    torch.testing.assert_close(found.gradients[0], expected, rtol=1e-12, atol=1e-12)


def test_reports_outer_loss_and_logits_before_the_step(
    make_problem: Callable[..., Problem],
) -> None:
    problem = make_problem("small_cnn", "full")
    result = problem.solve()
    assert float(result.outer_loss) == pytest.approx(problem.outer_loss_after_real_step())
    torch.testing.assert_close(result.logits, problem.model(problem.inputs).detach())
    assert not result.outer_loss.requires_grad
    assert not result.logits.requires_grad


def test_leaves_the_model_as_it_was(make_problem: Callable[..., Problem]) -> None:
    problem = make_problem("resnet8", "full")
    for parameter in problem.model.parameters():
        parameter.grad = torch.full_like(parameter, 7.0)
    state = copy.deepcopy(problem.model.state_dict())
    momentum = copy.deepcopy(problem.buffers)
    problem.solve()
    for name, value in problem.model.state_dict().items():
        assert torch.equal(value, state[name]), name
    assert all(torch.equal(problem.buffers[name], momentum[name]) for name in momentum)
    assert all((p.grad == 7.0).all() for p in problem.model.parameters() if p.grad is not None)
    assert all(p.grad is not None and p.requires_grad for p in problem.model.parameters())


@pytest.mark.parametrize(("weight_decay", "eps"), [(5e-2, 1e-8), (0.0, 1e-2)])
def test_look_ahead_equals_a_real_step_of_adamw(
    weight_decay: float, eps: float, generator: torch.Generator
) -> None:
    """With a fresh optimiser, then with its live means; and its derivative by autograd."""
    model = _classifier("small_cnn").double()
    settings = {"lr": LR, "betas": (0.8, 0.9), "eps": eps, "weight_decay": weight_decay}
    optimizer = torch.optim.AdamW(model.parameters(), **settings)
    for _ in range(3):
        weights = {name: p.detach().clone() for name, p in model.named_parameters()}
        for parameter in model.parameters():
            parameter.grad = torch.randn(parameter.shape, generator=generator).double()
        begun = {
            n: copy.deepcopy(s) for n, p in model.named_parameters() if (s := optimizer.state[p])
        }
        look_ahead = AdamWLookAhead(
            weights=weights,
            **settings,
            steps={name: float(state["step"]) for name, state in begun.items()},
            means={name: state["exp_avg"] for name, state in begun.items()},
            squares={name: state["exp_avg_sq"] for name, state in begun.items()},
        )
        gradients = {n: p.grad.clone().requires_grad_() for n, p in model.named_parameters()}
        ahead = look_ahead.step(gradients)
        optimizer.step()
        for name, parameter in model.named_parameters():
            torch.testing.assert_close(ahead[name], parameter, rtol=1e-10, atol=1e-12)
        direction = {
            n: torch.randn(w.shape, generator=generator).double() for n, w in weights.items()
        }
        pulled = look_ahead.pulled_back(direction, gradients)
        product = sum((ahead[name] * direction[name]).sum() for name in weights)
        for name, expected in zip(
            weights, torch.autograd.grad(product, [*gradients.values()]), strict=True
        ):
            torch.testing.assert_close(-LR * pulled[name], expected, rtol=1e-8, atol=1e-10)


def test_a_weight_without_any_gradient_so_far_has_a_finite_derivative() -> None:
    """Adam's root has none at 0, where a dead unit stays."""
    zero = torch.zeros(2, dtype=torch.float64, requires_grad=True)
    look_ahead = AdamWLookAhead(
        weights={"w": torch.ones(2)}, lr=0.1, betas=(0.9, 0.99), eps=0.5, weight_decay=0.0,
        steps={}, means={}, squares={},
    )  # fmt: skip
    (unrolled,) = torch.autograd.grad(look_ahead.step({"w": zero})["w"].sum(), zero)
    pulled = look_ahead.pulled_back({"w": torch.ones(2)}, {"w": zero})["w"]
    assert unrolled.tolist() == pytest.approx([-0.1 / 0.5] * 2)
    assert (-0.1 * pulled).tolist() == pytest.approx([-0.1 / 0.5] * 2)


@pytest.mark.parametrize(
    ("momentum", "weight_decay", "nesterov"),
    [(0.9, 5e-2, False), (0.9, 0.0, False), (0.0, 5e-2, False), (0.9, 5e-2, True)],
)
def test_look_ahead_equals_a_real_step_of_sgd(
    momentum: float, weight_decay: float, nesterov: bool, generator: torch.Generator
) -> None:
    """With a fresh optimiser, then with its live momentum buffers."""
    model = _classifier("small_cnn").double()
    optimizer = torch.optim.SGD(
        model.parameters(), lr=LR, momentum=momentum, weight_decay=weight_decay, nesterov=nesterov
    )
    for _ in range(3):
        weights = {name: p.detach().clone() for name, p in model.named_parameters()}
        for parameter in model.parameters():
            parameter.grad = torch.randn(parameter.shape, generator=generator).double()
        state = optimizer.state_dict()["state"]
        buffers = {
            name: state[i]["momentum_buffer"].clone()
            for i, name in enumerate(weights)
            if momentum and state
        }
        step = LookAhead(
            weights=weights,
            lr=LR,
            momentum=momentum,
            weight_decay=weight_decay,
            buffers=buffers,
            nesterov=nesterov,
        )
        ahead = step.step({n: p.grad for n, p in model.named_parameters() if p.grad is not None})
        optimizer.step()
        for name, parameter in model.named_parameters():
            torch.testing.assert_close(ahead[name], parameter.detach(), rtol=1e-14, atol=1e-15)


def test_batch_statistics_are_restored_after_an_error() -> None:
    model = nn.Sequential(nn.BatchNorm1d(2), nn.BatchNorm1d(2, track_running_stats=False))

    def fail() -> None:
        with batch_statistics(model):
            assert not model[0].track_running_stats
            raise RuntimeError("on purpose")

    with pytest.raises(RuntimeError, match="on purpose"):
        fail()
    assert [layer.track_running_stats for layer in model] == [True, False]


@pytest.mark.parametrize("frozen_body", [False, True], ids=["whole-network", "head-only"])
def test_both_exact_ways_agree(make_problem: Callable[..., Problem], frozen_body: bool) -> None:
    problem = make_problem("small_cnn", "full")
    if frozen_body:
        problem.model.requires_grad_(False)
        problem.model.head.requires_grad_(True)
    forward, unrolled = hypergradient(problem.step), unrolled_hypergradient(problem.step)
    assert _norm(forward.gradients) > 1e-3
    torch.testing.assert_close(forward.gradients, unrolled.gradients, rtol=1e-9, atol=1e-14)
    torch.testing.assert_close(forward.outer_loss, unrolled.outer_loss)
    torch.testing.assert_close(forward.logits, unrolled.logits)
