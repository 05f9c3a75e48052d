"""Studies as frozen values: what every study file holds, an ablation, and a search."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

from pydantic import AfterValidator, Field, model_validator

from dynaloss.config.ablation import (
    AblationConfig,
    ComponentConfig,
    ReportConfig,
    TunedConfig,
    TuningConfig,
)
from dynaloss.config.limits import LimitsConfig
from dynaloss.config.parameters import ParameterConfig
from dynaloss.config.search import ConfirmConfig, SchedulerConfig, SearchConfig
from dynaloss.config.settings import Listed, Seeds, Settings, Single, Values, name_of, rule_error
from dynaloss.config.trial import ResourcesConfig, TrialConfig
from dynaloss.studies.arms import arms_in, known_components, values_of
from dynaloss.studies.cells import Cell, cells_in
from dynaloss.studies.designs import fraction_of
from dynaloss.studies.overrides import Overrides, import_kinds


def _free(name: str) -> str:
    """Refuses what the storage folder, where each study has a folder, holds beside studies."""
    if name in ("artifacts", "mlflow.db"):
        raise rule_error("must not be artifacts or mlflow.db")
    return name


class Study(Settings):
    """What every study file holds: conditions x arms around one trial.

    `dynaloss.studies.loading` makes one from a file, and checks what holds between the parts.
    """

    study: Annotated[str, AfterValidator(name_of()), AfterValidator(_free)] = Field(
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
    limits: LimitsConfig = LimitsConfig()

    @model_validator(mode="before")
    @classmethod
    def _with_kinds(cls, values: object) -> object:
        import_kinds(values)
        return values

    def arm_overrides(self) -> dict[str, Overrides]:
        """Settings of every arm by name: those of the design, then those written out."""
        arms = arms_in(self.model_dump(mode="json"))
        return {arm: values_of(choices) for arm, choices in arms.items()}

    def cells(self) -> list[Cell]:
        """The cells by condition: each condition by itself first, then with every arm."""
        return list(cells_in(self.model_dump(mode="json")))


class AblationStudy(Study):
    """An ablation: conditions x arms x seeds."""

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

    @property
    def is_tuned_per_arm(self) -> bool:
        """Whether each arm is searched before the arms are compared."""
        return self.ablation is not None and self.ablation.tuning == "per_arm"

    @property
    def switched(self) -> tuple[str, ...]:
        """Names of the components that the design switches, in order."""
        known = known_components(self.model_dump(mode="json"))
        components = self.ablation.components if self.ablation else ()
        return tuple(known[component].name for component in components)

    @property
    def baseline(self) -> str:
        """Arm that the others are compared with."""
        arms = self.arm_overrides()
        chosen = self.ablation.baseline if self.ablation else None
        return chosen or ("none" if "none" in arms else next(iter(arms)))

    def design_notes(self) -> Iterator[str]:
        """What to know of the design before it runs, such as its aliasing."""
        if self.ablation is not None and "fractional" in self.ablation.design:
            yield fraction_of(self.switched, self.ablation.resolution).describe()
        if self.is_tuned_per_arm and not self.tuned:
            yield "each arm is searched first; until then the keys are those of untuned settings"


class SearchStudy(Study):
    """A search: conditions x arms, a space, and how to go through it."""

    space: dict[str, ParameterConfig] = Field(
        description="Per dotted key of `trial`, the values to choose from."
    )
    search: SearchConfig = SearchConfig()
    scheduler: SchedulerConfig = SchedulerConfig()
    confirm: ConfirmConfig | None = None

    @property
    def confirmation(self) -> ConfirmConfig:
        """How winners are trained again, by default where the file does not set it."""
        return self.confirm or ConfirmConfig()

    @property
    def test_split(self) -> Overrides:
        """Settings, by dotted key, with which trials of all seeds test on one split.

        Another could hold images that the search trained on.
        """
        own, default = self.trial.data.test_seed, self.search.trial_seed
        return {"data.test_seed": default if own is None else own}

    @property
    def retraining(self) -> Overrides:
        """Settings, by dotted key, with which winners are trained again: nothing is held out."""
        return {"data.validation.fraction": 0.0, **self.test_split}


def confirmed_name(study: str) -> str:
    """Name of the study that trains the winners of a search again."""
    return f"{study}-best"
