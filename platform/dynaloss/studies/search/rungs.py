"""The rungs of successive halving, in epochs."""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction

from dynaloss.config.search import SchedulerConfig
from dynaloss.config.trial import TrialConfig


@dataclass(frozen=True, slots=True, kw_only=True)
class GracePeriod:
    """What was decided on the grace period of a search that leaves it open.

    Attributes:
        epochs: Its length; None for that of `first_rung`.
        note: The length and the reason, one sentence.
    """

    epochs: int | None = None
    note: str


def first_rung(scheduler: SchedulerConfig, config: TrialConfig) -> int:
    """The grace period of a trial: as it is set, or an eighth of what follows warm-up and ramp."""
    if scheduler.grace_epochs is not None:
        return scheduler.grace_epochs
    idle = config.idle_epochs
    return idle + max(1, math.ceil((config.schedule.epochs - idle) / 8))


def rungs(
    grace_epochs: int, reduction_factor: int, epochs: int, most: int | None = None
) -> list[int]:
    """Epochs at which trials are compared, all below `epochs`, where a trial ends anyway.

    Whole numbers throughout: a floating logarithm loses the rung at 243 of 3, 9, 27, 81, 243.

    The first is at `grace_epochs`, each other at `reduction_factor` times the one before; there
    are `most` of them, or as many as fit.
    """
    found: list[int] = []
    epoch = grace_epochs
    while epoch < epochs and (most is None or len(found) < most):
        found.append(epoch)
        epoch *= reduction_factor
    return found


def bracket_of(number: int, reduction_factor: int, num_rungs: int) -> int:
    """Bracket of Hyperband for the trial with this number in its group, by the number alone.

    Bracket s skips the first s rungs, so the last one has none. Brackets get trials in proportion
    to Hyperband's sizes (Li et al., JMLR 2018: about (S + 1) / (s' + 1) * factor^s' for s' of S
    rungs), the one that is furthest behind first.
    """
    brackets = num_rungs + 1
    left = range(num_rungs, -1, -1)
    sizes = [Fraction(brackets * reduction_factor**k, k + 1) for k in left]
    total = sum(sizes)
    given = [0] * brackets
    chosen = 0
    for count in range(1, number + 2):
        behind = [size * count / total - have for size, have in zip(sizes, given, strict=True)]
        chosen = behind.index(max(behind))
        given[chosen] += 1
    return chosen
