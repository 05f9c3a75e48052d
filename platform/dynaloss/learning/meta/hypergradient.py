"""The exact hypergradient of one look-ahead step, without a second graph through the network.

The loss parameters phi act only on targets and logits. With z the logits of the training batch at
the weights theta, l(z, phi) the training loss,

    theta' = theta - lr * (momentum * buffer + d l / d theta + weight_decay * theta)

and v the gradient of the outer loss at theta',

    d outer / d phi = - lr * d / d phi < d l / d z (z, phi), J v >,

where J v is the directional derivative of z along v: one forward-mode pass. All that depends on
phi is then a computation on an (N, C) matrix. AdamW's step is not linear in the gradient, but acts
on each weight by itself: there v is multiplied by the derivative of its step.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from dynaloss.learning.classifier import at_least_float32
from dynaloss.learning.meta.linearized import gradients_by_name
from dynaloss.learning.meta.look_ahead import AdamWLookAhead, LookAhead
from dynaloss.learning.meta.network import Network, PlainNetwork


@dataclass(frozen=True, slots=True, kw_only=True)
class LookAheadProblem:
    """Input of a hypergradient: one look-ahead step, and the outer loss after it.

    Attributes:
        model: Classifier in the mode that it trains in.
        inputs: A training batch in the view that the look-ahead step descends on, first
            dimension N.
        inner_loss: Scalar training loss as a function of the logits (N, C); depends on
            `loss_parameters`, and is twice differentiable.
        outer_inputs: Strong view of a metadata batch.
        outer_loss: Scalar outer loss as a function of the logits of `outer_inputs`; does not
            depend on `loss_parameters`.
        loss_parameters: phi; leaves that require gradients.
        look_ahead: The step of each group of weights, which are the model's and require
            gradients; the weights of no group stay where they are.
        precision: Context of the classifier's forward passes, such as autocast.
        network: What computes the passes of `hypergradient`; by default the model by itself.

    Examples:
        >>> import torch
        >>> from torch.nn.functional import cross_entropy
        >>> from dynaloss.learning import LookAhead, LookAheadProblem
        >>> model, phi = torch.nn.Linear(4, 3), torch.zeros(3, requires_grad=True)
        >>> weights = dict(model.named_parameters())
        >>> labels = torch.tensor([0, 1, 2])
        >>> problem = LookAheadProblem(
        ...     model=model,
        ...     inputs=torch.eye(4)[:3],
        ...     inner_loss=lambda logits: cross_entropy(logits + phi, labels),
        ...     outer_inputs=torch.eye(4)[1:],
        ...     outer_loss=lambda logits: cross_entropy(logits, labels),
        ...     loss_parameters=[phi],
        ...     look_ahead=[
        ...         LookAhead(weights=weights, lr=0.1, momentum=0.0, weight_decay=0.0, buffers={})
        ...     ],
        ... )
        >>> sorted(problem.weights())
        ['bias', 'weight']
    """

    model: nn.Module
    inputs: Tensor
    inner_loss: Callable[[Tensor], Tensor]
    outer_inputs: Tensor
    outer_loss: Callable[[Tensor], Tensor]
    loss_parameters: Sequence[Tensor]
    look_ahead: Sequence[LookAhead | AdamWLookAhead]
    precision: Callable[[], AbstractContextManager[object]] = nullcontext
    network: Network | None = None

    def weights(self) -> dict[str, Tensor]:
        """Returns the weights that the look-ahead step moves, by name."""
        return {name: w for group in self.look_ahead for name, w in group.weights.items()}

    def step(self, gradients: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Returns the weights after the look-ahead step, by name; see `LookAhead.step`."""
        return {n: w for group in self.look_ahead for n, w in group.step(gradients).items()}

    def outer_loss_at(self, ahead: Mapping[str, Tensor]) -> Tensor:
        """Returns the outer loss of the classifier with weights `ahead`, with its graph."""
        with self.precision():
            logits = functional_call(self.model, dict(ahead), self.outer_inputs)
        return self.outer_loss(at_least_float32(logits))


