"""What cannot be searched: rules between the parts of a search file, checked on plain values.

As in `checks`, what is malformed in itself is reported by the typed settings, and the rest is
still checked.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any, TypeVar

from dynaloss.config.families import OPTUNA_SAMPLERS, PRUNERS, OptunaSamplerKind
from dynaloss.config.parameters import ParameterConfig
from dynaloss.config.search import (
    ConfirmConfig,
    SchedulerConfig,
    SearchConfig,
    untuned_arm,
    winner_arm,
)
from dynaloss.config.settings import Scalar, Settings, is_single, list_at, mapping_at, show
from dynaloss.config.trial import TrialConfig
from dynaloss.studies.cells import Cell
from dynaloss.studies.overrides import apply_overrides, key_problem
from dynaloss.studies.reading.document import KeyPath
from dynaloss.studies.reading.problems import Problem, but_got, problems_of, validated
from dynaloss.studies.search.objectives import VALIDATION_METRICS, refused_objective
from dynaloss.studies.search.points import is_active
from dynaloss.studies.search.rungs import first_rung, rungs

_Settings = TypeVar("_Settings", bound=Settings)
_Trial = tuple[str, TrialConfig]
"""Name of an arm, and a valid trial of it."""


def check_search(values: Mapping[str, Any], cells: Iterable[Cell]) -> list[Problem]:
    """Every rule between the parts of a search that `values` breaks, each once.

    What is wrong with its cells is left to `check_across`.
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
        *_seeds(values),
    ]
    return list(dict.fromkeys(problems))


def _part(values: Mapping[str, Any], name: str, model: type[_Settings]) -> _Settings | None:
    """The settings of a part of the study, unknown keys left out; None if one is malformed."""
    given = mapping_at(values, name)
    return validated(model, {k: v for k, v in given.items() if k in model.model_fields})[0]


def _names_of_winners(values: Mapping[str, Any]) -> Iterator[Problem]:
    arms, confirm = mapping_at(values, "arms"), _part(values, "confirm", ConfirmConfig)
    if confirm is None:
        return
    for name in (name for name in confirm.baselines if name in arms):
        yield Problem(("confirm", "baselines"), f"must not hold '{name}', which is an arm")
    for arm in arms:
        made = {winner_arm(arm, place) for place in range(2, confirm.top + 1)}
        made |= {untuned_arm(arm)} if confirm.untuned else set()
        for name in sorted(made & arms.keys()):
            text = f"is the name of a retrained '{arm}' in the confirmation: rename it"
            yield Problem(("arms", name), text)


def _seeds(values: Mapping[str, Any]) -> Iterator[Problem]:
    """New seeds alone say what a choice is worth: it was made for the others."""
    search = _part(values, "search", SearchConfig)
    if search is None:
        return
    confirm = _part(values, "confirm", ConfirmConfig)
    used = {search.trial_seed: "search.trial_seed"}
    for path, seeds in (
        (("search", "race", "seeds"), search.race.seeds if search.race else ()),
        (("confirm", "seeds"), confirm.seeds if confirm else ()),
    ):
        for seed in (seed for seed in seeds if seed in used):
            yield Problem(path, f"must not hold {seed}, which {used[seed]} trains with")
        used |= dict.fromkeys(seeds, ".".join(path))


def _space_keys(values: Mapping[str, Any]) -> Iterator[Problem]:
    if values.get("space") == {}:
        yield Problem(("space",), "must name at least one setting to search")
    for key in mapping_at(values, "space"):
        if text := key_problem(key) or _reserved(values, key):
            yield Problem(("space", key), text)


def _reserved(values: Mapping[str, Any], key: str) -> str | None:
    """Why another part of the study must set a key, or None."""
    if key in mapping_at(values, "conditions"):
        return "is also varied in `conditions`: keep it in one of the two"
    for arm in mapping_at(values, "arms"):
        if key in mapping_at(values, "arms", arm):
            return f"is also set by the arm '{arm}': keep it in one of the two"
    if key.startswith("data."):
        return "changes the data, so that trials are not comparable: vary it in `conditions`"
    if key == "schedule.epochs":
        return "is the unit of the rungs: vary it in `conditions`"
    return None


def _when_keys(values: Mapping[str, Any]) -> Iterator[Problem]:
    order = list(mapping_at(values, "space"))
    for position, key in enumerate(order):
        for wanted in mapping_at(values, "space", key, "when"):
            text = key_problem(wanted)
            if text is None and wanted in order[position:]:
                text = "must come before the parameter that depends on it"
            if text:
                yield Problem(("space", key, "when", wanted), text)


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
    text = f"with {show(value)} leads to {problem.key}, which {problem.text}"
    return Problem(("space", key, *place), problem.text if problem.key == key else text)


