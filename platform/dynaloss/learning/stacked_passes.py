"""Passes of equal networks of several trials, computed as one with their weights stacked.

A trial asks for a pass of its network and waits; whoever answers gathers the requests of all
trials that wait, and computes those of one key together: weights, buffers and inputs of K trials
are stacked along a new first dimension, and `torch.func.vmap` turns K convolutions into one of K
groups. It is the fusion of Wang et al., "Horizontally Fused Training Array" (MLSys 2021). What
is a trial's own, such as its loss and its optimizer, sees an (N, C) matrix of logits, and
the gradients of its weights.

A backward pass is a request, too, rather than a node of autograd's graph: on a GPU autograd runs
nodes in a thread of its own per device, where the first trial to wait would hold up all others.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeAlias

import torch
from torch import Tensor, nn
from torch.func import functional_call, jvp, vmap

from dynaloss.config.trial import ScheduleConfig, TrialConfig
from dynaloss.learning.classifier import Classifier
from dynaloss.learning.meta.hypergradient import batch_statistics
from dynaloss.learning.meta.linearized import LinearizedPass, gradients_by_name
from dynaloss.learning.meta.network import Linearized, Pass, PlainNetwork


class Request(Protocol):
    """A pass that a trial waits for."""

    @property
    def key(self) -> Hashable:
        """Requests of equal keys can be computed together."""

    @property
    def signature(self) -> Hashable:
        """Networks of equal signatures compute the same function of weights and inputs."""

    @property
    def is_step(self) -> bool:
        """Whether it begins a step of the classifier, at which all trials can meet."""

    @property
    def form(self) -> Hashable:
        """What requests of one form have in common that decides over their memory."""

    @property
    def least(self) -> int:
        """Fewest requests that are worth computing together."""

    def together(self, requests: Sequence[Any]) -> Sequence[Any]:
        """Returns the answers to requests of the same key, of which this is one."""


Ask: TypeAlias = Callable[[Request], Any]
"""Answers a request; None means that the trial is to compute the pass by itself."""


def can_stack(config: TrialConfig) -> bool:
    """Whether the passes of a trial can be computed together with those of others.

    Not those of which a copy by itself is compiled, or promised to be equal bit for bit, nor
    those under autocast or with a graph through the look-ahead step.
    """
    schedule = config.schedule
    is_plain = schedule.precision == "float32" and not schedule.compile
    is_unrolled = config.loss.is_learned and config.meta.hypergradient == "unrolled"
    return is_plain and not schedule.deterministic and not is_unrolled


@dataclass(eq=False, slots=True, kw_only=True)
class _Tape:
    """A forward pass of K networks.

    Attributes:
        call: Maps stacked weights to stacked logits.
        model: The network that stands for all.
        logits: (K, N, C), with their graph.
        weights: By name; those to differentiate by require gradients.
        wanted: Names of these.
    """

    call: Callable[[Mapping[str, Tensor]], Tensor]
    model: nn.Module
    logits: Tensor
    weights: dict[str, Tensor]
    wanted: tuple[str, ...]

    def filled(self, parts: Mapping[int, Tensor], like: Tensor) -> Tensor:
        """Stacks one tensor per network; zeros for a network whose trial no longer asks."""
        zeros = torch.zeros_like(like[0])
        return torch.stack([parts.get(index, zeros) for index in range(len(like))])


class _WithBuffers(nn.Module):
    """A network that returns its buffers, too: they may be others than before a pass."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model
        self.training = model.training

    def forward(self, inputs: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        return self.model(inputs), dict(self.model.named_buffers())


@dataclass(eq=False, slots=True, kw_only=True)
class Forward:
    """The logits of a batch; see `Request`.

    Attributes:
        model: The network, in the mode to compute in.
        inputs: First dimension N.
        weights: All weights by name.
        wanted: Names of the weights to differentiate by; none for logits without a graph.
    """

    model: nn.Module
    signature: Hashable
    inputs: Tensor
    weights: dict[str, Tensor]
    wanted: tuple[str, ...]
    is_step: bool = False
    least: int = 2
    key: Hashable = field(init=False)

    @property
    def form(self) -> Hashable:
        """See `Request`."""
        return self.key

    def __post_init__(self) -> None:
        modes = tuple(
            (module.training, getattr(module, "track_running_stats", None))
            for module in self.model.modules()
        )
        form = self.inputs.shape, self.inputs.dtype
        self.key = (type(self), self.is_step, self.signature, modes, form, self.wanted)

    def together(self, requests: Sequence[Forward]) -> list[tuple[_Tape, int]]:
        """Returns for each request the common pass and its place in it."""
        weights = {
            name: torch.stack([request.weights[name].detach() for request in requests])
            for name in self.weights
        }
        for name in self.wanted:
            weights[name].requires_grad_()
        inputs = torch.stack([request.inputs for request in requests])
        own = [dict(request.model.named_buffers()) for request in requests]
        buffers = {name: torch.stack([found[name] for found in own]) for name in own[0]}
        model, seen = self.model, _WithBuffers(self.model)

        def one(
            weights: dict[str, Tensor], buffers: dict[str, Tensor], x: Tensor
        ) -> tuple[Tensor, dict[str, Tensor]]:
            state = {f"model.{name}": value for name, value in {**weights, **buffers}.items()}
            found: tuple[Tensor, dict[str, Tensor]] = functional_call(seen, state, (x,))
            return found

        def call(weights: Mapping[str, Tensor]) -> Tensor:
            logits: Tensor = vmap(one)(dict(weights), buffers, inputs)[0]
            return logits

        with torch.set_grad_enabled(bool(self.wanted)):
            logits, after = vmap(one)(weights, buffers, inputs)
        # Only now, when nothing can fail any more: else each trial repeats the pass by itself.
        if model.training:
            _write_back(after, own)
        tape = _Tape(call=call, model=model, logits=logits, weights=weights, wanted=self.wanted)
        return [(tape, index) for index in range(len(requests))]


@dataclass(eq=False, slots=True)
class _OfTape:
    """A request that follows from a forward pass: that of one of its networks."""

    tape: _Tape
    index: int
    signature: Hashable
    is_step: bool = field(default=False, init=False)
    least: int = field(default=1, init=False)

    @property
    def key(self) -> Hashable:
        """See `Request`."""
        return type(self), id(self.tape)

    @property
    def form(self) -> Hashable:
        """See `Request`."""
        return self.signature


@dataclass(eq=False, slots=True)
class Backward(_OfTape):
    """The gradients of the weights; see `Request`."""

    by_logits: Tensor

    def together(self, requests: Sequence[Backward]) -> list[dict[str, Tensor]]:
        """Returns for each request the gradients by name of what the logits depend on."""
        tape = self.tape
        by_logits = tape.filled({r.index: r.by_logits for r in requests}, tape.logits)
        wanted = {name: tape.weights[name] for name in tape.wanted}
        found = gradients_by_name(tape.logits, wanted, by_logits)
        parts = {name: gradient.unbind() for name, gradient in found.items()}
        return [{name: part[r.index] for name, part in parts.items()} for r in requests]


@dataclass(eq=False, slots=True)
class Derivative(_OfTape):
    """The derivative of the logits along a direction of the weights; see `Request`."""

    direction: Mapping[str, Tensor]

    def together(self, requests: Sequence[Derivative]) -> list[Tensor]:
        """Returns the derivative (N, C) for each request."""
        tape = self.tape
        weights = {name: weight.detach() for name, weight in tape.weights.items()}
        moved = [name for name in weights if any(name in r.direction for r in requests)]
        directions = {
            name: tape.filled(
                {r.index: r.direction[name] for r in requests if name in r.direction},
                weights[name],
            )
            for name in moved
        }

        def along(moving: dict[str, Tensor]) -> Tensor:
            return tape.call(weights | moving)

        # The network's own trial may have left that state, if it is ahead of the others.
        with batch_statistics(tape.model), torch.no_grad():
            primals = {name: weights[name] for name in moved}
            found: Tensor = jvp(along, (primals,), (directions,))[1]
        return [found[request.index] for request in requests]


class StackedNetwork:
    """The network of a trial whose passes are computed with those of others; a `Network`.

    Args:
        model: The network.
        config: Settings of the trial: trials whose settings of the model are equal have
            networks that compute the same.
        ask: Answers the requests.
    """

    def __init__(self, model: nn.Module, config: TrialConfig, ask: Ask) -> None:
        self.model = model
        self.ask = ask
        self.plain = PlainNetwork(model)
        # Equal names and shapes are not enough: a head may give cosines, say.
        kinds = tuple(
            (name, type(module), _plain_values(module)) for name, module in model.named_modules()
        )
        state = tuple((name, value.shape, value.dtype) for name, value in _state(model).items())
        text = config.model.model_dump_json(exclude={"pretrained_path"})
        self.signature = (text, kinds, state)

    def __call__(self, inputs: Tensor) -> Tensor:
        """See `Network`."""
        answer = self.ask(self._request(inputs, {}, ()))
        if answer is None:
            return self.plain(inputs)
        tape, index = answer
        logits: Tensor = tape.logits[index]
        return logits

    def linearized(self, inputs: Tensor) -> Linearized:
        """See `Network`."""
        return self._pass(self._request(inputs, {}, self._wanted())) or self.plain.linearized(
            inputs
        )

    def ahead(self, weights: Mapping[str, Tensor], inputs: Tensor) -> Pass:
        """See `Network`."""
        request = self._request(inputs, weights, tuple(weights))
        return self._pass(request) or self.plain.ahead(weights, inputs)

    def step(self, inputs: Tensor) -> StackedPass | None:
        """Returns the pass of the classifier's own step, or None; see `Ask`."""
        return self._pass(self._request(inputs, {}, self._wanted(), is_step=True))

    def _request(
        self,
        inputs: Tensor,
        other: Mapping[str, Tensor],
        wanted: tuple[str, ...],
        *,
        is_step: bool = False,
    ) -> Forward:
        return Forward(
            model=self.model,
            signature=self.signature,
            inputs=inputs,
            weights=dict(self.model.named_parameters()) | dict(other),
            wanted=wanted,
            is_step=is_step,
        )

    def _pass(self, request: Forward) -> StackedPass | None:
        answer = self.ask(request)
        return None if answer is None else StackedPass(self.ask, request, *answer)

    def _wanted(self) -> tuple[str, ...]:
        return tuple(name for name, w in self.model.named_parameters() if w.requires_grad)


class StackedPass:
    """One network's part of a pass; a `Linearized` pass.

    Attributes:
        logits: (N, C), a leaf that requires gradients.
    """

    def __init__(self, ask: Ask, request: Forward, tape: _Tape, index: int) -> None:
        self._ask, self._request = ask, request
        self._place = tape, index, request.signature
        self.logits: Tensor = tape.logits[index].detach().requires_grad_()

    def gradients(
        self,
        output: Tensor,
        weights: Mapping[str, Tensor],
        output_gradient: Tensor | None = None,
    ) -> dict[str, Tensor]:
        """See `Pass.gradients`."""
        (by_logits,) = torch.autograd.grad(output, self.logits, output_gradient)
        found = self._ask(Backward(*self._place, by_logits))
        if found is None:
            found = self._gradients_alone(by_logits)
        return {name: found[name] for name in weights if name in found}

    def derivative(self, direction: Mapping[str, Tensor]) -> Tensor:
        """See `Linearized.derivative`."""
        found: Tensor | None = self._ask(Derivative(*self._place, direction))
        if found is None:
            with self._repeated(), torch.no_grad():
                first = LinearizedPass(self._request.model, self._request.inputs)
                return first.derivative(direction)
        return found

    def _gradients_alone(self, by_logits: Tensor) -> dict[str, Tensor]:
        request = self._request
        weights = {
            name: weight.detach().requires_grad_(name in request.wanted)
            for name, weight in request.weights.items()
        }
        with self._repeated():
            logits = functional_call(request.model, weights, (request.inputs,))
        wanted = {name: weights[name] for name in request.wanted}
        return gradients_by_name(logits, wanted, by_logits)

    def _repeated(self) -> AbstractContextManager[None]:
        """Context of a pass that has been computed before: the statistics have seen its batch."""
        return batch_statistics(self._request.model)


class StackedClassifier(Classifier):
    """A classifier whose passes are computed with those of others."""

    def __init__(
        self, network: StackedNetwork, schedule: ScheduleConfig, device: torch.device
    ) -> None:
        super().__init__(network.model, schedule, device)
        self._network = network
        self._last: StackedPass | None = None

    def forward(self, images: Tensor) -> Tensor:
        """See `Classifier.forward`; the logits are a leaf of their own."""
        if not torch.is_grad_enabled():
            return self._network(images)
        self._last = self._network.step(images)
        return super().forward(images) if self._last is None else self._last.logits

    def backward(self, loss: Tensor) -> None:
        """See `Classifier.backward`."""
        last, self._last = self._last, None
        if last is None:
            super().backward(loss)
            return
        weights = dict(self.model.named_parameters())
        for name, gradient in last.gradients(loss, weights).items():
            weights[name].grad = gradient


def _write_back(stacked: Mapping[str, Tensor], own: Sequence[Mapping[str, Tensor]]) -> None:
    """Copies buffers after a pass, such as running statistics, to each of the networks."""
    for dtype in {buffer.dtype for buffer in stacked.values()}:
        parts = {n: b.detach().unbind() for n, b in stacked.items() if b.dtype == dtype}
        # One operation for all buffers of all networks, where a loop would launch many kernels.
        torch._foreach_copy_(
            [found[name] for found in own for name in parts],
            [part[index] for index in range(len(own)) for part in parts.values()],
        )


def _plain_values(module: nn.Module) -> Hashable:
    """What else the outputs of a module may depend on; a tensor is its own network's alone."""
    values = {name: value for name, value in vars(module).items() if name != "training"}
    kinds = (bool, int, float, str)
    numbers = [(name, value) for name, value in values.items() if isinstance(value, kinds)]
    tensors = [(name, id(value)) for name, value in values.items() if isinstance(value, Tensor)]
    return (*numbers, *tensors)


def _state(model: nn.Module) -> dict[str, Tensor]:
    return dict(model.named_parameters()) | dict(model.named_buffers())
