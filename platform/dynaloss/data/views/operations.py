"""Image operations on a batch, with a magnitude of its own for each image.

Images are uint8, shape (N, channels, height, width), with 1 or 3 channels; magnitudes are float64,
shape (N,). Every operation equals torchvision's of that name with the same magnitude. What moves
pixels reads the nearest one, and fills what is left with one value for all channels, 0 to 255.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from dynaloss.lazy import F, Tensor, torch

_GREY = (0.2989, 0.587, 0.114)


def apply_operations(images: Tensor, operations: Tensor, magnitudes: Tensor, fill: int) -> Tensor:
    """Applies to each image the operation drawn for it, by its position in `OPERATIONS`, (N,)."""
    # On the CPU the images of one operation are gathered; elsewhere every operation is computed
    # of all images and chosen from, so that the host waits for nothing.
    if images.device.type != "cpu":
        for number, operation in enumerate(OPERATIONS.values()):
            chosen = (operations == number).view(-1, 1, 1, 1)
            # A magnitude meant for another operation may be out of range for this one.
            own = torch.where(operations == number, magnitudes, 0)
            images = torch.where(chosen, operation(images, own, fill), images)
        return images
    result = images.clone()
    for number, (name, operation) in enumerate(OPERATIONS.items()):
        rows = torch.nonzero(operations == number).squeeze(1)
        if len(rows) and name != "Identity":
            result[rows] = operation(images[rows], magnitudes[rows], fill)
    return result


def cutout(images: Tensor, size: int, fill: int, generator: torch.Generator) -> Tensor:
    """Fills a square of that many pixels around a random one of each image, cut at the border.

    Source: DeVries and Taylor, arXiv 1708.04552.
    """
    N, _, height, width = images.shape
    device = images.device
    inside = []
    for length in (height, width):
        centre = torch.randint(length, (N, 1), generator=generator, device=device)
        first = centre - size // 2
        pixels = torch.arange(length, device=device)
        inside.append((pixels >= first) & (pixels < first + size))
    square = inside[0][:, None, :, None] & inside[1][:, None, None, :]
    return images.masked_fill(square, fill)


def _color(images: Tensor, magnitudes: Tensor, _: int) -> Tensor:
    return images if images.shape[1] == 1 else _blend(images, _grey(images), magnitudes)


def _contrast(images: Tensor, magnitudes: Tensor, _: int) -> Tensor:
    grey = images.float() if images.shape[1] == 1 else _grey(images)
    return _blend(images, grey.mean(dim=(1, 2, 3), keepdim=True), magnitudes)


def _sharpness(images: Tensor, magnitudes: Tensor, _: int) -> Tensor:
    channels, height, width = images.shape[1:]
    if min(height, width) <= 2:
        return images
    kernel = images.new_full((3, 3), 1 / 13, dtype=torch.float32)
    kernel[1, 1] = 5 / 13
    sharp = images.float()
    blurred = F.conv2d(sharp, kernel.expand(channels, 1, 3, 3), groups=channels).round_()
    inner = sharp[..., 1:-1, 1:-1]
    inner.copy_(_fused(inner, blurred - inner, _column(-magnitudes)))
    return _to_bytes(sharp)


def _posterize(images: Tensor, magnitudes: Tensor, _: int) -> Tensor:
    bits = magnitudes.to(torch.int64)
    mask = ((1 << bits) - 1) << (8 - bits)
    return images & mask.to(torch.uint8).view(-1, 1, 1, 1)


def _rotate(images: Tensor, magnitudes: Tensor, fill: int) -> Tensor:
    angle = magnitudes.deg2rad()
    cosine, sine = angle.cos(), angle.sin()
    return _warp(images, magnitudes, fill, x=(cosine, -sine, 0), y=(sine, cosine, 0))


def _torchvision(name: str, images: Tensor) -> Tensor:
    from torchvision.transforms.v2 import functional

    result: Tensor = getattr(functional, name)(images)
    return result


_Row = tuple[Any, Any, Any]  # each a number, or a tensor of one per image


def _warp(
    images: Tensor, magnitudes: Tensor, fill: int, x: _Row = (1, 0, 0), y: _Row = (0, 1, 0)
) -> Tensor:
    """Reads pixel (x, y) at the place that the rows of an affine map give, from the middle."""
    N, _, height, width = images.shape
    one = torch.ones_like(magnitudes)
    rows = torch.stack(
        [torch.stack([one * value for value in row], dim=1) for row in (x, y)], dim=2
    ).float()
    xs, ys = (
        torch.linspace((1 - side) / 2, (side - 1) / 2, side, device=images.device)
        for side in (width, height)
    )
    points = torch.ones(height, width, 3, device=images.device)
    points[..., 0] = xs
    points[..., 1] = ys[:, None]
    half = torch.tensor([width / 2, height / 2], device=images.device)
    grid = points.view(1, -1, 3).expand(N, -1, -1).bmm(rows / half)
    # The sampling fills with zeros, so pixels are counted from `fill` on.
    moved = F.grid_sample(
        images.float() - fill, grid.view(N, height, width, 2), mode="nearest", align_corners=False
    )
    return (moved + fill).to(torch.uint8)


def _blend(images: Tensor, other: Tensor, magnitudes: Tensor) -> Tensor:
    return _to_bytes(_fused(images * _column(1 + magnitudes), other, _column(-magnitudes)))


def _fused(base: Tensor, added: Tensor, factor: Tensor) -> Tensor:
    """The sum base + added * factor with one rounding, as torch adds with a factor.

    A second rounding would put sums on the other side of a whole number.
    """
    return (base.double() + added.double() * factor).float()


def _grey(images: Tensor) -> Tensor:
    red, green, blue = images.float().unbind(dim=1)
    weights = torch.tensor(_GREY, device=images.device)
    grey = _fused(_fused(red * weights[0], green, weights[1]), blue, weights[2])
    return grey.floor_().unsqueeze(1)


def _column(values: Tensor) -> Tensor:
    return values.float().view(-1, 1, 1, 1)


def _to_bytes(images: Tensor) -> Tensor:
    return images.clamp(0, 255).to(torch.uint8)


OPERATIONS: dict[str, Callable[[Tensor, Tensor, int], Tensor]] = {
    "Identity": lambda images, *_: images,
    # By that many pixels per row from the top edge, or per column from the left.
    "ShearX": lambda images, m, fill: _warp(images, m, fill, x=(1, m, m * (images.shape[2] / 2))),
    "ShearY": lambda images, m, fill: _warp(images, m, fill, y=(m, 1, m * (images.shape[3] / 2))),
    # To the right, or down, by whole pixels.
    "TranslateX": lambda images, m, fill: _warp(images, m, fill, x=(1, 0, -m.trunc())),
    "TranslateY": lambda images, m, fill: _warp(images, m, fill, y=(0, 1, -m.trunc())),
    # Counter-clockwise about the middle, in degrees.
    "Rotate": _rotate,
    # Blends with black, the grey image, its mean, and the blurred image: 0 changes nothing.
    "Brightness": lambda images, m, _: _to_bytes(images * _column(1 + m)),
    "Color": _color,
    "Contrast": _contrast,
    "Sharpness": _sharpness,
    # Keeps that number of leading bits.
    "Posterize": _posterize,
    # Inverts the pixels from that share of 255 on.
    "Solarize": lambda images, m, _: torch.where(images >= _column(255 * m), 255 - images, images),
    "AutoContrast": lambda images, *_: _torchvision("autocontrast", images),
    "Equalize": lambda images, *_: _torchvision("equalize", images),
    "Invert": lambda images, *_: 255 - images,
}
"""Every operation by the name that the papers give it."""
