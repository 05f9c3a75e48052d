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


_REFUSALS = (
    (
        ("test/", "test_"),
        "must be measured on validation: a choice made on the test set makes its accuracy "
        "worthless as an estimate",
    ),
    (
        ("val_clean/",),
        "must use the labels of the validation split; to select by clean labels, set "
        "data.validation.labels to clean, which counts them as used, and use `val/...`",
    ),
    (
        ("train/", "corrector/", "sampler/"),
        "must be measured on validation: this is measured on the training set or from true labels",
    ),
    (COST_METRICS, "must be a validation metric, as it decides on pruning and winners"),
    (("",), "must be a metric that every trial reports"),
)
"""Why a metric of each beginning may not be optimised; the first that fits counts."""


def refused_objective(name: str, *, first: bool) -> str | None:
    """Why a search may not optimise the metric, or None where it may.

    The `first` objective decides on pruning and winners.
    """
    known = VALIDATION_METRICS + (() if first else COST_METRICS)
    if name in known:
        return None
    reason = next(text for starts, text in _REFUSALS if name.startswith(starts))
    own = f"val/{name.partition('/')[2]}"
    return but_got(reason, name, did_you_mean(own, known) or f"known: {listed(known)}")
