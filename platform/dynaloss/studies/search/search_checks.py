"""Rules that hold between the parts of a search file, checked on the plain values.

As in `checks`, what is malformed in itself is reported by the typed models, and the rest is
still checked.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, TypeVar

from pydantic import ValidationError

from dynaloss.config.families import OPTUNA_SAMPLERS, PRUNERS
from dynaloss.config.registry import Kind, Registry
from dynaloss.config.search import SchedulerConfig, SearchConfig, untuned_arm, winner_arm
from dynaloss.config.settings import Scalar, Settings, combinations, is_single, mapping_at, show
from dynaloss.config.trial import TrialConfig
from dynaloss.studies.overrides import apply_overrides, check_key
from dynaloss.studies.reading.document import KeyPath
from dynaloss.studies.reading.problems import Problem, but_got, problems_of
from dynaloss.studies.search.objectives import VALIDATION_METRICS, refused_objective
from dynaloss.studies.search.rungs import rungs
from dynaloss.studies.search.space import ParameterConfig, is_active

__all__ = ["check_search"]

_Cell = tuple[str, TrialConfig]
_Kind = TypeVar("_Kind", bound=Kind)
_EXAMPLE = "{uniform: [0, 1]}"


def check_search(values: Mapping[str, Any]) -> list[Problem]:
    """Every rule between the parts of a search that `values` breaks, each once.

    Args:
        values: A search file as plain values, well-formed or not.
    """
    cells = list(_cells(values))
    space = _parameters(values)
    problems = [
        *_malformed(values),
        *_space_keys(values),
        *_when_keys(values),
        *_values_in_trials(space, cells),
        *_objectives(values),
        *_validation(cells),
        *_rungs(values, cells),
        *_sampler(values, space, cells),
        *_names_of_winners(values),
    ]
    return list(dict.fromkeys(problems))


def _malformed(values: Mapping[str, Any]) -> Iterator[Problem]:
    for key, given in mapping_at(values, "space").items():
        if not isinstance(given, dict):
            yield Problem(("space", key), but_got(f"must be a mapping such as {_EXAMPLE}", given))
            continue
        for problem in problems_of(ParameterConfig, given):
            yield Problem(("space", key, *problem.path), problem.text)


def _names_of_winners(values: Mapping[str, Any]) -> Iterator[Problem]:
    arms, confirm = mapping_at(values, "arms"), mapping_at(values, "confirm")
    top = confirm.get("top")
    places = range(2, top + 1) if isinstance(top, int) else ()
    for arm in arms:
        made = {winner_arm(arm, place) for place in places}
        made |= {untuned_arm(arm)} if confirm.get("untuned") else set()
        for name in sorted(made & arms.keys()):
            text = f"is what the confirmation makes of the arm '{arm}': give it another name"
            yield Problem(("arms", name), text)


def _space_keys(values: Mapping[str, Any]) -> Iterator[Problem]:
    space, arms = mapping_at(values, "space"), mapping_at(values, "arms")
    if values.get("space") == {}:
        yield Problem(("space",), "must name at least one setting to search")
    for key in space:
        text = check_key(key)
        setters = [arm for arm in arms if key in mapping_at(arms, arm)]
        if text:
            yield Problem(("space", key), text)
        elif key in mapping_at(values, "conditions"):
            yield Problem(("space", key), "is also varied by the conditions: keep it in one")
        elif setters:
            text = f"is also set by the arm '{setters[0]}': only space or arms may set it"
            yield Problem(("space", key), text)
        elif key.startswith("data."):
            text = "is part of the data: what is compared would differ; vary it by conditions"
            yield Problem(("space", key), text)
        elif key == "schedule.epochs":
            yield Problem(("space", key), "is what rungs are counted in: vary it by conditions")


def _when_keys(values: Mapping[str, Any]) -> Iterator[Problem]:
    space = mapping_at(values, "space")
    order = list(space)
    for position, key in enumerate(order):
        for wanted in mapping_at(mapping_at(space, key), "when"):
            path = ("space", key, "when", wanted)
            text = check_key(wanted)
            if text:
                yield Problem(path, text)
            elif wanted in order[position:]:
                yield Problem(path, "must stand above the parameter that depends on it")


def _values_in_trials(
    space: Mapping[str, ParameterConfig], cells: list[_Cell]
) -> Iterator[Problem]:
    """Tries every end of a range and every choice in every cell where it exists."""
    for key, parameter in space.items():
        for label, config in cells:
            base = config.model_dump()
            inner = {k: v for k, v in parameter.when.items() if k in space}
            suggested = {k: v if is_single(v) else v[0] for k, v in inner.items()}
            if not is_active(parameter, config, suggested):
                continue
            for i, value in enumerate(parameter.distribution().extremes()):
                changed = apply_overrides(base, {**suggested, key: value})
                for problem in problems_of(TrialConfig, changed):
                    yield _refused(problem, key, (parameter.kind, i), value, label)


def _refused(
    problem: Problem, key: str, place: tuple[str, int], value: Scalar, label: str
) -> Problem:
    if problem.text.startswith("is not a setting of"):
        text = f"leads to {problem.key}, which {problem.text} in the arm '{label}': add `when`"
        return Problem(("space", key), text)
    if problem.key == key:
        return Problem(("space", key, *place), problem.text)
    text = f"with {show(value)} leads to {problem.key}, which {problem.text}"
    return Problem(("space", key, *place), text)


def _objectives(values: Mapping[str, Any]) -> Iterator[Problem]:
    search = mapping_at(values, "search")
    several = search.get("metrics")
    named: list[tuple[KeyPath, Any]] = []
    if isinstance(several, list) and several:
        named = [
            (("search", "metrics", i), name)
            for i, entry in enumerate(several)
            if isinstance(entry, dict)
            for name in entry
        ]
        if "metric" in search or "mode" in search:
            yield Problem(
                ("search", "metrics"), "stands instead of `metric` and `mode`: drop them"
            )
    elif isinstance(search.get("metric"), str):
        named = [(("search", "metric"), search["metric"])]
    for position, (path, name) in enumerate(named):
        text = refused_objective(str(name), first=position == 0)
        if text:
            yield Problem(path, text)


def _validation(cells: list[_Cell]) -> Iterator[Problem]:
    if any(config.data.validation.fraction == 0 for _, config in cells):
        text = (
            f"must be greater than 0, as a search selects by validation metrics such as "
            f"'{VALIDATION_METRICS[0]}', but got 0"
        )
        path = ("trial", "data", "validation", "fraction")
        yield Problem(path, text)


def _rungs(values: Mapping[str, Any], cells: list[_Cell]) -> Iterator[Problem]:
    scheduler = _with_defaults(mapping_at(values, "scheduler"), SchedulerConfig())
    pruner = _kind(PRUNERS, scheduler["name"])
    if pruner is not None and not pruner.has_rungs:
        return
    grace, factor = scheduler["grace_epochs"], scheduler["reduction_factor"]
    if not (_is_count(grace, 1) and _is_count(factor, 2)):
        return
    for epochs in sorted({config.schedule.epochs for _, config in cells}):
        found = rungs(grace, factor, epochs)
        most = scheduler["rungs"]
        if not found:
            text = but_got(
                f"must be below schedule.epochs ({epochs}), where a trial ends anyway", grace
            )
            yield Problem(("scheduler", "grace_epochs"), text)
        elif isinstance(most, int) and most > len(found):
            rule = f"must be at most {len(found)}: in {epochs} epochs the rungs are at {found}"
            yield Problem(("scheduler", "rungs"), but_got(rule, most))


def _sampler(
    values: Mapping[str, Any], space: Mapping[str, ParameterConfig], cells: list[_Cell]
) -> Iterator[Problem]:
    search = _with_defaults(mapping_at(values, "search"), SearchConfig())
    several, sampler = search["metrics"], _kind(OPTUNA_SAMPLERS, search["sampler"])
    if sampler is None:
        return
    name = sampler.name
    if sampler.enumerates:
        for key, parameter in space.items():
            if parameter.distribution().points() is None:
                text = f"needs a `step` or a `choice`, as a {name} counts it"
                yield Problem(("space", key), text)
    if not sampler.is_multi_objective and isinstance(several, list) and len(several) > 1:
        yield Problem(("search", "sampler"), f"{name} has one objective only; take 'nsgaii'")
    if not sampler.takes_any_space:
        yield from _fixed_numeric(name, space)
    for arm, config in cells if sampler.least_parameters else ():
        count = sum(is_active(parameter, config, {}) for parameter in space.values())
        if count < sampler.least_parameters:
            text = (
                f"{name} needs {sampler.least_parameters} parameters at least, but the arm "
                f"'{arm}' has {count}; take 'tpe'"
            )
            yield Problem(("search", "sampler"), text)


def _fixed_numeric(name: str, space: Mapping[str, ParameterConfig]) -> Iterator[Problem]:
    """What a sampler cannot search that moves points in a space of fixed dimensions."""
    for key, parameter in space.items():
        if parameter.choice is not None:
            yield Problem(("space", key), f"is a choice, which {name} cannot search; take 'tpe'")
        elif set(parameter.when) & set(space):
            text = f"depends on another parameter, which {name} cannot search; take 'tpe'"
            yield Problem(("space", key), text)


def _cells(values: Mapping[str, Any]) -> Iterator[_Cell]:
    """Every condition and arm that makes a valid trial; `check_across` tells of the others."""
    trial = mapping_at(values, "trial")
    conditions = {
        key: [v for v in given if is_single(v)]
        for key, given in mapping_at(values, "conditions").items()
        if isinstance(given, list) and check_key(key) is None
    }
    arms = mapping_at(values, "arms") or {"full": {}}
    for chosen in combinations(conditions):
        for arm in arms:
            settings = {k: v for k, v in mapping_at(arms, arm).items() if check_key(k) is None}
            given = apply_overrides(trial, {**chosen, **settings})
            try:
                yield arm, TrialConfig.model_validate(given)
            except ValidationError:
                continue


def _parameters(values: Mapping[str, Any]) -> dict[str, ParameterConfig]:
    """The well-formed parameters of the space whose keys exist."""
    found = {}
    for key, given in mapping_at(values, "space").items():
        if check_key(key) is None and isinstance(given, dict):
            try:
                found[key] = ParameterConfig.model_validate(given)
            except ValidationError:
                continue
    return found


def _kind(registry: Registry[_Kind], name: object) -> _Kind | None:
    return registry.get(name) if isinstance(name, str) else None


def _is_count(value: object, least: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= least


def _with_defaults(given: Mapping[str, Any], defaults: Settings) -> dict[str, Any]:
    return {**defaults.model_dump(), **given}
