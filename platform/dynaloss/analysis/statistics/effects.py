"""What each component contributes: main effects, interactions, exact Shapley values."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
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
    "taken away": "Full minus the arm without the component.",
    "alone": "The arm with the component alone minus none.",
}
"""Kinds of effects, in the order shown, with their definitions."""

_MOST_EXACT = 6
_Subset = frozenset[str]
_Outcomes = Mapping[_Subset, float]
_Contrast = Callable[[_Outcomes], float]


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
        """Whether the interval leaves zero out."""
        return excludes_zero(self.ci95)


def effects(comparison: Comparison, components: Sequence[str] = ()) -> tuple[Effect, ...]:
    """Every effect that the arms of a comparison allow, per condition and pooled.

    Main effects need arms in which the components are balanced and orthogonal, as in full and
    regular fractional factorials; interactions and Shapley values all 2^k arms. Pooled effects
    are means over the conditions, seed by seed.

    Args:
        comparison: The table.
        components: Names of the components; by default read off the names of the arms.
    """
    components = components or infer_components(comparison.arms)
    sets = component_sets(comparison.arms, components)
    if not components or len(sets) < 2:
        return ()
    found = []
    for kind, name, needed, contrast in _contrasts(components, {*sets.values()}):
        by_condition = {
            condition: _by_seed(comparison, condition, sets, needed, contrast)
            for condition in comparison.conditions
        }
        known = [seeds for seeds in by_condition.values() if seeds]
        if len(known) > 1:
            by_condition[POOLED] = _pooled(known)
        found += [_effect(kind, name, *item) for item in by_condition.items() if item[1]]
    return tuple(found)


def infer_components(arms: Sequence[str]) -> tuple[str, ...]:
    """Components whose design would name arms so, in order of appearance."""
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


def component_sets(arms: Sequence[str], components: Sequence[str]) -> dict[str, _Subset]:
    """The components that each arm of a design has switched on, by the name of the arm."""
    sizes = range(len(components) + 1)
    names = {
        arm_name(subset, components): frozenset(subset)
        for size in sizes
        for subset in combinations(components, size)
    }
    return {arm: names[arm] for arm in arms if arm in names}


def _contrasts(
    components: Sequence[str], present: set[_Subset]
) -> Iterator[tuple[str, str, set[_Subset], _Contrast]]:
    """Kind, name, the arms that it needs, and the effect as a function of their values."""
    complete = len(present) == 2 ** len(components)
    if complete and len(components) <= _MOST_EXACT:
        for name in components:
            yield "shapley", name, present, _shapley(name, components)
    if _orthogonal(components, present):
        for name in components:
            yield "main", name, present, _main(name)
    if complete:
        for one, other in combinations(components, 2):
            yield "interaction", f"{one} × {other}", present, _interaction(one, other)
    everything, nothing = frozenset(components), frozenset[str]()
    for kind, base in (("taken away", everything), ("alone", nothing)):
        for name in components:
            pair = (base - {name}, base | {name})
            if {*pair} <= present and len(components) > 1:
                yield kind, name, {*pair}, _pair(*pair)


def _orthogonal(components: Sequence[str], present: set[_Subset]) -> bool:
    """Whether every component is on in half of the arms, whatever any other is."""
    signs = np.array([[1 if c in s else -1 for c in components] for s in present])
    design = np.column_stack([np.ones(len(signs)), signs])
    return bool(np.array_equal(design.T @ design, len(signs) * np.eye(design.shape[1])))


def _main(name: str) -> _Contrast:
    def contrast(values: _Outcomes) -> float:
        on = [value for subset, value in values.items() if name in subset]
        off = [value for subset, value in values.items() if name not in subset]
        return mean(on) - mean(off)

    return contrast


def _interaction(one: str, other: str) -> _Contrast:
    def contrast(values: _Outcomes) -> float:
        parts = [{s: v for s, v in values.items() if (other in s) is on} for on in (True, False)]
        with_other, without = (_main(one)(part) for part in parts)
        return with_other - without

    return contrast


def _shapley(name: str, components: Sequence[str]) -> _Contrast:
    """Exact Shapley value (Shapley, "A Value for n-Person Games", 1953)."""
    k = len(components)
    others = [component for component in components if component != name]
    subsets = [frozenset(s) for size in range(k) for s in combinations(others, size)]

    def weight(size: int) -> float:
        return math.factorial(size) * math.factorial(k - size - 1) / math.factorial(k)

    def contrast(values: _Outcomes) -> float:
        return math.fsum(weight(len(s)) * (values[s | {name}] - values[s]) for s in subsets)

    return contrast


def _pair(without: _Subset, with_it: _Subset) -> _Contrast:
    return lambda values: values[with_it] - values[without]


def _by_seed(
    comparison: Comparison,
    condition: str,
    sets: Mapping[str, _Subset],
    needed: set[_Subset],
    contrast: _Contrast,
) -> dict[int, float]:
    """The effect at every seed that has all arms needed."""
    values = {
        subset: comparison.cell(condition, arm).seeds
        for arm, subset in sets.items()
        if subset in needed
    }
    seeds = set.intersection(*(set(by_seed) for by_seed in values.values()))
    return {seed: contrast({s: v[seed] for s, v in values.items()}) for seed in sorted(seeds)}


def _pooled(by_condition: Sequence[Mapping[int, float]]) -> dict[int, float]:
    """Mean over the conditions at every seed that all of them have."""
    seeds = set.intersection(*(set(seeds) for seeds in by_condition))
    return {seed: mean([values[seed] for values in by_condition]) for seed in sorted(seeds)}


def _effect(kind: str, name: str, condition: str, seeds: Mapping[int, float]) -> Effect:
    values = [*seeds.values()]
    return Effect(
        kind=kind,
        name=name,
        condition=condition,
        n=len(values),
        mean=mean(values),
        ci95=mean_interval(values),
    )
