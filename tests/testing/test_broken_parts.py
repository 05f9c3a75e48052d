"""Each rule of each contract names a part that breaks it in one sentence, with the facts.

A part here breaks the rule of the words that it is declared with, and no other.
"""

from __future__ import annotations

import random  # noqa: TID251 - to break a rule
import re
from collections.abc import Callable, Mapping
from datetime import date
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dynaloss.config import DataConfig, LossConfig, ModelConfig, NoiseConfig, SamplerConfig
from dynaloss.config.families import LossKind, ModelKind, NoiseKind, SamplerKind, SourceKind
from dynaloss.config.registry import Kind
from dynaloss.data.sources import ImageArrays, Source
from dynaloss.learning import LearnedLoss
from dynaloss.learning.losses import TrainingLoss
from dynaloss.learning.meta.samplers import Candidates
from dynaloss.studies.components import ComponentKind
from dynaloss.testing import (
    ContractError,
    check_component,
    check_loss,
    check_model,
    check_noise,
    check_sampler,
    check_source,
)
from dynaloss.testing.suites import CONTRACTS

_CHECKS: dict[str, Callable[[str], None]] = {
    "loss": check_loss,
    "learned loss": check_loss,
    "metadata sampler": check_sampler,
    "noise kind": check_noise,
    "model": lambda name: check_model(name, input_shape=(1, 4, 4)),
    "data source": check_source,
    "component": check_component,
}
_CASES: list[tuple[str, str, str, str]] = []
_calls = [0]


def _breaks(
    rule: str, facts: str, family: str, kind: type[Kind], **fields: Any
) -> Callable[..., Any]:
    """Declares what breaks the rule of these words; `fields` are those of its entry."""

    def declare(part: Any) -> Kind:
        name = part.__name__
        _CASES.append((family, name, rule, facts))
        given = {key: part if value is None else value for key, value in fields.items()}
        return kind(name=name.lower(), description="breaks a rule", version="1", **given)

    return declare


class _Dated(LossConfig):
    since: date = date(2020, 1, 1)


# -- losses ------------------------------------------------------------------------------------


def _loss(rule: str, facts: str, settings: type[LossConfig] = LossConfig) -> Callable[..., Any]:
    return _breaks(rule, facts, "loss", LossKind, settings=settings, build=None)


class _Loss(TrainingLoss[Any]):
    def __call__(self, logits: Tensor, labels: Tensor, indices: Tensor) -> Any:
        return F.cross_entropy(logits, labels)


class _Soft(LossConfig):
    accepts_soft_targets: ClassVar[bool] = True


@_loss("if its settings have `is_learned`", r"is a `NoneType` and `is_learned` is false$")
def Nothing(settings: Any, facts: Any) -> None:  # noqa: N802
    """Builds nothing."""


@_loss("if its settings have `is_learned`", r"is a `LearnedLoss` and `is_learned` is false$")
class Unlearned(LearnedLoss):
    def __init__(self, settings: Any, facts: Any) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(()))


@_loss("scalar for a batch", r"gave a tensor of shape \(8,\) and type torch\.float32$")
class PerSample(_Loss):
    def __call__(self, logits: Tensor, labels: Tensor, indices: Tensor) -> Any:
        return F.cross_entropy(logits, labels, reduction="none")


@_loss("scalar for a batch", r"gave nan$")
class Undefined(_Loss):
    def __call__(self, logits: Tensor, labels: Tensor, indices: Tensor) -> Any:
        return super().__call__(logits, labels, indices) * torch.nan


@_loss("scalar for a batch", r"gave a float$")
class Number(_Loss):
    def __call__(self, logits: Tensor, labels: Tensor, indices: Tensor) -> Any:
        return super().__call__(logits, labels, indices).item()


@_loss("scalar for a batch", r"raised IndexError: index 9 is out of bounds")
class Beyond(_Loss):
    def __call__(self, logits: Tensor, labels: Tensor, indices: Tensor) -> Any:
        return logits[9]


def _spread(logits: Tensor) -> Tensor:
    squares = (logits - logits.mean(dim=0)).square().sum(dim=0)
    return (squares / (len(logits) - 1)).sqrt().mean()


@_loss("for one sample", r"gave nan for one sample$")
class Standardised(_Loss):
    def __call__(self, logits: Tensor, labels: Tensor, indices: Tensor) -> Any:
        return F.cross_entropy(logits / _spread(logits.detach()), labels)


