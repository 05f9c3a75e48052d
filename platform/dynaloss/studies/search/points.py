"""The points of a search space: which parameters a trial has, and every combination of a grid."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import product

from dynaloss.config.parameters import ParameterConfig
from dynaloss.config.settings import Scalar, is_single
from dynaloss.config.trial import TrialConfig
from dynaloss.studies.overrides import value_at


def is_active(
    parameter: ParameterConfig, config: TrialConfig, suggested: Mapping[str, Scalar]
) -> bool:
    """Whether the parameter exists in a trial.

    Args:
        parameter: The parameter.
        config: The trial, with condition and arm applied.
        suggested: Values of the parameters before it; they override the trial's.
    """
    for key, wanted in parameter.when.items():
        value = suggested[key] if key in suggested else value_at(config, key)
        accepted = [wanted] if is_single(wanted) else wanted
        if not any(
            value == one and isinstance(value, bool) == isinstance(one, bool) for one in accepted
        ):
            return False
    return True


def grid_points(
    space: Mapping[str, ParameterConfig], config: TrialConfig
) -> Iterator[dict[str, Scalar]]:
    """Every distinct combination of a space whose values can be counted, the last key fastest."""
    points = {key: p.distribution().points() or () for key, p in space.items()}
    seen: set[tuple[tuple[str, Scalar], ...]] = set()
    for values in product(*points.values()):
        chosen: dict[str, Scalar] = {}
        for (key, parameter), value in zip(space.items(), values, strict=True):
            if is_active(parameter, config, chosen):
                chosen[key] = value
        mark = tuple(chosen.items())
        if mark not in seen:
            seen.add(mark)
            yield chosen
