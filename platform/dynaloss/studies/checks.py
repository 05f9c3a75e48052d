"""Rules that hold between the parts of a study file, checked on the plain values.

The parts are read tolerantly: what is malformed in itself is reported by the typed models, and
everything else is still checked, so that one look at the file shows all that is wrong.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import product
from typing import Any, get_args

from dynaloss.config.ablation import AblationConfig, DesignName, Resolution, baseline_losses
from dynaloss.config.settings import (
    Scalar,
    broken_name,
    combinations,
    is_single,
    mapping_at,
    repeated,
)
from dynaloss.config.trial import TrialConfig
from dynaloss.studies.arms import (
    COMPONENTS,
    baseline_arms,
    design_arms,
    level_arms,
)
from dynaloss.studies.overrides import apply_overrides, check_key
from dynaloss.studies.reading.document import KeyPath
from dynaloss.studies.reading.problems import (
    Problem,
    but_got,
    did_you_mean,
    listed,
    problems_of,
    repeats,
)

__all__ = ["check_across"]


@dataclass(frozen=True, slots=True)
class _Choice:
    """A value for one setting, and the place in the file that chose it."""

    value: Scalar
    path: KeyPath


_Choices = Mapping[str, _Choice]


def check_across(values: Mapping[str, Any]) -> list[Problem]:
    """Every rule between the parts of a study that `values` breaks, each once.

    Args:
        values: A study file as plain values, well-formed or not.
    """
    problems = [
        *_unknown_keys(values),
        *_repeated_values(values),
        *_broken_names(values),
        *_designed_twice(values),
        *_declared_components(values),
        *_unknown_components(values),
        *_empty_design(values),
        *_baseline(values),
        *_set_twice(values),
        *_refused_combinations(values),
    ]
    return list(dict.fromkeys(problems))


def _unknown_keys(values: Mapping[str, Any]) -> Iterator[Problem]:
    places: list[KeyPath] = [("conditions", key) for key in mapping_at(values, "conditions")]
    arms = mapping_at(values, "arms")
    places += [("arms", arm, key) for arm in arms for key in mapping_at(arms, arm)]
    levels = mapping_at(mapping_at(values, "ablation"), "one_factor")
    places += [("ablation", "one_factor", key) for key in levels]
    places += [path for path, _ in _declared_settings(values)]
    for path in places:
        text = check_key(str(path[-1]))
        if text:
            yield Problem(path, text)


def _repeated_values(values: Mapping[str, Any]) -> Iterator[Problem]:
    conditions = mapping_at(values, "conditions")
    lists: dict[KeyPath, Any] = {("conditions", key): given for key, given in conditions.items()}
    lists |= {("seeds",): values.get("seeds")}
    ablation = mapping_at(values, "ablation")
    lists |= {("ablation", name): ablation.get(name) for name in ("components", "baselines")}
    for path, given in lists.items():
        again = repeated(filter(is_single, given)) if isinstance(given, list) else []
        if again:
            yield Problem(path, repeats(again[0]))


def _declared_settings(values: Mapping[str, Any]) -> Iterator[tuple[KeyPath, Scalar]]:
    declared = mapping_at(values, "components")
    for name in declared:
        for side in ("on", "off"):
            for key, value in mapping_at(mapping_at(declared, name), side).items():
                yield ("components", name, side, key), value


def _declared_components(values: Mapping[str, Any]) -> Iterator[Problem]:
    declared = mapping_at(values, "components")
    for name in declared:
        path = ("components", name)
        if name in COMPONENTS:
            yield Problem(path, "is built in: give it another name")
        sides = [{*mapping_at(mapping_at(declared, name), side)} for side in ("on", "off")]
        if sides[0] != sides[1]:
            one_sided = listed(sorted(sides[0] ^ sides[1]))
            yield Problem(
                path, f"must set the same keys on and off, but only one sets {one_sided}"
            )


def _unknown_components(values: Mapping[str, Any]) -> Iterator[Problem]:
    known = [*COMPONENTS, *mapping_at(values, "components")]
    components = mapping_at(values, "ablation").get("components")
    for index, name in enumerate(components if isinstance(components, list) else ()):
        if isinstance(name, str) and name not in known:
            text = but_got(f"must be one of {listed(known)}", name, did_you_mean(name, known))
            yield Problem(("ablation", "components", index), text)


def _empty_design(values: Mapping[str, Any]) -> Iterator[Problem]:
    ablation = values.get("ablation")
    if not isinstance(ablation, dict):
        return
    arms = [ablation.get(name) for name in ("components", "one_factor", "baselines")]
    if not (any(arms) or values.get("arms")):
        known = listed([*COMPONENTS, *mapping_at(values, "components")])
        text = f"must hold at least one of {known}, as no arms are written out"
        yield Problem(("ablation", "components"), text)


def _broken_names(values: Mapping[str, Any]) -> Iterator[Problem]:
    for part, signs in (("components", "_."), ("arms", "_.-+")):
        for name in mapping_at(values, part):
            if rule := broken_name(name, signs):
                yield Problem((part, name), but_got(rule, name))


def _designed_twice(values: Mapping[str, Any]) -> Iterator[Problem]:
    designed = _designed_arms(values)
    for name in mapping_at(values, "arms"):
        if name in designed:
            yield Problem(("arms", name), "is also an arm of the design: give it another name")
    first: dict[str, tuple[str, Scalar]] = {}
    for arm, factor, choice in _levels(values):
        level = (factor, choice.value)
        if first.setdefault(arm, level) != level:
            text = f"makes an arm '{arm}', as another level does: write these arms out"
            yield Problem(choice.path, text)


def _baseline(values: Mapping[str, Any]) -> Iterator[Problem]:
    ablation = mapping_at(values, "ablation")
    baseline = ablation.get("baseline")
    arms = {**_designed_arms(values), **mapping_at(values, "arms")} or ("full",)
    broken_design = ablation.get("components") and not _component_arms(values)
    if isinstance(baseline, str) and baseline not in arms and not broken_design:
        rule = f"must be one of the arms {listed(arms)}"
        text = but_got(rule, baseline, did_you_mean(baseline, arms))
        yield Problem(("ablation", "baseline"), text)


def _set_twice(values: Mapping[str, Any]) -> Iterator[Problem]:
    arms = {**_designed_arms(values), **_written_arms(values)}
    for key in mapping_at(values, "conditions"):
        arm = next((name for name, choices in arms.items() if key in choices), None)
        if arm is not None:
            text = f"is also set by the arm '{arm}': only conditions or arms may set it"
            yield Problem(("conditions", key), text)


def _refused_combinations(values: Mapping[str, Any]) -> Iterator[Problem]:
    """Problems of every condition x arm, each laid to the choice that causes it."""
    trial = mapping_at(values, "trial")
    inherent = set(problems_of(TrialConfig, trial))
    # Without an arm as well: the condition by itself is what labels are made from.
    arms: list[_Choices] = [{}, *_designed_arms(values).values(), *_written_arms(values).values()]
    for condition, arm in product(_condition_grid(values), arms):
        choices = {**condition, **arm}
        plain = {key: choice.value for key, choice in choices.items()}
        found = problems_of(TrialConfig, apply_overrides(trial, plain))
        yield from (
            _attributed(problem, choices)
            for problem in found
            if problem not in inherent or problem.key in choices
        )


def _attributed(problem: Problem, choices: _Choices) -> Problem:
    """The problem at the line of the value that causes it, wherever it shows in the trial."""
    key = problem.key
    if key in choices and choices[key].path[:2] != ("ablation", "components"):
        return Problem(choices[key].path, problem.text)
    inside = _paths_below(key, choices)
    cause = inside or _paths_below(key.rpartition(".")[0], choices)
    if not cause:
        return Problem(("trial", *problem.path), problem.text)
    # The last one set: arms come after conditions.
    return Problem(cause[-1], f"leads to {key}, which {problem.text}")


def _paths_below(group: str, choices: _Choices) -> list[KeyPath]:
    return [c.path for key, c in choices.items() if key == group or key.startswith(f"{group}.")]


def _condition_grid(values: Mapping[str, Any]) -> Iterator[_Choices]:
    conditions = {
        key: [_Choice(v, ("conditions", key, i)) for i, v in enumerate(given) if is_single(v)]
        for key, given in mapping_at(values, "conditions").items()
        if isinstance(given, list) and check_key(key) is None
    }
    return combinations({key: choices for key, choices in conditions.items() if choices})


def _written_arms(values: Mapping[str, Any]) -> dict[str, _Choices]:
    arms = mapping_at(values, "arms")
    return {
        arm: {
            key: _Choice(value, ("arms", arm, key))
            for key, value in mapping_at(arms, arm).items()
            if check_key(key) is None and is_single(value)
        }
        for arm in arms
    }


def _designed_arms(values: Mapping[str, Any]) -> dict[str, _Choices]:
    """Arms of the design and beside it; none where the design itself is malformed."""
    baselines = _baseline_arms(values)
    levels = {arm: {factor: choice} for arm, factor, choice in _levels(values)}
    arms = {**_component_arms(values), **levels}
    # As the study has it: losses with nothing to stand beside stand beside the trial.
    if baselines and not (arms or values.get("arms")):
        arms["full"] = {}
    return {**arms, **baselines}


def _component_arms(values: Mapping[str, Any]) -> dict[str, _Choices]:
    ablation = mapping_at(values, "ablation")
    defaults = AblationConfig()
    designs = ablation.get("design", [*defaults.design])
    designs = [designs] if isinstance(designs, str) else designs
    components = ablation.get("components")
    if not isinstance(designs, list) or not isinstance(components, list) or not components:
        return {}
    declared = _declared(values)
    if any(name not in (*COMPONENTS, *declared) for name in components):
        return {}
    resolution = ablation.get("resolution", defaults.resolution)
    known = resolution in get_args(Resolution) and all(d in get_args(DesignName) for d in designs)
    if not known:
        return {}
    distinct = list(dict.fromkeys(components))
    return {
        arm: {key: _Choice(value, ("ablation", "components")) for key, value in chosen.items()}
        for design in designs
        for arm, chosen in design_arms(design, distinct, declared, resolution=resolution).items()
    }


def _declared(values: Mapping[str, Any]) -> dict[str, tuple[dict[str, Scalar], dict[str, Scalar]]]:
    """The study's own components as far as they are well-formed: settings on, settings off."""
    found: dict[str, tuple[dict[str, Scalar], dict[str, Scalar]]] = {
        name: ({}, {}) for name in mapping_at(values, "components")
    }
    for (_, name, side, key), value in _declared_settings(values):
        if check_key(str(key)) is None and is_single(value):
            found[str(name)][side == "off"][str(key)] = value
    return found


def _levels(values: Mapping[str, Any]) -> Iterator[tuple[str, str, _Choice]]:
    """Every level of a setting: name of its arm, key of the setting, and the level."""
    for factor, levels in mapping_at(mapping_at(values, "ablation"), "one_factor").items():
        if check_key(factor) is None and isinstance(levels, list):
            for i, level in enumerate(levels):
                for arm in level_arms(factor, [level]) if is_single(level) else ():
                    yield arm, factor, _Choice(level, ("ablation", "one_factor", factor, i))


def _baseline_arms(values: Mapping[str, Any]) -> dict[str, _Choices]:
    given = mapping_at(values, "ablation").get("baselines")
    losses = given if isinstance(given, list) else []
    known = [loss for loss in baseline_losses() if loss in losses]
    return {
        arm: {
            key: _Choice(value, ("ablation", "baselines", losses.index(arm)))
            for key, value in chosen.items()
        }
        for arm, chosen in baseline_arms(known).items()
    }
