"""Rules that hold between the parts of a study file, checked on the plain values.

What is malformed in itself is reported by the typed settings; everything else is still checked,
so that one look at the file shows every problem.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from itertools import product
from typing import Any

from pydantic_core import PydanticCustomError

from dynaloss.config.settings import Scalar, broken_name, is_single, list_at, mapping_at, repeated
from dynaloss.studies.arms import (
    arms_in,
    component_arms,
    designed_arms,
    known_components,
    levels_in,
)
from dynaloss.studies.cells import Cell, tuned_entries
from dynaloss.studies.components import COMPONENTS, ComponentKind
from dynaloss.studies.metric_names import unknown_metric
from dynaloss.studies.overrides import import_kinds, key_problem
from dynaloss.studies.reading.document import KeyPath
from dynaloss.studies.reading.problems import Problem, but_got, listed, not_one_of, repeats


def check_across(values: Mapping[str, Any], cells: Iterable[Cell]) -> list[Problem]:
    """Every rule between the parts of a study that `values` breaks, each once."""
    problems = [
        *_unknown_keys(values),
        *_repeated_values(values),
        *_broken_names(values),
        *_duplicate_arms(values),
        *_declared_components(values),
        *_unknown_components(values),
        *_empty_design(values),
        *_baseline(values),
        *_set_twice(values),
        *_tuned(values),
        *_metrics(values),
        *(problem for cell in cells for problem in cell.problems),
    ]
    return list(dict.fromkeys(problems))


def _unknown_keys(values: Mapping[str, Any]) -> Iterator[Problem]:
    groups: list[tuple[str, ...]] = [("conditions",), ("ablation", "one_factor")]
    groups += [("arms", arm) for arm in mapping_at(values, "arms")]
    groups += product(("components",), mapping_at(values, "components"), ("on", "off"))
    places: list[KeyPath] = [(*path, key) for path in groups for key in mapping_at(values, *path)]
    places += [
        ("tuned", i, "settings", key)
        for i, entry in tuned_entries(values)
        for key in mapping_at(entry, "settings")
    ]
    unknown = tuple(f"{group}." for group in import_kinds(values))
    for path in places:
        text = key_problem(str(path[-1]))
        if text and not str(path[-1]).startswith(unknown):
            yield Problem(path, text)


def _repeated_values(values: Mapping[str, Any]) -> Iterator[Problem]:
    paths: list[tuple[str, ...]] = [("conditions", k) for k in mapping_at(values, "conditions")]
    paths += [("seeds",), ("ablation", "components"), ("ablation", "baselines")]
    for path in paths:
        if again := repeated(filter(is_single, list_at(values, *path))):
            yield Problem(path, repeats(again[0]))


def _broken_names(values: Mapping[str, Any]) -> Iterator[Problem]:
    for part, signs in (("components", "_."), ("arms", "_.-+")):
        for name in mapping_at(values, part):
            if rule := broken_name(name, signs):
                yield Problem((part, name), but_got(rule, name))


def _duplicate_arms(values: Mapping[str, Any]) -> Iterator[Problem]:
    designed = designed_arms(values)
    for name in mapping_at(values, "arms"):
        if name in designed:
            yield Problem(("arms", name), "is also an arm of the design: rename it")
    first: dict[str, tuple[str, Scalar]] = {}
    for arm, factor, choice in levels_in(values):
        level = (factor, choice.value)
        if first.setdefault(arm, level) != level:
            text = f"makes an arm '{arm}', as another level does: list these arms under `arms`"
            yield Problem(choice.path, text)


def _declared_components(values: Mapping[str, Any]) -> Iterator[Problem]:
    for name in mapping_at(values, "components"):
        path = ("components", name)
        if name in (*COMPONENTS, *COMPONENTS.installed()):
            yield Problem(path, "is the name of a built-in component: rename it")
        on, off = (mapping_at(values, *path, side) for side in ("on", "off"))
        if text := _one_sided(on, off):
            yield Problem(path, text)


def _one_sided(on: Mapping[str, object], off: Mapping[str, object]) -> str | None:
    """What is wrong with the keys that switch a component, or None."""
    if different := sorted(on.keys() ^ off.keys()):
        rule = "must set the same keys in `on` and `off`, but only one of them sets"
        return f"{rule} {listed(different)}"
    return None


def _unknown_components(values: Mapping[str, Any]) -> Iterator[Problem]:
    known = known_components(values)
    for index, name in enumerate(list_at(values, "ablation", "components")):
        path = ("ablation", "components", index)
        if isinstance(name, str) and name not in known:
            yield Problem(path, _unknown_component(known, name))
        elif isinstance(name, str) and COMPONENTS.origin(name):
            yield from (Problem(path, text) for text in _switch_problems(known[name]))


def _unknown_component(known: Collection[str], name: str) -> str:
    try:
        COMPONENTS.find(name)
    except PydanticCustomError as error:
        if error.type != "choice":
            return str(error)
    return not_one_of(dict.fromkeys((*known, *COMPONENTS.installed())), name)


def _switch_problems(kind: ComponentKind) -> Iterator[str]:
    """What is wrong with the keys of a component of another package."""
    import_kinds((kind.on, kind.off))
    for key in {**kind.on, **kind.off}:
        if text := key_problem(key):
            yield f"has a component '{kind.name}' whose key '{key}' {text}"
    if text := _one_sided(kind.on, kind.off):
        yield f"has a component '{kind.name}' that {text}"


def _empty_design(values: Mapping[str, Any]) -> Iterator[Problem]:
    ablation = values.get("ablation")
    parts = ("components", "one_factor", "baselines")
    if isinstance(ablation, dict) and not (any(map(ablation.get, parts)) or values.get("arms")):
        known = listed(known_components(values))
        text = f"must name at least one of {known}, as the study lists no arms"
        yield Problem(("ablation", "components"), text)


def _metrics(values: Mapping[str, Any]) -> Iterator[Problem]:
    more_tests = mapping_at(values, "trial", "data", "more_tests")
    for part in ("report", "confirm"):
        metric = mapping_at(values, part).get("metric")
        # What is no name at all is reported by the typed settings.
        if not isinstance(metric, str) or broken_name(metric, "_./-"):
            continue
        if text := unknown_metric(metric, more_tests):
            yield Problem((part, "metric"), text)


def _baseline(values: Mapping[str, Any]) -> Iterator[Problem]:
    ablation = mapping_at(values, "ablation")
    baseline, arms = ablation.get("baseline"), arms_in(values)
    is_broken = ablation.get("components") and not component_arms(values)
    if isinstance(baseline, str) and baseline not in arms and not is_broken:
        yield Problem(("ablation", "baseline"), not_one_of(arms, baseline, "the arms"))


def _set_twice(values: Mapping[str, Any]) -> Iterator[Problem]:
    arms = arms_in(values)
    for key in mapping_at(values, "conditions"):
        arm = next((name for name, choices in arms.items() if key in choices), None)
        if arm is not None:
            text = f"is also set by the arm '{arm}': keep it in one of the two"
            yield Problem(("conditions", key), text)


def _tuned(values: Mapping[str, Any]) -> Iterator[Problem]:
    arms = arms_in(values)
    for i, entry in tuned_entries(values):
        arm = entry.get("arm")
        if isinstance(arm, str) and arm not in arms:
            yield Problem(("tuned", i, "arm"), not_one_of(arms, arm, "the arms"))
        for key, value in mapping_at(entry, "condition").items():
            if is_single(value) and value not in list_at(values, "conditions", key):
                text = but_got("must be one of the values of the conditions", value)
                yield Problem(("tuned", i, "condition", key), text)
