"""The metrics that a search may optimise, and why it may not optimise others."""

from __future__ import annotations

from dynaloss.studies.reading.problems import but_got, did_you_mean, listed

_MEASURES = ("balanced_accuracy", "accuracy", "worst_class_accuracy")
VALIDATION_METRICS = tuple(
    f"val/{name}{window}" for window in ("", "_last10") for name in _MEASURES
)
"""What every trial with a validation split reports."""

COST_METRICS = ("time/trial_seconds",)
"""Further objectives beside a validation metric; `time/trial_seconds` counts up to the epoch."""


def refused_objective(name: str, *, first: bool) -> str | None:
    """Why a search may not optimise the metric, or None where it may.

    Args:
        name: Name of the metric.
        first: Whether it would decide on pruning and winners.
    """
    if name in VALIDATION_METRICS or (name in COST_METRICS and not first):
        return None
    known = VALIDATION_METRICS + (() if first else COST_METRICS)
    if name.startswith("test/"):
        own = f"val/{name.removeprefix('test/')}"
        reason = (
            "must be measured on validation: a choice made on the test set makes its accuracy "
            "worthless as an estimate"
        )
        remedy = f"did you mean '{own}'?" if own in known else f"known: {listed(known)}"
    elif name.startswith("val_clean/"):
        reason = (
            "must be measured by the labels that validation has; to select by clean ones set "
            "data.validation.labels to clean, which counts them as used, and use `val/...`"
        )
        remedy = ""
    elif name in COST_METRICS:
        reason, remedy = "must be a validation metric, as pruning and winners go by it", ""
    elif name.startswith(("train/", "corrector/", "sampler/")):
        reason = (
            "must be measured on validation: this is measured on the training set or from true "
            "labels"
        )
        remedy = f"known: {listed(known)}"
    else:
        reason = "must be a metric that every trial reports"
        remedy = did_you_mean(name, known) or f"known: {listed(known)}"
    return but_got(reason, name, remedy)
