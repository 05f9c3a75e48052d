"""From which epoch on trials rank as at the end, by the curves of completed trials."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

FEWEST_TRIALS, AGREEMENT = 8, 0.5

Curve = Mapping[int, float]
"""Values of the metric by epoch, to the end of the trial."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Telling:
    """The first epoch from which on trials rank as at the end.

    Attributes:
        epoch: The epoch.
        correlation: Rank correlation of its results with those at the end, mean over the groups.
        trials: Number of trials that show it.
    """

    epoch: int
    correlation: float
    trials: int


def telling(groups: Iterable[Sequence[Curve]], *, earliest: int, latest: int) -> Telling | None:
    """The first of these epochs from which on, in every later one, trials rank as at the end.

    The rank correlation must be `AGREEMENT` or more, as a mean over the groups that have at least
    `FEWEST_TRIALS`. None without such a group, or where not even the latest epoch does.
    """
    known = [curves for curves in groups if len(curves) >= FEWEST_TRIALS]
    found = None
    for epoch in range(latest, earliest - 1, -1) if known else ():
        agreement = sum(rank_correlation(curves, epoch)[0] for curves in known) / len(known)
        if not agreement >= AGREEMENT:
            break
        found = Telling(epoch=epoch, correlation=agreement, trials=sum(map(len, known)))
    return found


def rank_correlation(curves: Iterable[Curve], epoch: int) -> tuple[float, int]:
    """Spearman's correlation of an epoch with the end, and the number of trials that have both.

    NaN below three trials, and where all are equal.
    """
    from scipy.stats import spearmanr

    pairs = [(curve.get(epoch, math.nan), curve[max(curve)]) for curve in curves if curve]
    pairs = [pair for pair in pairs if all(map(math.isfinite, pair))]
    is_defined = len(pairs) > 2 and all(
        len(set(values)) > 1 for values in zip(*pairs, strict=True)
    )
    return float(spearmanr(pairs).statistic) if is_defined else math.nan, len(pairs)
