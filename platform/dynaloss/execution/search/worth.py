"""Whether a search was worth it: its winners against the untuned trial and the best baseline."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from dynaloss.analysis import Cell, Result, compare
from dynaloss.analysis.statistics.intervals import mean
from dynaloss.config.search import untuned_arm
from dynaloss.execution.progress_file import clock
from dynaloss.execution.search.outcome import GroupOutcome
from dynaloss.studies import metric_names
from dynaloss.studies.study import SearchStudy


def worth(
    study: SearchStudy, groups: Sequence[GroupOutcome], confirmation: Result
) -> Iterator[str]:
    """A line for each arm and opponent, over all conditions and under each, then the cost.

    Differences are paired over the seeds of the confirmation. Those of a line are tested together,
    as in `dynaloss compare`.
    """
    known = {record.arm for record in confirmation.records}
    for arm in dict.fromkeys(one.group.arm for one in groups):
        baseline = _best(study.confirmation.baselines, confirmation)
        for opponent, kind in ((untuned_arm(arm), "untuned"), (baseline, "best baseline")):
            if {arm, opponent} <= known:
                yield _line(arm, opponent, kind, confirmation)
    trials = [trial for one in groups for trial in (*one.trials, *one.raced)]
    epochs = sum(trial.last_epoch for trial in trials)
    seconds = sum(trial.metrics.get("time/trial_seconds", 0.0) for trial in trials)
    yield f"cost: {epochs:,} epochs, {clock(seconds)} of training, beside the confirmation"


def _best(baselines: Sequence[str], confirmation: Result) -> str:
    """The baseline with the best mean over the conditions; empty without any."""
    found = confirmation.comparisons[0]
    means = {
        arm: mean([found.cell(condition, arm).mean for condition in found.conditions])
        for arm in baselines
        if arm in found.arms
    }
    choose = max if metric_names.higher_is_better(found.metric) else min
    return choose(means, key=lambda arm: means[arm]) if means else ""


def _line(arm: str, opponent: str, kind: str, confirmation: Result) -> str:
    shown = confirmation.comparisons[0]
    pair = [record for record in confirmation.records if record.arm in (arm, opponent)]
    found = compare(pair, shown.metric, baseline=opponent, margin=shown.margin)
    cells = [cell for cell in (*found.pooled, *found.cells) if cell.arm == arm]
    texts = "; ".join(_text(cell, shown.metric) for cell in cells)
    name = opponent if kind == opponent else f"{opponent} ({kind})"
    return f"{arm} against {name}: {texts}"


def _text(cell: Cell, metric: str) -> str:
    found = cell.difference
    if found is None:
        return f"{cell.condition}: no shared seed"
    difference = metric_names.format_signed(metric, found.mean, found.simultaneous)
    return f"{cell.condition} {difference} {found.verdict}"