@_loss("for one sample", r"gave inf for logits of ±50$")
class Steep(_Loss):
    def __call__(self, logits: Tensor, labels: Tensor, indices: Tensor) -> Any:
        return logits.exp().square().mean()


@_loss("gradient by the logits", r"does not depend on them$")
class Detached(_Loss):
    def __call__(self, logits: Tensor, labels: Tensor, indices: Tensor) -> Any:
        return F.cross_entropy(logits.detach(), labels)


@_loss("gradient by the logits", r"has one that is not finite for logits of ±50$")
class Rooted(_Loss):
    def __call__(self, logits: Tensor, labels: Tensor, indices: Tensor) -> Any:
        return F.cross_entropy(logits, labels) + (50 - logits).abs().sqrt().mean()


@_loss("generators", r"changed torch's global random state$")
class DrawsFromTorch(_Loss):
    def __call__(self, logits: Tensor, labels: Tensor, indices: Tensor) -> Any:
        return F.cross_entropy(logits, labels) + torch.rand(())


@_loss("generators", r"changed NumPy's global random state$")
class DrawsFromNumPy(_Loss):
    def __call__(self, logits: Tensor, labels: Tensor, indices: Tensor) -> Any:
        return F.cross_entropy(logits, labels) + np.random.rand()  # noqa: NPY002


@_loss("generators", r"changed Python's global random state$")
class DrawsFromPython(_Loss):
    def __call__(self, logits: Tensor, labels: Tensor, indices: Tensor) -> Any:
        return F.cross_entropy(logits, labels) + random.random()


@_loss("the same again", r"the second time gave something else$")
class Unseeded(_Loss):
    """Starts from unseeded margins, which checkpoints keep."""

    remembered = ("margins",)

    def __init__(self, settings: Any, facts: Any) -> None:
        super().__init__(settings, facts)
        self.margins = torch.tensor(np.random.default_rng().random(5), dtype=torch.float32)

    def __call__(self, logits: Tensor, labels: Tensor, indices: Tensor) -> Any:
        return F.cross_entropy(logits + self.margins, labels)


@_loss("as it is", r"changed `labels`$")
class Relabelling(_Loss):
    def __call__(self, logits: Tensor, labels: Tensor, indices: Tensor) -> Any:
        labels[0] = 1
        return F.cross_entropy(logits, labels)


@_loss("as it is", r"changed `logits`$")
class Clamping(_Loss):
    def __call__(self, logits: Tensor, labels: Tensor, indices: Tensor) -> Any:
        logits.data.clamp_(max=1)
        return F.cross_entropy(logits, labels)


@_loss("`state_dict`", r"`mean` was not in it$")
class Forgetful(_Loss):
    def __init__(self, settings: Any, facts: Any) -> None:
        super().__init__(settings, facts)
        self.mean = torch.ones(())

    def __call__(self, logits: Tensor, labels: Tensor, indices: Tensor) -> Any:
        self.mean += 1
        return F.cross_entropy(logits, labels) / self.mean


@_loss("`state_dict`", r"then gave another loss$")
class CountsEpochs(_Loss):
    def __init__(self, settings: Any, facts: Any) -> None:
        super().__init__(settings, facts)
        self.epochs = 0

    def start_epoch(self, epoch: int) -> None:
        self.epochs += 1

    def __call__(self, logits: Tensor, labels: Tensor, indices: Tensor) -> Any:
        return F.cross_entropy(logits, labels) / self.epochs


@_loss("`to`", r"left `weights\.0`$")
class Immobile(_Loss):
    def __init__(self, settings: Any, facts: Any) -> None:
        super().__init__(settings, facts)
        self.weights = [torch.ones(5)]


@_loss("distributions", r"gave -?0\.0 and \d\.\d+$", _Soft)
class Hard(_Loss):
    def __call__(self, logits: Tensor, labels: Tensor, indices: Tensor) -> Any:
        return F.cross_entropy(logits, labels) if labels.ndim == 1 else 0 * logits.sum()


@_loss("plain values", r"raised TypeError: Object of type date is not JSON", _Dated)
class Old(_Loss):
    pass


@_loss("continue from a checkpoint", r"epoch 1 gave other metrics$")
class ChangesInTrials(_Loss):
    def __call__(self, logits: Tensor, labels: Tensor, indices: Tensor) -> Any:
        _calls[0] += len(labels) == 16  # three of the four batches of 52 samples
        return F.cross_entropy(logits, labels) * (1 + _calls[0] / 100)


