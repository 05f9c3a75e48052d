"""A component: what switches it on, and what switches it off."""

from __future__ import annotations

from dynaloss.studies.components import ComponentKind

SOFT = ComponentKind(
    name="soft",
    description="the tempered loss divides by twice the temperature",
    on={"loss.temperature": 2.0},
    off={"loss.temperature": 1.0},
)