@dataclass(frozen=True, slots=True, kw_only=True)
class Hypergradient:
    """Result of a meta step.

    Attributes:
        gradients: d outer / d phi, one tensor per loss parameter.
        outer_loss: Outer loss of the looked-ahead classifier, a scalar without gradient.
        logits: Logits of the training batch at the present weights, (N, C), without gradient.

    Examples:
        >>> import torch
        >>> from dynaloss.learning import Hypergradient
        >>> outer_loss, logits = torch.tensor(0.7), torch.zeros(2, 3)
        >>> gradients = (torch.tensor([-0.5]),)
        >>> result = Hypergradient(gradients=gradients, outer_loss=outer_loss, logits=logits)
        >>> result.gradients
        (tensor([-0.5000]),)
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


def hypergradient(problem: LookAheadProblem) -> Hypergradient:
    """Differentiates the outer loss after one look-ahead step by the loss parameters, exactly.

    Source: arXiv 2211.12506, meta-learning step; the forward-mode form is ours and equals the
    fully unrolled gradient up to rounding. The model's parameters, gradients and buffers stay as
    they are. The directional derivative is computed outside of `LookAheadProblem.precision`.

    With one weight w, inputs 1, logits w, inner loss phi * w and outer loss w at w - lr * phi:

    Examples:
        >>> import torch
        >>> from dynaloss.learning import LookAhead, LookAheadProblem, hypergradient
        >>> model, phi = torch.nn.Linear(1, 1, bias=False), torch.tensor(3.0, requires_grad=True)
        >>> weights = dict(model.named_parameters())
        >>> problem = LookAheadProblem(
        ...     model=model,
        ...     inputs=torch.ones(1, 1),
        ...     inner_loss=lambda logits: (phi * logits).sum(),
        ...     outer_inputs=torch.ones(1, 1),
        ...     outer_loss=lambda logits: logits.sum(),
        ...     loss_parameters=[phi],
        ...     look_ahead=[
        ...         LookAhead(weights=weights, lr=0.5, momentum=0.0, weight_decay=0.0, buffers={})
        ...     ],
        ... )
        >>> hypergradient(problem).gradients
        (tensor(-0.5000),)
    """
    weights, network = problem.weights(), problem.network or PlainNetwork(problem.model)
    with batch_statistics(problem.model):
        with problem.precision():
            first = network.linearized(problem.inputs)
        logits = at_least_float32(first.logits)
        # A leaf: phi acts on the logits only, so the graph that is differentiated twice ends here.
        leaf = logits.detach().requires_grad_()
        (logits_gradient,) = torch.autograd.grad(problem.inner_loss(leaf), leaf, create_graph=True)
        gradients = first.gradients(logits, weights, logits_gradient.detach())
        # Leaves too: the chain through the step is the closed form at the top of this file.
        ahead = {name: weight.requires_grad_() for name, weight in problem.step(gradients).items()}
        with problem.precision():
            second = network.ahead(ahead, problem.outer_inputs)
        outer = problem.outer_loss(at_least_float32(second.logits))
        direction, step_size = _per_step_size(
            second.gradients(outer, ahead), gradients, problem.look_ahead
        )
        derivative = first.derivative(direction)
    # < d l / d z (z, phi), J v >: J v is a constant, and only the first factor depends on phi.
    product = (logits_gradient * derivative).sum()
    by_phi = torch.autograd.grad(product, tuple(problem.loss_parameters))
    return Hypergradient(
        gradients=tuple(-step_size * gradient for gradient in by_phi),
        outer_loss=outer.detach(),
        logits=leaf.detach(),
    )


def _per_step_size(
    direction: Mapping[str, Tensor],
    gradients: Mapping[str, Tensor],
    groups: Sequence[LookAhead | AdamWLookAhead],
) -> tuple[dict[str, Tensor], float]:
    """Writes direction x derivative of the step as another direction x the largest step size."""
    largest = max(group.step_size for group in groups)
    scaled: dict[str, Tensor] = {}
    for group in groups:
        own = {name: direction[name] for name in group.weights if name in direction}
        own = group.pulled_back(own, gradients)
        if group.step_size != largest:
            own = {name: part * (group.step_size / largest) for name, part in own.items()}
        scaled |= own
    return scaled, largest


def unrolled_hypergradient(problem: LookAheadProblem) -> Hypergradient:
    """The same as `hypergradient` by a second graph through the whole network, for comparison.

    The textbook form; it needs more memory.
    """
    with batch_statistics(problem.model):
        with problem.precision():
            logits = at_least_float32(problem.model(problem.inputs))
        inner = problem.inner_loss(logits)
        ahead = problem.step(gradients_by_name(inner, problem.weights(), create_graph=True))
        outer = problem.outer_loss_at(ahead)
    return Hypergradient(
        gradients=torch.autograd.grad(outer, tuple(problem.loss_parameters)),
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
