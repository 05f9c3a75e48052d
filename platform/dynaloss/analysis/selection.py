"""Rules that choose the epoch, or the trial and its epoch, whose value counts."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal

from dynaloss.analysis.statistics.intervals import mean, mean_by_arm
from dynaloss.config.registry import Kind, Registry
from dynaloss.studies import metric_names
from dynaloss.studies.trial_record import TrialRecord

_Point = tuple[int, float]
"""An epoch, and the value of a metric there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SelectionRule(Kind):
    """A rule.

    Attributes:
        chooses: Whether it chooses an epoch of each trial, or a trial of a search and its epoch.
        role: Prefix of the metric that decides: `val` by observed labels, `val_clean` by true
            ones, or empty for the metric itself.
        any_epoch: Whether it may choose any epoch; otherwise the last alone.
        window: Number of epochs, up to the chosen one, whose mean is the value.
    """

    chooses: Literal["epoch", "trial"]
    role: Literal["", "val", "val_clean"] = ""
    any_epoch: bool = False
    window: int = 1

    def metric(self, metric: str) -> str:
        """The metric that decides, where the value of `metric` counts."""
        return f"{self.role}/{metric.partition('/')[2]}" if self.role else metric

    def candidates(self, curve: Iterable[_Point], last_epoch: int) -> list[_Point]:
        """Points of the curve that decides among which the rule chooses, finite ones alone."""
        return [
            (epoch, value)
            for epoch, value in curve
            if (self.any_epoch or epoch == last_epoch) and math.isfinite(value)
        ]

    def value(self, record: TrialRecord, metric: str) -> float | None:
        """The value of the metric that counts in a trial; None where its curves do not allow it.

        Of several best epochs the earliest is chosen.
        """
        curve = record.history.get(metric, ())
        if not curve:
            return None
        choose = max if metric_names.higher_is_better(metric) else min
        points = self.candidates(record.history.get(self.metric(metric), ()), curve[-1][0])
        chosen, _ = choose(points, key=lambda point: point[1], default=(-1, math.nan))
        value = mean([v for epoch, v in curve if epoch <= chosen][-self.window :])
        return value if math.isfinite(value) and chosen in dict(curve) else None


_LABELS: dict[str, Literal["val", "val_clean"]] = {"noisy": "val", "clean": "val_clean"}
SELECTION_RULES = Registry("selection rule", __name__, SelectionRule)
SELECTION_RULES.add(name="last", description="the value of the last epoch", chooses="epoch")
SELECTION_RULES.add(
    name="last ten", description="the mean of the last ten epochs", chooses="epoch", window=10
)
SELECTION_RULES.add(
    name="validation",
    description="the value at the epoch that is best on the validation part, the earliest of "
    "several",
    chooses="epoch",
    role="val",
    any_epoch=True,
)
SELECTION_RULES.add(
    name="oracle",
    description="the best value of any epoch: chosen on the test set itself, an upper bound "
    "and never a result",
    chooses="epoch",
    any_epoch=True,
)
for _labels, _role in _LABELS.items():
    for _epoch in ("last", "best"):
        SELECTION_RULES.add(
            name=f"{_labels} validation, {_epoch} epoch",
            description=f"the trial that is best by the {_labels} validation labels at its "
            f"{_epoch} epoch",
            chooses="trial",
            role=_role,
            any_epoch=_epoch == "best",
        )
SELECTION_RULES.add(
    name="oracle on test (an upper bound, never a result)",
    description="the trial and epoch that are best on the test set itself",
    chooses="trial",
    any_epoch=True,
)


def epoch_rules() -> dict[str, SelectionRule]:
    """The rules that choose an epoch of each trial, by name."""
    return {name: rule for name, rule in SELECTION_RULES.items() if rule.chooses == "epoch"}


def rankings(
    records: Sequence[TrialRecord], metric: str, arms: Sequence[str]
) -> dict[str, dict[str, float]]:
    """Mean per arm over all trials, best first, by the rule that chooses their epoch.

    A rule counts only where every arm that has a curve has a value under it; none does without
    curves. Equal means keep the order of the arms.
    """
    base = metric_names.base(metric)
    sign = -1 if metric_names.higher_is_better(base) else 1
    found = {
        name: mean_by_arm(records, partial(rule.value, metric=base))
        for name, rule in epoch_rules().items()
    }
    return {
        name: dict(sorted(means.items(), key=lambda item: (sign * item[1], arms.index(item[0]))))
        for name, means in found.items()
        if means and means.keys() == found["last"].keys()
    }


def curves_of(metric: str) -> tuple[str, ...]:
    """The metrics whose curves the rules that choose an epoch look at."""
    base = metric_names.base(metric)
    return tuple(dict.fromkeys(rule.metric(base) for rule in epoch_rules().values()))
