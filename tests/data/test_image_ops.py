from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torchvision.transforms.v2 import functional as TF

from dynaloss.data.views.operations import OPERATIONS, apply_operations, cutout

NO_SHEAR = {"angle": 0.0, "scale": 1.0}


def _affine(image: Tensor, x: float, y: float, fill: int) -> Tensor:
    return TF.affine(image, translate=[x, y], shear=[0.0, 0.0], fill=fill, **NO_SHEAR)


def _shear(image: Tensor, x: float, y: float, fill: int) -> Tensor:
    shear = [math.degrees(math.atan(x)), math.degrees(math.atan(y))]
    return TF.affine(image, translate=[0, 0], shear=shear, center=[0, 0], fill=fill, **NO_SHEAR)


BOTH_WAYS = [-0.9, -0.3, 0.0, 0.1, 0.5, 0.9]
TORCHVISION: dict[str, tuple[Callable[[Tensor, float, int], Tensor], list[float]]] = {
    "Identity": (lambda image, *_: image, [0]),
    "ShearX": (lambda image, m, fill: _shear(image, m, 0, fill), [-0.3, 0.0, 0.1, 0.99]),
    "ShearY": (lambda image, m, fill: _shear(image, 0, m, fill), [-0.3, 0.0, 0.1, 0.99]),
    "TranslateX": (lambda image, m, fill: _affine(image, int(m), 0, fill), [-14.5, 0, 3.2]),
    "TranslateY": (lambda image, m, fill: _affine(image, 0, int(m), fill), [-14.5, 0, 3.2]),
    "Rotate": (lambda image, m, fill: TF.rotate(image, m, fill=fill), [-30, -10, 0, 3.3, 27, 135]),
    "Brightness": (lambda image, m, _: TF.adjust_brightness(image, 1 + m), BOTH_WAYS),
    "Color": (lambda image, m, _: TF.adjust_saturation(image, 1 + m), BOTH_WAYS),
    "Contrast": (lambda image, m, _: TF.adjust_contrast(image, 1 + m), BOTH_WAYS),
    "Sharpness": (lambda image, m, _: TF.adjust_sharpness(image, 1 + m), BOTH_WAYS),
    "Posterize": (lambda image, m, _: TF.posterize(image, int(m)), [2, 4, 7, 8]),
    "Solarize": (lambda image, m, _: TF.solarize(image, 255 * m), [0, 0.3, 1]),
    "AutoContrast": (lambda image, *_: TF.autocontrast(image), [0]),
    "Equalize": (lambda image, *_: TF.equalize(image), [0]),
    "Invert": (lambda image, *_: TF.invert(image), [0]),
}


def _images(number: int, channels: int = 3, height: int = 32, width: int = 28) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    shape = (number, channels, height, width)
    images = torch.randint(256, shape, generator=generator, dtype=torch.uint8)
    images[: number // 2] //= 3  # a narrow range, for contrast to act on
    return images


@pytest.mark.parametrize("fill", [0, 128])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("name", OPERATIONS)
def test_each_operation_equals_that_of_torchvision(name: str, channels: int, fill: int) -> None:
    reference, magnitudes = TORCHVISION[name]
    images = _images(3 * len(magnitudes), channels)
    each = torch.tensor(magnitudes, dtype=torch.float64).repeat(3)
    expected = [reference(image, m, fill) for image, m in zip(images, each.tolist(), strict=True)]
    assert torch.equal(OPERATIONS[name](images, each, fill), torch.stack(expected))


def test_each_image_gets_the_operation_drawn_for_it() -> None:
    images = _images(3 * len(OPERATIONS))
    numbers = torch.arange(len(images)) % len(OPERATIONS)
    magnitudes = torch.full((len(images),), 0.4, dtype=torch.float64)
    found = apply_operations(images, numbers, magnitudes, 7)
    names = list(OPERATIONS)
    for i, number in enumerate(numbers.tolist()):
        alone = OPERATIONS[names[number]](images[i : i + 1], magnitudes[i : i + 1], 7)
        assert torch.equal(found[i], alone[0])


@pytest.mark.parametrize("fill", [0, 128])
def test_cutout_fills_a_square_cut_at_the_border(fill: int) -> None:
    images = torch.ones(500, 3, 12, 10, dtype=torch.uint8)
    filled = cutout(images, 4, fill, torch.Generator().manual_seed(0))
    assert set(filled.unique().tolist()) == {1, fill}
    square = filled == fill
    assert torch.equal(square.all(dim=1), square.any(dim=1))
    rows, columns = square[:, 0].any(dim=2).sum(dim=1), square[:, 0].any(dim=1).sum(dim=1)
    assert torch.equal(square[:, 0].sum(dim=(1, 2)), rows * columns)
    assert set(rows.tolist()) == set(columns.tolist()) == {2, 3, 4}
    assert square.any(dim=0).all()
