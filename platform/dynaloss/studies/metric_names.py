"""Direction, unit and meaning of a metric, by its name."""

from __future__ import annotations

import math
import re
from collections.abc import Collection

from dynaloss.studies.reading.problems import but_got, did_you_mean

_WINDOW = re.compile(r"_last(\d+)$")
_LOWER_IS_BETTER = frozenset({"loss", "error", "regret"})
_LOWER_BY_NAME = frozenset(
    {"corrector/saturated", "corrector/weight_noisy", "memorisation/observed_fit_noisy"}
)
_PERCENT = frozenset({"accuracy", "purity"})
DEFINITIONS = {
    "train/loss": "Mean training loss of the epoch, in nats.",
    "test/accuracy": "Share of the clean test set that is classified correctly.",
    "test/balanced_accuracy": "Mean over the classes of the accuracy within the class.",
    "test/worst_class_accuracy": "Accuracy within the class where it is lowest.",
    "test/expected_calibration_error": "Mean gap between confidence and accuracy on the test set, "
    "over 15 bins of confidence.",
    "val/accuracy": "Share of the validation split whose labels, as noisy as in training unless "
    "data.validation.labels is clean, the classifier predicts.",
    "val/balanced_accuracy": "Mean over the observed classes of the validation accuracy within "
    "the class.",
    "val/worst_class_accuracy": "Validation accuracy within the observed class where it is "
    "lowest.",
    "val/expected_calibration_error": "Mean gap between confidence and accuracy on the validation "
    "split, by its observed labels, over 15 bins of confidence.",
    "val_clean/accuracy": "Share of the validation split that is classified correctly by its true "
    "labels, where its observed ones are noisy; selection by it would use clean labels.",
    "val_clean/balanced_accuracy": "Mean over the true classes of the clean validation accuracy "
    "within the class.",
    "corrector/auc": "Probability that the corrector gives a sample with a true observed label "
    "a larger weight than a mislabelled one; 0.5 is chance.",
    "corrector/weight_clean": "Mean corrector weight of samples whose observed label is true.",
    "corrector/weight_noisy": "Mean corrector weight of mislabelled samples.",
    "corrector/target_accuracy": "Share of training samples whose corrected target has its "
    "largest entry at the true class.",
    "corrector/saturated": "Share of the pairs of loss rank and class whose corrector weight is 0 "
    "or 1 in float32, so that no gradient passes through it.",
    "margin/range": "Largest learned margin less the smallest, in nats.",
    "margin/frequency_correlation": "Spearman's correlation of the learned margins with the class "
    "sizes: 1 where larger classes have larger margins.",
    "memorisation/observed_fit_noisy": "Share of the mislabelled training samples that are "
    "classified as their wrong label: memorised noise.",
    "memorisation/true_fit_noisy": "Share of the mislabelled training samples that are classified "
    "as their true label, which training never saw.",
    "memorisation/fit_clean": "Share of the correctly labelled training samples that are "
    "classified correctly.",
    "labels/clean_used": "Number of labels known to be clean that the trial was given.",
    "sampler/metadata_purity": "Share of the sampled metadata whose observed label is true.",
    "time/epoch_seconds": "Wall time of an epoch, in seconds.",
    "time/images_per_second": "Training images per second of an epoch, evaluation aside.",
    "time/meta_share": "Share of the training time spent on the meta step.",
    "time/trial_seconds": "Wall time of all epochs so far, in seconds.",
    "memory/peak_mib": "Peak memory so far, in MiB: resident memory of the trial's process on the "
    "CPU, memory that PyTorch's allocator handed out on a GPU.",
    "disk/checkpoint_mib": "Size of the trial's checkpoint, in MiB.",
    "disk/artifacts_mib": "Size of the trial's artifacts, in MiB.",
}
_SHOTS = {
    "many_shot": "many-shot classes (more than 100 training samples, or the largest third)",
    "medium_shot": "medium-shot classes (20 to 100 training samples, or the middle third)",
    "few_shot": "few-shot classes (fewer than 20 training samples, or the smallest third)",
}
DEFINITIONS |= {
    f"{role}/top5_accuracy": f"Share of the {part} whose class is among the five likeliest."
    for role, part in (("test", "test set"), ("val", "validation split"))
}
DEFINITIONS |= {
    f"{role}/{shot}_accuracy": f"Mean accuracy within the {classes}, on the {part}."
    for role, part in (("test", "test set"), ("val", "validation split"))
    for shot, classes in _SHOTS.items()
}
DEFINITIONS |= {
    f"sampler/metadata_purity_{shot}": "Share of the sampled metadata whose observed label is "
    f"true, within the {classes}."
    for shot, classes in _SHOTS.items()
}


