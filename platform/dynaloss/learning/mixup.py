"""Mixes the images and labels of a training batch."""

from __future__ import annotations

from collections.abc import Callable

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
        share = self._share()
        targets = F.one_hot(labels, self._num_classes).to(images.dtype)
        return _mixed(images, share), _mixed(targets, share)

    def with_criterion(
        self, images: Tensor, criterion: Callable[[Tensor], Tensor]
    ) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
        """Mixes the same images, and a criterion that holds their targets.

        A criterion is the mean loss of a batch as a function of its logits (N, C). The mixed one
        is the mixture of the losses of both targets: the loss of the mixed target, where it is
        linear in the target.
        """
        share = self._share()

        def mixed(logits: Tensor) -> Tensor:
            # Turned back by one, each mixed image meets the target of the sample before it.
            before = criterion(logits.roll(-1, dims=0))
            return share * criterion(logits) + (1 - share) * before

        return _mixed(images, share), mixed

    def _share(self) -> float:
        return float(self._shares.beta(self._alpha, self._alpha))


def _mixed(values: Tensor, share: float) -> Tensor:
    return torch.lerp(values.roll(1, dims=0), values, share)
