"""What a study may use before it is refused."""

from __future__ import annotations

from pydantic import Field

from dynaloss.config.settings import Settings


class LimitsConfig(Settings):
    """What a study may use; no limit affects a result."""

    trials: int = Field(
        default=10_000,
        ge=1,
        description="Most trials that the study may plan; a larger one is refused at once.",
    )
