"""Decides when a trial is stopped, by the reports in order alone: a replay repeats decisions.

Asynchronous successive halving in its stopping form (Li et al., MLSys 2020): a trial that
reaches a rung continues if it is among the best 1/reduction_factor, rounded up, of the results
recorded at that rung so far, its own included. Trials are compared only within their pool, and
epochs are whole numbers throughout. What a pruner holds follows from the reports alone: feeding
a new one the recorded reports in their order rebuilds every rung.
"""

from __future__ import annotations

import hashlib
import math
import statistics
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from functools import partial
from itertools import combinations, pairwise
from typing import Protocol

from dynaloss.config.families import PRUNERS
from dynaloss.config.search import SchedulerConfig
from dynaloss.studies.search.rungs import bracket_of, rungs

_FEWEST_FOR_A_MEDIAN = 3


class Verdict(StrEnum):
    """Decision on a trial after a report."""

    CONTINUE = "continue"
    PRUNE = "prune"
    PAUSE = "pause"
    AUDIT = "audit"
    DIVERGED = "diverged"


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A trial as a pruner sees it.

    Attributes:
        key: Key of the trial.
        number: Position in its group, from 0.
        pool: Trials of an equal pool compete.
        rungs: Epochs at which it may be compared.
        epochs: Length of the trial.
    """

    key: str
    number: int
    pool: str
    rungs: Sequence[int]
    epochs: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """Consequence of a report.

    Attributes:
        verdict: Whether the trial continues.
        rung: The rung that the report reached, in epochs; None between rungs.
        place: Rank among the results at the rung, 1 for the best; 0 between rungs.
        among: Number of results at the rung.
    """

    verdict: Verdict = Verdict.CONTINUE
    rung: int | None = None
    place: int = 0
    among: int = 0


class _Rule(Protocol):
    """Compares one finite result with the others; larger is better."""

    def judge(self, trial: Candidate, epoch: int, value: float, *, counts: bool) -> Decision:
        """Records the result where it counts; returns CONTINUE or PRUNE."""


@dataclass(slots=True)
class Pruner:
    """Decides on trials report by report.

    Args:
        rule: The comparison.
        audit_fraction: Share of the trials to be stopped that run on.
        seed: Seed of the audit draws.
        sign: 1 where larger values are better, -1 where smaller ones are.
    """

    rule: _Rule
    audit_fraction: float = 0.0
    seed: int = 0
    sign: int = 1
    audited: set[str] = field(default_factory=set)
    """Keys of the trials that would have been stopped, and run on."""

    def report(self, trial: Candidate, epoch: int, value: float) -> Decision:
        """Decides on a trial by its result at an epoch; each epoch once and in order.

        A result that is not finite ends the trial and enters no rung. Neither do the results of
        a trial under audit: it is only observed, and must not change the decisions on others.
        """
        if not math.isfinite(value):
            return Decision(verdict=Verdict.DIVERGED)
        if epoch >= trial.epochs:
            return Decision()
        free = trial.key in self.audited
        decision = self.rule.judge(trial, epoch, self.sign * value, counts=not free)
        if free:
            return replace(decision, verdict=Verdict.CONTINUE)
        if decision.verdict is Verdict.PRUNE and self._drawn(trial.key, epoch):
            self.audited.add(trial.key)
            return replace(decision, verdict=Verdict.AUDIT)
        return decision

    def promotable(self) -> str | None:
        """Key of a paused trial that may continue now; None where no trial pauses."""
        return self.rule.promotable() if isinstance(self.rule, _Promotion) else None

    def promote(self, key: str) -> None:
        """Lets a paused trial continue."""
        if isinstance(self.rule, _Promotion):
            self.rule.promote(key)

    def _drawn(self, key: str, rung: int) -> bool:
        # A draw of its own for each trial and rung: the order of trials changes none.
        text = f"{self.seed}/{key}/{rung}/audit".encode()
        draw = int.from_bytes(hashlib.sha256(text).digest()[:8], "big")
        return draw < self.audit_fraction * 2**64


@dataclass(slots=True)
class _Halving:
    """Successive halving: at each rung the best 1/reduction_factor continue.

    Args:
        config: The factor.
        bracketed: Whether trials are spread over Hyperband's brackets.
    """

    config: SchedulerConfig
    bracketed: bool = False
    _results: dict[tuple[str, int, int], list[float]] = field(
        default_factory=lambda: defaultdict(list)
    )

    def judge(self, trial: Candidate, epoch: int, value: float, *, counts: bool) -> Decision:
        """Compares a result at a rung with those recorded there; continues between rungs."""
        bracket, stops = self._stops(trial)
        if epoch not in stops:
            return Decision()
        results = self._results[trial.pool, bracket, epoch]
        among = len(results) + 1
        place = 1 + sum(other > value for other in results)
        if counts:
            results.append(value)
        # Rounded up, so that the first result at a rung always continues.
        kept = -(-among // self.config.reduction_factor)
        verdict = Verdict.CONTINUE if place <= kept else Verdict.PRUNE
        return Decision(verdict=verdict, rung=epoch, place=place, among=among)

    def _stops(self, trial: Candidate) -> tuple[int, Sequence[int]]:
        stops = trial.rungs
        if not self.bracketed:
            return 0, stops
        bracket = bracket_of(trial.number, self.config.reduction_factor, len(stops))
        return bracket, stops[bracket:]


@dataclass(slots=True)
class _Promotion:
    """Successive halving by promotion: a trial waits at each rung for its results to be the best.

    Algorithm 2 of Li et al., MLSys 2020: of n results at a rung the best n / reduction_factor,
    rounded down, may continue, each once.
    """

    config: SchedulerConfig
    _results: dict[tuple[str, int], dict[str, float]] = field(
        default_factory=lambda: defaultdict(dict)
    )
    _promoted: dict[tuple[str, int], set[str]] = field(default_factory=lambda: defaultdict(set))

    def judge(self, trial: Candidate, epoch: int, value: float, *, counts: bool) -> Decision:
        """Records a result at a rung; pauses the trial unless it is among the best at once."""
        if epoch not in trial.rungs:
            return Decision()
        rung = trial.pool, epoch
        results = self._results[rung]
        results[trial.key] = value
        place = 1 + sum(other > value for other in results.values())
        may = trial.key in self._best(rung) and self._is_open(rung)
        if may:
            self._promoted[rung].add(trial.key)
        verdict = Verdict.CONTINUE if may else Verdict.PAUSE
        return Decision(verdict=verdict, rung=epoch, place=place, among=len(results))

    def promotable(self) -> str | None:
        """Key of a trial that has come to be among the best; the highest rung first."""
        is_open = filter(self._is_open, self._results)
        for rung in sorted(is_open, key=lambda rung: (-rung[1], rung[0])):
            for key in self._best(rung):
                if key not in self._promoted[rung]:
                    return key
        return None

    def promote(self, key: str) -> None:
        """Lets a trial continue from the last rung that it reached."""
        reached = [rung for rung, results in self._results.items() if key in results]
        self._promoted[max(reached, key=lambda rung: rung[1])].add(key)

    def _best(self, rung: tuple[str, int]) -> list[str]:
        results = self._results[rung]
        ranked = sorted(results, key=lambda key: -results[key])  # stable: the earlier of equals
        return ranked[: len(ranked) // self.config.reduction_factor]

    def _is_open(self, rung: tuple[str, int]) -> bool:
        """Whether trials may be promoted from a rung."""
        return True


@dataclass(slots=True)
class _Growing(_Promotion):
    """Promotion up to a rung that is moved on only while the two highest rungs rank unlike.

    Bohdal et al., ICLR 2023, with soft ranking: results at the lower rung count as equal within
    the noise, the 90th percentile of the distances between trials whose curves cross at least
    twice.
    """

    _curves: dict[str, dict[int, float]] = field(default_factory=lambda: defaultdict(dict))
    _highest: dict[str, float] = field(default_factory=dict)

    def judge(self, trial: Candidate, epoch: int, value: float, *, counts: bool) -> Decision:
        """As by promotion, after the highest rung was moved where rankings say so."""
        self._curves[trial.key][epoch] = value
        stops = [*trial.rungs, math.inf]
        highest = self._highest.setdefault(trial.pool, stops[1])
        if epoch == highest:
            self._results[trial.pool, epoch][trial.key] = value
            k = stops.index(epoch)
            if not self._rank_alike(trial.pool, *trial.rungs[k - 1 : k + 1]):
                self._highest[trial.pool] = stops[k + 1]
        return _Promotion.judge(self, trial, epoch, value, counts=counts)

    def _is_open(self, rung: tuple[str, int]) -> bool:
        pool, epoch = rung
        return epoch < self._highest[pool]

    def _rank_alike(self, pool: str, low: int, high: int) -> bool:
        """Whether each place at the higher rung is held by a trial that could hold it below."""
        above, below = self._results[pool, high], self._results[pool, low]
        both = [key for key in above if key in below]
        noise = self._noise(both, high)
        by_high = sorted(both, key=lambda key: -above[key])
        by_low = sorted(both, key=lambda key: -below[key])
        pairs = zip(by_high, by_low, strict=True)
        return all(abs(below[one] - below[other]) <= noise for one, other in pairs)

    def _noise(self, keys: Sequence[str], last: int) -> float:
        """The distance at an epoch up to which trials count as equal; 0 where no curves cross."""
        distances = []
        for one, other in combinations((self._curves[key] for key in keys), 2):
            gaps = [one[e] - other[e] for e in range(1, last + 1) if e in one and e in other]
            signs = [gap > 0 for gap in gaps if gap]
            if sum(a != b for a, b in pairwise(signs)) > 1:
                distances.append(abs(gaps[-1]))
        return sorted(distances)[int(0.9 * (len(distances) - 1))] if distances else 0.0


@dataclass(slots=True)
class _Median:
    """The median rule: stops a trial whose best is below the median of the others' means.

    The mean is that of all of a trial's results up to the epoch (Golovin et al., KDD 2017), and
    fewer than three others, or epochs before the first rung, stop nothing.
    """

    _sums: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    _means: dict[tuple[str, int], list[float]] = field(default_factory=lambda: defaultdict(list))

    def judge(self, trial: Candidate, epoch: int, value: float, *, counts: bool) -> Decision:
        """Compares the best result so far with the others' running means at this epoch."""
        own = self._sums[trial.key]
        own.append(value)
        others = self._means[trial.pool, epoch]
        among, place = len(others) + 1, 1 + sum(other > max(own) for other in others)
        rung = epoch if epoch in trial.rungs else None
        verdict = Verdict.CONTINUE
        if rung is not None and len(others) >= _FEWEST_FOR_A_MEDIAN:
            worse = max(own) < statistics.median(others)
            verdict = Verdict.PRUNE if worse else Verdict.CONTINUE
        if counts:
            others.append(sum(own) / len(own))
        return Decision(verdict=verdict, rung=rung, place=place, among=among)


