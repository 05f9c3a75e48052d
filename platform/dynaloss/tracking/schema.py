"""How MLflow holds studies and trials: tags, run states, and the limits of names and values."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from dynaloss.studies.trial_record import BESIDE_EPOCHS, ENVIRONMENT, SECONDS_AROUND, Outcome


class Tag:
    """Names of the tags of experiments and runs."""

    STUDY: Final = "dynaloss.study"
    ROLE: Final = "dynaloss.role"
    KEY: Final = "dynaloss.key"
    KEY_VERSION: Final = "dynaloss.key_version"
    CONDITION: Final = "dynaloss.condition"
    ARM: Final = "dynaloss.arm"
    SEED: Final = "dynaloss.seed"
    OUTCOME: Final = "dynaloss.outcome"
    MESSAGE: Final = "dynaloss.message"
    ENVIRONMENT: Final = ENVIRONMENT
    SECONDS_AROUND: Final = SECONDS_AROUND
    BESIDE_EPOCHS: Final = BESIDE_EPOCHS
    CUT: Final = "dynaloss.parameters_cut"
    CHANGED: Final = "dynaloss.parameters_changed"
    PARENT: Final = "mlflow.parentRunId"
    NOTE: Final = "mlflow.note.content"


EPOCH: Final = "epoch"
"""Metric written with every report: its latest value is the last epoch that the run holds."""

STATUS: Final[Mapping[Outcome, str]] = {
    Outcome.RUNNING: "RUNNING",
    Outcome.COMPLETED: "FINISHED",
    Outcome.PRUNED: "KILLED",
    Outcome.DIVERGED: "FAILED",
    Outcome.FAILED: "FAILED",
    Outcome.INTERRUPTED: "KILLED",
}
"""MLflow's run status per outcome; the outcome tag separates those that share a status."""

NO_TAGS: Final[Mapping[str, str]] = {}

MAX_NAME: Final = 250
MAX_PARAMETER: Final = 6_000
MAX_TAG: Final = 8_000
MAX_PAIRS: Final = 100
"""Parameters or tags in one batch."""
MAX_METRICS: Final = 1_000
"""Metrics in one batch."""
MAX_PAGE: Final = 1_000


def outcome_of(tags: Mapping[str, str], status: str) -> Outcome:
    """Outcome of a run: that of its tag, or of its status where the tag was removed or edited."""
    tag = tags.get(Tag.OUTCOME)
    by_status = {"FINISHED": "completed", "FAILED": "failed", "KILLED": "interrupted"}
    return Outcome(tag if tag in set(Outcome) else by_status.get(status, "running"))


def key_version_of(tags: Mapping[str, str]) -> int:
    """Version of the key of a run; 1 for runs from before there was a tag."""
    return int(tags.get(Tag.KEY_VERSION, 1))


def clean_name(name: str) -> str:
    """A name of a metric, parameter or tag in the characters that MLflow accepts.

    MLflow also refuses names that change when read as a path, such as `a//b` or `../a`.
    """
    allowed = re.sub(r"[^/\w.\- :]", "_", name)
    parts = (part for part in allowed.split("/") if part not in {"", ".", ".."})
    return "/".join(parts)[:MAX_NAME] or "_"


def cut(text: str, limit: int) -> str:
    """The text; one longer than the limit is cut, and ends in an ellipsis."""
    return text if len(text) <= limit else text[: limit - 1] + "…"


def tag_values(tags: Mapping[str, Any]) -> dict[str, str]:
    """Tags as MLflow accepts them: clean names, values cut to the limit."""
    return {clean_name(name): cut(str(value), MAX_TAG) for name, value in tags.items()}
