"""Settings of the parts of an ablation: its design, its tuning and its report."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field

from dynaloss.config.families import DESIGNS, LOSSES
from dynaloss.config.outside import is_address
from dynaloss.config.settings import (
    Listed,
    Real,
    Settings,
    Single,
    Values,
    distinct,
    filled,
    name_of,
    one_of,
)
from dynaloss.config.trial import LOSS

Resolution = Literal[3, 4, 5]


def baseline_settings(loss: str) -> type[Settings]:
    """Class of the settings of a loss beside a design: of any but the one that has components.

    Raises:
        PydanticCustomError: If there is no such loss.
    """
    if not is_address(loss):
        one_of([name for name in (*LOSSES, *LOSSES.installed()) if name != "dynamic"])(loss)
    return LOSS.find(loss)


_Design = Annotated[str, AfterValidator(one_of(DESIGNS))]
_Several = BeforeValidator(
    lambda value: [value] if isinstance(value, str) else value,
    json_schema_input_type=_Design | list[_Design],
)
_Designs = Annotated[
    tuple[_Design, ...],
    Listed,
    _Several,
    AfterValidator(filled),
    AfterValidator(distinct),
]
Baseline = Annotated[str, AfterValidator(lambda name: baseline_settings(name) and name)]
"""A loss, which is an arm of its name with the loss's default settings."""


class ComponentConfig(Settings):
    """A component of the study's own: what switches it on, and what switches it off."""

    on: dict[str, Single] = Field(description="Values per dotted key of `trial` when it is on.")
    off: dict[str, Single] = Field(description="The same when it is off.")


class AblationConfig(Settings):
    """Which components are switched on and off, and in what combinations."""

    components: Annotated[tuple[str, ...], Listed, AfterValidator(distinct)] = Field(
        default=(),
        description="Components to switch, at most 10; none, where all arms are written out.",
    )
    design: _Designs = Field(
        default=("factorial",),
        description="Name of a design, or a list of names; `dynaloss list` describes each.",
    )
    resolution: Resolution = Field(
        default=4,
        description="Of a fractional design. 3: main effects are apart. 4: and apart from "
        "two-factor interactions. 5: and these are apart from each other.",
    )
    one_factor: dict[str, Values] = Field(
        default={}, description="Levels per dotted key of `trial`, each level an arm of its own."
    )
    baselines: Annotated[tuple[Baseline, ...], Listed, AfterValidator(distinct)] = Field(
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
        description="Arm that the others are compared with; null means `none`, or else the "
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


class TunedConfig(Settings):
    """Settings that a search found for one arm, under the conditions that have these values."""

    arm: str = Field(description="Name of the arm.")
    condition: dict[str, Single] = Field(
        default={}, description="Values of the varied keys; all conditions that have them match."
    )
    settings: dict[str, Single] = Field(description="Values per dotted key of `trial`.")


class ReportConfig(Settings):
    """What the comparison shows by default."""

    metric: Annotated[str, AfterValidator(name_of("_./-"))] = Field(
        default="test/accuracy", description="Metric that arms are compared by."
    )
    margin: Real | None = Field(
        default=None,
        gt=0,
        description="Differences up to this do not matter: in points where the metric is shown in "
        "percent, otherwise in its unit. Arms can then be found equivalent; null for none.",
    )
    adjust: Literal["maxt", "holm"] = Field(
        default="maxt",
        description="How p values are adjusted for the differences of a table. maxt: by Westfall "
        "and Young's step-down maxT. holm: by Holm's method, which needs more seeds.",
    )
