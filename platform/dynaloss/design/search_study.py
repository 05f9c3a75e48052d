"""A search as a frozen value, and the strict loading of its file."""

from __future__ import annotations

from itertools import product
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, model_validator

from dynaloss.design.bundled import find_study
from dynaloss.design.checks import check_across
from dynaloss.design.config import TrialConfig
from dynaloss.design.overrides import Overrides
from dynaloss.design.problems import Problem, problems_of
from dynaloss.design.reader import Document, read_document
from dynaloss.design.search_checks import check_search
from dynaloss.design.search_space import ParameterConfig
from dynaloss.design.settings import (
    Real,
    Scalar,
    Settings,
    distinct,
    filled,
    name_of,
    rule_error,
    single_value,
)
from dynaloss.design.study import AblationStudy, ResourcesConfig, load_study
from dynaloss.errors import InputError

__all__ = [
    "ConfirmConfig",
    "Objective",
    "SchedulerConfig",
    "SearchConfig",
    "SearchStudy",
    "confirmed_name",
    "load_any",
    "load_search",
    "study_kind",
]

Objective = tuple[str, Literal["max", "min"]]
"""Name of a metric, and the direction that is better."""

_Listed = Field(strict=False)
_Single = Annotated[Any, AfterValidator(single_value)]
_Values = Annotated[tuple[_Single, ...], _Listed, AfterValidator(filled), AfterValidator(distinct)]
_Seed = Annotated[int, Field(ge=0)]
_Mode = Literal["max", "min"]


class SearchConfig(Settings):
    """How configurations are suggested, how many, and what makes one better."""

    sampler: Literal["tpe", "random", "qmc", "cmaes", "gp", "nsgaii", "grid"] = Field(
        default="tpe",
        description="tpe: learns which regions do well. random. qmc: spreads evenly. cmaes: "
        "evolution, numbers only. gp: Gaussian process. nsgaii: for several objectives. grid: "
        "every combination.",
    )
    trials: int = Field(
        default=16, ge=1, description="Trials per condition and arm, at least 1: equal for all."
    )
    metric: str = Field(
        default="val/balanced_accuracy",
        description="What to optimise: measured on validation, at the last epoch.",
    )
    mode: _Mode = Field(default="max", description="max or min.")
    metrics: Annotated[tuple[dict[str, _Mode], ...], _Listed] = Field(
        default=(),
        description="Several objectives instead of `metric`, as [{name: max}, {name: min}]; "
        "pruning looks at the first.",
    )
    seed: int = Field(default=0, ge=0, description="Seed of the suggestions and audit draws.")
    startup_trials: int = Field(
        default=5,
        ge=1,
        description="Trials per group drawn at random before a sampler "
        "learns; for nsgaii also the size of a generation.",
    )
    trial_seed: int = Field(
        default=0, ge=0, description="Seed that all trials train with, so that all see one split."
    )
    start_from: str | None = Field(
        default=None, description="Earlier search of the same storage: its best come first."
    )

    def objectives(self) -> tuple[Objective, ...]:
        """What to optimise; pruning and winners go by the first."""
        several = tuple(next(iter(entry.items())) for entry in self.metrics)
        return several or ((self.metric, self.mode),)

    @model_validator(mode="after")
    def _one_metric_an_entry(self) -> SearchConfig:
        if any(len(entry) != 1 for entry in self.metrics):
            raise rule_error("must list one {name: max} or {name: min} per entry of `metrics`")
        return self


class SchedulerConfig(Settings):
    """When a trial that does badly is stopped; every number counts epochs or shares."""

    name: Literal["asha", "median", "hyperband", "none"] = Field(
        default="asha",
        description="asha: at each rung only the best share goes on. median: stops what is below "
        "the median of the others. hyperband: asha with several grace periods. none.",
    )
    grace_epochs: int = Field(
        default=3, ge=1, description="Epochs that every trial trains: the first rung."
    )
    reduction_factor: int = Field(
        default=3,
        ge=2,
        description="At each rung the best 1/reduction_factor goes on; each rung is this many "
        "times as many epochs as the one before.",
    )
    rungs: int | None = Field(
        default=None, ge=1, description="Most rungs to use; null for all below schedule.epochs."
    )
    group_by: Annotated[
        tuple[Literal["condition", "arm"], ...], _Listed, AfterValidator(distinct)
    ] = Field(
        default=("condition", "arm"),
        description="Trials compete only with trials that share these.",
    )
    audit_fraction: Real = Field(
        default=0.0,
        ge=0,
        le=1,
        description="Share of the trials to be stopped that run on, to see what is lost.",
    )


