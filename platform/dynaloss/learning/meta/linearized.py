"""One pass through a network that can be differentiated along a direction afterwards.

The derivative of the logits along a direction in the space of the weights needs a pass in
forward mode. Two things make it cheap here. Convolutions and batch normalisations have their
outputs from the first pass, which are kept and not computed again. And the tangent of a batch
normalisation is, by channel, a linear map of its input and of the input's tangent, whose
coefficients need one reduction: two passes over the memory where torch's own rule needs about
ten. Every other operation follows torch's own rule, so any network that torch can
differentiate forwards is accepted.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd import forward_ad
from torch.func import functional_call
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from dynaloss.learning.streams import default_states, resumed_from

_CONVOLUTIONS = frozenset({torch.conv1d, torch.conv2d, torch.conv3d})
# Of the backward kernel's outputs: not the input's gradient, but those of weight and bias.
_SUMS_ONLY = [False, True, True]


@dataclass
class PassWithGraph:
    """A forward pass whose logits carry their graph; a `Pass`.

    Attributes:
        logits: (N, C).
    """

    logits: Tensor

    def gradients(
        self,
        output: Tensor,
        weights: Mapping[str, Tensor],
        output_gradient: Tensor | None = None,
    ) -> dict[str, Tensor]:
        """See `Pass.gradients`."""
        return gradients_by_name(output, weights, output_gradient)


class LinearizedPass(PassWithGraph):
    """Logits of a batch, and their derivative along any direction of the weights.

    The network must be deterministic given torch's global random state: both passes see the same
    state, so dropout drops the same units.

    Args:
        model: Classifier; its weights and mode must not change before `derivative`.
        inputs: Images, first dimension N.

    Attributes:
        logits: (N, C), with their graph where gradients are enabled.
    """

    def __init__(self, model: nn.Module, inputs: Tensor) -> None:
        self._model = model
        self._inputs = inputs
        self._kept: list[_Kept] = []
        self._random_states = default_states(inputs.device)
        with _FirstPass(self._kept):
            super().__init__(model(inputs))

    def derivative(self, direction: Mapping[str, Tensor]) -> Tensor:
        """Returns the derivative of the logits along `direction`, (N, C), without a graph.

        Args:
            direction: A tangent by name of a weight; weights without one stay fixed.
        """
        weights = dict(self._model.named_parameters())
        with (
            torch.no_grad(),
            torch.autocast(self._inputs.device.type, enabled=False),
            resumed_from(self._random_states, self._inputs.device),
            forward_ad.dual_level(),
            _SecondPass(self._kept),
        ):
            dual = {
                name: _dual(weights[name].detach(), [tangent])
                for name, tangent in direction.items()
            }
            _, tangent = _parts(functional_call(self._model, dual, self._inputs))
        return torch.zeros_like(self.logits) if tangent is None else tangent


def gradients_by_name(
    output: Tensor,
    weights: Mapping[str, Tensor],
    output_gradient: Tensor | None = None,
    *,
    create_graph: bool = False,
) -> dict[str, Tensor]:
    """Returns the gradients by name of the weights that `output` depends on."""
    found = torch.autograd.grad(
        output,
        tuple(weights.values()),
        output_gradient,
        create_graph=create_graph,
        allow_unused=True,
    )
    return {name: g for name, g in zip(weights, found, strict=True) if g is not None}


@dataclass(frozen=True, slots=True)
class _Kept:
    """What an operation of the first pass returned.

    Attributes:
        output: Its output, without the graph.
        version: Version of `output`, which shows whether it was overwritten since.
        statistics: Of a batch normalisation, mean and inverse standard deviation by channel.
    """

    output: Tensor
    version: int
    statistics: tuple[Tensor, Tensor] | None = None

    def serves(self, inputs: Tensor) -> bool:
        """Whether `output` still is what the operation gives for such inputs."""
        return self.output._version == self.version and self.output.dtype == inputs.dtype


@dataclass(frozen=True, slots=True)
class _BatchNorm:
    """The arguments of `torch.nn.functional.batch_norm`, in its order."""

    input: Tensor
    running_mean: Tensor | None
    running_var: Tensor | None
    weight: Tensor | None = None
    bias: Tensor | None = None
    training: bool = False
    momentum: float = 0.1
    eps: float = 1e-5

    @property
    def uses_batch_alone(self) -> bool:
        """Whether it normalises by the batch, and neither reads nor writes running statistics."""
        return self.training and self.running_mean is None

    def __call__(self) -> tuple[Tensor, Tensor, Tensor]:
        """Returns the output, and mean and inverse standard deviation by channel."""
        x, w, b = self.input, self.weight, self.bias
        output: tuple[Tensor, Tensor, Tensor] = torch.native_batch_norm(
            x, w, b, None, None, True, self.momentum, self.eps
        )
        return output


class _Pass(TorchFunctionMode):
    """Computes convolutions, and batch normalisations by batch statistics, in its own way."""

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Iterable[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:  # noqa: ANN401 # whatever `func` returns
        kwargs = kwargs or {}
        if func in _CONVOLUTIONS:
            return self.convolution(func, args, kwargs)
        if func is F.batch_norm and (norm := _BatchNorm(*args, **kwargs)).uses_batch_alone:
            return self.batch_norm(norm)
        return func(*args, **kwargs)

    def convolution(
        self, convolve: Callable[..., Tensor], args: Sequence[Any], kwargs: Mapping[str, Any]
    ) -> Tensor:
        raise NotImplementedError

    def batch_norm(self, norm: _BatchNorm) -> Tensor:
        raise NotImplementedError


class _FirstPass(_Pass):
    """Keeps the outputs, in their order."""

    def __init__(self, kept: list[_Kept]) -> None:
        super().__init__()
        self._kept = kept

    def convolution(
        self, convolve: Callable[..., Tensor], args: Sequence[Any], kwargs: Mapping[str, Any]
    ) -> Tensor:
        output = convolve(*args, **kwargs)
        self._kept.append(_Kept(output.detach(), output._version))
        return output

    def batch_norm(self, norm: _BatchNorm) -> Tensor:
        output, mean, inverse_std = norm()
        statistics = (mean.detach(), inverse_std.detach())
        self._kept.append(_Kept(output.detach(), output._version, statistics))
        return output


class _SecondPass(_Pass):
    """Computes outputs and tangents of dual tensors in the cheap way."""

    def __init__(self, kept: Iterable[_Kept]) -> None:
        super().__init__()
        self._kept = iter(kept)

    def convolution(
        self, convolve: Callable[..., Tensor], args: Sequence[Any], kwargs: Mapping[str, Any]
    ) -> Tensor:
        return _convolution(next(self._kept), convolve, *args, **kwargs)

    def batch_norm(self, norm: _BatchNorm) -> Tensor:
        return _batch_norm(next(self._kept), norm)


def _convolution(
    kept: _Kept,
    convolve: Callable[..., Tensor],
    input: Tensor,  # noqa: A002 # torch's name for it
    weight: Tensor,
    bias: Tensor | None = None,
    *args: object,
    **kwargs: object,
) -> Tensor:
    """A convolution of dual tensors: linear in its input, its weight and its bias."""
    (x, x_tangent), (w, w_tangent), (b, b_tangent) = map(_parts, (input, weight, bias))
    output = kept.output if kept.serves(x) else convolve(x, w, b, *args, **kwargs)
    terms = []
    if w_tangent is not None:
        terms.append(convolve(x, w_tangent, b_tangent, *args, **kwargs))
    elif b_tangent is not None:
        terms.append(_per_channel(b_tangent, x).expand_as(output).clone())
    if x_tangent is not None:
        terms.append(convolve(x_tangent, w, None, *args, **kwargs))
    return _dual(output, terms)


def _batch_norm(kept: _Kept, norm: _BatchNorm) -> Tensor:
    """Batch normalisation of dual tensors.

    With x' the normalised input, s the inverse standard deviation and <> the mean over a channel,
    the tangent is w s (dx - <dx> - x' <dx x'>) + dw x' + db: by channel, a linear map of dx and x.
    """
    (x, x_tangent), (w, w_tangent), (b, b_tangent) = map(
        _parts, (norm.input, norm.weight, norm.bias)
    )
    if kept.serves(x) and kept.statistics is not None:
        output, (mean, inverse_std) = kept.output, kept.statistics
    else:
        output, mean, inverse_std = replace(norm, input=x, weight=w, bias=b)()
    by_normalised = torch.zeros_like(mean) if w_tangent is None else w_tangent
    constant = torch.zeros_like(mean) if b_tangent is None else b_tangent
    by_tangent = inverse_std if w is None else w * inverse_std
    if x_tangent is not None:
        sum_product, sum_tangent = _sums(x_tangent, x, mean, inverse_std)
        per_sample = by_tangent * (mean.numel() / x.numel())
        by_normalised = by_normalised - per_sample * sum_product
        constant = constant - per_sample * sum_tangent
    by_input = by_normalised * inverse_std
    tangent = torch.addcmul(
        _per_channel(constant - by_input * mean, x), x, _per_channel(by_input, x)
    )
    if x_tangent is not None:
        tangent.addcmul_(x_tangent, _per_channel(by_tangent, x))
    return _dual(output, [tangent])


def _sums(tangent: Tensor, x: Tensor, mean: Tensor, inverse_std: Tensor) -> tuple[Tensor, Tensor]:
    """Sums over a channel of tangent x normalised input, and of the tangent.

    They are what the backward kernel returns as the gradients of weight and bias.
    """
    _, product, total = torch.ops.aten.native_batch_norm_backward.default(
        tangent, x, torch.ones_like(mean), None, None, mean, inverse_std, True, 0.0, _SUMS_ONLY
    )
    return product, total


def _parts(tensor: Tensor | None) -> tuple[Any, Tensor | None]:
    """The value of a tensor, which may be dual or absent, and its tangent."""
    if tensor is None:
        return None, None
    return tuple(
        forward_ad.unpack_dual(tensor)  # type: ignore[no-untyped-call] # torch has no annotation for it
    )


def _dual(primal: Tensor, terms: Sequence[Tensor]) -> Tensor:
    """A dual tensor whose tangent is the sum of `terms`, which it may overwrite."""
    if not terms:
        return primal
    tangent = terms[0] if len(terms) == 1 else terms[0].add_(terms[1])
    dual: Tensor = forward_ad.make_dual(  # type: ignore[no-untyped-call] # torch has no annotation for it
        primal, tangent
    )
    return dual


def _per_channel(values: Tensor, like: Tensor) -> Tensor:
    return values.view(1, -1, *[1] * (like.ndim - 2))


def _load_forward_mode() -> None:
    """Lets torch load its forward-mode rules, which warns of torch's own use of torch.jit."""
    with warnings.catch_warnings(), forward_ad.dual_level():
        warnings.simplefilter("ignore", FutureWarning)
        _dual(torch.zeros(1), [torch.zeros(1)])


_load_forward_mode()
