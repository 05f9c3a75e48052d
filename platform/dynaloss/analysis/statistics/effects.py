"""Effects of the components: main effects, interactions, exact Shapley values."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations, pairwise

import numpy as np

from dynaloss.analysis.statistics.comparison import POOLED, Comparison
from dynaloss.analysis.statistics.intervals import Estimate, mean, t_interval
from dynaloss.analysis.statistics.significance import LEVEL, adjusted_p
from dynaloss.studies.arms import arm_name

KINDS: Mapping[str, str] = {
    "shapley": "Shapley value: what the component adds, averaged over all orders in which the "
    "components can be added; the values of all components add up to full minus none. Of two "
    "components they are the main effects.",
    "main": "Main effect: mean of the arms with the component minus mean of those without.",
    "interaction": "Interaction: effect of the first component where the second is on, minus "
    "where it is off.",
    "step": "Step: the arm with the component minus the arm before it on the path.",
    "removed": "Full minus the arm without the component.",
    "alone": "The arm with the component alone minus none.",
}
"""Kinds of effects, in the order shown, with their definitions."""

_MOST_EXACT = 6
_Subset = frozenset[str]
_Weights = Mapping[_Subset, float]
"""An effect: the weight of each arm that it needs, by the components that are on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Effect(Estimate):
    """One effect under one condition, or pooled over all, over the seeds with every arm needed.

    Attributes:
        kind: One of `KINDS`.
        name: The component, or two of them with ` × ` between.
        condition: Label of the condition, or `POOLED`.
        p_adjusted: P value of the sign-flip test, adjusted over the effects of this kind, see
            `adjusted_p`; NaN for too few seeds.
    """

    kind: str
    name: str
    condition: str
    p_adjusted: float

    @property
    def clear(self) -> bool:
        """Whether the effect is more than chance; otherwise it is inconclusive."""
        return self.p_adjusted <= LEVEL


def effects(comparison: Comparison, components: Sequence[str] = ()) -> tuple[Effect, ...]:
    """Every effect that the arms of a comparison allow, per condition and pooled.

    Main effects need arms in which the components are balanced and orthogonal, as in full and
    regular fractional factorials; interactions and Shapley values need all 2^k arms. Pooled
    effects are means over the conditions, seed by seed. A path has no effects but its steps. Of
    one or two components the Shapley values are the main effects, which are then left out. By
    default the components are read off the names of the arms.
    """
    components = components or infer_components(comparison.arms)
    names = {frozenset(s): arm_name(s, components) for s in _subsets(components)}
    arms = {subset: name for subset, name in names.items() if name in comparison.arms}
    if not components or len(arms) < 2:
        return ()
    found: dict[str, dict[tuple[str, str], Mapping[int, float]]] = {}
    for kind, name, weights in _steps([*arms]) or _contrasts(components, [*arms]):
        for condition, by_seed in _by_condition(comparison, arms, weights).items():
            found.setdefault(kind, {})[name, condition] = by_seed
    return tuple(
        Effect(
            kind=kind,
            name=name,
            condition=condition,
            n=len(by_seed),
            mean=mean([*by_seed.values()]),
            ci95=t_interval([*by_seed.values()]),
            p_adjusted=p,
        )
        for kind, family in found.items()
        for ((name, condition), by_seed), p in zip(
            family.items(), adjusted_p([*family.values()], comparison.adjust), strict=True
        )
    )


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
    if _orthogonal(components, present) and not (complete and len(components) <= 2):
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


def _steps(present: Sequence[_Subset]) -> list[tuple[str, str, _Weights]]:
    """What each arm of a path adds to the arm before it; nothing where the arms are no path."""
    pairs = [*pairwise(sorted(present, key=len))]
    if len(pairs) < 2 or any(len(more ^ less) != 1 for less, more in pairs):
        return []
    return [("step", "".join(more - less), {more: 1.0, less: -1.0}) for less, more in pairs]


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


def _by_condition(
    comparison: Comparison, arms: Mapping[_Subset, str], weights: _Weights
) -> dict[str, dict[int, float]]:
    """The effect at the seeds that have all arms needed, per condition and pooled."""
    found: dict[str, dict[int, float]] = {}
    for condition in comparison.conditions:
        values = [(w, comparison.cell(condition, arms[s]).seeds) for s, w in weights.items()]
        found[condition] = {
            seed: math.fsum(weight * by_seed[seed] for weight, by_seed in values)
            for seed in _shared(by_seed for _, by_seed in values)
        }
    known = [by_seed for by_seed in found.values() if by_seed]
    if len(known) > 1:
        found[POOLED] = {s: mean([by_seed[s] for by_seed in known]) for s in _shared(known)}
    return {condition: by_seed for condition, by_seed in found.items() if by_seed}


def _shared(by_seed: Iterable[Mapping[int, float]]) -> list[int]:
    """The seeds that all have, in order."""
    return sorted(set.intersection(*map(set, by_seed)))