class ConfirmConfig(Settings):
    """How the winners are trained afresh, on train and validation together."""

    top: int = Field(default=1, ge=1, description="Winners per condition and arm.")
    seeds: Annotated[
        tuple[_Seed, ...], _Listed, AfterValidator(filled), AfterValidator(distinct)
    ] = Field(default=(0, 1, 2, 3, 4), description="Trial seeds, distinct, at least 0.")
    metric: Annotated[str, AfterValidator(name_of("_./-"))] = Field(
        default="test/accuracy", description="Metric that the winners are compared by."
    )
    untuned: bool = Field(
        default=False, description="Whether the trial as written is run beside its winners."
    )


class SearchStudy(Settings):
    """One search file: conditions x arms, a space, and how to go through it.

    Load one with `load_search`, which also checks what holds between the parts.
    """

    study: Annotated[str, AfterValidator(name_of())] = Field(
        description="Name of the study and of its folder: letters, digits, '-', '_', '.'."
    )
    trial: TrialConfig
    conditions: dict[str, _Values] = Field(
        default={}, description="Values per dotted key of `trial`; all combinations are searched."
    )
    arms: dict[str, dict[str, _Single]] = Field(
        default={}, description="Arms written out: a name, and values per dotted key of `trial`."
    )
    space: dict[str, ParameterConfig] = Field(
        description="Per dotted key of `trial`, the values to choose from."
    )
    search: SearchConfig = SearchConfig()
    scheduler: SchedulerConfig = SchedulerConfig()
    confirm: ConfirmConfig | None = None
    base_seed: int = Field(
        default=0, ge=0, description="Study seed, at least 0: part of every random stream."
    )
    resources: ResourcesConfig = ResourcesConfig()

    def condition_grid(self) -> tuple[dict[str, Scalar], ...]:
        """Values of the varied keys, one dictionary per condition, the last key fastest."""
        combinations = product(*self.conditions.values())
        return tuple(dict(zip(self.conditions, values, strict=True)) for values in combinations)

    def arm_overrides(self) -> dict[str, Overrides]:
        """Settings of every arm by name; without arms the trial is the only one, `full`."""
        return dict(self.arms) or {"full": {}}


def confirmed_name(study: str) -> str:
    """Name of the study that trains the winners of a search afresh."""
    return f"{study}-best"


def study_kind(values: dict[str, Any]) -> Literal["search", "ablation"]:
    """What kind of study a file holds; only a search has a space."""
    return "search" if {"space", "search"} & set(values) else "ablation"


def load_any(source: str | Path) -> AblationStudy | SearchStudy:
    """The study in the file `source`, or else the bundled study of that name, of either kind.

    Raises:
        InputError: If there is no such study, or with every problem that its file has.
    """
    path = find_study(source)
    if study_kind(read_document(path).values) == "search":
        return load_search(path)
    return load_study(path)


def load_search(source: str | Path) -> SearchStudy:
    """The search in the file `source`, or else the bundled one of that name.

    Raises:
        InputError: If there is no such study, or with every problem that its file has.
    """
    document = read_document(find_study(source, "search_spaces"))
    values = document.values
    if study_kind(values) == "ablation":
        raise InputError(
            f"{document.path}: is an ablation, as it has no `space`; run it with `dynaloss ablate`"
        )
    # `check_search` tells of the parameters one by one, under their dotted keys.
    typed = [
        p
        for p in problems_of(SearchStudy, values)
        if p.path[:1] != ("space",) or p.path == ("space",)
    ]
    problems = [*typed, *check_across(values), *check_search(values)]
    if problems:
        raise InputError(_placed(problems, document))
    return SearchStudy.model_validate(values)


def _placed(problems: list[Problem], document: Document) -> list[str]:
    lines = {problem: document.line(problem.path) for problem in problems}
    ordered = sorted(lines.items(), key=lambda entry: entry[1])
    return [f"{document.path}:{line}: {problem}" for problem, line in ordered]
