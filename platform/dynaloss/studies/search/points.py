"""The points of a search space: which parameters a trial has, and every combination of a grid."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from dynaloss.config.parameters import ParameterConfig
from dynaloss.config.settings import Scalar, combinations, is_single
from dynaloss.config.trial import TrialConfig
from dynaloss.studies.overrides import value_at


def is_active(
    parameter: ParameterConfig, config: TrialConfig, suggested: Mapping[str, Scalar]
) -> bool:
    """Whether the parameter exists in a trial; values `suggested` before override the trial's."""
    for key, wanted in parameter.when.items():
        value = suggested[key] if key in suggested else value_at(config, key)
        accepted = [wanted] if is_single(wanted) else wanted
        # True == 1 in Python, but they are two values in a file.
        if (isinstance(value, bool), value) not in [(isinstance(v, bool), v) for v in accepted]:
            return False
    return True


def untuned_point(
    space: Mapping[str, ParameterConfig], config: TrialConfig
) -> dict[str, Scalar] | None:
    """The trial's own values of the parameters; None where the space does not hold one of them."""
    chosen: dict[str, Any] = {}
    for key, parameter in space.items():
        if is_active(parameter, config, chosen):
            chosen[key] = value_at(config, key)
            if not parameter.distribution().holds(chosen[key]):
                return None
    return chosen


def grid_points(
    space: Mapping[str, ParameterConfig], config: TrialConfig
) -> Iterator[dict[str, Scalar]]:
    """Every distinct combination of a space whose values can be counted, the last key fastest."""
    points = {key: p.distribution().points() or () for key, p in space.items()}
    seen: set[tuple[tuple[str, Scalar], ...]] = set()
    for values in combinations(points):
        chosen: dict[str, Scalar] = {}
        for key, value in values.items():
            if is_active(space[key], config, chosen):
                chosen[key] = value
        mark = tuple(chosen.items())
        if mark not in seen:
            seen.add(mark)
            yield chosen
