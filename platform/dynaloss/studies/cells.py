"""The cells of a study, conditions x arms, each with its trial and what is wrong with it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from dynaloss.config.limits import LimitsConfig
from dynaloss.config.settings import combinations, is_single, list_at, mapping_at
from dynaloss.config.trial import TrialConfig
from dynaloss.errors import InputError
from dynaloss.studies.arms import Choice, Choices, arms_in, settings_at, values_of
from dynaloss.studies.overrides import Overrides, apply_overrides, key_problem
from dynaloss.studies.reading.document import KeyPath
from dynaloss.studies.reading.problems import Problem, but_got, validated


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One condition x arm, or a condition by itself.

    Attributes:
        condition: Value of each key that the conditions vary.
        arm: Name of the arm; None for the condition by itself.
        config: The trial; None where it is not valid.
        problems: What is wrong with it and not with the study's `trial` already, each at the
            choice that causes it.
    """

    condition: Overrides
    arm: str | None
    config: TrialConfig | None
    problems: tuple[Problem, ...] = ()

    @property
    def trial(self) -> TrialConfig:
        """The trial of a cell that has one.

        Raises:
            InputError: If it has none, which loading a file excludes.
        """
        if self.config is None:
            raise InputError(str(problem) for problem in self.problems)
        return self.config


_MOST_COMPONENTS = 10


def size_problem(values: Mapping[str, Any]) -> Problem | None:
    """Why a study is too large to be planned, or None: its cells are counted, not built."""
    components = len(list_at(values, "ablation", "components"))
    if components > _MOST_COMPONENTS:
        text = but_got(f"must name at most {_MOST_COMPONENTS} components", components)
        return Problem(("ablation", "components"), text)
    limit = mapping_at(values, "limits").get("trials", LimitsConfig().trials)
    conditions, arms = _num_conditions(values), len(arms_in(values))
    seeds = len(list_at(values, "seeds")) or 1
    each = mapping_at(values, "search").get("trials", 1) if "space" in values else seeds
    if not (isinstance(limit, int) and isinstance(each, int)):
        return None  # which the typed settings report
    trials = conditions * arms * each
    if trials <= limit:
        return None
    what = "trials of each" if "space" in values else "seeds"
    counted = f"{conditions:,} conditions × {arms:,} arms × {each:,} {what}"
    rule = f"must be at least the {trials:,} trials planned ({counted})"
    return Problem(("limits", "trials"), but_got(rule, limit))


def _num_conditions(values: Mapping[str, Any]) -> int:
    keys = mapping_at(values, "conditions")
    return math.prod(len(list_at(values, "conditions", key)) or 1 for key in keys)


def cells_in(values: Mapping[str, Any]) -> Iterator[Cell]:
    """The cells of plain values by condition: each by itself first, then with every arm."""
    trial = mapping_at(values, "trial")
    inherent = frozenset(validated(TrialConfig, trial)[1])
    arms = arms_in(values)
    for condition in _condition_grid(values):
        given = values_of(condition)
        # By itself as well: it is what labels are made from.
        yield _cell(trial, inherent, condition, None, given)
        for arm, choices in arms.items():
            chosen = {**condition, **choices, **_tuned(values, arm, given)}
            yield _cell(trial, inherent, chosen, arm, given)


def _cell(
    trial: Mapping[str, Any],
    inherent: frozenset[Problem],
    choices: Choices,
    arm: str | None,
    condition: Overrides,
) -> Cell:
    config, found = validated(TrialConfig, apply_overrides(trial, values_of(choices)))
    problems = tuple(
        _attributed(problem, choices)
        for problem in found
        if problem not in inherent or problem.key in choices
    )
    return Cell(condition=condition, arm=arm, config=config, problems=problems)


def _condition_grid(values: Mapping[str, Any]) -> Iterator[Choices]:
    """Every combination of the values of the varied keys, the last key fastest."""
    choices: dict[str, list[Choice]] = {}
    for key in mapping_at(values, "conditions"):
        for i, value in enumerate(list_at(values, "conditions", key)):
            if is_single(value) and key_problem(key) is None:
                choices.setdefault(key, []).append(Choice(value, ("conditions", key, i)))
    return combinations(choices)


def tuned_entries(values: Mapping[str, Any]) -> Iterator[tuple[int, dict[str, Any]]]:
    """The well-formed entries of `tuned`, each with its position."""
    return ((i, e) for i, e in enumerate(list_at(values, "tuned")) if isinstance(e, dict))


def _tuned(values: Mapping[str, Any], arm: str, condition: Overrides) -> Choices:
    """Settings that were tuned for an arm under a condition; the last entry wins."""
    return {
        key: Choice(value, ("tuned", i, "settings", key))
        for i, entry in tuned_entries(values)
        if entry.get("arm") == arm and mapping_at(entry, "condition").items() <= condition.items()
        for key, value in settings_at(entry, "settings").items()
    }


def _attributed(problem: Problem, choices: Choices) -> Problem:
    """The problem at the line of the choice that causes it, wherever it shows in the trial."""
    key = problem.key
    if key in choices and choices[key].path[:2] != ("ablation", "components"):
        return Problem(choices[key].path, problem.text)
    inside = _paths_below(key, choices)
    cause = inside or _paths_below(key.rpartition(".")[0], choices)
    if not cause:
        return Problem(("trial", *problem.path), problem.text)
    # The last choice counts: arms come after conditions, tuned settings after arms.
    return Problem(cause[-1], f"leads to {key}, which {problem.text}")


def _paths_below(group: str, choices: Choices) -> list[KeyPath]:
    return [c.path for key, c in choices.items() if key == group or key.startswith(f"{group}.")]
