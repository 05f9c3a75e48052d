"""Ablation designs: which arms the components of a study give."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import combinations
from typing import Literal

from dynaloss.design.overrides import Overrides

__all__ = ["COMPONENTS", "DESIGNS", "DesignName", "arm_name", "design_arms"]

DesignName = Literal["factorial", "leave_one_out", "only_one"]
_Subsets = list[tuple[str, ...]]

COMPONENTS: Mapping[str, tuple[Overrides, Overrides]] = {
    "corrector": ({"loss.corrector.enabled": True}, {"loss.corrector.enabled": False}),
    "margin": ({"loss.margin.enabled": True}, {"loss.margin.enabled": False}),
}
"""Per component, the settings that switch it on and those that switch it off."""


def design_arms(design: DesignName, components: Sequence[str]) -> dict[str, Overrides]:
    """Arms of a design by name, in the design's order.

    Args:
        design: Which subsets of the components are switched on.
        components: Distinct names of `COMPONENTS`.
    """
    subsets = DESIGNS[design](components)
    return {arm_name(on, components): _overrides(on, components) for on in subsets}


def arm_name(on: Sequence[str], components: Sequence[str]) -> str:
    """Name of the arm that has `on` of the `components` switched on, in their order."""
    off = [name for name in components if name not in on]
    if not off:
        return "full"
    if len(on) <= 1:
        return f"{on[0]}-only" if on else "none"
    return f"no-{off[0]}" if len(off) == 1 else "+".join(on)


def _overrides(on: Sequence[str], components: Sequence[str]) -> Overrides:
    merged: dict[str, bool | int | float | str | None] = {}
    for name in components:
        switched_on, switched_off = COMPONENTS[name]
        merged |= switched_on if name in on else switched_off
    return merged


def _factorial(components: Sequence[str]) -> _Subsets:
    sizes = range(len(components) + 1)
    return [subset for size in sizes for subset in combinations(components, size)]


def _leave_one_out(components: Sequence[str]) -> _Subsets:
    everything = tuple(components)
    return [everything, *(tuple(n for n in everything if n != out) for out in everything)]


def _only_one(components: Sequence[str]) -> _Subsets:
    return [(), *((name,) for name in components)]


DESIGNS: Mapping[DesignName, Callable[[Sequence[str]], _Subsets]] = {
    "factorial": _factorial,
    "leave_one_out": _leave_one_out,
    "only_one": _only_one,
}
"""Per design, the subsets of the components that are switched on together."""
