"""Races: further seeds for the best configurations of a group, before a winner is named.

One seed and one small validation split choose by chance among the best. In each round the
configurations that are left train with one more seed; then those that a paired t test over their
seeds puts behind the leader drop out (as in Birattari et al., "A Racing Algorithm for Configuring
Metaheuristics", GECCO 2002, which uses Friedman's test). Rounds after which no test is possible
yet do not wait for each other.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import fmean

from dynaloss.config.search import RaceConfig
from dynaloss.studies.trial_record import Outcome

_LEVEL = 0.05
_FEWEST_SEEDS = 3

Entry = tuple[int, int]
"""Number of a configuration in its group, and a seed of the race."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """Where a configuration stands.

    Attributes:
        number: Number of the trial of the search that has it.
        values: The objective by seed, larger is better; that of the search comes first.
        dropped_after: Rounds after which it dropped out; None if it is left.
    """

    number: int
    values: tuple[float, ...]
    dropped_after: int | None = None

    @property
    def mean(self) -> float:
        """Mean over the seeds."""
        return fmean(self.values)


@dataclass(frozen=True, slots=True, kw_only=True)
class Race:
    """A race as far as it has come.

    Attributes:
        standings: The configurations, best first: those left by their mean over all seeds, then
            those that dropped out, the last ones first.
        to_run: What has to be trained before the next drop-out can be decided, the round that is
            due first; empty at the end.
    """

    standings: tuple[Standing, ...]
    to_run: tuple[Entry, ...] = ()


def race_of(
    config: RaceConfig,
    searched: Iterable[tuple[int, float]],
    raced: Mapping[Entry, tuple[Outcome, float]],
) -> Race:
    """The race among a group's best configurations; it follows from the results alone.

    Args:
        config: The settings.
        searched: The configurations that race, best first: number and objective of the search,
            larger is better.
        raced: Outcome and objective of the race's trials that have begun. What did not complete
            drops out.
    """
    left = [Standing(number=number, values=(value,)) for number, value in searched]
    out: list[Standing] = []
    to_run: tuple[Entry, ...] = ()
    for round_, seed in enumerate(config.seeds, start=1):
        if len(left) < 2:
            break
        entries = {one.number: (one.number, seed) for one in left}
        if not all(_has_ended(raced.get(entry)) for entry in entries.values()):
            every = ((one.number, seed) for seed in at_once(config.seeds, round_) for one in left)
            to_run = tuple(entry for entry in every if not _has_ended(raced.get(entry)))
            break
        after = [
            Standing(number=one.number, values=(*one.values, raced[entries[one.number]][1]))
            for one in left
        ]
        leader = max(after, key=_rank)
        losers = [one for one in after if _is_behind(one, leader)]
        left = [one for one in after if one not in losers]
        out = [*_ranked(replace(one, dropped_after=round_) for one in losers), *out]
    return Race(standings=(*_ranked(left), *out), to_run=to_run)


def at_once(seeds: Sequence[int], round_: int = 1) -> Sequence[int]:
    """Seeds of a round and of those that need not wait for it, as it is too early for a test."""
    return seeds[round_ - 1 : max(round_, _FEWEST_SEEDS - 1)]


def _has_ended(found: tuple[Outcome, float] | None) -> bool:
    return found is not None and found[0].is_final


def _ranked(standings: Iterable[Standing]) -> list[Standing]:
    return sorted(standings, key=_rank, reverse=True)


def _rank(one: Standing) -> float:
    return one.mean if math.isfinite(one.mean) else -math.inf


def _is_behind(one: Standing, leader: Standing) -> bool:
    """Whether a paired t test, one-sided, says so; a trial that diverged is behind."""
    if not math.isfinite(one.mean):
        return one is not leader
    if one is leader or len(one.values) < _FEWEST_SEEDS:
        return False
    from scipy.stats import ttest_rel

    differences = {a - b for a, b in zip(leader.values, one.values, strict=True)}
    if len(differences) == 1:
        return differences.pop() > 0
    found = ttest_rel(leader.values, one.values, alternative="greater")
    return bool(found.pvalue <= _LEVEL)
