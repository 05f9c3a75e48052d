"""What a metric's name says: which direction is better, its unit, its meaning."""

from __future__ import annotations

import math
import re

__all__ = [
    "definition",
    "display_unit",
    "format_interval",
    "format_mean",
    "format_signed",
    "format_value",
    "higher_is_better",
    "is_percent",
    "label",
]

_LAST_TEN = re.compile(r"_last(\d+)$")
_LOWER_IS_BETTER = frozenset({"loss", "error", "regret"})
_LOWER_BY_NAME = frozenset({"corrector/weight_noisy", "memorisation/observed_fit_noisy"})
_PERCENT = frozenset({"accuracy", "purity"})
_DEFINITIONS = {
    "train/loss": "Mean training loss of the epoch, in nats.",
    "test/accuracy": "Share of the clean test set that is classified correctly.",
    "test/balanced_accuracy": "Mean over the classes of the accuracy within the class.",
    "test/worst_class_accuracy": "Accuracy within the class where it is lowest.",
    "corrector/auc": "Probability that the corrector gives a sample with a true observed label "
    "a larger weight than a mislabelled one; 0.5 is chance.",
    "corrector/weight_clean": "Mean corrector weight of samples whose observed label is true.",
    "corrector/weight_noisy": "Mean corrector weight of mislabelled samples.",
    "corrector/target_accuracy": "Share of training samples whose corrected target has its "
    "largest entry at the true class.",
    "sampler/metadata_purity": "Share of the sampled metadata whose observed label is true.",
    "time/epoch_seconds": "Wall time of an epoch, in seconds.",
    "time/meta_share": "Share of the training time spent on the meta step.",
}


def _words(metric: str) -> frozenset[str]:
    return frozenset(re.split(r"[^a-z0-9]+", _LAST_TEN.sub("", metric).lower()))


def higher_is_better(metric: str) -> bool:
    """Whether a larger value of the metric is the better one; the only place that decides."""
    if metric.startswith("time/") or _LAST_TEN.sub("", metric) in _LOWER_BY_NAME:
        return False
    return not _words(metric) & _LOWER_IS_BETTER


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
    """One sentence on what the metric measures; None for a metric that is not built in."""
    base = _DEFINITIONS.get(_LAST_TEN.sub("", metric))
    window = _LAST_TEN.search(metric)
    return f"{base} Mean of the last {window[1]} epochs." if base and window else base


def format_value(metric: str, value: float) -> str:
    """Percent with one decimal for shares, four significant digits otherwise."""
    return f"{100 * value:.1f}" if is_percent(metric) else f"{value:.4g}"


def format_signed(metric: str, value: float) -> str:
    """As `format_value`, always with a sign: a difference."""
    return f"{100 * value:+.1f}" if is_percent(metric) else f"{value:+.4g}"


def format_mean(metric: str, mean: float, std: float) -> str:
    """`87.3 ± 1.2`; the mean alone where one value gives no spread."""
    text = format_value(metric, mean)
    return text if math.isnan(std) else f"{text} ± {format_value(metric, std)}"


def format_interval(metric: str, interval: tuple[float, float]) -> str:
    """`[3.1, 9.0]`, in the unit of the table."""
    return f"[{format_value(metric, interval[0])}, {format_value(metric, interval[1])}]"
