"""The contract of a loss."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dynaloss.learning.losses import TrainingFacts, TrainingLoss
from dynaloss.learning.losses._learned import LearnedLoss
from dynaloss.learning.streams import Streams
from dynaloss.testing.parts import (
    Part,
    draws_from_its_generators,
    is_reproducible,
    keeps_its_settings,
    leaves_what_it_is_given,
)
from dynaloss.testing.rules import Rule, rule
from dynaloss.testing.unchanged import equal, global_states

CLASS_COUNTS = (12, 9, 6, 4, 3)
_EPOCHS = 3
_LARGE = 50.0
_REGISTERED = ("_parameters", "_buffers", "_modules")


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """Some samples, N of C classes.

    Attributes:
        words: What they are.
        logits: Shape (N, C).
        labels: Observed labels, int64, shape (N,).
        indices: Positions in the training set, int64, shape (N,).
        ranks: Rank bins, int64 in {0, 1}, shape (N,).
    """

    words: str
    logits: Tensor
    labels: Tensor
    indices: Tensor
    ranks: Tensor


def usual_batch(words: str = "a batch", labels: Sequence[int] = (0, 1, 2, 3, 4, 0, 1, 2)) -> Batch:
    """A batch of these labels, with random logits."""
    shape, positions = (len(labels), len(CLASS_COUNTS)), torch.arange(len(labels))
    return Batch(
        words=words,
        logits=2 * torch.randn(shape, generator=torch.Generator().manual_seed(0)),
        labels=torch.tensor(labels),
        indices=4 * positions.flip(0),
        ranks=positions % 2,
    )


def _unusual_batches() -> Iterator[Batch]:
    yield usual_batch("one sample", [1])
    yield usual_batch("a batch of one class", [2] * 8)
    usual = usual_batch(f"logits of ±{_LARGE:g}")
    yield replace(usual, logits=_LARGE * usual.logits.sign())


class LossPart(Part):
    """A loss in a trial of five classes."""

    def given(self) -> dict[str, Any]:
        """The tensors of a batch."""
        values = asdict(usual_batch())
        del values["words"]
        return values

    def result(self, given: Mapping[str, Any]) -> list[Any]:
        """The losses of that batch."""
        return [value for _, value, _ in losses_of(self.build(), Batch(words="", **given))]

    def build(self, epoch: int = 0) -> Any:  # noqa: ANN401 - whatever the part builds
        """The loss at the start of an epoch."""
        facts = TrainingFacts(
            class_counts=torch.tensor(CLASS_COUNTS),
            epochs=_EPOCHS,
            streams=Streams(base_seed=0, seed=0),
        )
        loss = self.kind.build(self.settings, facts)
        if isinstance(loss, TrainingLoss):
            loss.start_epoch(epoch)
        return loss


def losses_of(loss: Any, batch: Batch) -> Iterator[tuple[str, Any, Tensor]]:  # noqa: ANN401
    """Each loss of a batch: its name in a sentence, its value, and the logits that it is of."""
    logits, generator = batch.logits.detach().requires_grad_(), torch.Generator().manual_seed(0)
    if isinstance(loss, TrainingLoss):
        yield "", loss(logits, batch.labels, batch.indices), logits
    else:
        given = (batch.labels, batch.ranks, generator)
        yield "`look_ahead_loss` ", loss.look_ahead_loss(logits, *given), logits
        before = batch.logits if loss.needs_logits else None
        yield "`real_loss` ", loss.real_loss(before, *given)(logits), logits


def no_finite_scalar(value: object) -> str:
    """What a value is that is no finite scalar; empty for one."""
    if not isinstance(value, Tensor):
        return f"a {type(value).__name__}"
    if value.ndim or not value.is_floating_point():
        return f"a tensor of shape {tuple(value.shape)} and type {value.dtype}"
    return "" if value.isfinite() else str(value.item())


@rule("must be a `LearnedLoss` if its settings have `is_learned`, and else a `TrainingLoss`")
def _is_what_its_settings_say(part: LossPart) -> Iterator[str]:
    loss, is_learned = part.build(), part.settings.is_learned
    # Without parameters, a learned loss is trained as cross-entropy.
    is_off = isinstance(loss, LearnedLoss) and not is_learned and not [*loss.parameters()]
    if not (is_off or isinstance(loss, LearnedLoss if is_learned else TrainingLoss)):
        kind = "LearnedLoss" if isinstance(loss, LearnedLoss) else type(loss).__name__
        yield f"is a `{kind}` and `is_learned` is {str(is_learned).lower()}"


@rule("must give a finite scalar for a batch")
def _gives_a_scalar(part: LossPart) -> Iterator[str]:
    for name, value, _ in losses_of(part.build(), usual_batch()):
        if fault := no_finite_scalar(value):
            yield f"{name}gave {fault}"


@rule("must give a finite scalar for one sample, one class, and logits of ±50")
def _is_finite_for_unusual_batches(part: LossPart) -> Iterator[str]:
    for batch in _unusual_batches():
        for name, value, _ in losses_of(part.build(), batch):
            if fault := no_finite_scalar(value):
                yield f"{name}gave {fault} for {batch.words}"


@rule("must have a finite gradient by the logits")
def _has_a_gradient(part: LossPart) -> Iterator[str]:
    for batch in (usual_batch(), *_unusual_batches()):
        for name, value, logits in losses_of(part.build(), batch):
            if not value.isfinite():
                continue  # which another rule names
            found = None
            if value.requires_grad:
                (found,) = torch.autograd.grad(value, logits, allow_unused=True)
            if found is None:
                yield f"{name}does not depend on them"
                return
            if not found.isfinite().all():
                yield f"{name}has one that is not finite for {batch.words}"


@rule("must continue from its `state_dict` in a later epoch")
def _continues(part: LossPart) -> Iterator[str]:
    loss = part.build()
    if isinstance(loss, LearnedLoss):
        with torch.no_grad():
            for parameter in loss.parameters():
                parameter.add_(1e-3)
    list(losses_of(loss, usual_batch()))
    file = io.BytesIO()
    torch.save(loss.state_dict(), file)
    file.seek(0)
    if isinstance(loss, TrainingLoss):
        loss.start_epoch(_EPOCHS - 1)
    resumed = part.build(epoch=_EPOCHS - 1)
    resumed.load_state_dict(torch.load(file, weights_only=True))
    there = dict(_tensors(resumed))
    forgotten = [f"`{n}`" for n, tensor in _tensors(loss) if not equal(tensor, there.get(n))]
    if forgotten:
        yield f"{' and '.join(forgotten)} was not in it"
    elif not equal(_values(loss), _values(resumed)):
        yield "then gave another loss"


@rule("must move every tensor with `to`")
def _moves_its_tensors(part: LossPart) -> Iterator[str]:
    moved = part.build().to(torch.device("meta"))
    yield from (f"left `{name}`" for name, t in _tensors(moved) if not t.is_meta)


@rule("must give for distributions of one class what it gives for labels")
def _accepts_soft_targets(part: LossPart) -> Iterator[str]:
    loss, batch = part.build(), usual_batch()
    if part.settings.accepts_soft_targets and isinstance(loss, TrainingLoss):
        soft = F.one_hot(batch.labels, len(CLASS_COUNTS)).float()
        hard = loss(batch.logits, batch.labels, batch.indices)
        found = part.build()(batch.logits, soft, batch.indices)
        if not torch.allclose(found, hard, rtol=1e-4):
            yield f"gave {found.item()} and {hard.item()}"


def _values(loss: Any) -> list[Any]:  # noqa: ANN401
    """The losses of a batch, whatever the global random states are."""
    with global_states():
        return [value for _, value, _ in losses_of(loss, usual_batch())]


def _tensors(value: object, name: str = "") -> Iterator[tuple[str, Tensor]]:
    """Tensors in an object, and in what it holds, by name."""
    if isinstance(value, Tensor):
        yield name, value
    elif isinstance(value, nn.Module | TrainingLoss):
        held = {n: v for n, v in vars(value).items() if n not in _REGISTERED}
        for registered in _REGISTERED:
            held |= vars(value).get(registered, {})
        yield from _tensors(held, name)
    elif isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _tensors(inner, f"{name}.{key}" if name else str(key))
    elif isinstance(value, list | tuple):
        yield from _tensors(dict(enumerate(value)), name)


LOSS_STAGES: tuple[tuple[Rule[Any], ...], ...] = (
    (_is_what_its_settings_say,),
    (_gives_a_scalar,),
    (
        keeps_its_settings,
        _is_finite_for_unusual_batches,
        _has_a_gradient,
        draws_from_its_generators,
        is_reproducible,
        leaves_what_it_is_given,
        _continues,
        _moves_its_tensors,
        _accepts_soft_targets,
    ),
)
