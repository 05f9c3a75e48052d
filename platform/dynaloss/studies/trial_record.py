"""The record of a trial: the one row format between tracking and analysis."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any


class Outcome(StrEnum):
    """How a trial ended, or that it has not ended yet."""

    RUNNING = "running"
    COMPLETED = "completed"
    PRUNED = "pruned"
    DIVERGED = "diverged"
    FAILED = "failed"
    INTERRUPTED = "interrupted"

    @property
    def is_final(self) -> bool:
        """Whether a later launch leaves the trial alone.

        A failed one is tried again and an interrupted one continued; others would only repeat.
        """
        return self in (Outcome.COMPLETED, Outcome.PRUNED, Outcome.DIVERGED)


ENVIRONMENT = "dynaloss.environment"
"""Tag of what a trial was computed on: processor, instruction set, threads, torch's build."""

GROUP = "dynaloss.group"
"""Tag of the group of a search that a trial competes in."""

SECONDS_AROUND = "dynaloss.seconds_around_trials"
"""Tag of a study: seconds of its last launch before the first epoch and after the last one."""

BESIDE_EPOCHS = "dynaloss.time_beside_epochs"
"""Tag of a study: time in between, in all slots, by that of the epochs in it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialRecord:
    """One trial as the tracking store holds it.

    Attributes:
        study: Name of the study.
        key: Identity of the trial: the hash of what determines its result.
        run_id: Identifier of the trial's run in the tracking store.
        condition: Label of the data bias, such as `symmetric 0.4 · IR 10`.
        arm: Name of the setting of the components.
        seed: Trial seed; equal seeds pair the arms of a condition.
        outcome: How the trial ended.
        parameters: Flattened resolved configuration, dotted keys.
        metrics: Last value of each metric, by name such as `test/accuracy`.
        history: Per metric, the (epoch, value) pairs in order of epoch; empty unless asked for.
        diagnostics: Contents of the JSON artifacts by stem (`corrector`, `margins`, `confusion`,
            `data`); empty unless asked for.
        tags: Every other tag of the run.
        key_version: `KEY_VERSION` of the key.
    """

    study: str
    key: str
    run_id: str
    condition: str
    arm: str
    seed: int
    outcome: Outcome
    parameters: Mapping[str, str] = field(default_factory=dict)
    metrics: Mapping[str, float] = field(default_factory=dict)
    history: Mapping[str, tuple[tuple[int, float], ...]] = field(default_factory=dict)
    diagnostics: Mapping[str, Any] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)
    key_version: int = 1