class Twice(_Loss):
    def __call__(self, logits: Tensor, labels: Tensor, indices: Tensor) -> Any:
        labels[0] = 1
        return F.cross_entropy(logits, labels) + torch.rand(())


Twice = LossKind(  # type: ignore[misc]
    name="twice", description="breaks three rules", version="1", settings=_Dated, build=Twice
)


@_loss("continue from a checkpoint", r"raised ValueError: 16 samples$")
class FailsInTrials(_Loss):
    def __call__(self, logits: Tensor, labels: Tensor, indices: Tensor) -> Any:
        if len(labels) > 8:
            raise ValueError(f"{len(labels)} samples")
        return F.cross_entropy(logits, labels)


# -- learned losses ----------------------------------------------------------------------------


class _LearnedConfig(LossConfig):
    is_learned: ClassVar[bool] = True


class _WarmConfig(_LearnedConfig):
    def warm_start_length(self, warmup_epochs: int) -> int:
        return warmup_epochs


class _FinetuneConfig(_LearnedConfig):
    finetunes: ClassVar[bool] = True


def _learned(
    rule: str, facts: str, settings: type[LossConfig] = _LearnedConfig
) -> Callable[..., Any]:
    return _breaks(rule, facts, "learned loss", LossKind, settings=settings, build=None)


class _Learned(LearnedLoss):
    """Cross-entropy whose label smoothing is learned."""

    look_ahead_view = "weak"

    def __init__(self, settings: Any, facts: Any, start: float = -2.0) -> None:
        super().__init__()
        self.logit = nn.Parameter(torch.tensor(start))

    def forward(self, logits: Tensor, labels: Tensor) -> Any:
        smoothing = self.logit.sigmoid()
        uniform = -logits.log_softmax(dim=1).mean()
        return (1 - smoothing) * F.cross_entropy(logits, labels) + smoothing * uniform

    def look_ahead_loss(self, logits: Tensor, labels: Tensor, *_: Any, **__: Any) -> Any:
        return self(logits, labels)

    def real_loss(self, logits: Any, labels: Tensor, *_: Any) -> Any:
        return lambda strong: self(strong, labels)


@_learned("if its settings have `is_learned`", r"is a `Plain` and `is_learned` is true$")
class Plain(_Loss):
    pass


@_learned("scalar for a batch", r"`real_loss` gave a tensor of shape \(8,\) and type torch")
class RealPerSample(_Learned):
    def real_loss(self, logits: Any, labels: Tensor, *_: Any) -> Any:
        return lambda strong: F.cross_entropy(strong, labels, reduction="none")


@_learned("scalar for a batch", r"raised TypeError: 'int' object is not callable$")
class NoFunction(_Learned):
    def real_loss(self, logits: Any, labels: Tensor, *_: Any) -> Any:
        return 1


@_learned("generators", r"changed torch's global random state$")
class Dropping(_Learned):
    def look_ahead_loss(self, logits: Tensor, labels: Tensor, *_: Any, **__: Any) -> Any:
        return self(F.dropout(logits, 0.1), labels)


@_learned("`state_dict`", r"`scale` was not in it$")
class Stepping(_Learned):
    def __init__(self, settings: Any, facts: Any) -> None:
        super().__init__(settings, facts)
        self.register_buffer("scale", torch.ones(()), persistent=False)

    def look_ahead_loss(self, logits: Tensor, labels: Tensor, *_: Any, **__: Any) -> Any:
        self.scale += 1
        return self(logits, labels)


@_learned("`look_ahead_view`", r"has None$")
class Blind(_Learned):
    look_ahead_view = None


@_learned("twice differentiable", r"`logit` takes no part in it$")
class Frozen(_Learned):
    def look_ahead_loss(self, logits: Tensor, labels: Tensor, *_: Any, **__: Any) -> Any:
        return F.cross_entropy(logits, labels) + self.logit


@_learned("twice differentiable", r"`spare` takes no part in it$")
class Spare(_Learned):
    def __init__(self, settings: Any, facts: Any) -> None:
        super().__init__(settings, facts)
        self.spare = nn.Parameter(torch.ones(2))


@_learned("twice differentiable", r"has no parameter that requires a gradient$")
class Constant(_Learned):
    def __init__(self, settings: Any, facts: Any) -> None:
        super().__init__(settings, facts)
        self.logit.requires_grad_(False)


@_learned("twice differentiable", r"the gradient by `logit` is not finite$")
class Edge(_Learned):
    def look_ahead_loss(self, logits: Tensor, labels: Tensor, *_: Any, **__: Any) -> Any:
        return F.cross_entropy(logits * (1 + (self.logit + 2).abs().sqrt()), labels)


