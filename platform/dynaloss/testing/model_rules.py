"""The contract of a model."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dynaloss.learning.meta.hypergradient import batch_statistics
from dynaloss.learning.meta.linearized import LinearizedPass
from dynaloss.learning.models.building import build_model, check_model
from dynaloss.learning.streams import default_generator_seeded
from dynaloss.testing.parts import (
    Part,
    draws_from_its_generators,
    is_reproducible,
    keeps_its_settings,
    leaves_what_it_is_given,
    resumes,
)
from dynaloss.testing.rules import Rule, rule
from dynaloss.testing.unchanged import equal

_NUM_IMAGES = 6


class ModelPart(Part):
    """A model for the images of a source."""

    @property
    def shape(self) -> dict[str, Any]:
        """Shape of an image, and the number of classes."""
        return {
            "input_shape": self.source.input_shape,
            "num_classes": self.source.num_classes,
        }

    def build(self, seed: int = 0) -> nn.Module:
        """The model as a trial has it, in train mode."""
        return build_model(self.settings, **self.shape, seed=seed)

    def given(self) -> dict[str, Any]:
        """Some images."""
        generator = torch.Generator().manual_seed(0)
        size = (_NUM_IMAGES, *self.source.input_shape)
        return {"images": torch.randn(size, generator=generator)}

    def images(self) -> Tensor:
        """Some images, as `given` holds them."""
        images: Tensor = self.given()["images"]
        return images

    def result(self, given: Mapping[str, Any]) -> list[Any]:
        """Its initial state, and the logits that it gives for the images in either mode.

        Layers such as dropout may draw from torch's own generator, which the trainer seeds.
        """
        model, images = self.build(), given["images"]
        initial = [tensor.clone() for tensor in model.state_dict().values()]
        with default_generator_seeded(0):
            return [initial, model(images), model.eval()(images)]

    def labels(self) -> Tensor:
        """Labels of the images, int64."""
        return torch.arange(_NUM_IMAGES) % self.source.num_classes


@rule("must accept the images, on torch's device for shapes alone")
def _accepts_the_images(part: ModelPart) -> Iterator[str]:
    check_model(part.settings, **part.shape)
    yield from ()


@rule("must give finite logits, float32, one per class")
def _gives_logits(part: ModelPart) -> Iterator[str]:
    expected = (_NUM_IMAGES, part.source.num_classes)
    _, *modes = part.result(part.given())
    for logits, words in zip(modes, ("training", "evaluating"), strict=True):
        if not isinstance(logits, Tensor):
            yield f"gave a {type(logits).__name__} {words}"
        elif logits.shape != expected or logits.dtype != torch.float32:
            shown = f"{tuple(logits.shape)} and type {logits.dtype} instead of {expected}"
            yield f"gave a tensor of shape {shown} {words}"
        elif not logits.isfinite().all():
            yield f"gave others {words}"


@rule("must draw its initial weights from torch's default generator")
def _draws_its_weights(part: ModelPart) -> Iterator[str]:
    one, other = ([*part.build(seed).parameters()] for seed in (0, 1))
    # Constant ones are alike for every seed.
    if equal(one, other) and any(float(w.detach().std()) > 0 for w in one if w.numel() > 1):
        yield "two seeds gave one model"


@rule("must use every weight that requires a gradient")
def _uses_its_weights(part: ModelPart) -> Iterator[str]:
    model, labels = part.build(), part.labels()
    torch.autograd.backward(F.cross_entropy(model(part.images()), labels))
    unused = [f"`{n}`" for n, w in model.named_parameters() if w.requires_grad and w.grad is None]
    if unused:
        yield f"{' and '.join(unused)} took no part"


@rule("must be differentiable in forward mode, as a meta step needs it")
def _is_differentiable_forwards(part: ModelPart) -> Iterator[str]:
    model, images = part.build().double(), part.images().double()
    weights = {name: w for name, w in model.named_parameters() if w.requires_grad}
    generator = torch.Generator().manual_seed(0)
    direction = {
        name: torch.randn(w.shape, generator=generator).to(w) for name, w in weights.items()
    }
    with batch_statistics(model):
        with default_generator_seeded(0):
            found = LinearizedPass(model, images).derivative(direction)
        with default_generator_seeded(0):
            logits = model(images)
        # Twice backwards: the derivative of <J' u, v> by u is J v.
        along = torch.zeros_like(logits, requires_grad=True)
        backwards = torch.autograd.grad(
            logits, [*weights.values()], along, create_graph=True, materialize_grads=True
        )
        products = [(b * d).sum() for b, d in zip(backwards, direction.values(), strict=True)]
        (expected,) = torch.autograd.grad(torch.stack(products).sum(), along)
    if not torch.allclose(found, expected, rtol=1e-6, atol=1e-9 * float(expected.abs().max())):
        difference = float((found - expected).abs().max() / expected.abs().max())
        yield f"it differs from backward mode by {difference:.1g}"


@rule("must classify an image alike, whatever is evaluated beside it, and change no buffer then")
def _evaluates_images_alone(part: ModelPart) -> Iterator[str]:
    model = part.build().eval()
    before = {name: buffer.clone() for name, buffer in model.named_buffers()}
    with torch.no_grad():
        together = model(part.images())
        apart = torch.cat([model(part.images()[:2]), model(part.images()[2:])])
    if not torch.allclose(together, apart, rtol=1e-3, atol=1e-4 * float(together.abs().max())):
        yield "its logits depend on the other images"
    for name, buffer in model.named_buffers():
        if not equal(buffer, before[name]):
            yield f"changed `{name}`"


@rule("must give finite logits under bfloat16, too")
def _accepts_half_precision(part: ModelPart) -> Iterator[str]:
    with torch.autocast("cpu", torch.bfloat16):
        logits = part.build()(part.images())
    if not logits.isfinite().all():
        yield "gave others"


MODEL_STAGES: tuple[tuple[Rule[Any], ...], ...] = (
    (_accepts_the_images,),
    (_gives_logits,),
    (
        keeps_its_settings,
        draws_from_its_generators,
        is_reproducible,
        leaves_what_it_is_given,
        _draws_its_weights,
        _uses_its_weights,
        _is_differentiable_forwards,
        _evaluates_images_alone,
        _accepts_half_precision,
    ),
    (resumes,),
)