def _objectives(values: Mapping[str, Any]) -> Iterator[Problem]:
    search = mapping_at(values, "search")
    several, single = list_at(values, "search", "metrics"), search.get("metric")
    named: list[tuple[KeyPath, object]] = [
        (("search", "metrics", i), name)
        for i, entry in enumerate(several)
        if isinstance(entry, dict)
        for name in entry
    ]
    if several and {"metric", "mode"} & search.keys():
        yield Problem(("search", "metrics"), "replaces `metric` and `mode`: drop them")
    elif isinstance(single, str):
        named = [(("search", "metric"), single)]
    for position, (path, name) in enumerate(named):
        if text := refused_objective(str(name), first=position == 0):
            yield Problem(path, text)


def _validation(trials: list[_Trial]) -> Iterator[Problem]:
    if any(config.data.validation.fraction == 0 for _, config in trials):
        rule = "must be greater than 0, as a search selects by validation metrics such as"
        text = but_got(f"{rule} '{VALIDATION_METRICS[0]}'", 0)
        yield Problem(("trial", "data", "validation", "fraction"), text)


def _rungs(values: Mapping[str, Any], trials: list[_Trial]) -> Iterator[Problem]:
    scheduler = _part(values, "scheduler", SchedulerConfig)
    if scheduler is None or not PRUNERS[scheduler.name].has_rungs:
        return
    yield from filter(None, (_without_rungs(scheduler, config) for _, config in trials))
    if PRUNERS[scheduler.name].promotes and scheduler.audit_fraction:
        text = f"must be 0 with {scheduler.name}, which stops no trial before the end"
        yield Problem(("scheduler", "audit_fraction"), text)


def _without_rungs(scheduler: SchedulerConfig, config: TrialConfig) -> Problem | None:
    """Why a trial has not the rungs that the scheduler names, or no meaningful ones."""
    grace, idle = first_rung(scheduler, config), config.idle_epochs
    epochs, most = config.schedule.epochs, scheduler.rungs
    if idle >= epochs:
        rule = f"must be above {idle}, warm-up plus ramp, for trials to be compared before the end"
        return Problem(("trial", "schedule", "epochs"), but_got(rule, epochs))
    if grace <= idle:
        rule = (
            f"must be above {idle}, warm-up plus ramp: until then trials that differ in the loss "
            "alone are equal"
        )
        return Problem(("scheduler", "grace_epochs"), but_got(rule, grace))
    found = rungs(grace, scheduler.reduction_factor, epochs)
    if not found:
        rule = f"must be below schedule.epochs ({epochs}), where a trial ends anyway"
        return Problem(("scheduler", "grace_epochs"), but_got(rule, grace))
    if most is not None and most > len(found):
        rule = f"must be at most {len(found)}: in {epochs} epochs the rungs are at {found}"
        return Problem(("scheduler", "rungs"), but_got(rule, most))
    return None


def _sampler(
    values: Mapping[str, Any], space: Mapping[str, ParameterConfig], trials: list[_Trial]
) -> Iterator[Problem]:
    search = _part(values, "search", SearchConfig)
    if search is None:
        return
    name, sampler = search.sampler, OPTUNA_SAMPLERS[search.sampler]
    for key, parameter in space.items():
        if text := _unsearchable(sampler, parameter, space):
            yield Problem(("space", key), text)
    if not sampler.is_multi_objective and len(search.metrics) > 1:
        yield Problem(("search", "sampler"), f"{name} supports a single objective; use 'nsgaii'")
    for arm, config in trials if sampler.least_parameters else ():
        count = sum(is_active(parameter, config, {}) for parameter in space.values())
        if count < sampler.least_parameters:
            text = (
                f"{name} needs at least {sampler.least_parameters} parameters, but the arm "
                f"'{arm}' has {count}; use 'tpe'"
            )
            yield Problem(("search", "sampler"), text)


def _unsearchable(
    sampler: OptunaSamplerKind, parameter: ParameterConfig, space: Collection[str]
) -> str | None:
    """Why a sampler cannot search a parameter, or None where it can."""
    if sampler.enumerates and parameter.distribution().points() is None:
        return f"needs a `step` or a `choice`, as {sampler.name} enumerates all values"
    if sampler.takes_any_space:
        return None
    if parameter.choice is not None:
        return f"is a choice, which {sampler.name} cannot search; use 'tpe'"
    if {*parameter.when} & {*space}:
        return f"depends on another parameter, which {sampler.name} cannot search; use 'tpe'"
    return None


def _parameters(values: Mapping[str, Any]) -> dict[str, ParameterConfig]:
    """The well-formed parameters of the space whose keys exist."""
    found = {}
    for key in mapping_at(values, "space"):
        parameter, _ = validated(ParameterConfig, mapping_at(values, "space", key))
        if parameter is not None and key_problem(key) is None:
            found[key] = parameter
    return found
