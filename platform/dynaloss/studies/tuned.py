"""Settings that hold for one arm under one condition: what a search found there."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from pydantic import Field

from dynaloss.config.settings import Scalar, Settings, Single
from dynaloss.config.trial import TrialConfig
from dynaloss.studies.overrides import Overrides, apply_overrides, check_key
from dynaloss.studies.reading.problems import Problem, but_got, did_you_mean, listed, problems_of

__all__ = ["TunedConfig", "check_tuned"]


class TunedConfig(Settings):
    """Settings for one arm, under the conditions that have the values given."""

    arm: str = Field(description="Name of the arm.")
    condition: dict[str, Single] = Field(
        default={}, description="Values of the varied keys; all conditions that have them match."
    )
    settings: dict[str, Single] = Field(description="Values per dotted key of `trial`.")


def check_tuned(
    entries: Sequence[TunedConfig],
    trial: TrialConfig,
    conditions: Mapping[str, Sequence[Scalar]],
    arms: Mapping[str, Overrides],
) -> Iterator[Problem]:
    """What does not hold between tuned settings and the rest of a study.

    Args:
        entries: The tuned settings.
        trial: The trial of the study.
        conditions: Values of the varied keys.
        arms: Settings of the arms, by name.
    """
    for i, entry in enumerate(entries):
        if entry.arm not in arms:
            rule, hint = f"must be one of the arms {listed(arms)}", did_you_mean(entry.arm, arms)
            yield Problem(("tuned", i, "arm"), but_got(rule, entry.arm, hint))
        for key, value in entry.condition.items():
            if value not in conditions.get(key, ()):
                yield Problem(("tuned", i, "condition", key), "is no value of the conditions")
        for key in entry.settings:
            if text := check_key(key):
                yield Problem(("tuned", i, "settings", key), text)
        yield from _refused_values(i, entry, trial, arms.get(entry.arm, {}))


def _refused_values(
    i: int, entry: TunedConfig, trial: TrialConfig, arm: Overrides
) -> Iterator[Problem]:
    chosen = {**entry.condition, **arm, **entry.settings}
    if any(map(check_key, chosen)):
        return
    for problem in problems_of(TrialConfig, apply_overrides(trial.model_dump(), chosen)):
        if problem.key in entry.settings:
            yield Problem(("tuned", i, "settings", problem.key), problem.text)
        else:
            text = f"leads to {problem.key}, which {problem.text}"
            yield Problem(("tuned", i, "settings"), text)