@_learned("warm-start", r"raised NotImplementedError: Cold has no warm start\.$", _WarmConfig)
class Cold(_Learned):
    pass


@_learned("warm-start", r"it depends on no parameter$", _WarmConfig)
class Lukewarm(_Learned):
    def warm_start_loss(self, logits: Tensor, labels: Tensor, ranks: Tensor) -> Any:
        return F.cross_entropy(logits, labels)


@_learned("finite margins", r"gave \[0\.0, 0\.0\]$", _FinetuneConfig)
class TwoMargins(_Learned):
    def finetune_margins(self) -> Any:
        return torch.zeros(2)


@_learned("equals the unrolled one", r"they differ by up to [\d.e-]+$")
class Leafy(_Learned):
    def look_ahead_loss(self, logits: Tensor, labels: Tensor, *_: Any, **__: Any) -> Any:
        return self(logits, labels) * (1 + logits.is_leaf)


@_learned("that a meta step moves", r"3 steps moved none$")
class Unmoved(_Learned):
    def look_ahead_loss(self, logits: Tensor, labels: Tensor, *_: Any, **__: Any) -> Any:
        return F.cross_entropy(logits, labels) + 0 * self(logits, labels)


@_learned("that a meta step moves", r"3 steps made some of them infinite or NaN$")
class Narrow(_Learned):
    """Defined for parameters from 0 to 0.002, which a step of Adam leaves."""

    def __init__(self, settings: Any, facts: Any) -> None:
        super().__init__(settings, facts, start=0.0005)

    def look_ahead_loss(self, logits: Tensor, labels: Tensor, *_: Any, **__: Any) -> Any:
        inside = (self.logit * (0.002 - self.logit)).sqrt()
        return F.cross_entropy(logits * (1 + inside), labels)


# -- metadata samplers -------------------------------------------------------------------------


class _DatedSampler(SamplerConfig):
    since: date = date(2020, 1, 1)


def _sampler(rule: str, facts: str, **fields: Any) -> Callable[..., Any]:
    given = {"settings": SamplerConfig, "draw": None, "uses": ("every",)} | fields
    return _breaks(rule, facts, "metadata sampler", SamplerKind, **given)


