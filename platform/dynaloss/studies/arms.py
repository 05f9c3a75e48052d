"""Arms of an ablation: what its components switch, and what its designs make of them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from dynaloss.config.ablation import DesignName
from dynaloss.config.families import LOSSES
from dynaloss.config.settings import Scalar, show
from dynaloss.studies.designs import subsets_of
from dynaloss.studies.overrides import Overrides

__all__ = [
    "COMPONENTS",
    "Component",
    "arm_name",
    "baseline_arms",
    "design_arms",
    "level_arms",
]

Component = tuple[Overrides, Overrides]
"""The settings that switch a component on, and those that switch it off."""

COMPONENTS: Mapping[str, Component] = {
    "corrector": ({"loss.corrector.enabled": True}, {"loss.corrector.enabled": False}),
    "margin": ({"loss.margin.enabled": True}, {"loss.margin.enabled": False}),
    "sampling": ({"sampler.kind": "hierarchical"}, {"sampler.kind": "random_balanced"}),
    "finetune": ({"loss.finetune": True}, {"loss.finetune": False}),
    "per_class_corrector": (
        {"loss.corrector.per_class": True},
        {"loss.corrector.per_class": False},
    ),
    "warm_start": ({"loss.corrector.warm_start": True}, {"loss.corrector.warm_start": False}),
    "sampled_pseudo_labels": (
        {"loss.corrector.pseudo_labels": "sampled"},
        {"loss.corrector.pseudo_labels": "soft"},
    ),
}
"""The components built in, by name."""


def design_arms(
    design: DesignName,
    components: Sequence[str],
    declared: Mapping[str, Component] | None = None,
    *,
    resolution: int,
) -> dict[str, Overrides]:
    """Arms of a design by name, in the design's order.

    Args:
        design: Which subsets of the components are switched on.
        components: Distinct names of `COMPONENTS` or of `declared`.
        declared: Components that the study declares itself.
        resolution: Of the fractional design.
    """
    known = {**COMPONENTS, **(declared or {})}
    subsets = subsets_of(design, components, resolution)
    return {arm_name(on, components): _overrides(on, components, known) for on in subsets}


def level_arms(factor: str, levels: Sequence[Scalar]) -> dict[str, Overrides]:
    """One arm per level of one setting, such as `ranks-10`."""
    short = factor.rpartition(".")[2]
    return {f"{short}-{_as_name(level)}": {factor: level} for level in levels}


def baseline_arms(losses: Sequence[str]) -> dict[str, Overrides]:
    """One arm per loss, called like it, with every setting of that loss at its default.

    Args:
        losses: Names of `baseline_losses`.
    """
    defaults = {loss: LOSSES[loss].settings.model_validate({}).model_dump() for loss in losses}
    defaults = {loss: LOSSES[loss].settings.model_validate({}).model_dump() for loss in losses}
    return {
        loss: {f"loss.{name}": value for name, value in values.items()}
        for loss, values in defaults.items()
    }


def _as_name(level: Scalar) -> str:
    text = level if isinstance(level, str) else show(level)
    return re.sub(r"[^A-Za-z0-9_.+-]", "_", text)


def arm_name(on: Sequence[str], components: Sequence[str]) -> str:
    """Name of the arm that has `on` of the `components` switched on, in their order."""
    off = [name for name in components if name not in on]
    if not off:
        return "full"
    if len(on) <= 1:
        return f"{on[0]}-only" if on else "none"
    return f"no-{off[0]}" if len(off) == 1 else "+".join(on)


def _overrides(
    on: Sequence[str], components: Sequence[str], known: Mapping[str, Component]
) -> Overrides:
    merged: dict[str, Scalar] = {}
    for name in components:
        switched_on, switched_off = known[name]
        merged |= switched_on if name in on else switched_off
    return merged
