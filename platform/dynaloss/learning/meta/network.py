"""What a meta step asks of a network, and the network that computes it by itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor, nn
from torch.func import functional_call

from dynaloss.learning.meta.linearized import LinearizedPass, PassWithGraph


class Pass(Protocol):
    """A forward pass that can be differentiated.

    Attributes:
        logits: (N, C), to compute losses of.
    """

    logits: Tensor

    def gradients(
        self,
        output: Tensor,
        weights: Mapping[str, Tensor],
        output_gradient: Tensor | None = None,
    ) -> dict[str, Tensor]:
        """Returns the gradients by name of the weights of the pass that `output` depends on.

        Args:
            output: Computed from `logits`.
            weights: The weights to differentiate by.
            output_gradient: Gradient of `output`, where that is not a scalar.
        """


class Linearized(Pass, Protocol):
    """A pass that can be differentiated along a direction, too."""

    def derivative(self, direction: Mapping[str, Tensor]) -> Tensor:
        """See `LinearizedPass.derivative`."""


class Network(Protocol):
    """Computes the passes of one classifier, in the mode that it is in."""

    def __call__(self, inputs: Tensor) -> Tensor:
        """Returns the logits (N, C), without a graph."""

    def linearized(self, inputs: Tensor) -> Linearized:
        """Returns a pass at the present weights."""

    def ahead(self, weights: Mapping[str, Tensor], inputs: Tensor) -> Pass:
        """Returns a pass at other weights, by name; those without a name stay as they are."""


@dataclass(frozen=True, slots=True)
class PlainNetwork:
    """A network that computes every pass at once, and by itself."""

    model: nn.Module

    def __call__(self, inputs: Tensor) -> Tensor:
        """See `Network`."""
        logits: Tensor = self.model(inputs)
        return logits

    def linearized(self, inputs: Tensor) -> LinearizedPass:
        """See `Network`."""
        return LinearizedPass(self.model, inputs)

    def ahead(self, weights: Mapping[str, Tensor], inputs: Tensor) -> Pass:
        """See `Network`."""
        return PassWithGraph(functional_call(self.model, dict(weights), inputs))
