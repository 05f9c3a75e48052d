"""What cannot be searched: rules between the parts of a search file, checked on plain values.

As in `checks`, what is malformed in itself is reported by the typed settings, and the rest is
still checked.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, TypeGuard, TypeVar

from dynaloss.config.families import OPTUNA_SAMPLERS, PRUNERS
from dynaloss.config.parameters import ParameterConfig
from dynaloss.config.registry import Kind, Registry
from dynaloss.config.search import SchedulerConfig, SearchConfig, untuned_arm, winner_arm
from dynaloss.config.settings import Scalar, is_single, mapping_at, show
from dynaloss.config.trial import TrialConfig
from dynaloss.studies.cells import Cell
from dynaloss.studies.overrides import apply_overrides, key_problem
from dynaloss.studies.reading.document import KeyPath
from dynaloss.studies.reading.problems import Problem, but_got, problems_of, validated
from dynaloss.studies.search.objectives import VALIDATION_METRICS, refused_objective
from dynaloss.studies.search.points import is_active
from dynaloss.studies.search.rungs import rungs

_Kind = TypeVar("_Kind", bound=Kind)
_Trial = tuple[str, TrialConfig]
"""Name of an arm, and a valid trial of it."""


def check_search(values: Mapping[str, Any], cells: Iterable[Cell]) -> list[Problem]:
    """Every rule between the parts of a search that `values` breaks, each once.

    Args:
        values: A search file as plain values, well-formed or not.
        cells: Its cells; what is wrong with them is left to `check_across`.
    """
    trials = [(c.arm, c.config) for c in cells if c.arm is not None and c.config is not None]
    space = _parameters(values)
    problems = [
        *_space_keys(values),
        *_when_keys(values),
        *_values_in_trials(space, trials),
        *_objectives(values),
        *_validation(trials),
        *_rungs(values, trials),
        *_sampler(values, space, trials),
        *_names_of_winners(values),
    ]
    return list(dict.fromkeys(problems))


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
    if values.get("space") == {}:
        yield Problem(("space",), "must name at least one setting to search")
    for key in mapping_at(values, "space"):
        if text := key_problem(key) or _reserved(values, key):
            yield Problem(("space", key), text)


def _reserved(values: Mapping[str, Any], key: str) -> str | None:
    """Why another part of the study must set a key, or None."""
    if key in mapping_at(values, "conditions"):
        return "is also varied by the conditions: keep it in one"
    arms = mapping_at(values, "arms")
    for arm in arms:
        if key in mapping_at(arms, arm):
            return f"is also set by the arm '{arm}': only space or arms may set it"
    if key.startswith("data."):
        return "is part of the data: what is compared would differ; vary it by conditions"
    return (
        "is what rungs are counted in: vary it by conditions" if key == "schedule.epochs" else None
    )


def _when_keys(values: Mapping[str, Any]) -> Iterator[Problem]:
    space = mapping_at(values, "space")
    order = list(space)
    for position, key in enumerate(order):
        for wanted in mapping_at(mapping_at(space, key), "when"):
            path = ("space", key, "when", wanted)
            text = key_problem(wanted)
            if text:
                yield Problem(path, text)
            elif wanted in order[position:]:
                yield Problem(path, "must come before the parameter that depends on it")


def _values_in_trials(
    space: Mapping[str, ParameterConfig], trials: list[_Trial]
) -> Iterator[Problem]:
    """Tries every end of a range and every choice in every cell where it exists."""
    for key, parameter in space.items():
        for arm, config in trials:
            base = config.model_dump()
            inner = {k: v for k, v in parameter.when.items() if k in space}
            suggested = {k: v if is_single(v) else v[0] for k, v in inner.items()}
            if not is_active(parameter, config, suggested):
                continue
            for i, value in enumerate(parameter.distribution().extremes()):
                changed = apply_overrides(base, {**suggested, key: value})
                for problem in problems_of(TrialConfig, changed):
                    yield _refused(problem, key, (parameter.kind, i), value, arm)


def _refused(
    problem: Problem, key: str, place: tuple[str, int], value: Scalar, arm: str
) -> Problem:
    if problem.text.startswith("is not a setting of"):
        text = f"leads to {problem.key}, which {problem.text} in the arm '{arm}': add `when`"
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
            yield Problem(("search", "metrics"), "replaces `metric` and `mode`: drop them")
    elif isinstance(search.get("metric"), str):
        named = [(("search", "metric"), search["metric"])]
    for position, (path, name) in enumerate(named):
        text = refused_objective(str(name), first=position == 0)
        if text:
            yield Problem(path, text)


def _validation(trials: list[_Trial]) -> Iterator[Problem]:
    if any(config.data.validation.fraction == 0 for _, config in trials):
        text = (
            f"must be greater than 0, as a search selects by validation metrics such as "
            f"'{VALIDATION_METRICS[0]}', but got 0"
        )
        path = ("trial", "data", "validation", "fraction")
        yield Problem(path, text)


def _rungs(values: Mapping[str, Any], trials: list[_Trial]) -> Iterator[Problem]:
    scheduler = {**SchedulerConfig().model_dump(), **mapping_at(values, "scheduler")}
    pruner, most = _kind(PRUNERS, scheduler["name"]), scheduler["rungs"]
    grace, factor = scheduler["grace_epochs"], scheduler["reduction_factor"]
    if (pruner is not None and not pruner.has_rungs) or not (_is_int(grace) and _is_int(factor)):
        return
    for epochs in sorted({config.schedule.epochs for _, config in trials}):
        found = rungs(max(grace, 1), max(factor, 2), epochs)
        if not found:
            rule = f"must be below schedule.epochs ({epochs}), where a trial ends anyway"
            yield Problem(("scheduler", "grace_epochs"), but_got(rule, grace))
        elif _is_int(most) and most > len(found):
            rule = f"must be at most {len(found)}: in {epochs} epochs the rungs are at {found}"
            yield Problem(("scheduler", "rungs"), but_got(rule, most))


def _sampler(
    values: Mapping[str, Any], space: Mapping[str, ParameterConfig], trials: list[_Trial]
) -> Iterator[Problem]:
    search = {**SearchConfig().model_dump(), **mapping_at(values, "search")}
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
        yield Problem(("search", "sampler"), f"{name} has one objective only; use 'nsgaii'")
    if not sampler.takes_any_space:
        yield from _fixed_numeric(name, space)
    for arm, config in trials if sampler.least_parameters else ():
        count = sum(is_active(parameter, config, {}) for parameter in space.values())
        if count < sampler.least_parameters:
            text = (
                f"{name} needs {sampler.least_parameters} parameters at least, but the arm "
                f"'{arm}' has {count}; use 'tpe'"
            )
            yield Problem(("search", "sampler"), text)


def _fixed_numeric(name: str, space: Mapping[str, ParameterConfig]) -> Iterator[Problem]:
    """What a sampler cannot search that moves points in a space of fixed dimensions."""
    for key, parameter in space.items():
        if parameter.choice is not None:
            yield Problem(("space", key), f"is a choice, which {name} cannot search; use 'tpe'")
        elif set(parameter.when) & set(space):
            text = f"depends on another parameter, which {name} cannot search; use 'tpe'"
            yield Problem(("space", key), text)


def _parameters(values: Mapping[str, Any]) -> dict[str, ParameterConfig]:
    """The well-formed parameters of the space whose keys exist."""
    found = {}
    for key, given in mapping_at(values, "space").items():
        if key_problem(key) is None and isinstance(given, dict):
            parameter, _ = validated(ParameterConfig, given)
            if parameter is not None:
                found[key] = parameter
    return found


def _kind(registry: Registry[..., _Kind], name: object) -> _Kind | None:
    return registry.get(name) if isinstance(name, str) else None


def _is_int(value: object) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool)
