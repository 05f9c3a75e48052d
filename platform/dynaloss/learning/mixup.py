"""Mixes the images and labels of a training batch."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from dynaloss.learning.streams import Streams


class Mixup:
    """Convex combinations of a batch's images, and of their labels with the same share.

    Source: Zhang, Cisse, Dauphin, Lopez-Paz, "mixup: Beyond Empirical Risk Minimization", ICLR
    2018, section 2: x = s x_i + (1 - s) x_j, y = s y_i + (1 - s) y_j, s ~ Beta(alpha, alpha), one
    share a batch as in their code. Batches come in random order, so that the neighbour in the
    batch is the random partner.

    Args:
        alpha: Above 0; towards 0 hardly anything is mixed, 1 draws any share alike.
        num_classes: Number of classes C.
        streams: Source of the random stream.
    """

    def __init__(self, alpha: float, num_classes: int, streams: Streams) -> None:
        self._alpha = alpha
        self._num_classes = num_classes
        self._streams = streams
        self._shares = streams.numpy("mixup/0")

    def start_epoch(self, epoch: int) -> None:
        """Begins the stream of an epoch, counted from 0: nothing is left to be remembered."""
        self._shares = self._streams.numpy(f"mixup/{epoch}")

    def __call__(self, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Mixes each sample with the one before it, the first one with the last.

        Returns images as given, and targets: distributions over classes, shape (N, C).
        """
        share = float(self._shares.beta(self._alpha, self._alpha))
        targets = F.one_hot(labels, self._num_classes).to(images.dtype)
        mixed_images = torch.lerp(images.roll(1, dims=0), images, share)
        return mixed_images, torch.lerp(targets.roll(1, dims=0), targets, share)