def base(metric: str) -> str:
    """The metric whose last epochs are averaged: `test/accuracy` of `test/accuracy_last10`."""
    return _WINDOW.sub("", metric)


def _words(metric: str) -> frozenset[str]:
    return frozenset(re.split(r"[^a-z0-9]+", base(metric).lower()))


def higher_is_better(metric: str) -> bool:
    """Whether a larger value of the metric is better; no other place decides this."""
    if metric.startswith(("time/", "memory/", "disk/")):
        return metric.endswith("_per_second")
    return base(metric) not in _LOWER_BY_NAME and not _words(metric) & _LOWER_IS_BETTER


def is_percent(metric: str) -> bool:
    """Whether the metric is a share that tables show in percent."""
    return bool(_words(metric) & _PERCENT)


def display_unit(metric: str) -> str:
    """Unit of a difference in running text, with a leading space: ` points`, or empty."""
    return " points" if is_percent(metric) else ""


def label(metric: str) -> str:
    """Name of the metric for an axis or a caption, with its unit when tables scale it."""
    return f"{metric} (%)" if is_percent(metric) else metric


def definition(metric: str) -> str | None:
    """Meaning of the metric in one sentence; None for a metric that is not built in."""
    text = DEFINITIONS.get(base(metric))
    window = _WINDOW.search(metric)
    return f"{text} Mean of the last {window[1]} epochs." if text and window else text


def unknown_metric(metric: str, more_tests: Collection[str] = ()) -> str | None:
    """Why no trial can report a metric of this name, or None where one may.

    Each of the further test sets has those of the test set under its own name.
    """
    known = [metric, *(metric.replace(f"test_{name}/", "test/", 1) for name in more_tests)]
    if any(definition(name) is not None for name in known):
        return None
    rule = "must be a metric that trials report"
    return but_got(rule, metric, did_you_mean(metric, DEFINITIONS) or "")


def format_value(metric: str, value: float, *, sign: str = "", exact: bool = False) -> str:
    """Percent with one decimal for shares, otherwise four significant digits, or every digit."""
    if exact:
        return f"{value:{sign}}"
    return f"{100 * value:{sign}.1f}" if is_percent(metric) else f"{value:{sign}.4g}"


def with_value(metric: str, value: float) -> str:
    """`test/accuracy 87.3 %`: the metric and its value in running text."""
    return f"{metric} {format_value(metric, value)}{' %' if is_percent(metric) else ''}"


def format_signed(
    metric: str, value: float, interval: tuple[float, float] | None = None, *, exact: bool = False
) -> str:
    """`+6.2`, or `+6.2 [3.1, 9.0]`: a difference, with its interval where there is one."""
    text = format_value(metric, value, sign="+", exact=exact)
    return f"{text} {format_interval(metric, interval, exact=exact)}" if interval else text


def format_mean(metric: str, mean: float, std: float, *, exact: bool = False) -> str:
    """`87.3 ± 1.2`; the mean alone where one value gives no spread."""
    numbers = [mean] if math.isnan(std) else [mean, std]
    return " ± ".join(format_value(metric, number, exact=exact) for number in numbers)


def format_interval(metric: str, interval: tuple[float, float], *, exact: bool = False) -> str:
    """`[3.1, 9.0]`, in the unit of the table."""
    low, high = (format_value(metric, end, exact=exact) for end in interval)
    return f"[{low}, {high}]"
