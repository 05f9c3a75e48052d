"""One step of the loss parameters, in any training loop with SGD."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dynaloss.config.trial import MetaConfig
from dynaloss.errors import InputError
from dynaloss.learning.classifier import at_least_float32
from dynaloss.learning.losses._learned import LearnedLoss
from dynaloss.learning.meta.hypergradient import (
    HYPERGRADIENTS,
    LookAheadProblem,
    batch_statistics,
)
from dynaloss.learning.meta.look_ahead import AdamWLookAhead, LookAhead
from dynaloss.learning.meta.network import Network, PlainNetwork
from dynaloss.learning.models.heads import last_linear
from dynaloss.learning.streams import stream

_DEFAULTS = MetaConfig()


class MetaStep:
    """Meta-learns a loss while a classifier trains: Adam on the exact hypergradient.

    Source: arXiv 2211.12506, meta-learning step. Call `step` on a batch before the classifier's
    own step, on the model in train mode; the weights, their gradients and the running statistics
    of batch norm stay as they are. Under autocast, the classifier's passes follow it, and the
    rest stays float32.

    Args:
        model: Classifier: any module that maps inputs (N, ...) to logits (N, C).
        optimizer: The classifier's `torch.optim.AdamW`, or `SGD` with any momentum, whose
            settings and momentum buffers are read at every step. Its groups may differ in
            learning rate, momentum and weight decay.
        loss: The loss, on the model's device.
        lr: Learning rate of Adam, above 0.
        hypergradient: `forward`, `unrolled` or `head`; see `MetaConfig`. A study refuses `head`
            with the Meta-Weight-Net, of which it often has the opposite direction.
        seed: Seed of the pseudo-labels, or a generator on the model's device.
        network: What computes the model's passes; by default the model by itself.

    Attributes:
        optimizer: Adam on the parameters of the loss.

    Raises:
        InputError: If the optimizer is none of them, or there is nothing to train or to learn.
        ValueError: If a setting is out of its range.

    Examples:
        >>> import torch
        >>> from dynaloss.learning import DynamicLoss, MetaStep
        >>> model, loss = torch.nn.Linear(2, 3), DynamicLoss(num_classes=3)
        >>> sgd = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
        >>> meta = MetaStep(model, sgd, loss, lr=3e-3)
        >>> inputs, labels = torch.linspace(-1, 1, 16).view(8, 2), torch.arange(8) % 3
        >>> ranks = loss.ranks(torch.linspace(0, 1, 8), labels)
        >>> before = loss.margins()
        >>> criterion = meta.step(inputs, labels, ranks, inputs[:3], labels[:3])
        >>> criterion(model(inputs)).backward()
        >>> sgd.step()
        >>> bool((loss.margins() != before).all())
        True
    """

    def __init__(
        self,
        model: nn.Module,
        optimizer: torch.optim.Optimizer,
        loss: LearnedLoss,
        *,
        lr: float = _DEFAULTS.lr,
        hypergradient: str = _DEFAULTS.hypergradient,
        seed: int | torch.Generator = 0,
        network: Network | None = None,
    ) -> None:
        settings = MetaConfig.model_validate({"lr": lr, "hypergradient": hypergradient})
        self._model, self._inner, self._loss = model, optimizer, loss
        self._network = network or PlainNetwork(model)
        self._phi = [parameter for parameter in loss.parameters() if parameter.requires_grad]
        if not self._phi:
            raise InputError("`loss` must have parameters that require gradients.")
        self._is_head = settings.hypergradient == "head"
        self._hypergradient = HYPERGRADIENTS[settings.hypergradient]
        first_weight = next(iter(self._look_ahead()[0].weights.values()))
        self._device = first_weight.device
        self._generator = stream(seed, "pseudo_labels", self._device)
        self.optimizer = torch.optim.Adam(self._phi, lr=settings.lr)

    def step(
        self,
        inputs: Tensor,
        labels: Tensor,
        ranks: Tensor,
        outer_inputs: Tensor,
        outer_labels: Tensor,
    ) -> Callable[[Tensor], Tensor]:
        """Updates the loss parameters, and returns the loss of the classifier's step.

        Args:
            inputs: A training batch in the view that the loss looks ahead on, first dimension N:
                without augmentation (weak view), unless `look_ahead_view` is `strong`.
            labels: Their observed labels, int64, shape (N,).
            ranks: Their rank bins, int64, shape (N,).
            outer_inputs: A batch of metadata as the classifier trains on it (strong view), M.
            outer_labels: Their labels, int64, shape (M,).

        Returns:
            Mean loss in nats, a scalar, as a function of the logits (N, C) of the same samples.

        Raises:
            InputError: If a shape or the optimizer does not fit.
        """
        _check(inputs, labels=labels, ranks=ranks)
        _check(outer_inputs, outer_labels=outer_labels)
        look_ahead, precision = self._look_ahead(), self._ambient_precision()
        inner = partial(
            self._loss.look_ahead_loss, labels=labels, ranks=ranks, generator=self._generator
        )
        with self._full_precision(), self._only(look_ahead):
            result = self._hypergradient(
                LookAheadProblem(
                    model=self._model,
                    inputs=inputs,
                    inner_loss=inner,
                    outer_inputs=outer_inputs,
                    outer_loss=partial(F.cross_entropy, target=outer_labels),
                    loss_parameters=self._phi,
                    look_ahead=look_ahead,
                    precision=precision,
                    network=self._network,
                )
            )
            self._update(result.gradients)
            # The look-ahead logits serve again: the weights have not moved since.
            return self._loss.real_loss(result.logits, labels, ranks, self._generator)

    def criterion(
        self, inputs: Tensor, labels: Tensor, ranks: Tensor
    ) -> Callable[[Tensor], Tensor]:
        """The same as `step` without the update, for batches between meta steps."""
        _check(inputs, labels=labels, ranks=ranks)
        logits = self._logits(inputs) if self._loss.needs_logits else None
        with self._full_precision():
            return self._loss.real_loss(logits, labels, ranks, self._generator)

    def warm_start(self, inputs: Tensor, labels: Tensor, ranks: Tensor) -> None:
        """One step of Adam on the loss's own criterion in warm-up, which fits the corrector.

        The arguments are those of `step`. The running statistics of batch norm change only where
        the loss's `updates_statistics` says so.
        """
        _check(inputs, labels=labels, ranks=ranks)
        logits = self._logits(inputs, updates_statistics=self._loss.updates_statistics)
        with self._full_precision():
            loss = self._loss.warm_start_loss(logits, labels, ranks)
            self._update(torch.autograd.grad(loss, self._phi, allow_unused=True))

    def state_dict(self) -> dict[str, Any]:
        """Returns the state of Adam and of the pseudo-labels' stream; not that of the loss."""
        return {
            "optimizer": self.optimizer.state_dict(),
            "generator": self._generator.get_state(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continues from what `state_dict` returned."""
        self.optimizer.load_state_dict(state["optimizer"])
        self._generator.set_state(state["generator"].cpu())

    def _update(self, gradients: Sequence[Tensor | None]) -> None:
        for parameter, gradient in zip(self._phi, gradients, strict=True):
            parameter.grad = gradient
        self.optimizer.step()

    def _look_ahead(self) -> list[LookAhead | AdamWLookAhead]:
        """The look-ahead step of each of the optimizer's groups that moves weights."""
        if isinstance(self._inner, torch.optim.AdamW):
            step_of: Callable[..., LookAhead | AdamWLookAhead] = _adamw_step
        elif isinstance(self._inner, torch.optim.SGD):
            step_of = _sgd_step
        else:
            raise InputError(
                "`optimizer` must be torch.optim.SGD or AdamW, whose step the look-ahead repeats, "
                f"but is {type(self._inner).__name__}."
            )
        head = {id(w) for w in last_linear(self._model).parameters()} if self._is_head else None
        names = {
            id(weight): name
            for name, weight in self._model.named_parameters()
            if weight.requires_grad and (head is None or id(weight) in head)
        }
        groups = [step_of(group, names, self._inner.state) for group in self._inner.param_groups]
        moving = [group for group in groups if group.weights]
        if not moving:
            raise InputError("`optimizer` must have weights of `model` that require gradients.")
        return moving

    @contextmanager
    def _only(self, look_ahead: Sequence[LookAhead | AdamWLookAhead]) -> Iterator[None]:
        """Lets only the weights that the look-ahead step moves require gradients, for a block."""
        moved = {id(weight) for group in look_ahead for weight in group.weights.values()}
        frozen = [w for w in self._model.parameters() if w.requires_grad and id(w) not in moved]
        for weight in frozen:
            weight.requires_grad_(False)
        try:
            yield
        finally:
            for weight in frozen:
                weight.requires_grad_(True)

    @torch.no_grad()
    def _logits(self, inputs: Tensor, *, updates_statistics: bool = False) -> Tensor:
        """Logits before the step, by batch statistics."""
        precision = self._ambient_precision()
        with nullcontext() if updates_statistics else batch_statistics(self._model), precision():
            return at_least_float32(self._network(inputs))

    def _ambient_precision(self) -> Callable[[], AbstractContextManager[object]]:
        """Autocast as the caller has set it, for passes inside of `_full_precision`.

        Without autocast's cache of weights: filled without gradients, or for weights that were
        frozen, it would serve the caller's own pass.
        """
        device = self._device.type
        return partial(
            torch.autocast,
            device,
            torch.get_autocast_dtype(device),
            enabled=torch.is_autocast_enabled(device),
            cache_enabled=False,
        )

    def _full_precision(self) -> AbstractContextManager[object]:
        return torch.autocast(self._device.type, enabled=False)


_State = Mapping[Tensor, Mapping[str, Any]]


def _sgd_step(group: Mapping[str, Any], names: Mapping[int, str], state: _State) -> LookAhead:
    """The look-ahead step of a group of SGD's parameters, of those that have a name."""
    _refuse(group, "SGD", "maximize", "dampening")
    weights = _named_weights(group, names)
    buffers = {
        name: state[weight]["momentum_buffer"]
        for name, weight in weights.items()
        if state.get(weight, {}).get("momentum_buffer") is not None
    }
    return LookAhead(
        weights=weights,
        lr=float(group["lr"]),
        momentum=group["momentum"],
        weight_decay=group["weight_decay"],
        buffers=buffers,
        nesterov=group["nesterov"],
    )


def _adamw_step(
    group: Mapping[str, Any], names: Mapping[int, str], state: _State
) -> AdamWLookAhead:
    """The same of a group of AdamW's parameters."""
    _refuse(group, "AdamW", "maximize", "amsgrad")
    weights = _named_weights(group, names)
    begun = {name: state[weight] for name, weight in weights.items() if state.get(weight)}
    return AdamWLookAhead(
        weights=weights,
        lr=float(group["lr"]),
        betas=group["betas"],
        eps=group["eps"],
        weight_decay=group["weight_decay"],
        steps={name: float(own["step"]) for name, own in begun.items()},
        means={name: own["exp_avg"] for name, own in begun.items()},
        squares={name: own["exp_avg_sq"] for name, own in begun.items()},
    )


def _refuse(group: Mapping[str, Any], kind: str, *options: str) -> None:
    for option in options:
        if group[option]:
            raise InputError(
                f"`optimizer` must be {kind} without `{option}`, which the look-ahead step does "
                f"not know, but has {option}={group[option]}."
            )


def _named_weights(group: Mapping[str, Any], names: Mapping[int, str]) -> dict[str, Tensor]:
    return {names[id(weight)]: weight for weight in group["params"] if id(weight) in names}


def _check(inputs: Tensor, **per_sample: Tensor) -> None:
    """Refuses labels and ranks that are not one per sample of a batch."""
    for name, values in per_sample.items():
        if values.shape != inputs.shape[:1]:
            raise InputError(
                f"`{name}` must have the shape ({len(inputs)},), one per sample of the batch, "
                f"but has {tuple(values.shape)}."
            )
