"""An ablation study as a frozen value, and the strict loading of its file."""

from __future__ import annotations

from itertools import product
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, Field

from dynaloss.design.arms import COMPONENTS, DesignName, design_arms
from dynaloss.design.bundled import find_study
from dynaloss.design.checks import check_across
from dynaloss.design.config import TrialConfig
from dynaloss.design.overrides import Overrides
from dynaloss.design.problems import problems_of
from dynaloss.design.reader import read_document
from dynaloss.design.settings import (
    Real,
    Scalar,
    Settings,
    distinct,
    filled,
    name_of,
    one_of,
    single_value,
)
from dynaloss.errors import InputError

__all__ = ["AblationConfig", "AblationStudy", "ReportConfig", "ResourcesConfig", "load_study"]

# A file gives lists and the models hold tuples, so these alone are not strict.
_Listed = Field(strict=False)
_Single = Annotated[Any, AfterValidator(single_value)]
_Values = Annotated[tuple[_Single, ...], _Listed, AfterValidator(filled), AfterValidator(distinct)]
_Seed = Annotated[int, Field(ge=0)]
_Seeds = Annotated[tuple[_Seed, ...], _Listed, AfterValidator(filled), AfterValidator(distinct)]
_Component = Annotated[str, AfterValidator(one_of(COMPONENTS))]


class AblationConfig(Settings):
    """Which components are switched on and off, and in what combinations."""

    components: Annotated[tuple[_Component, ...], _Listed, AfterValidator(distinct)] = Field(
        default=(), description="Components to switch; none, where all arms are written out."
    )
    design: DesignName = Field(
        default="factorial",
        description="factorial: every combination. leave_one_out: all, and all but each one. "
        "only_one: none, and each one alone.",
    )
    baseline: str | None = Field(
        default=None,
        description="Arm that the others are compared with; null takes `none`, or else the "
        "first arm.",
    )


class ResourcesConfig(Settings):
    """What one trial occupies; fractions let trials share a processor."""

    cpu: Real = Field(default=1.0, gt=0, description="CPU cores per trial, above 0.")
    gpu: Real = Field(default=0.0, ge=0, description="GPUs per trial, at least 0.")


class ReportConfig(Settings):
    """What the comparison shows unless told otherwise."""

    metric: Annotated[str, AfterValidator(name_of("_./-"))] = Field(
        default="test/accuracy", description="Metric that arms are compared by."
    )


class AblationStudy(Settings):
    """One study file: conditions x arms x seeds around one trial.

    Load one with `load_study`, which also checks what holds between the parts.
    """

    study: Annotated[str, AfterValidator(name_of())] = Field(
        description="Name of the study and of its folder: letters, digits, '-', '_', '.'."
    )
    trial: TrialConfig
    conditions: dict[str, _Values] = Field(
        default={}, description="Values per dotted key of `trial`; all combinations are run."
    )
    ablation: AblationConfig | None = None
    arms: dict[str, dict[str, _Single]] = Field(
        default={}, description="Arms written out: a name, and values per dotted key of `trial`."
    )
    seeds: _Seeds = Field(
        description="Trial seeds, distinct, at least 0; each is run in every cell."
    )
    base_seed: int = Field(
        default=0, ge=0, description="Study seed, at least 0: part of every random stream."
    )
    resources: ResourcesConfig = ResourcesConfig()
    report: ReportConfig = ReportConfig()

    def condition_grid(self) -> tuple[dict[str, Scalar], ...]:
        """Values of the varied keys, one dictionary per condition, the last key fastest."""
        combinations = product(*self.conditions.values())
        return tuple(dict(zip(self.conditions, values, strict=True)) for values in combinations)

    def arm_overrides(self) -> dict[str, Overrides]:
        """Settings of every arm by name: those of the design, then those written out."""
        arms: dict[str, Overrides] = {}
        if self.ablation and self.ablation.components:
            arms |= design_arms(self.ablation.design, self.ablation.components)
        return {**arms, **self.arms} or {"full": {}}

    @property
    def baseline(self) -> str:
        """Arm that the others are compared with."""
        arms = self.arm_overrides()
        chosen = self.ablation.baseline if self.ablation else None
        return chosen or ("none" if "none" in arms else next(iter(arms)))


def load_study(source: str | Path) -> AblationStudy:
    """The study in the file `source`, or else the bundled study of that name.

    Raises:
        InputError: If there is no such study, or with every problem that its file has.
    """
    document = read_document(find_study(source))
    values = document.values
    problems = problems_of(AblationStudy, values) + check_across(values)
    if problems:
        # A rule may be broken on several ways through the checks: say it once.
        placed = sorted({p: document.line(p.path) for p in problems}.items(), key=lambda x: x[1])
        raise InputError(f"{document.path}:{line}: {problem}" for problem, line in placed)
    return AblationStudy.model_validate(values)
