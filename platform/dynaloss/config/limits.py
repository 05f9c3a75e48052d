"""What a study may use before it is refused."""

from __future__ import annotations

from pydantic import Field

from dynaloss.config.settings import Real, Settings


class LimitsConfig(Settings):
    """What a study may use; no limit affects a result."""

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
        description="How often a trial whose process is lost, to the memory say, is tried again "
        "from its last checkpoint before it counts as failed.",
    )
    trials: int = Field(
        default=10_000,
        ge=1,
        description="Most trials that the study may plan; a larger one is refused at once.",
    )
