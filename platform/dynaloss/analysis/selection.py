"""Rules that pick the epoch whose value counts, side by side, from stored curves."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from dynaloss.analysis import metrics
from dynaloss.analysis.statistics import mean
from dynaloss.studies.trial_record import Outcome, TrialRecord

__all__ = ["RULES", "Ranking", "curves_of", "pick", "rankings"]

RULES: Mapping[str, str] = {
    "last": "the value of the last epoch.",
    "last ten": "the mean of the last ten epochs.",
    "validation": "the value at the epoch that is best on the validation part, the earliest of "
    "several.",
    "oracle": "the best value of any epoch: chosen on the test set itself, an upper bound and "
    "never a result.",
}
"""Rules by name, in the order shown, with their meaning."""

_Curve = Sequence[tuple[int, float]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ranking:
    """The arms under one rule.

    Attributes:
        means: Mean per arm over all trials that have a value, in order of the arms.
        order: The arms from best to worst.
    """

    means: tuple[tuple[str, float], ...]
    order: tuple[str, ...]


def rankings(
    records: Sequence[TrialRecord], metric: str, arms: Sequence[str]
) -> dict[str, Ranking]:
    """The ranking under every rule for which the curves are there; none without curves.

    A rule counts only where every arm that has a curve has a value under it.
    """
    base = metrics.base(metric)
    values: dict[str, dict[str, list[float]]] = {rule: {} for rule in RULES}
    for record in records:
        if record.outcome is Outcome.COMPLETED:
            for rule in RULES:
                value = pick(record, base, rule)
                if value is not None:
                    values[rule].setdefault(record.arm, []).append(value)
    needed = values["last"].keys()
    sign = -1 if metrics.higher_is_better(base) else 1
    found = {}
    for rule, by_arm in values.items():
        if by_arm and by_arm.keys() == needed:
            means = tuple((arm, mean(by_arm[arm])) for arm in arms if arm in by_arm)
            ranked = sorted(means, key=lambda item: sign * item[1])
            found[rule] = Ranking(means=means, order=tuple(arm for arm, _ in ranked))
    return found


def curves_of(metric: str) -> tuple[str, str]:
    """The metrics whose curves the rules look at: the metric's own, and its validation's."""
    base = metrics.base(metric)
    return base, f"val/{base.partition('/')[2]}"


def pick(record: TrialRecord, metric: str, rule: str) -> float | None:
    """The value of the metric under a rule of `RULES`; None where the curves do not allow it."""
    curve = record.history.get(metric, ())
    value = _PICKERS[rule](curve, record, metric) if curve else math.nan
    return value if math.isfinite(value) else None


def _by_validation(curve: _Curve, record: TrialRecord, metric: str) -> float:
    _, validation = curves_of(metric)
    epoch, _ = _best(record.history.get(validation, ()), metric)
    return dict(curve).get(epoch, math.nan)


def _best(curve: _Curve, metric: str) -> tuple[int, float]:
    """The first of the best points; (-1, NaN) without a finite one."""
    choose = max if metrics.higher_is_better(metric) else min
    finite = [point for point in curve if math.isfinite(point[1])]
    return choose(finite, key=lambda point: point[1], default=(-1, math.nan))


_PICKERS: Mapping[str, Callable[[_Curve, TrialRecord, str], float]] = {
    "last": lambda curve, _record, _metric: curve[-1][1],
    "last ten": lambda curve, _record, _metric: mean([value for _, value in curve[-10:]]),
    "validation": _by_validation,
    "oracle": lambda curve, _record, metric: _best(curve, metric)[1],
}
