"""Effects of the components: main effects, interactions, exact Shapley values."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from dynaloss.analysis.statistics.comparison import Comparison
from dynaloss.analysis.statistics.intervals import Interval, excludes_zero, mean, mean_interval
from dynaloss.studies.arms import arm_name

POOLED = "all conditions"
KINDS: Mapping[str, str] = {
    "shapley": "Shapley value: what the component adds, averaged over all orders in which the "
    "components can be added; the values of all components add up to full minus none.",
    "main": "Main effect: mean of the arms with the component minus mean of those without.",
    "interaction": "Interaction: effect of the first component where the second is on, minus "
    "where it is off.",
    "removed": "Full minus the arm without the component.",
    "alone": "The arm with the component alone minus none.",
}
"""Kinds of effects, in the order shown, with their definitions."""

_MOST_EXACT = 6
_Subset = frozenset[str]
_Weights = Mapping[_Subset, float]
"""An effect: the weight of each arm that it needs, by the components that are on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Effect:
    """One effect under one condition, or pooled over all.

    Attributes:
        kind: One of `KINDS`.
        name: The component, or two of them with ` × ` between.
        condition: Label of the condition, or `POOLED`.
        n: Seeds that have every arm the effect needs.
        mean: Mean over these seeds, in the unit of the metric.
        ci95: Interval over the seeds, see `mean_interval`; None with fewer than two.
    """

    kind: str
    name: str
    condition: str
    n: int
    mean: float
    ci95: Interval | None

    @property
    def clear(self) -> bool:
        """Whether the interval excludes zero."""
        return excludes_zero(self.ci95)


def effects(comparison: Comparison, components: Sequence[str] = ()) -> tuple[Effect, ...]:
    """Every effect that the arms of a comparison allow, per condition and pooled.

    Main effects need arms in which the components are balanced and orthogonal, as in full and
    regular fractional factorials; interactions and Shapley values need all 2^k arms. Pooled
    effects are means over the conditions, seed by seed. By default the components are read off
    the names of the arms.
    """
    components = components or infer_components(comparison.arms)
    names = {frozenset(s): arm_name(s, components) for s in _subsets(components)}
    arms = {subset: name for subset, name in names.items() if name in comparison.arms}
    if not components or len(arms) < 2:
        return ()
    found = []
    for kind, name, weights in _contrasts(components, [*arms]):
        by_condition = {
            condition: _by_seed(comparison, condition, arms, weights)
            for condition in comparison.conditions
        }
        known = [seeds for seeds in by_condition.values() if seeds]
        if len(known) > 1:
            by_condition[POOLED] = _pooled(known)
        for condition, seeds in by_condition.items():
            if values := [*seeds.values()]:
                found.append(
                    Effect(
                        kind=kind,
                        name=name,
                        condition=condition,
                        n=len(values),
                        mean=mean(values),
                        ci95=mean_interval(values),
                    )
                )
    return tuple(found)


def infer_components(arms: Sequence[str]) -> tuple[str, ...]:
    """Components of the design that names arms this way, in order of appearance."""
    names: dict[str, None] = {}
    for arm in arms:
        if arm.endswith("-only"):
            names[arm.removesuffix("-only")] = None
        elif "+" in arm:
            names |= dict.fromkeys(arm.split("+"))
    for arm in arms:
        if arm.startswith("no-"):
            names[arm.removeprefix("no-")] = None
    return tuple(names) if {"full", "none"} & {*arms} else ()


def _subsets(components: Sequence[str]) -> Iterator[tuple[str, ...]]:
    sizes = range(len(components) + 1)
    return (subset for size in sizes for subset in combinations(components, size))


def _contrasts(
    components: Sequence[str], present: Sequence[_Subset]
) -> Iterator[tuple[str, str, _Weights]]:
    """Kind and name of every effect that the arms present allow, with the weights of its arms."""
    complete = len(present) == 2 ** len(components)
    if complete and len(components) <= _MOST_EXACT:
        for name in components:
            yield "shapley", name, _shapley(name, components)
    if _orthogonal(components, present):
        for name in components:
            share = 2 / len(present)
            yield "main", name, {s: share if name in s else -share for s in present}
    if complete:
        for pair in combinations(components, 2):
            share = 4 / len(present)
            signs = {s: share * (1 if len(s & {*pair}) != 1 else -1) for s in present}
            yield "interaction", " × ".join(pair), signs
    for kind, base in (("removed", frozenset(components)), ("alone", frozenset[str]())):
        for name in components:
            weights = {base | {name}: 1.0, base - {name}: -1.0}
            if weights.keys() <= {*present} and len(components) > 1:
                yield kind, name, weights


def _orthogonal(components: Sequence[str], present: Iterable[_Subset]) -> bool:
    """Whether every component is on in half of the arms, whatever any other is."""
    signs = np.array([[1 if c in s else -1 for c in components] for s in present])
    design = np.column_stack([np.ones(len(signs)), signs])
    return bool(np.array_equal(design.T @ design, len(signs) * np.eye(design.shape[1])))


def _shapley(name: str, components: Sequence[str]) -> _Weights:
    """Exact Shapley value (Shapley, "A Value for n-Person Games", 1953)."""
    k = len(components)
    weights: dict[_Subset, float] = {}
    for subset in map(frozenset, _subsets([c for c in components if c != name])):
        size = len(subset)
        weight = math.factorial(size) * math.factorial(k - size - 1) / math.factorial(k)
        weights |= {subset | {name}: weight, subset: -weight}
    return weights


def _by_seed(
    comparison: Comparison, condition: str, arms: Mapping[_Subset, str], weights: _Weights
) -> dict[int, float]:
    """The effect at every seed that has all arms needed."""
    values = [(w, comparison.cell(condition, arms[s]).seeds) for s, w in weights.items()]
    seeds = set.intersection(*({*by_seed} for _, by_seed in values))
    return {seed: math.fsum(w * v[seed] for w, v in values) for seed in sorted(seeds)}


def _pooled(by_condition: Sequence[Mapping[int, float]]) -> dict[int, float]:
    """Mean over the conditions at every seed that all of them have."""
    seeds = set.intersection(*({*seeds} for seeds in by_condition))
    return {seed: mean([values[seed] for values in by_condition]) for seed in sorted(seeds)}
