"""An ablation study as a frozen value, and the strict loading of its file."""

from __future__ import annotations

from itertools import product
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field

from dynaloss.design.arms import (
    Component,
    DesignName,
    baseline_arms,
    baseline_losses,
    design_arms,
    level_arms,
)
from dynaloss.design.bundled import find_study
from dynaloss.design.checks import check_across
from dynaloss.design.config import TrialConfig
from dynaloss.design.designs import Resolution, fraction_of
from dynaloss.design.overrides import Overrides
from dynaloss.design.problems import Problem, problems_of
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
from dynaloss.design.tuned import TunedConfig, check_tuned
from dynaloss.errors import InputError

__all__ = [
    "AblationConfig",
    "AblationStudy",
    "ComponentConfig",
    "ReportConfig",
    "ResourcesConfig",
    "TuningConfig",
    "load_study",
]

# A file gives lists and the models hold tuples, so these alone are not strict.
_Listed = Field(strict=False)
_Single = Annotated[Any, AfterValidator(single_value)]
_Values = Annotated[tuple[_Single, ...], _Listed, AfterValidator(filled), AfterValidator(distinct)]
_Seed = Annotated[int, Field(ge=0)]
_Seeds = Annotated[tuple[_Seed, ...], _Listed, AfterValidator(filled), AfterValidator(distinct)]
_Several = BeforeValidator(lambda value: [value] if isinstance(value, str) else value)
_Designs = Annotated[
    tuple[DesignName, ...], _Listed, _Several, AfterValidator(filled), AfterValidator(distinct)
]


class ComponentConfig(Settings):
    """A component of the study's own: what switches it on, and what switches it off."""

    on: dict[str, _Single] = Field(description="Values per dotted key of `trial` when it is on.")
    off: dict[str, _Single] = Field(description="The same when it is off.")


class AblationConfig(Settings):
    """Which components are switched on and off, and in what combinations."""

    components: Annotated[tuple[str, ...], _Listed, AfterValidator(distinct)] = Field(
        default=(), description="Components to switch; none, where all arms are written out."
    )
    design: _Designs = Field(
        default=("factorial",),
        description="One or a list. factorial: every combination. leave_one_out: all, and all but "
        "each one. only_one: none, and each one alone. fractional: the smallest regular "
        "fraction of the factorial that has the resolution.",
    )
    resolution: Resolution = Field(
        default=4,
        description="Of a fractional design. 3: main effects are apart. 4: and apart from "
        "two-factor interactions. 5: and these are apart from each other.",
    )
    one_factor: dict[str, _Values] = Field(
        default={}, description="Levels per dotted key of `trial`, each level an arm of its own."
    )
    baselines: Annotated[
        tuple[Annotated[str, AfterValidator(one_of(baseline_losses()))], ...],
        _Listed,
        AfterValidator(distinct),
    ] = Field(
        default=(),
        description="Losses to run beside the design, each an arm of its name with the loss's "
        "default settings.",
    )
    tuning: Literal["frozen", "per_arm"] = Field(
        default="frozen",
        description="frozen: all arms have the settings of `trial`. per_arm: each arm is searched "
        "first, as `tuning` says, with an equal budget.",
    )
    baseline: str | None = Field(
        default=None,
        description="Arm that the others are compared with; null takes `none`, or else the "
        "first arm.",
    )


class TuningConfig(Settings):
    """How each arm is searched before the arms are compared; the parts are those of a search."""

    space: dict[str, Any] = Field(
        description="Per dotted key of `trial`, the values to choose from."
    )
    search: dict[str, Any] = Field(
        default={}, description="How to search, and how many trials each condition and arm has."
    )
    scheduler: dict[str, Any] = Field(default={}, description="When a trial is stopped.")
    validation_fraction: Real = Field(
        default=0.2,
        gt=0,
        lt=1,
        description="Share of the training data, in (0, 1), that the search holds out for "
        "validation where the trial has none; the arms compared train on all.",
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
    components: dict[str, ComponentConfig] = Field(
        default={}, description="Components of the study's own, for `ablation.components`."
    )
    ablation: AblationConfig | None = None
    arms: dict[str, dict[str, _Single]] = Field(
        default={}, description="Arms written out: a name, and values per dotted key of `trial`."
    )
    tuned: Annotated[tuple[TunedConfig, ...], _Listed] = Field(
        default=(), description="Settings per arm and condition, as a search writes them."
    )
    tuning: TuningConfig | None = Field(
        default=None, description="The search of each arm, for `ablation.tuning: per_arm`."
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
        if self.ablation is not None:
            arms |= self._designed(self.ablation)
        return {**arms, **self.arms} or {"full": {}}

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


def load_study(source: str | Path) -> AblationStudy:
    """The study in the file `source`, or else the bundled study of that name.

    Raises:
        InputError: If there is no such study, or with every problem that its file has.
    """
    document = read_document(find_study(source))
    values = document.values
    if "space" in values:
        raise InputError(f"{document.path}: is a search; run it with `dynaloss search`")
    problems = problems_of(AblationStudy, values) + check_across(values)
    if not problems:
        study = AblationStudy.model_validate(values)
        problems = [*check_tuned(values, study.arm_overrides()), *_tuning_problems(study)]
    if problems:
        # A rule may be broken on several ways through the checks: say it once.
        placed = sorted({p: document.line(p.path) for p in problems}.items(), key=lambda x: x[1])
        raise InputError(f"{document.path}:{line}: {problem}" for problem, line in placed)
    return AblationStudy.model_validate(values)


def _tuning_problems(study: AblationStudy) -> list[Problem]:
    if not study.is_tuned_per_arm:
        return []
    if study.tuning is None:
        text = "is 'per_arm', which needs [tuning.space]: the values to choose from"
        return [Problem(("ablation", "tuning"), text)]
    # A search is made of the parts of an ablation: it is loaded after them.
    from dynaloss.design.tuning import tuning_problems

    return tuning_problems(study)
