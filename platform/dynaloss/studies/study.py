"""What every study file holds, and an ablation study as a frozen value, loaded strictly."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field

from dynaloss.config.ablation import (
    AblationConfig,
    ComponentConfig,
    ReportConfig,
    TuningConfig,
)
from dynaloss.config.settings import (
    Listed,
    Real,
    Scalar,
    Seeds,
    Settings,
    Single,
    Values,
    combinations,
    name_of,
)
from dynaloss.config.trial import TrialConfig
from dynaloss.errors import InputError
from dynaloss.studies.arms import Component, baseline_arms, design_arms, level_arms
from dynaloss.studies.checks import check_across
from dynaloss.studies.designs import fraction_of
from dynaloss.studies.overrides import Overrides
from dynaloss.studies.reading.bundled import find_study
from dynaloss.studies.reading.document import read_document
from dynaloss.studies.reading.problems import Problem, placed, problems_of
from dynaloss.studies.tuned import TunedConfig, check_tuned

__all__ = ["AblationStudy", "ResourcesConfig", "Study", "load_study", "study_kind"]


class ResourcesConfig(Settings):
    """What one trial occupies; fractions let trials share a processor."""

    cpu: Real = Field(default=1.0, gt=0, description="CPU cores per trial, above 0.")
    gpu: Real = Field(default=0.0, ge=0, description="GPUs per trial, at least 0.")


class Study(Settings):
    """What every study file holds: conditions x arms around one trial."""

    study: Annotated[str, AfterValidator(name_of())] = Field(
        description="Name of the study and of its folder: letters, digits, '-', '_', '.'."
    )
    trial: TrialConfig
    conditions: dict[str, Values] = Field(
        default={}, description="Values per dotted key of `trial`; all combinations are run."
    )
    arms: dict[str, dict[str, Single]] = Field(
        default={}, description="Arms written out: a name, and values per dotted key of `trial`."
    )
    base_seed: int = Field(
        default=0, ge=0, description="Study seed, at least 0: part of every random stream."
    )
    resources: ResourcesConfig = ResourcesConfig()

    def condition_grid(self) -> tuple[dict[str, Scalar], ...]:
        """Values of the varied keys, one dictionary per condition, the last key fastest."""
        return tuple(combinations(self.conditions))

    def arm_overrides(self) -> dict[str, Overrides]:
        """Settings of every arm by name; without arms the trial is the only one, `full`."""
        return dict(self.arms) or {"full": {}}


class AblationStudy(Study):
    """An ablation: conditions x arms x seeds.

    Load one with `load_study`, which also checks what holds between the parts.
    """

    components: dict[str, ComponentConfig] = Field(
        default={}, description="Components of the study's own, for `ablation.components`."
    )
    ablation: AblationConfig | None = None
    tuned: Annotated[tuple[TunedConfig, ...], Listed] = Field(
        default=(), description="Settings per arm and condition, as a search writes them."
    )
    tuning: TuningConfig | None = Field(
        default=None, description="The search of each arm, for `ablation.tuning: per_arm`."
    )
    seeds: Seeds = Field(
        description="Trial seeds, distinct, at least 0; each is run in every cell."
    )
    report: ReportConfig = ReportConfig()

    def arm_overrides(self) -> dict[str, Overrides]:
        """Settings of every arm by name: those of the design, then those written out."""
        designed = {} if self.ablation is None else self._designed(self.ablation)
        return {**designed, **self.arms} or {"full": {}}

    @property
    def is_tuned_per_arm(self) -> bool:
        """Whether each arm is searched before the arms are compared."""
        return self.ablation is not None and self.ablation.tuning == "per_arm"

    def tuned_overrides(self, arm: str, condition: Overrides) -> Overrides:
        """Settings that were tuned for an arm under a condition; those further down stand."""
        merged: dict[str, Scalar] = {}
        for entry in self.tuned:
            if entry.arm == arm and entry.condition.items() <= dict(condition).items():
                merged |= entry.settings
        return merged

    def _designed(self, ablation: AblationConfig) -> dict[str, Overrides]:
        arms: dict[str, Overrides] = {}
        declared: dict[str, Component] = {n: (c.on, c.off) for n, c in self.components.items()}
        for design in ablation.design if ablation.components else ():
            arms |= design_arms(
                design, ablation.components, declared, resolution=ablation.resolution
            )
        for factor, levels in ablation.one_factor.items():
            arms |= level_arms(factor, levels)
        if not (arms or self.arms):
            arms["full"] = {}
        return {**arms, **baseline_arms(ablation.baselines)}

    def design_notes(self) -> tuple[str, ...]:
        """What to know of the design before it runs, such as its aliasing."""
        notes: list[str] = []
        if self.ablation is not None and "fractional" in self.ablation.design:
            notes.append(
                fraction_of(self.ablation.components, self.ablation.resolution).describe()
            )
        if self.is_tuned_per_arm and not self.tuned:
            notes.append(
                "each arm is searched first; until then the keys are those of untuned settings"
            )
        return tuple(notes)

    @property
    def baseline(self) -> str:
        """Arm that the others are compared with."""
        arms = self.arm_overrides()
        chosen = self.ablation.baseline if self.ablation else None
        return chosen or ("none" if "none" in arms else next(iter(arms)))


def study_kind(values: Mapping[str, Any]) -> Literal["search", "ablation"]:
    """What kind of study a file holds: only that of a search says what to search, and how."""
    return "search" if {"space", "search"} & values.keys() else "ablation"


def load_study(source: str | Path) -> AblationStudy:
    """The study in the file `source`, or else the bundled study of that name.

    Raises:
        InputError: If there is no such study, or with every problem that its file has.
    """
    document = read_document(find_study(source))
    values = document.values
    if study_kind(values) == "search":
        raise InputError(f"{document.path}: is a search; run it with `dynaloss search`")
    problems = problems_of(AblationStudy, values) + check_across(values)
    if problems:
        raise InputError(placed(problems, document))
    study = AblationStudy.model_validate(values)
    # These two make trials of the parts, which takes sound ones.
    problems = [
        *check_tuned(study.tuned, study.trial, study.conditions, study.arm_overrides()),
        *_tuning_problems(study),
    ]
    if problems:
        raise InputError(placed(problems, document))
    return study


def _tuning_problems(study: AblationStudy) -> list[Problem]:
    if not study.is_tuned_per_arm:
        return []
    if study.tuning is None:
        text = "is 'per_arm', which needs [tuning.space]: the values to choose from"
        return [Problem(("ablation", "tuning"), text)]
    # A search is made of the parts of an ablation: it is loaded after them.
    from dynaloss.studies.search.arm_tuning import tuning_problems

    return tuning_problems(study)
