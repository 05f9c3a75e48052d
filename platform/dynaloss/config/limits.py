"""What a study may use before it is refused."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from dynaloss.config.settings import Real, Settings


class LimitsConfig(Settings):
    """What a study may use; no limit affects a result."""

    artifacts: Literal["all", "best", "none"] = Field(
        default="all",
        description="Which trials keep their diagnostics: all, those that are the best of their "
        "condition and arm so far, by the study's metric, or none. Figures are kept of the best "
        "(`dynaloss show` draws those of any), settings and errors of each.",
    )
    models: Literal["all", "best", "none"] = Field(
        default="none",
        description="Which trials keep their trained classifier, for `dynaloss export`: all, "
        "those that are the best of their condition and arm so far, or none.",
    )
    checkpoint_gb: Real | None = Field(
        default=None,
        gt=0,
        description="Most that the checkpoints of the study may take on disk, in GB. One that "
        "would take more replaces the one before it, or is not written: after a kill its trial "
        "goes on from an earlier one, or starts again. null for no limit.",
    )
    epoch_seconds: Real | None = Field(
        default=None,
        gt=0,
        description="Longest time of an epoch, in seconds, the first with what precedes it; the "
        "process of a trial that takes longer ends, and counts as lost. Not where trials run one "
        "at a time; null for no limit.",
    )
    retries: int = Field(
        default=2,
        ge=0,
        description="How often a trial is tried again from its last checkpoint, before it counts "
        "as failed, where its process is lost, or memory, storage or a device has failed.",
    )
    trials: int = Field(
        default=10_000,
        ge=1,
        description="Most trials that the study may plan; a larger one is refused at once.",
    )
