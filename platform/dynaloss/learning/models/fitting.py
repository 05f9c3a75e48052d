"""Whether a classifier takes the images of a source, told by their shapes alone."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
from torch import nn

from dynaloss.errors import InputError
from dynaloss.learning.models.building import build_model
from dynaloss.learning.models.pretrained import fitting_weights

__all__ = ["check_model"]


def check_model(
    name: str, *, input_shape: tuple[int, int, int], num_classes: int, pretrained: Path | None
) -> None:
    """Tries a classifier out on shapes alone.

    Args:
        name: See `build_model`.
        input_shape: Shape (channels, height, width) of an image.
        num_classes: Number of classes.
        pretrained: File of weights, see `fitting_weights`; None for none.

    Raises:
        InputError: If the images do not fit the classifier, or the weights do not.
    """
    build = partial(build_model, name, input_shape=input_shape, num_classes=num_classes, seed=0)
    try:
        model = _without_weights(build)
        with torch.no_grad():
            model.train()(torch.empty(2, *input_shape, device="meta"))
    except (RuntimeError, ValueError, AssertionError) as error:
        _, height, width = input_shape
        raise InputError(
            f"[model.name] '{name}' does not take images of {height} x {width} pixels "
            f"({str(error).splitlines()[0] if str(error) else 'wrong size'}): choose another "
            "model, or set data.image_size."
        ) from error
    if pretrained is not None:
        fitting_weights(model, pretrained)


def _without_weights(build: Callable[[], nn.Module]) -> nn.Module:
    """A classifier of shapes alone."""
    try:
        with torch.device("meta"):
            return build()
    except NotImplementedError:  # RegNet computes its widths with tensors, which need values
        return build().to("meta")