def _third(candidates: Candidates) -> Tensor:
    """A third of the samples."""
    number = len(candidates.labels)
    order = torch.randperm(number, generator=candidates.generator)
    return order[: number // 3].sort().values


@_sampler("distinct positions", r"drew a list$")
def draws_list(settings: Any, candidates: Candidates) -> Any:
    return [0, 1]


@_sampler("distinct positions", r"drew a tensor of shape \(4, 1\) and type torch\.int64$")
def draws_column(settings: Any, candidates: Candidates) -> Any:
    return torch.arange(4)[:, None]


@_sampler("distinct positions", r"drew a tensor of shape \(58,\) and type torch\.bool$")
def draws_mask(settings: Any, candidates: Candidates) -> Any:
    return candidates.losses < candidates.losses.median()


@_sampler("distinct positions", r"drew none$")
def draws_nothing(settings: Any, candidates: Candidates) -> Any:
    return torch.arange(0)


@_sampler("distinct positions", r"drew positions from 0 to 58 of 58 samples$")
def draws_beyond(settings: Any, candidates: Candidates) -> Any:
    return torch.arange(59)


@_sampler("distinct positions", r"drew \[5, 2\]$")
def draws_unsorted(settings: Any, candidates: Candidates) -> Any:
    return torch.tensor([5, 2])


@_sampler("distinct positions", r"drew \[2, 2\]$")
def draws_twice(settings: Any, candidates: Candidates) -> Any:
    return torch.tensor([2, 2])


@_sampler("where a class has one sample", r"drew none$")
def draws_share(settings: Any, candidates: Candidates) -> Any:
    smallest = min(count for count in candidates.labels.bincount().tolist() if count)
    return torch.arange(smallest // 4)


@_sampler("generators", r"changed torch's global random state$")
def draws_globally(settings: Any, candidates: Candidates) -> Any:
    return torch.randperm(4)[:2].sort().values


@_sampler("the same again", r"the second time gave something else$")
def draws_otherwise(settings: Any, candidates: Candidates) -> Any:
    _calls[0] += 1
    return torch.arange(1 + _calls[0] % 2)


@_sampler("as it is", r"changed `losses`$")
def draws_and_changes(settings: Any, candidates: Candidates) -> Any:
    candidates.losses.sub_(1)
    return _third(candidates)


@_sampler("settings in `uses`", r"'share' in `uses` is none$", uses=("share",))
def draws_by_share(settings: Any, candidates: Candidates) -> Any:
    return _third(candidates)


@_sampler("plain values", r"raised TypeError: .* date is not JSON", settings=_DatedSampler)
def draws_since(settings: Any, candidates: Candidates) -> Any:
    return _third(candidates)


@_sampler("continue from a checkpoint", r"raised InputError: .* no sample to train on")
def draws_all(settings: Any, candidates: Candidates) -> Any:
    return torch.arange(len(candidates.labels))


# -- noise kinds -------------------------------------------------------------------------------


class _DatedNoise(NoiseConfig):
    since: date = date(2020, 1, 1)


def _noise(rule: str, facts: str, **fields: Any) -> Callable[..., Any]:
    given = {"settings": NoiseConfig, "observe": None, "uses": ("rate",)} | fields
    return _breaks(rule, facts, "noise kind", NoiseKind, **given)


def _next_class(noise: Any, source: Source, rows: Any, rng: Any) -> Any:
    moved = rng.random(len(rows)) < noise.rate
    return (source.pool.labels[rows] + moved) % source.num_classes


def _refuse(noise: Any, source: Source) -> None:
    raise ValueError("not this one")


@_noise("an observed label", r"gave a list$")
def observes_list(noise: Any, source: Source, rows: Any, rng: Any) -> Any:
    return _next_class(noise, source, rows, rng).tolist()


@_noise("an observed label", r"gave an array of shape \(52,\) and type int64 for 39 samples$")
def observes_everything(noise: Any, source: Source, rows: Any, rng: Any) -> Any:
    return source.pool.labels


@_noise("an observed label", r"gave an array of shape \(39,\) and type int32 for 39 samples$")
def observes_int32(noise: Any, source: Source, rows: Any, rng: Any) -> Any:
    return _next_class(noise, source, rows, rng).astype(np.int32)


@_noise("an observed label", r"gave labels from 0 to 3 for 3 classes$")
def observes_beyond(noise: Any, source: Source, rows: Any, rng: Any) -> Any:
    return source.pool.labels[rows] + (rng.random(len(rows)) < noise.rate)


@_noise("an observed label", r"raised ValueError: not this one$", check=_refuse)
def observes_elsewhere(noise: Any, source: Source, rows: Any, rng: Any) -> Any:
    return _next_class(noise, source, rows, rng)


@_noise("generators", r"changed NumPy's global random state$")
def observes_globally(noise: Any, source: Source, rows: Any, rng: Any) -> Any:
    return _next_class(noise, source, rows, np.random)


@_noise("the same again", r"the second time gave something else$")
def observes_otherwise(noise: Any, source: Source, rows: Any, rng: Any) -> Any:
    return _next_class(noise, source, rows, np.random.default_rng())


@_noise("as it is", r"changed `labels`$")
def observes_and_changes(noise: Any, source: Source, rows: Any, rng: Any) -> Any:
    source.pool.labels[rows[:3]] = 2
    return _next_class(noise, source, rows, rng)


@_noise("settings in `uses`", r"'reach' in `uses` is none$", uses=("rate", "reach"))
def observes_by_reach(noise: Any, source: Source, rows: Any, rng: Any) -> Any:
    return _next_class(noise, source, rows, rng)


@_noise("at a higher rate", r"changed 0 of 39 at 0\.1 and 0 at 0\.9$")
def observes_nothing(noise: Any, source: Source, rows: Any, rng: Any) -> Any:
    return source.pool.labels[rows]


@_noise("plain values", r"raised TypeError: .* date is not JSON", settings=_DatedNoise)
def observes_since(noise: Any, source: Source, rows: Any, rng: Any) -> Any:
    return _next_class(noise, source, rows, rng)


@_noise("continue from a checkpoint", r"raised ValueError: 52 rows$")
def observes_few(noise: Any, source: Source, rows: Any, rng: Any) -> Any:
    if len(rows) > 39:
        raise ValueError(f"{len(rows)} rows")
    return _next_class(noise, source, rows, rng)


# -- models ------------------------------------------------------------------------------------


class _DatedModel(ModelConfig):
    since: date = date(2020, 1, 1)


class _Model(nn.Module):
    def __init__(self, input_shape: tuple[int, ...], num_classes: int) -> None:
        super().__init__()
        self.head = nn.Linear(int(np.prod(input_shape)), num_classes)

    def forward(self, images: Tensor) -> Any:
        return self.head(images.flatten(1))


class _Double(torch.autograd.Function):
    """Twice its argument, without a forward mode."""

    @staticmethod
    def forward(x: Tensor) -> Tensor:
        return 2 * x

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        """Keeps nothing."""

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return 2 * gradient


class _WronglyDouble(_Double):
    @staticmethod
    def jvp(ctx: Any, tangent: Tensor) -> Tensor:
        return 3 * tangent


def _model(rule: str, facts: str, settings: type[ModelConfig] = ModelConfig) -> Callable[..., Any]:
    def declare(part: type[_Model]) -> Kind:
        def build(settings: Any, *, input_shape: tuple[int, ...], num_classes: int) -> nn.Module:
            return part(input_shape, num_classes)

        build.__name__ = part.__name__
        return _breaks(rule, facts, "model", ModelKind, settings=settings, build=None)(build)

    return declare


@_model("accept the images", r"raised InputError: .* images of 4 x 4 pixels \(too small\)")
class Choosy(_Model):
    def forward(self, images: Tensor) -> Any:
        raise ValueError("too small")


@_model("finite logits, float32", r"gave a tensor of shape \(6, 4\) .* of \(6, 3\) training$")
class Wide(_Model):
    def forward(self, images: Tensor) -> Any:
        logits = super().forward(images)
        return F.pad(logits, (0, 1)) if self.training else logits


@_model("finite logits, float32", r"gave a tuple evaluating$")
class Auxiliary(_Model):
    def forward(self, images: Tensor) -> Any:
        logits = super().forward(images)
        return logits if self.training else (logits, logits)


@_model("finite logits, float32", r"gave others training$")
class Unbounded(_Model):
    def forward(self, images: Tensor) -> Any:
        return super().forward(images) / (not self.training or 0)


@_model("generators", r"changed NumPy's global random state$")
class Randomised(_Model):
    def __init__(self, *shape: Any) -> None:
        super().__init__(*shape)
        self.scale = 1 + np.random.rand()  # noqa: NPY002


@_model("the same again", r"the second time gave something else$")
class UnseededWeights(_Model):
    def __init__(self, *shape: Any) -> None:
        super().__init__(*shape)
        self.head.weight.data *= np.random.default_rng().random()


@_model("as it is", r"changed `images`$")
class Scaling(_Model):
    def forward(self, images: Tensor) -> Any:
        return super().forward(images.mul_(2) if images.dtype == torch.float32 else images)


@_model("default generator", r"two seeds gave one model$")
class OwnSeed(_Model):
    def __init__(self, *shape: Any) -> None:
        super().__init__(*shape)
        values = np.random.default_rng(0).random(self.head.weight.shape)
        self.head.weight.data.copy_(torch.tensor(values))
        nn.init.zeros_(self.head.bias)


@_model("use every weight", r"`spare` took no part$")
class SpareWeight(_Model):
    def __init__(self, *shape: Any) -> None:
        super().__init__(*shape)
        self.spare = nn.Parameter(torch.ones(2))


@_model("forward mode", r"raised \w+: .*\bjvp\b")
class BackwardsOnly(_Model):
    def forward(self, images: Tensor) -> Any:
        return _Double.apply(super().forward(images))


@_model("forward mode", r"it differs from backward mode by 0\.5$")
class WronglyForwards(_Model):
    def forward(self, images: Tensor) -> Any:
        return _WronglyDouble.apply(super().forward(images))


@_model("beside it", r"its logits depend on the other images$")
class Centred(_Model):
    def forward(self, images: Tensor) -> Any:
        logits = super().forward(images)
        return logits - logits.mean(dim=0)


@_model("beside it", r"changed `count`$")
class CountsImages(_Model):
    def __init__(self, *shape: Any) -> None:
        super().__init__(*shape)
        self.register_buffer("count", torch.zeros(()))

    def forward(self, images: Tensor) -> Any:
        self.count += len(images)
        return super().forward(images)


@_model("under bfloat16", r"raised ValueError: torch\.bfloat16$")
class Precise(_Model):
    def forward(self, images: Tensor) -> Any:
        logits = super().forward(images)
        if logits.dtype == torch.bfloat16:
            raise ValueError(logits.dtype)
        return logits


@_model("plain values", r"raised TypeError: .* date is not JSON", _DatedModel)
class Dated(_Model):
    pass


@_model("continue from a checkpoint", r"epoch 3 gave other metrics$")
class Tiring(_Model):
    """Its logits shrink from the third pass in train mode on."""

    def __init__(self, *shape: Any) -> None:
        super().__init__(*shape)
        self.count = 0

    def forward(self, images: Tensor) -> Any:
        self.count += self.training
        return super().forward(images) / max(1, self.count - 2)


# -- data sources ------------------------------------------------------------------------------


class _DatedData(DataConfig):
    since: date = date(2020, 1, 1)


_IMAGES = np.random.default_rng(0).integers(0, 256, (60, 1, 4, 4), dtype=np.uint8)
_LABELS = np.arange(60) % 3


def _source(rule: str, facts: str, **fields: Any) -> Callable[..., Any]:
    given = {
        "settings": DataConfig,
        "load": None,
        "digest": lambda _: _loaded().digest,
        "has_test_split": False,
    }
    return _breaks(rule, facts, "data source", SourceKind, **given | fields)


def _loaded(images: Any = _IMAGES, labels: Any = _LABELS, **changed: Any) -> Source:
    facts: Mapping[str, Any] = {
        "name": "made_up",
        "class_names": ("a", "b", "c"),
        "pool": ImageArrays(images=images, labels=labels),
        "test": None,
        "mean": (0.5,),
        "std": (0.3,),
        "crop_padding": 0,
        "flip": False,
        "content_digest": "0123",
    }
    return Source(**{**facts, **changed})


@_source("load a `Source`", r"raised InputError: .* returned dict$")
def loads_dict(settings: Any) -> Any:
    return {"images": _IMAGES}


@_source("and for each a label", r"the pool has images of type float64$")
def loads_floats(settings: Any) -> Any:
    return _loaded(_IMAGES / 255)


@_source("and for each a label", r"the pool has labels of shape \(59,\) and type int64$")
def loads_few_labels(settings: Any) -> Any:
    return _loaded(labels=_LABELS[1:])


@_source("and for each a label", r"the pool has labels from 0 to 3 for 3 classes$")
def loads_four_classes(settings: Any) -> Any:
    return _loaded(labels=np.arange(60) % 4)


@_source("and for each a label", r"the test set has images of shape \(60, 1, 2, 4\)$")
def loads_two_sizes(settings: Any) -> Any:
    return _loaded(test=ImageArrays(images=_IMAGES[:, :, :2], labels=_LABELS))


@_source("a name of its own", r"has \('a', 'b', 'a'\)$")
def loads_one_name_twice(settings: Any) -> Any:
    return _loaded(class_names=("a", "b", "a"))


@_source("a name of its own", r"has no image of 'd', 'e'$")
def loads_empty_classes(settings: Any) -> Any:
    return _loaded(class_names=("a", "b", "c", "d", "e"))


@_source("per channel", r"has \(0\.5,\) and \(0\.0,\)$")
def loads_no_spread(settings: Any) -> Any:
    return _loaded(std=(0.0,))


@_source("per channel", r"has \(0\.5, 0\.5, 0\.5\) and \(0\.3,\)$")
def loads_three_means(settings: Any) -> Any:
    return _loaded(mean=(0.5, 0.5, 0.5))


@_source(
    "one digest", r"`digest` gave 'other' and the source has '0123'$", digest=lambda _: "other"
)
def loads_another_digest(settings: Any) -> Any:
    return _loaded()


def _count(_: object) -> str:
    _calls[0] += 1
    return str(_calls[0])


@_source("one digest", r"two calls of `digest` gave '\d+' and '\d+'$", digest=_count)
def loads_any_digest(settings: Any) -> Any:
    return _loaded()


@_source("a test set of its own", r"has none$", has_test_split=True)
def loads_no_test_set(settings: Any) -> Any:
    return _loaded()


@_source("picklable", r"raised \w+: .*\block\b|raised \w+: .*lambda")
def loads_a_function(settings: Any) -> Any:
    source = _loaded()
    source.__dict__["hook"] = lambda: None
    return source


@_source("generators", r"changed NumPy's global random state$")
def loads_globally(settings: Any) -> Any:
    np.random.rand()  # noqa: NPY002
    return _loaded()


@_source("the same again", r"the second time gave something else$")
def loads_otherwise(settings: Any) -> Any:
    return _loaded(np.random.default_rng().permutation(_IMAGES))


@_source("settings in `uses` and `ignores`", r"'size' in `ignores` is none$", ignores=("size",))
def loads_any_size(settings: Any) -> Any:
    return _loaded()


@_source("plain values", r"raised TypeError: .* date is not JSON", settings=_DatedData)
def loads_since(settings: Any) -> Any:
    return _loaded()


@_source("continue from a checkpoint", r"raised \w+Error: ")
def loads_bad_padding(settings: Any) -> Any:
    return _loaded(crop_padding=-1)


# -- components --------------------------------------------------------------------------------


def _component(name: str, on: dict[str, Any], off: dict[str, Any]) -> ComponentKind:
    return ComponentKind(name=name, description="breaks a rule", version="1", on=on, off=off)


IDLE = _component("idle", {"meta.every": 1}, {"meta.every": 1})
_CASES.append(("component", "IDLE", "have an effect", "on and off compute the same$"))

UNEVEN = _component("uneven", {"meta.every": 2, "meta.lr": 0.1}, {"meta.every": 1})
MISSPELT = _component("misspelt", {"meta.evry": 2}, {"meta.evry": 1})
REFUSED = _component("refused", {"meta.every": 0}, {"meta.every": 1})


# -- tests -------------------------------------------------------------------------------------


def _texts(family: str) -> list[str]:
    return [rule.text for stage in CONTRACTS[family] for rule in stage]


@pytest.fixture(autouse=True)
def _alone(write_modules: object) -> None:
    """Lets no other test find the parts of this file."""


@pytest.mark.parametrize(
    ("family", "name", "rule", "facts"), _CASES, ids=[f"{c[0]}-{c[1]}" for c in _CASES]
)
def test_a_broken_part_is_named_in_one_sentence(
    family: str, name: str, rule: str, facts: str
) -> None:
    known = _texts(family) + (_texts("loss") if family == "learned loss" else [])
    (text,) = (text for text in known if rule in text)
    with pytest.raises(ContractError) as caught:
        _CHECKS[family](f"{__name__}:{name}")
    (problem,) = caught.value.problems
    assert re.search(rf"^[a-z ]+ '[\w.]+:{name}' {re.escape(text)}, but {facts}", problem), problem


@pytest.mark.parametrize("family", CONTRACTS)
def test_every_rule_is_broken_by_a_part(family: str) -> None:
    words = [rule for of, _, rule, _ in _CASES if of == family]
    assert [text for text in _texts(family) if not any(w in text for w in words)] == []


@pytest.mark.parametrize(
    ("name", "facts"),
    [
        ("UNEVEN", r"'uneven' .* only one of them sets 'meta\.lr'$"),
        ("MISSPELT", r"'misspelt' whose key 'meta\.evry' is not a setting"),
        ("REFUSED", r"meta\.every, which must be at least 1, but got 0"),
        ("LOST", r"'\S+:LOST' does not exist"),
    ],
)
def test_what_a_study_refuses_of_a_component_is_named(name: str, facts: str) -> None:
    with pytest.raises(ContractError, match=rf"^component '\S+:{name}': .*{facts}"):
        check_component(f"{__name__}:{name}")


def test_what_a_trial_refuses_of_a_part_is_named() -> None:
    with pytest.raises(ContractError, match=r"^loss 'focal': \[loss\.gama\] .*'gamma'\?$"):
        check_loss("focal", gama=1.0)
    with pytest.raises(ContractError, match=r"^model 'own:LOST': \[model\.name\] .*imported"):
        check_model("own:LOST")


def test_all_broken_rules_of_a_stage_are_named_and_the_error_is_kept() -> None:
    with pytest.raises(ContractError) as caught:
        check_loss(f"{__name__}:Twice")
    assert [re.sub("^.* but ", "", problem) for problem in caught.value.problems] == [
        "raised TypeError: Object of type date is not JSON serializable",
        "changed torch's global random state",
        "changed `labels`",
    ]
    assert isinstance(caught.value.__cause__, TypeError)


def _numpy_state() -> list[int]:
    return np.random.get_state()[1].tolist()  # noqa: NPY002 - looked at, not drawn from


def test_a_check_leaves_the_global_random_states_as_they_were() -> None:
    states = random.getstate(), _numpy_state(), torch.get_rng_state().tolist()
    with pytest.raises(ContractError):
        check_loss(f"{__name__}:DrawsFromTorch")
    check_model("mlp", input_shape=(1, 4, 4))
    now = random.getstate(), _numpy_state(), torch.get_rng_state().tolist()
    assert now == states
