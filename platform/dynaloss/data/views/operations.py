"""Image operations on a batch, with a magnitude of its own for each image.

Images are uint8, shape (N, channels, height, width), with 1 or 3 channels; magnitudes are float64,
shape (N,). Every operation equals torchvision's of that name with the same magnitude. What moves
pixels takes the nearest one, and zeros come in.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from dynaloss.lazy import F, torch

if TYPE_CHECKING:
    from torch import Tensor

_GREY = (0.2989, 0.587, 0.114)


def apply_operations(images: Tensor, operations: Tensor, magnitudes: Tensor) -> Tensor:
    """Applies to each image the operation drawn for it.

    On the CPU the images of one operation are gathered; elsewhere every operation is computed of
    all images and chosen from, which needs no word from the device.

    Args:
        images: See the module.
        operations: Position in `OPERATIONS`, int64, shape (N,).
        magnitudes: See the module.
    """
    if images.device.type != "cpu":
        for number, operation in enumerate(OPERATIONS.values()):
            chosen = (operations == number).view(-1, 1, 1, 1)
            # A magnitude meant for another operation may be out of range for this one.
            own = torch.where(operations == number, magnitudes, 0)
            images = torch.where(chosen, operation(images, own), images)
        return images
    result = images.clone()
    for number, operation in enumerate(OPERATIONS.values()):
        rows = torch.nonzero(operations == number).squeeze(1)
        if len(rows) and operation is not identity:
            result[rows] = operation(images[rows], magnitudes[rows])
    return result


def cutout(images: Tensor, size: int, generator: torch.Generator) -> Tensor:
    """Blackens a square around a random pixel of each image, cut at the border.

    Source: DeVries and Taylor, arXiv 1708.04552.

    Args:
        images: See the module.
        size: Side of the square in pixels.
        generator: Random stream, on the device of `images`.
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
    return images.masked_fill(square, 0)


# -- what does not move pixels --------------------------------------------------------------


def identity(images: Tensor, magnitudes: Tensor) -> Tensor:
    """The images as they are."""
    return images


def brightness(images: Tensor, magnitudes: Tensor) -> Tensor:
    """Blends with black; 0 leaves the image as it is."""
    return _to_bytes(images * _column(1 + magnitudes))


def color(images: Tensor, magnitudes: Tensor) -> Tensor:
    """Blends with the grey image; 0 leaves the image as it is."""
    return images if images.shape[1] == 1 else _blend(images, _grey(images), magnitudes)


def contrast(images: Tensor, magnitudes: Tensor) -> Tensor:
    """Blends with the mean grey; 0 leaves the image as it is."""
    grey = images.float() if images.shape[1] == 1 else _grey(images)
    return _blend(images, grey.mean(dim=(1, 2, 3), keepdim=True), magnitudes)


def sharpness(images: Tensor, magnitudes: Tensor) -> Tensor:
    """Blends with the blurred image, but for the border; 0 leaves the image as it is."""
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


def posterize(images: Tensor, magnitudes: Tensor) -> Tensor:
    """Keeps the given number of leading bits."""
    bits = magnitudes.to(torch.int64)
    mask = ((1 << bits) - 1) << (8 - bits)
    return images & mask.to(torch.uint8).view(-1, 1, 1, 1)


def solarize(images: Tensor, magnitudes: Tensor) -> Tensor:
    """Inverts pixels from the given share of 255 on."""
    return torch.where(images >= _column(255 * magnitudes), 255 - images, images)


def autocontrast(images: Tensor, magnitudes: Tensor) -> Tensor:
    """Stretches each channel to the full range."""
    from torchvision.transforms.v2.functional import autocontrast

    stretched: Tensor = autocontrast(images)
    return stretched


def equalize(images: Tensor, magnitudes: Tensor) -> Tensor:
    """Evens out the histogram of each channel."""
    from torchvision.transforms.v2.functional import equalize

    even: Tensor = equalize(images)
    return even


def invert(images: Tensor, magnitudes: Tensor) -> Tensor:
    """255 minus each pixel."""
    return 255 - images


# -- what moves pixels ----------------------------------------------------------------------


def shear_x(images: Tensor, magnitudes: Tensor) -> Tensor:
    """Shifts each row by `magnitude` pixels per row from the top edge."""
    one, zero = torch.ones_like(magnitudes), torch.zeros_like(magnitudes)
    shift = magnitudes * (images.shape[2] / 2)
    return _warp(images, (one, magnitudes, shift), (zero, one, zero))


def shear_y(images: Tensor, magnitudes: Tensor) -> Tensor:
    """Shifts each column by `magnitude` pixels per column from the left edge."""
    one, zero = torch.ones_like(magnitudes), torch.zeros_like(magnitudes)
    shift = magnitudes * (images.shape[3] / 2)
    return _warp(images, (one, zero, zero), (magnitudes, one, shift))


def translate_x(images: Tensor, magnitudes: Tensor) -> Tensor:
    """Moves right by the whole part of `magnitude` pixels."""
    one, zero = torch.ones_like(magnitudes), torch.zeros_like(magnitudes)
    return _warp(images, (one, zero, -magnitudes.trunc()), (zero, one, zero))


def translate_y(images: Tensor, magnitudes: Tensor) -> Tensor:
    """Moves down by the whole part of `magnitude` pixels."""
    one, zero = torch.ones_like(magnitudes), torch.zeros_like(magnitudes)
    return _warp(images, (one, zero, zero), (zero, one, -magnitudes.trunc()))


def rotate(images: Tensor, magnitudes: Tensor) -> Tensor:
    """Turns counter-clockwise by `magnitude` degrees about the middle."""
    angle = magnitudes.deg2rad()
    cosine, sine, zero = angle.cos(), angle.sin(), torch.zeros_like(angle)
    return _warp(images, (cosine, -sine, zero), (sine, cosine, zero))


def _warp(images: Tensor, row_x: tuple[Tensor, ...], row_y: tuple[Tensor, ...]) -> Tensor:
    """Takes the pixel at (x, y) from where the rows of an affine map say, from the middle."""
    N, _, height, width = images.shape
    rows = torch.stack([torch.stack(row_x, dim=1), torch.stack(row_y, dim=1)], dim=2).float()
    xs, ys = (
        torch.linspace((1 - side) / 2, (side - 1) / 2, side, device=images.device)
        for side in (width, height)
    )
    points = torch.ones(height, width, 3, device=images.device)
    points[..., 0] = xs
    points[..., 1] = ys[:, None]
    half = torch.tensor([width / 2, height / 2], device=images.device)
    grid = points.view(1, -1, 3).expand(N, -1, -1).bmm(rows / half)
    moved = F.grid_sample(
        images.float(), grid.view(N, height, width, 2), mode="nearest", align_corners=False
    )
    return moved.to(torch.uint8)


# -- arithmetic -----------------------------------------------------------------------------


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


OPERATIONS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "Identity": identity,
    "ShearX": shear_x,
    "ShearY": shear_y,
    "TranslateX": translate_x,
    "TranslateY": translate_y,
    "Rotate": rotate,
    "Brightness": brightness,
    "Color": color,
    "Contrast": contrast,
    "Sharpness": sharpness,
    "Posterize": posterize,
    "Solarize": solarize,
    "AutoContrast": autocontrast,
    "Equalize": equalize,
    "Invert": invert,
}
"""Every operation by the name that the papers give it."""
