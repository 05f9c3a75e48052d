"""AutoAugment, RandAugment and TrivialAugment: which operation each image gets, how strongly."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache

from dynaloss.config.families import AUGMENTATIONS
from dynaloss.data.views.operations import OPERATIONS, apply_operations
from dynaloss.lazy import Tensor, torch

_Step = tuple[Tensor, Tensor]
_NUMBERS = {name: number for number, name in enumerate(OPERATIONS)}
_SIGNED = ("ShearX", "ShearY", "TranslateX", "TranslateY", "Rotate", "Brightness", "Color",
           "Contrast", "Sharpness")  # fmt: skip

# Each line is a sub-policy: operation, probability, magnitude; twice. AutoAugment, table 7.
_CIFAR10 = """
Invert .1 0 Contrast .2 6|Rotate .7 2 TranslateX .3 9|Sharpness .8 1 Sharpness .9 3
ShearY .5 8 TranslateY .7 9|AutoContrast .5 0 Equalize .9 0|ShearY .2 7 Posterize .3 7
Color .4 3 Brightness .6 7|Sharpness .3 9 Brightness .7 9|Equalize .6 0 Equalize .5 0
Contrast .6 7 Sharpness .6 5|Color .7 7 TranslateX .5 8|Equalize .3 0 AutoContrast .4 0
TranslateY .4 3 Sharpness .2 6|Brightness .9 6 Color .2 8|Solarize .5 2 Invert 0 0
Equalize .2 0 AutoContrast .6 0|Equalize .2 0 Equalize .6 0|Color .9 9 Equalize .6 0
AutoContrast .8 0 Solarize .2 8|Brightness .1 3 Color .7 0|Solarize .4 5 AutoContrast .9 0
TranslateY .9 9 TranslateY .7 9|AutoContrast .9 0 Solarize .8 3|Equalize .8 0 Invert .1 0
TranslateY .7 9 AutoContrast .9 0
"""
# Table 9 of the same.
_IMAGENET = """
Posterize .4 8 Rotate .6 9|Solarize .6 5 AutoContrast .6 0|Equalize .8 0 Equalize .6 0
Posterize .6 7 Posterize .6 6|Equalize .4 0 Solarize .2 4|Equalize .4 0 Rotate .8 8
Solarize .6 3 Equalize .6 0|Posterize .8 5 Equalize 1 0|Rotate .2 3 Solarize .6 8
Equalize .6 0 Posterize .4 6|Rotate .8 8 Color .4 0|Rotate .4 9 Equalize .6 0
Equalize 0 0 Equalize .8 0|Invert .6 0 Equalize 1 0|Color .6 4 Contrast 1 8
Rotate .8 8 Color 1 2|Color .8 8 Solarize .8 7|Sharpness .4 7 Invert .6 0
ShearX .6 5 Equalize 1 0|Color .4 0 Equalize .6 0|Equalize .4 0 Solarize .2 4
Solarize .6 5 AutoContrast .6 0|Invert .6 0 Equalize 1 0|Color .6 4 Contrast 1 8
Equalize .8 0 Equalize .6 0
"""


@dataclass(frozen=True, slots=True)
class _Ranges:
    """Greatest magnitude of the operations of a policy, and the number of steps up to it."""

    bins: int
    shear: float = 0.3
    translate: Callable[[int], float] = lambda side: 150 / 331 * side
    rotate: float = 30
    enhance: float = 0.9
    posterize: int = 4


_AUTO, _RAND = _Ranges(10), _Ranges(31)
_TRIVIAL = _Ranges(31, 0.99, lambda side: 32, 135, 0.99, 6)
_WITHOUT_INVERT = tuple(name for name in OPERATIONS if name != "Invert")


def augment(images: Tensor, policy: str, fill: int, generator: torch.Generator) -> Tensor:
    """Augments each uint8 image (N, channels, height, width) by operations drawn for it.

    What an operation leaves empty is filled with that value, 0 to 255.
    """
    for operations, magnitudes in AUGMENTATIONS[policy].steps(images, generator):
        images = apply_operations(images, operations, magnitudes, fill)
    return images


def _auto(images: Tensor, generator: torch.Generator, text: str) -> Iterator[_Step]:
    """One sub-policy per image: two operations, each with its probability."""
    N, device = len(images), images.device
    numbers, probs, bins = (part.to(device) for part in sub_policies(text))
    table = magnitude_table(_AUTO, *images.shape[2:]).to(device)
    chosen = torch.randint(len(numbers), (N,), generator=generator, device=device)
    for step in range(2):
        operations, level = numbers[chosen, step], bins[chosen, step]
        hit = torch.rand(N, generator=generator, device=device) < probs[chosen, step]
        magnitudes = _with_sign(table[operations, level], operations, generator)
        yield torch.where(hit, operations, _NUMBERS["Identity"]), magnitudes


def _rand(images: Tensor, generator: torch.Generator) -> Iterator[_Step]:
    for _ in range(2):
        yield _any_operation(images, generator, _RAND, level=9)


def _trivial(images: Tensor, generator: torch.Generator) -> Iterator[_Step]:
    yield _any_operation(images, generator, _TRIVIAL, level=None)


def _any_operation(
    images: Tensor, generator: torch.Generator, ranges: _Ranges, level: int | None
) -> _Step:
    N, device = len(images), images.device
    table = magnitude_table(ranges, *images.shape[2:]).to(device)
    # `Invert` is last, and is in neither of the two spaces.
    operations = torch.randint(len(_WITHOUT_INVERT), (N,), generator=generator, device=device)
    if level is None:
        levels = torch.randint(ranges.bins, (N,), generator=generator, device=device)
    else:
        levels = torch.full((N,), level, device=device)
    return operations, _with_sign(table[operations, levels], operations, generator)


def _with_sign(magnitudes: Tensor, operations: Tensor, generator: torch.Generator) -> Tensor:
    """Turns half of the magnitudes round where an operation works both ways."""
    device = magnitudes.device
    signed = torch.tensor([name in _SIGNED for name in OPERATIONS], device=device)
    coin = torch.rand(len(magnitudes), generator=generator, device=device) < 0.5
    return torch.where(coin & signed[operations], -magnitudes, magnitudes)


@cache
def sub_policies(text: str) -> tuple[Tensor, Tensor, Tensor]:
    """Operation, probability and step of magnitude of each sub-policy, each of shape (P, 2)."""
    words = [line.split() for line in text.strip().replace("\n", "|").split("|")]
    return (
        torch.tensor([[_NUMBERS[w[0]], _NUMBERS[w[3]]] for w in words]),
        torch.tensor([[float(w[1]), float(w[4])] for w in words]),
        torch.tensor([[int(w[2]), int(w[5])] for w in words]),
    )


@cache
def magnitude_table(ranges: _Ranges, height: int, width: int) -> Tensor:
    """Magnitude of each operation at each step, float64, shape (operations, bins)."""
    enhance = torch.linspace(0, ranges.enhance, ranges.bins)
    shear = torch.linspace(0, ranges.shear, ranges.bins)
    steps = torch.arange(ranges.bins) / ((ranges.bins - 1) / ranges.posterize)
    rows = {
        "ShearX": shear,
        "ShearY": shear,
        "TranslateX": torch.linspace(0, ranges.translate(width), ranges.bins),
        "TranslateY": torch.linspace(0, ranges.translate(height), ranges.bins),
        "Rotate": torch.linspace(0, ranges.rotate, ranges.bins),
        **dict.fromkeys(("Brightness", "Color", "Contrast", "Sharpness"), enhance),
        "Posterize": 8 - steps.round(),
        "Solarize": torch.linspace(1, 0, ranges.bins),
    }
    zeros = torch.zeros(ranges.bins)
    return torch.stack([rows.get(name, zeros) for name in OPERATIONS]).double()


AUGMENTATIONS.add(name="none", description="no operation", steps=lambda *_: iter(()))
AUGMENTATIONS.add(
    name="autoaugment",
    description="one of 25 pairs of operations per image, found on CIFAR-10",
    source="AutoAugment, arXiv 1805.09501",
    steps=lambda images, generator: _auto(images, generator, _CIFAR10),
)
AUGMENTATIONS.add(
    name="autoaugment_imagenet",
    description="one of 25 pairs of operations per image, found on ImageNet",
    source="AutoAugment, arXiv 1805.09501",
    steps=lambda images, generator: _auto(images, generator, _IMAGENET),
)
AUGMENTATIONS.add(
    name="randaugment",
    description="2 operations per image at magnitude 9 of 30",
    source="RandAugment, arXiv 1909.13719",
    steps=_rand,
)
AUGMENTATIONS.add(
    name="trivialaugment",
    description="1 operation per image at any magnitude of the wide space",
    source="TrivialAugment, ICCV 2021",
    steps=_trivial,
)
