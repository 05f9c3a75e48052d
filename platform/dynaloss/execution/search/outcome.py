"""What a search came to: winners, selection rules side by side, audit, trade-offs."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy.stats import rankdata

from dynaloss.config.search import Objective
from dynaloss.config.settings import Scalar
from dynaloss.execution.search.director import SearchTrial
from dynaloss.studies.search.search_plan import Group
from dynaloss.studies.trial_record import Outcome

__all__ = [
    "Audit",
    "Selection",
    "audit_of",
    "expected_best",
    "pareto_front",
    "selections",
    "winners",
]

ORACLE = "oracle on test (an upper bound, never a result)"


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """What one rule would have taken.

    Attributes:
        rule: The rule in words.
        number: Number of the trial in its group.
        epoch: Epoch whose weights it takes.
        value: What the rule looked at.
        test: Test metric of that trial at that epoch.
        cost: How far this stays behind the oracle.
        clean_labels: Clean labels used by the trial and by the rule itself.
    """

    rule: str
    number: int
    epoch: int
    value: float
    test: float
    cost: float
    clean_labels: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Audit:
    """What pruning would have lost in a group, from the trials that ran on all the same.

    Attributes:
        audited: Trials that would have been stopped, and ran on.
        finished: Those of them that completed.
        among_best: Those of them that ended among the best share of all completed trials.
        correlations: Per rung the rank correlation with the end and the number of trials that
            reached both; NaN below three trials.
    """

    audited: int
    finished: int
    among_best: int
    correlations: dict[int, tuple[float, int]]

    @property
    def false_share(self) -> float:
        """Share of finished audited trials that pruning would have wrongly stopped."""
        return self.among_best / self.finished if self.finished else math.nan


def _completed(trials: Iterable[SearchTrial], group: Group) -> list[SearchTrial]:
    """Completed trials of a group, by number."""
    found = [t for t in trials if t.group.name == group.name and t.outcome is Outcome.COMPLETED]
    return sorted(found, key=lambda trial: trial.number)


def winners(
    trials: Iterable[SearchTrial], group: Group, objective: Objective, top: int
) -> list[SearchTrial]:
    """The best completed trials of a group by the last epoch, audited ones included.

    Equal configurations count once: the winners are to differ.
    """
    name, sign = objective[0], _sign(objective)
    ranked = sorted(
        _completed(trials, group), key=lambda trial: (-sign * trial.last(name), trial.number)
    )
    distinct: dict[tuple[tuple[str, Scalar], ...], SearchTrial] = {}
    for trial in ranked:
        distinct.setdefault(tuple(sorted(trial.chosen.items(), key=str)), trial)
    return list(distinct.values())[:top]


def selections(
    trials: Iterable[SearchTrial], group: Group, objective: Objective, test: str
) -> list[Selection]:
    """What each rule would have taken among the completed trials, the search's own rule first."""
    done = _completed(trials, group)
    found = [one for rule in _rules(group, objective, test) if (one := _pick(done, rule, test))]
    best = max((one.test for one in found), default=math.nan)
    return [replace(one, cost=best - one.test) for one in found]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Rule:
    """A way to choose a trial and an epoch.

    Attributes:
        name: The rule in words.
        metric: What it looks at.
        sign: 1 where larger values are better, -1 where smaller ones are.
        any_epoch: Whether it may take any epoch, or only the last.
        role: Split whose true labels it looks at beyond those that the trial uses; may be empty.
    """

    name: str
    metric: str
    sign: float
    any_epoch: bool
    role: str = ""


def _rules(group: Group, objective: Objective, test: str) -> list[_Rule]:
    name, sign = objective[0], _sign(objective)
    data = group.config.data
    is_clean = data.validation.labels == "clean" or data.noise.is_off
    sets = [(f"{'clean' if is_clean else 'noisy'} validation", name, "")]
    if not is_clean:
        sets.append(("clean validation", f"val_clean/{name.partition('/')[2]}", "validation"))
    rules = [
        _Rule(name=f"{told}, {epoch} epoch", metric=metric, sign=sign, any_epoch=any_, role=role)
        for told, metric, role in sets
        for epoch, any_ in (("last", False), ("best", True))
    ]
    return [*rules, _Rule(name=ORACLE, metric=test, sign=1.0, any_epoch=True, role="test")]


