"""The contract of a loss with parameters of its own, beside that of every loss."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dynaloss.learning.meta.hypergradient import (
    LookAheadProblem,
    hypergradient,
    unrolled_hypergradient,
)
from dynaloss.learning.meta.look_ahead import LookAhead
from dynaloss.learning.meta_step import MetaStep
from dynaloss.learning.streams import default_generator_seeded
from dynaloss.testing.loss_rules import CLASS_COUNTS, LossPart, no_finite_scalar, usual_batch
from dynaloss.testing.rules import Rule, rule

_NUM_INPUTS, _NUM_STEPS = 6, 3


@rule("must have a `look_ahead_view` that is 'weak' or 'strong'")
def _names_its_view(part: LossPart) -> Iterator[str]:
    view = getattr(part.build(), "look_ahead_view", None)
    if view not in ("weak", "strong"):
        yield f"has {view!r}"


@rule("must have a look-ahead loss that is twice differentiable, by the logits and by parameters")
def _is_twice_differentiable(part: LossPart) -> Iterator[str]:
    loss, batch = part.build(), usual_batch()
    logits = batch.logits.requires_grad_()
    value = loss.look_ahead_loss(logits, batch.labels, batch.ranks, torch.Generator())
    (by_logits,) = torch.autograd.grad(value, logits, create_graph=True)
    learned = {name: p for name, p in loss.named_parameters() if p.requires_grad}
    if not learned:
        yield "has no parameter that requires a gradient"
    for name, parameter in learned.items():
        found = None
        if by_logits.requires_grad:
            weights = torch.arange(by_logits.numel()).view_as(by_logits)
            (found,) = torch.autograd.grad(
                by_logits, parameter, weights.to(by_logits), retain_graph=True, allow_unused=True
            )
        if found is None:
            yield f"`{name}` takes no part in it"
        elif not found.isfinite().all():
            yield f"the gradient by `{name}` is not finite"


@rule("must have a finite warm-start loss of its parameters where its settings give it epochs")
def _has_a_warm_start(part: LossPart) -> Iterator[str]:
    if part.settings.warm_start_length(1):
        loss, batch = part.build(), usual_batch()
        value = loss.warm_start_loss(batch.logits, batch.labels, batch.ranks)
        if fault := no_finite_scalar(value):
            yield f"gave {fault}"
        elif not value.requires_grad:
            yield "it depends on no parameter"


@rule("must have finite margins, one per class or one number, where its settings have `finetunes`")
def _has_margins(part: LossPart) -> Iterator[str]:
    if part.settings.finetunes:
        margins = torch.as_tensor(part.build().finetune_margins())
        if margins.shape not in ((), (len(CLASS_COUNTS),)) or not margins.isfinite().all():
            yield f"gave {margins.tolist()}"


@rule("must have a hypergradient that equals the unrolled one")
def _has_the_unrolled_hypergradient(part: LossPart) -> Iterator[str]:
    exact, unrolled = (
        solve(_problem(part)).gradients for solve in (hypergradient, unrolled_hypergradient)
    )
    for one, other in zip(exact, unrolled, strict=True):
        if not torch.allclose(one, other, rtol=1e-6, atol=1e-12):
            yield f"they differ by up to {float((one - other).abs().max()):.1g}"
            return


@rule("must have parameters that a meta step moves, and leaves finite")
def _learns(part: LossPart) -> Iterator[str]:
    loss, batch, model = part.build(), usual_batch(), _model()
    sgd = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    meta = MetaStep(model, sgd, loss, lr=0.01)
    before = nn.utils.parameters_to_vector(loss.parameters()).detach().clone()
    inputs = _inputs(len(batch.labels))
    for _ in range(_NUM_STEPS):
        criterion = meta.step(inputs, batch.labels, batch.ranks, inputs.flip(0), batch.labels)
        sgd.zero_grad()
        torch.autograd.backward(criterion(model(inputs)))
        sgd.step()
    after = nn.utils.parameters_to_vector(loss.parameters()).detach()
    if not after.isfinite().all():
        yield f"{_NUM_STEPS} steps made some of them infinite or NaN"
    elif torch.equal(before, after):
        yield f"{_NUM_STEPS} steps moved none"


def _problem(part: LossPart) -> LookAheadProblem:
    """A look-ahead step with momentum, in double precision."""
    loss, batch, model = part.build().double(), usual_batch(), _model().double()
    inputs, weights = _inputs(len(batch.labels)).double(), dict(model.named_parameters())

    def inner(logits: Tensor) -> Any:  # noqa: ANN401 - whatever the part gives
        return loss.look_ahead_loss(logits, batch.labels, batch.ranks, torch.Generator())

    momentum = {name: weight.detach().sin() for name, weight in weights.items()}
    return LookAheadProblem(
        model=model,
        inputs=inputs,
        inner_loss=inner,
        outer_inputs=inputs.flip(0),
        outer_loss=lambda logits: F.cross_entropy(logits, batch.labels),
        loss_parameters=[p for p in loss.parameters() if p.requires_grad],
        look_ahead=[
            LookAhead(weights=weights, lr=0.1, momentum=0.9, weight_decay=0.01, buffers=momentum)
        ],
    )


def _model() -> nn.Module:
    with default_generator_seeded(0):
        hidden = nn.Linear(_NUM_INPUTS, 8)
        return nn.Sequential(hidden, nn.Tanh(), nn.Linear(8, len(CLASS_COUNTS)))


def _inputs(number: int) -> Tensor:
    return torch.randn(number, _NUM_INPUTS, generator=torch.Generator().manual_seed(0))


LEARNED_STAGES: tuple[tuple[Rule[LossPart], ...], ...] = (
    (_names_its_view, _is_twice_differentiable, _has_a_warm_start, _has_margins),
    (_has_the_unrolled_hypergradient, _learns),
)
