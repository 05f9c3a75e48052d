"""A trial of a launch, and what is known of it so far."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from dynaloss.studies.plan import Trial
from dynaloss.studies.trial_record import Outcome


@dataclass(slots=True, kw_only=True)
class LiveTrial:
    """A trial of a launch.

    Attributes:
        trial: The trial.
        data: What was done to the data; empty before the first result.
        environment: What it computes on; likewise.
        reports: Metrics by epoch; an ablation keeps those of the last epoch only.
        outcome: How it ended; `running` until then.
        message: Why it ended so, where that is not obvious.
        diagnostics: What it learned; an ablation passes them on.
        resumed_from: Last epoch of the checkpoint that it resumed from, 0 for none.
    """

    trial: Trial
    data: dict[str, Any] = field(default_factory=dict)
    environment: dict[str, str] = field(default_factory=dict)
    reports: dict[int, dict[str, float]] = field(default_factory=dict)
    outcome: Outcome = Outcome.RUNNING
    message: str = ""
    diagnostics: dict[str, Any] = field(default_factory=dict)
    resumed_from: int = 0

    @property
    def key(self) -> str:
        """Key of the trial."""
        return self.trial.key

    @property
    def name(self) -> str:
        """The trial in words."""
        return self.trial.name

    @property
    def note(self) -> str:
        """What else to print of it when it ends; may be empty."""
        return ""

    @property
    def tags(self) -> Mapping[str, Any]:
        """Its own tags in the tracking store."""
        return {}

    @property
    def last_epoch(self) -> int:
        """Last epoch reported, 0 before the first."""
        return max(self.reports, default=0)

    @property
    def metrics(self) -> dict[str, float]:
        """Metrics of the last epoch; empty before the first."""
        return self.reports.get(self.last_epoch, {})

    def last(self, metric: str) -> float:
        """Value of a metric at the last epoch, NaN where there is none."""
        return self.metrics.get(metric, math.nan)
