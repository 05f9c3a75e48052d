"""The learning rate by epoch."""

from __future__ import annotations

import math

RAMP_START = 0.1


def learning_rate(epoch: int, *, base_lr: float, epochs: int, ramp_epochs: int) -> float:
    """Returns the learning rate of an epoch: a linear ramp, then a cosine down to zero.

    Source: arXiv 2211.12506, implementation details. The ramp goes from 0.1 x `base_lr` to
    `base_lr` over the first `ramp_epochs`; the cosine, set once an epoch, spans the others.

    Args:
        epoch: Counted from 0.
        base_lr: Highest learning rate.
        epochs: Number of epochs in all.
        ramp_epochs: Length of the ramp, at least 0.
    """
    if epoch < ramp_epochs:
        return base_lr * (RAMP_START + (1 - RAMP_START) * epoch / ramp_epochs)
    progress = (epoch - ramp_epochs) / max(1, epochs - ramp_epochs)
    return base_lr * 0.5 * (1 + math.cos(math.pi * progress))
