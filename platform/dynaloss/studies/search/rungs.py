"""The rungs of successive halving, in epochs."""

from __future__ import annotations

import math
from fractions import Fraction

from dynaloss.config.search import SchedulerConfig, SearchConfig
from dynaloss.config.trial import TrialConfig

_SHARE_BEFORE_THE_FIRST_RUNG = 1 / 8


def search_epochs(search: SearchConfig, config: TrialConfig) -> int:
    """Epochs of a trial of a search: warm-up, ramp, and the share that is set of the others."""
    return _epochs_until(search.length, config)


def first_rung(scheduler: SchedulerConfig, config: TrialConfig) -> int:
    """The grace period of a trial: as it is set, or a share of what follows warm-up and ramp."""
    return scheduler.grace_epochs or _epochs_until(_SHARE_BEFORE_THE_FIRST_RUNG, config)


def _epochs_until(share: float, config: TrialConfig) -> int:
    epochs, idle = config.schedule.epochs, config.idle_epochs
    return min(epochs, idle + max(1, math.ceil(share * (epochs - idle))))


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