class _Never:
    """Stops nothing."""

    def judge(self, trial: Candidate, epoch: int, value: float, *, counts: bool) -> Decision:
        return Decision()


def make_pruner(config: SchedulerConfig, *, seed: int, mode: str) -> Pruner:
    """The pruner of a search, empty; `seed` is that of the audit draws, `mode` `max` or `min`."""
    rule = PRUNERS[config.name].build(config)
    return Pruner(rule, config.audit_fraction, seed, sign=1 if mode == "max" else -1)


def _halving_rungs(config: SchedulerConfig, grace: int, epochs: int) -> list[int]:
    return rungs(grace, config.reduction_factor, epochs, config.rungs)


PRUNERS.add(
    name="asha",
    description="at each rung only the best 1/reduction_factor continue",
    source="Li et al., MLSys 2020",
    build=_Halving,
    rungs=_halving_rungs,
)
PRUNERS.add(
    name="promotion",
    description="trials pause at each rung; the best 1/reduction_factor there are promoted",
    source="Li et al., MLSys 2020, algorithm 2",
    build=_Promotion,
    rungs=_halving_rungs,
    promotes=True,
)
PRUNERS.add(
    name="pasha",
    description="as promotion, no further than to the rung from which on rankings stay",
    source="Bohdal et al., ICLR 2023",
    build=_Growing,
    rungs=_halving_rungs,
    promotes=True,
)
PRUNERS.add(
    name="median",
    description="stops trials whose best value is below the median of the others' means",
    source="Golovin et al., KDD 2017",
    build=lambda c: _Median(),
    rungs=lambda c, grace, epochs: list(range(grace, epochs)),
)
PRUNERS.add(
    name="hyperband",
    description="as asha, with several grace periods; some trials are never stopped",
    source="Li et al., JMLR 2018",
    build=partial(_Halving, bracketed=True),
    rungs=_halving_rungs,
    has_brackets=True,
)
PRUNERS.add(
    name="none",
    description="stops nothing",
    build=lambda c: _Never(),
    rungs=lambda c, grace, epochs: [],
    has_rungs=False,
)