def _pick(trials: Sequence[SearchTrial], rule: _Rule, test: str) -> Selection | None:
    """The best (trial, epoch) by a rule, the earliest of several; without its cost."""
    points = [
        (rule.sign * value, -trial.number, -epoch, trial)
        for trial in trials
        for epoch, value in trial.curve(rule.metric).items()
        if (rule.any_epoch or epoch == trial.last_epoch) and math.isfinite(value)
    ]
    if not points:
        return None
    value, _, before, trial = max(points, key=lambda point: point[:3])
    sizes = trial.diagnostics.get("data", {}).get("splits", {})
    used = trial.reports[-before].get("labels/clean_used", 0.0) + sizes.get(rule.role, 0)
    return Selection(
        rule=rule.name,
        number=trial.number,
        epoch=-before,
        value=rule.sign * value,
        test=trial.curve(test).get(-before, math.nan),
        cost=math.nan,
        clean_labels=int(used),
    )


def audit_of(
    trials: Iterable[SearchTrial], group: Group, objective: Objective, reduction_factor: int
) -> Audit:
    """What the audited trials of a group say about its pruning."""
    everything = list(trials)
    name, sign = objective[0], _sign(objective)
    done = _completed(everything, group)
    own = [t for t in everything if t.group.name == group.name]
    kept = -(-len(done) // reduction_factor)
    best = sorted(done, key=lambda trial: -sign * trial.last(name))[:kept]
    audited = [trial for trial in done if trial.audited_at is not None]
    return Audit(
        audited=sum(trial.audited_at is not None for trial in own),
        finished=len(audited),
        among_best=sum(trial in best for trial in audited),
        correlations={rung: _correlation(done, name, rung) for rung in _shown(group.rungs)},
    )


def _shown(stops: Sequence[int]) -> Sequence[int]:
    """A few of the median rule's many stops."""
    return stops if len(stops) < 8 else stops[:: max(1, len(stops) // 4)]


def _correlation(done: Sequence[SearchTrial], metric: str, rung: int) -> tuple[float, int]:
    pairs = [(trial.curve(metric).get(rung, math.nan), trial.last(metric)) for trial in done]
    pairs = [pair for pair in pairs if all(map(math.isfinite, pair))]
    if len(pairs) < 3:
        return math.nan, len(pairs)
    first, last = (rankdata(values) for values in zip(*pairs, strict=True))
    if np.ptp(first) == 0 or np.ptp(last) == 0:
        return math.nan, len(pairs)
    return float(np.corrcoef(first, last)[0, 1]), len(pairs)


def pareto_front(
    trials: Iterable[SearchTrial], group: Group, objectives: Sequence[Objective]
) -> list[SearchTrial]:
    """Completed trials that no other beats in every objective, best first by the first one."""
    done = _completed(trials, group)
    values = {t.key: [_sign(o) * t.last(o[0]) for o in objectives] for t in done}
    front = [
        trial
        for trial in done
        if not any(_dominates(values[other.key], values[trial.key]) for other in done)
    ]
    return sorted(front, key=lambda trial: -values[trial.key][0])


def _dominates(one: Sequence[float], other: Sequence[float]) -> bool:
    no_worse = all(a >= b for a, b in zip(one, other, strict=True))
    return no_worse and list(one) != list(other)


def expected_best(
    trials: Iterable[SearchTrial], group: Group, objective: Objective
) -> list[float]:
    """Expected best of k of a group's trials drawn at random, for k = 1, 2, ...

    A trial counts with its last value, wherever it was stopped.
    """
    sign = _sign(objective)
    values = sorted(
        value
        for t in trials
        if t.group.name == group.name and math.isfinite(value := sign * t.last(objective[0]))
    )
    n = len(values)
    return [
        sign * sum(v * (math.comb(i, k - 1) / math.comb(n, k)) for i, v in enumerate(values))
        for k in range(1, n + 1)
    ]


def _sign(objective: Objective) -> float:
    return 1.0 if objective[1] == "max" else -1.0
