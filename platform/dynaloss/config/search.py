"""Settings of the parts of a search: suggestions, stopping and confirmation."""

from __future__ import annotations

from typing import Annotated, Literal, NamedTuple

from pydantic import AfterValidator, BeforeValidator, Field, field_validator

from dynaloss.config.ablation import Baseline
from dynaloss.config.families import OPTUNA_SAMPLERS, PRUNERS
from dynaloss.config.settings import (
    Listed,
    Real,
    Seeds,
    Settings,
    distinct,
    name_of,
    one_of,
    refusal,
)

Mode = Literal["max", "min"]
"""Which values of a metric are better."""


class Objective(NamedTuple):
    """Name of a metric, and which of its values are better."""

    name: str
    mode: Mode

    @property
    def sign(self) -> int:
        """1 where larger values are better, -1 where smaller ones are."""
        return 1 if self.mode == "max" else -1


class RaceConfig(Settings):
    """How the best configurations of a group are told apart: by further seeds, a round each."""

    top: int = Field(default=4, ge=2, description="Best configurations of each group that race.")
    seeds: Seeds = Field(
        default=(100, 101),
        description="Seed of each round, with a split of its own; none of the search or the "
        "confirmation.",
    )


class SearchConfig(Settings):
    """How configurations are suggested, how many, and what makes one better."""

    sampler: Annotated[str, AfterValidator(one_of(OPTUNA_SAMPLERS))] = Field(
        default="tpe", description="How configurations are suggested: one of those below."
    )
    trials: int = Field(
        default=16, ge=1, description="Trials per condition and arm, at least 1: equal for all."
    )
    metric: str = Field(
        default="val/balanced_accuracy",
        description="What to optimise: measured on validation, at the last epoch; see below.",
    )
    mode: Mode = Field(default="max", description="Whether more is better: max or min.")
    metrics: Annotated[tuple[dict[str, Mode], ...], Listed] = Field(
        default=(),
        description="Several objectives instead of `metric`, as `[{val/balanced_accuracy: max}, "
        "{time/trial_seconds: min}]`; pruning and winners use the first, the summary lists the "
        "trade-offs.",
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
    untuned_first: bool = Field(
        default=True,
        description="Whether the first trial of each group has the values of `trial` and its arm, "
        "where the space holds them. It is never stopped, and races.",
    )
    start_from: str | None = Field(
        default=None,
        description="Earlier search of the same storage: the best three configurations of each "
        "group, by its race or else by the seed of the search, are tried first.",
    )

    race: RaceConfig | None = Field(
        default=RaceConfig(),
        description="Further seeds for the best configurations; null for none.",
    )

    def objectives(self) -> tuple[Objective, ...]:
        """What to optimise; pruning and winners go by the first."""
        several = tuple(Objective(*next(iter(entry.items()))) for entry in self.metrics)
        return several or (Objective(self.metric, self.mode),)

    @field_validator("metrics")
    @classmethod
    def _one_an_entry(cls, metrics: tuple[dict[str, Mode], ...]) -> tuple[dict[str, Mode], ...]:
        if all(len(entry) == 1 for entry in metrics):
            return metrics
        raise refusal("must list one {name: max} or {name: min} per entry")


def _unless_auto(value: object) -> object:
    return None if value == "auto" else value


_AUTO = BeforeValidator(_unless_auto, json_schema_input_type=int | Literal["auto"] | None)


class SchedulerConfig(Settings):
    """When a bad trial is stopped; all numbers are epochs or shares."""

    name: Annotated[str, AfterValidator(one_of(PRUNERS))] = Field(
        default="asha", description="Rule that stops trials: one of those below."
    )
    grace_epochs: Annotated[int | None, _AUTO] = Field(
        default=None,
        ge=1,
        description="Epochs that every trial trains: the first rung, after warm-up and ramp, in "
        "which trials that differ in the loss alone are equal. auto, or null: what the search of "
        "`search.start_from` shows, or else these, and an eighth of the epochs that follow them.",
    )
    reduction_factor: int = Field(
        default=3,
        ge=2,
        description="At each rung the best 1/reduction_factor continue; the next rung is at this "
        "many times the epochs.",
    )
    rungs: int | None = Field(
        default=None, ge=1, description="Most rungs to use; null for all below schedule.epochs."
    )
    group_by: Annotated[
        tuple[Literal["condition", "arm"], ...], Listed, AfterValidator(distinct)
    ] = Field(
        default=("condition", "arm"),
        description="Trials compete only with trials that share these; one pool over all "
        "conditions stops nearly all trials in the hard ones.",
    )
    audit_fraction: Real = Field(
        default=0.0,
        ge=0,
        le=1,
        description="Share of the trials to be stopped that run to the end, to measure the loss.",
    )


class ConfirmConfig(Settings):
    """How the winners are retrained, on train and validation together."""

    top: int = Field(
        default=1, ge=1, description="Winners per condition and arm that are trained again."
    )
    seeds: Seeds = Field(
        default=(1, 2, 3, 4, 5),
        description="Seeds that each is trained with, distinct, and none of the search.",
    )
    metric: Annotated[str, AfterValidator(name_of("_./-"))] = Field(
        default="test/accuracy", description="Metric that the winners are compared by."
    )
    untuned: bool = Field(
        default=True,
        description="Whether the trial without tuned settings is run beside its winners.",
    )
    baselines: Annotated[tuple[Baseline, ...], Listed, AfterValidator(distinct)] = Field(
        default=(),
        description="Losses to run beside them, each an arm of its name with the loss's default "
        "settings.",
    )


def winner_arm(arm: str, place: int) -> str:
    """Arm of the confirmation that trains the winner at `place`, from 1, of an arm searched."""
    return arm if place == 1 else f"{arm}-{place}"


def untuned_arm(arm: str) -> str:
    """Arm of the confirmation that trains an arm as it is written."""
    return "untuned" if arm == "full" else f"untuned-{arm}"
