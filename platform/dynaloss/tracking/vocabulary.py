"""The tags, the metric and the run states in which MLflow holds studies and trials."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from dynaloss.studies.trial_record import Outcome

__all__ = [
    "ARM",
    "CHANGED",
    "CONDITION",
    "CUT",
    "EPOCH",
    "EXPERIMENT_TAGS",
    "IDENTITY",
    "KEY",
    "MESSAGE",
    "NOTE",
    "OUTCOME",
    "PARENT",
    "ROLE",
    "SEED",
    "STATUS",
    "STUDY",
    "outcome_of",
]

STUDY: Final = "dynaloss.study"
ROLE: Final = "dynaloss.role"
KEY: Final = "dynaloss.key"
CONDITION: Final = "dynaloss.condition"
ARM: Final = "dynaloss.arm"
SEED: Final = "dynaloss.seed"
OUTCOME: Final = "dynaloss.outcome"
MESSAGE: Final = "dynaloss.message"
CUT: Final = "dynaloss.parameters_cut"
CHANGED: Final = "dynaloss.parameters_changed"
PARENT: Final = "mlflow.parentRunId"
NOTE: Final = "mlflow.note.content"
EXPERIMENT_TAGS: Final = {"mlflow.experimentKind": "custom_model_development"}
"""Opens an experiment in MLflow's interface with its runs; otherwise traces come first."""

IDENTITY: Final = frozenset({STUDY, ROLE, KEY, CONDITION, ARM, SEED, OUTCOME})
"""The tags that are fields of a trial record."""

EPOCH: Final = "epoch"
"""Metric written with every report: its latest value is the last epoch that the run holds."""

STATUS: Final = MappingProxyType(
    {
        Outcome.RUNNING: "RUNNING",
        Outcome.COMPLETED: "FINISHED",
        Outcome.PRUNED: "KILLED",
        Outcome.DIVERGED: "FAILED",
        Outcome.FAILED: "FAILED",
        Outcome.INTERRUPTED: "KILLED",
    }
)
"""MLflow's run status per outcome; the outcome tag tells apart what shares a status."""


def outcome_of(tags: Mapping[str, str], status: str) -> Outcome:
    """The outcome of a run; where its tag was removed or edited, what its status allows to say."""
    told = tags.get(OUTCOME, "")
    if told in set(Outcome):
        return Outcome(told)
    by_status = {"FINISHED": Outcome.COMPLETED, "FAILED": Outcome.FAILED}
    return by_status.get(status, Outcome.INTERRUPTED if status == "KILLED" else Outcome.RUNNING)
