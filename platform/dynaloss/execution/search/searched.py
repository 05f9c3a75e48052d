"""A trial of a search, and what is known of it so far."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from dynaloss.config.settings import Scalar
from dynaloss.execution.search.pruning import Decision
from dynaloss.execution.trial.live import LiveTrial
from dynaloss.studies.search.groups import Group
from dynaloss.studies.trial_record import GROUP


@dataclass(slots=True, kw_only=True)
class SearchTrial(LiveTrial):
    """A trial of a search and what is known of it, of this launch and of those before.

    Attributes:
        group: Its group.
        number: Position in the group, from 0.
        chosen: The suggested values.
        rungs: Rungs reached, each with the decision made there.
        audited_at: Rung at which it would have been stopped, if it ran on for the audit.
        is_paused: Whether it waits at a rung until it is among the best there.
        race_seed: Its seed in a race, where `number` is that of the trial that it follows.
    """

    group: Group
    number: int
    chosen: Mapping[str, Scalar]
    rungs: dict[int, Decision] = field(default_factory=dict)
    audited_at: int | None = None
    is_paused: bool = False
    race_seed: int | None = None

    @property
    def name(self) -> str:
        """The trial in words."""
        race = "" if self.race_seed is None else f" · seed {self.race_seed}"
        return f"{self.group.name} · #{self.number}{race}"

    @property
    def is_untuned(self) -> bool:
        """Whether it is the first trial of its group, with the values of the study."""
        return self.number == 0 and self.group.untuned == self.chosen

    @property
    def note(self) -> str:
        """The rung where it would have been stopped."""
        return "" if self.audited_at is None else f"audited at {self.audited_at}"

    @property
    def tags(self) -> Mapping[str, Any]:
        """Position, suggestion and rungs, and the seed of a race."""
        race = {} if self.race_seed is None else {"dynaloss.race_seed": self.race_seed}
        return race | {
            GROUP: self.group.name,
            "dynaloss.number": self.number,
            "dynaloss.suggested": json.dumps(dict(self.chosen)),
            "dynaloss.rung": self.last_rung,
            "dynaloss.audited": self.audited_at is not None,
        }

    @property
    def last_rung(self) -> int:
        """Last rung reached, in epochs, 0 before the first."""
        return max(self.rungs, default=0)

    def curve(self, metric: str) -> dict[int, float]:
        """Values of a metric by epoch."""
        return {
            epoch: metrics.get(metric, math.nan) for epoch, metrics in sorted(self.reports.items())
        }
