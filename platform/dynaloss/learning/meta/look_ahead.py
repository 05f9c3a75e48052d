"""The look-ahead step of each optimizer: a step on a copy of the weights, and its derivative."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True, kw_only=True)
class LookAhead:
    """The look-ahead step of some weights: one step of SGD on a copy of them.

    Attributes:
        weights: Weights by name, which share the other settings; only read.
        lr: Current learning rate.
        momentum: Momentum of SGD, in [0, 1).
        weight_decay: Weight decay of SGD, at least 0.
        buffers: Live momentum buffers by parameter name; only read. Empty before the first step.
        nesterov: Whether the momentum is Nesterov's.

    Examples:
        >>> import torch
        >>> from dynaloss.learning import LookAhead
        >>> weights, gradients = {"w": torch.tensor([1.0])}, {"w": torch.tensor([2.0])}
        >>> momentum = {"w": torch.tensor([10.0])}
        >>> look_ahead = LookAhead(
        ...     weights=weights, lr=0.1, momentum=0.9, weight_decay=0.5, buffers=momentum
        ... )
        >>> look_ahead.step(gradients)["w"]  # 1 - 0.1 (0.9 x 10 + 2 + 0.5 x 1)
        tensor([-0.1500])
    """

    weights: Mapping[str, Tensor]
    lr: float
    momentum: float
    weight_decay: float
    buffers: Mapping[str, Tensor]
    nesterov: bool = False

    @property
    def step_size(self) -> float:
        """How far a weight moves against a unit of its gradient."""
        return self.lr * (1 + self.momentum) if self.nesterov else self.lr

    def step(self, gradients: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Returns the weights after one step of SGD; changes nothing in place.

        They carry the graph of `gradients`, where those have one. A weight without a gradient
        stays where it is, and is left out.
        """
        names = [name for name in self.weights if name in gradients]
        if not names:
            return {}
        # `_foreach` operations treat all weights in a few kernels, where a loop would launch many.
        current = [self.weights[name].detach() for name in names]
        directions = torch._foreach_add(
            [gradients[name] for name in names], current, alpha=self.weight_decay
        )
        momenta = directions
        if self.buffers:
            buffers = [
                self.buffers[name] if name in self.buffers else torch.zeros_like(weight)
                for name, weight in zip(names, current, strict=True)
            ]
            momenta = torch._foreach_add(directions, buffers, alpha=self.momentum)
        if self.nesterov:
            momenta = torch._foreach_add(directions, momenta, alpha=self.momentum)
        ahead = torch._foreach_add(current, momenta, alpha=-self.lr)
        return dict(zip(names, ahead, strict=True))

    def pulled_back(
        self, direction: Mapping[str, Tensor], gradients: Mapping[str, Tensor]
    ) -> dict[str, Tensor]:
        """Returns a direction at the weights ahead as one of gradients, by minus the step size."""
        del gradients  # the step is linear in them
        return dict(direction)


@dataclass(frozen=True, slots=True, kw_only=True)
class AdamWLookAhead:
    """The look-ahead step of some weights by AdamW: one step on a copy of them.

    Source: Loshchilov, Hutter, Decoupled Weight Decay Regularization, ICLR 2019, algorithm 2, as
    torch.optim.AdamW computes it.

    Attributes:
        weights: Weights by name, which share the other settings; only read.
        lr: Current learning rate.
        betas: Decay of the means of gradients and of their squares, each in [0, 1).
        eps: Added to the root of the mean of squares, above 0.
        weight_decay: Decoupled weight decay, at least 0.
        steps: Number of steps so far, by name; absent before the first.
        means: Mean of the gradients by name; only read. Absent before the first step.
        squares: Mean of their squares likewise.

    Examples:
        >>> import torch
        >>> from dynaloss.learning import AdamWLookAhead
        >>> look_ahead = AdamWLookAhead(
        ...     weights={"w": torch.tensor([1.0])}, lr=0.1, betas=(0.9, 0.999), eps=1e-8,
        ...     weight_decay=0.5, steps={}, means={}, squares={},
        ... )
        >>> look_ahead.step({"w": torch.tensor([2.0])})["w"]  # 1 - 0.1 x 0.5 - 0.1 x 2 / |2|
        tensor([0.8500])
    """

    weights: Mapping[str, Tensor]
    lr: float
    betas: tuple[float, float]
    eps: float
    weight_decay: float
    steps: Mapping[str, float]
    means: Mapping[str, Tensor]
    squares: Mapping[str, Tensor]

    @property
    def step_size(self) -> float:
        """What `pulled_back` leaves out: the learning rate."""
        return self.lr

    def step(self, gradients: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """See `LookAhead.step`."""
        return {
            name: weight.detach() * (1 - self.lr * self.weight_decay)
            - self.lr * self._moved(name, gradients[name])
            for name, weight in self.weights.items()
            if name in gradients
        }

    def pulled_back(
        self, direction: Mapping[str, Tensor], gradients: Mapping[str, Tensor]
    ) -> dict[str, Tensor]:
        """See `LookAhead.pulled_back`: times the derivative of each weight's own step."""
        return {name: v * self._derivative(name, gradients[name]) for name, v in direction.items()}

    def _moved(self, name: str, gradient: Tensor) -> Tensor:
        mean, root, _ = self._moments(name, gradient)
        return mean / (root + self.eps)

    def _derivative(self, name: str, gradient: Tensor) -> Tensor:
        """That of `_moved` by the gradient, elementwise."""
        mean, root, (first, second) = self._moments(name, gradient)
        by_root = torch.where(root > 0, second * gradient / root, 0.0)
        return first / (root + self.eps) - mean * by_root / (root + self.eps) ** 2

    def _moments(self, name: str, gradient: Tensor) -> tuple[Tensor, Tensor, tuple[float, float]]:
        """Mean and root of the mean of squares after the step, and the gradient's share of each.

        All are corrected for their start from zero. The root has the derivative 0 at 0.
        """
        beta1, beta2 = self.betas
        steps = self.steps.get(name, 0.0) + 1
        first, second = ((1 - beta) / (1 - beta**steps) for beta in self.betas)
        mean, square = first * gradient, second * gradient**2
        if name in self.means:
            mean = mean + beta1 / (1 - beta1**steps) * self.means[name]
            square = square + beta2 / (1 - beta2**steps) * self.squares[name]
        positive = square > 0
        root = torch.where(positive, square, 1.0).sqrt() * positive
        return mean, root, (first, second)
