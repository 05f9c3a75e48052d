"""The exact hypergradient of one look-ahead step, without a second graph through the network.

The loss parameters phi act only on targets and logits. With z the logits of the training batch at
the weights theta, l(z, phi) the training loss,

    theta' = theta - lr * (momentum * buffer + d l / d theta + weight_decay * theta)

and v the gradient of the outer loss at theta',

    d outer / d phi = - lr * d / d phi < d l / d z (z, phi), J v >,

where J v is the directional derivative of z along v: one forward-mode pass. All that depends on
phi is then a computation on an (N, C) matrix.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from dynaloss.learning.meta.linearized import LinearizedPass


@dataclass(frozen=True, slots=True, kw_only=True)
class LookAhead:
    """Settings of the look-ahead step: one step of SGD on a copy of the classifier.

    Attributes:
        lr: Current learning rate.
        momentum: Momentum of SGD, in [0, 1).
        weight_decay: Weight decay of SGD, at least 0.
        buffers: Live momentum buffers by parameter name; only read. Empty before the first step.
    """

    lr: float
    momentum: float
    weight_decay: float
    buffers: Mapping[str, Tensor]

    def step(
        self, weights: Mapping[str, Tensor], gradients: Sequence[Tensor]
    ) -> dict[str, Tensor]:
        """Returns new weights after one step of SGD; changes nothing in place.

        They carry the graph of `gradients`, where those have one.
        """
        # `_foreach` operations treat all weights in a few kernels, where a loop would launch many.
        current = [weight.detach() for weight in weights.values()]
        directions = torch._foreach_add(list(gradients), current, alpha=self.weight_decay)
        if self.buffers:
            momenta = [
                self.buffers[name] if name in self.buffers else torch.zeros_like(weight)
                for name, weight in zip(weights, current, strict=True)
            ]
            directions = torch._foreach_add(directions, momenta, alpha=self.momentum)
        ahead = torch._foreach_add(current, directions, alpha=-self.lr)
        return dict(zip(weights, ahead, strict=True))


@dataclass(frozen=True, slots=True, kw_only=True)
class MetaStep:
    """Input of a hypergradient: one look-ahead step, and the outer loss after it.

    Attributes:
        model: Classifier in train mode.
        inputs: A training batch in the view that the look-ahead step descends on, first
            dimension N.
        inner_loss: Scalar training loss as a function of the logits (N, C); depends on
            `loss_parameters`, and is twice differentiable.
        outer_inputs: Strong view of a metadata batch.
        outer_loss: Scalar outer loss as a function of the logits of `outer_inputs`; does not
            depend on `loss_parameters`.
        loss_parameters: phi; leaves that require gradients.
        look_ahead: Settings and live momentum of the step.
        precision: Context of the classifier's forward passes, such as autocast.
    """

    model: nn.Module
    inputs: Tensor
    inner_loss: Callable[[Tensor], Tensor]
    outer_inputs: Tensor
    outer_loss: Callable[[Tensor], Tensor]
    loss_parameters: Sequence[Tensor]
    look_ahead: LookAhead
    precision: Callable[[], AbstractContextManager[object]] = nullcontext

    def weights(self) -> dict[str, Tensor]:
        """Returns the weights that the look-ahead step moves, by name."""
        named = self.model.named_parameters()
        return {name: weight for name, weight in named if weight.requires_grad}

    def outer_loss_at(self, ahead: Mapping[str, Tensor]) -> Tensor:
        """Returns the outer loss of the classifier with weights `ahead`, with its graph."""
        with self.precision():
            logits = functional_call(self.model, dict(ahead), self.outer_inputs)
        return self.outer_loss(logits)


@dataclass(frozen=True, slots=True, kw_only=True)
class Hypergradient:
    """Result of a meta step.

    Attributes:
        gradients: d outer / d phi, one tensor per loss parameter.
        outer_loss: Outer loss of the looked-ahead classifier, a scalar without gradient.
        logits: Logits of the training batch at the present weights, (N, C), without gradient.
    """

    gradients: tuple[Tensor, ...]
    outer_loss: Tensor
    logits: Tensor


@contextmanager
def batch_statistics(model: nn.Module) -> Iterator[None]:
    """Lets batch norm use batch statistics in train mode without updating its running buffers.

    The same as working on a discarded clone of the buffers, without the clone.
    """
    tracking: list[Any] = [
        module for module in model.modules() if getattr(module, "track_running_stats", False)
    ]
    for module in tracking:
        module.track_running_stats = False
    try:
        yield
    finally:
        for module in tracking:
            module.track_running_stats = True


def hypergradient(step: MetaStep) -> Hypergradient:
    """Differentiates the outer loss after one look-ahead step by the loss parameters, exactly.

    Source: arXiv 2211.12506, meta-learning step; the forward-mode form is ours and equals the
    fully unrolled gradient. The model's parameters, gradients and buffers stay as they are.
    The look-ahead step leaves out parameters of the model that do not require a gradient.
    The directional derivative is computed outside of `MetaStep.precision`.
    """
    weights = step.weights()
    with batch_statistics(step.model):
        with step.precision():
            first = LinearizedPass(step.model, step.inputs)
        # A leaf: phi acts on the logits only, so the graph that is differentiated twice ends here.
        leaf = first.logits.detach().requires_grad_()
        (logits_gradient,) = torch.autograd.grad(step.inner_loss(leaf), leaf, create_graph=True)
        gradients = torch.autograd.grad(
            first.logits, tuple(weights.values()), logits_gradient.detach()
        )
        # Leaves too: the chain through the step is the closed form at the top of this file.
        ahead = {
            name: weight.requires_grad_()
            for name, weight in step.look_ahead.step(weights, gradients).items()
        }
        outer = step.outer_loss_at(ahead)
        direction = torch.autograd.grad(outer, tuple(ahead.values()))
        derivative = first.derivative(dict(zip(weights, direction, strict=True)))
    # < d l / d z (z, phi), J v >: J v is a constant, and only the first factor depends on phi.
    product = (logits_gradient * derivative).sum()
    by_phi = torch.autograd.grad(product, tuple(step.loss_parameters))
    return Hypergradient(
        gradients=tuple(-step.look_ahead.lr * gradient for gradient in by_phi),
        outer_loss=outer.detach(),
        logits=leaf.detach(),
    )


def unrolled_hypergradient(step: MetaStep) -> Hypergradient:
    """The same as `hypergradient` by a second graph through the whole network, for comparison.

    The textbook form; it needs more memory.
    """
    weights = step.weights()
    with batch_statistics(step.model):
        with step.precision():
            logits = step.model(step.inputs)
        gradients = torch.autograd.grad(
            step.inner_loss(logits), tuple(weights.values()), create_graph=True
        )
        outer = step.outer_loss_at(step.look_ahead.step(weights, gradients))
    return Hypergradient(
        gradients=torch.autograd.grad(outer, tuple(step.loss_parameters)),
        outer_loss=outer.detach(),
        logits=logits.detach(),
    )


HYPERGRADIENTS = {
    "forward": hypergradient,
    "unrolled": unrolled_hypergradient,
    # Exact, too, for the look-ahead step of the last linear layer that the caller restricts it to.
    "head": hypergradient,
}
"""Ways to compute the hypergradient by name."""
