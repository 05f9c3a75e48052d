"""The summary of a search, as text and as values for JSON."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dynaloss.execution.progress import clock
from dynaloss.execution.search.director import SearchTrial
from dynaloss.execution.search.outcome import (
    Audit,
    Selection,
    audit_of,
    expected_best,
    pareto_front,
    selections,
    winners,
)
from dynaloss.studies.search.search_plan import Group, SearchPlan
from dynaloss.studies.trial_record import Outcome

if TYPE_CHECKING:
    from dynaloss.execution.ablation import LaunchSummary

__all__ = ["SearchSummary", "short"]


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchSummary:
    """What a search came to.

    Attributes:
        plan: The plan.
        trials: Every trial so far, of this launch and those before.
        importances: Per group, the share of each parameter in the variance of the result.
        interrupted: Whether trials are left that the next launch runs.
        best: The study file of the winners; None where no trial completed.
        confirmed: How their confirmation went; None where there was none.
        seconds: Wall time of this launch.
    """

    plan: SearchPlan
    trials: tuple[SearchTrial, ...]
    importances: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    interrupted: bool = False
    best: Path | None = None
    confirmed: LaunchSummary | None = None
    seconds: float = 0.0

    @property
    def exit_status(self) -> int:
        """0 where all is done, 1 where a trial failed, 130 after an interruption."""
        again = self.confirmed is not None and self.confirmed.interrupted
        if self.interrupted or again:
            return 130
        failed = any(trial.outcome is Outcome.FAILED for trial in self.trials)
        if self.confirmed is not None:
            failed = failed or self.confirmed.count(Outcome.FAILED) > 0
        return 1 if failed else 0

    def as_json(self) -> dict[str, Any]:
        """The summary as values for JSON; what has no value is null."""
        values = {
            "study": self.plan.study.study,
            "hash": self.plan.hash,
            "interrupted": self.interrupted,
            "seconds": round(self.seconds, 1),
            "best": None if self.best is None else str(self.best),
            "groups": [self._group_as_json(group) for group in self.plan.groups],
        }
        plain: dict[str, Any] = _without_nan(values)
        return plain

    def as_text(self) -> str:
        """The summary to read."""
        return "\n".join(self._lines()) + "\n"

    def of(self, group: Group) -> list[SearchTrial]:
        """Trials of a group, by number."""
        found = [trial for trial in self.trials if trial.group.name == group.name]
        return sorted(found, key=lambda trial: trial.number)

    @property
    def test_metric(self) -> str:
        """The metric that shows what each selection rule costs."""
        return self.plan.study.confirmation.metric

    def _group_as_json(self, group: Group) -> dict[str, Any]:
        study, trials = self.plan.study, self.of(group)
        objectives = study.search.objectives()
        first = objectives[0]
        audit = audit_of(trials, group, first, study.scheduler.reduction_factor)
        picks = selections(trials, group, first, self.test_metric)
        best = winners(trials, group, first, study.confirmation.top)
        return {
            "group": group.name,
            "budget": {"trials": group.trials, "epochs": sum(t.last_epoch for t in trials)},
            "outcomes": dict(Counter(str(trial.outcome) for trial in trials)),
            "winners": [
                {"number": t.number, first[0]: t.last(first[0]), "settings": dict(t.chosen),
                 "audited": t.audited_at is not None}
                for t in best
            ],
            "selection": [
                {"rule": p.rule, "number": p.number, "epoch": p.epoch, "value": p.value,
                 self.test_metric: p.test, "cost": p.cost, "clean_labels": p.clean_labels}
                for p in picks
            ],
            "audit": {
                "audited": audit.audited,
                "finished": audit.finished,
                "among_best": audit.among_best,
                "false_share": audit.false_share,
                "rank_correlation": {
                    str(rung): {"value": value, "n": n}
                    for rung, (value, n) in audit.correlations.items()
                },
            },
            "pareto": [
                {"number": t.number, **{name: t.last(name) for name, _ in objectives}}
                for t in pareto_front(trials, group, objectives)
            ] if len(objectives) > 1 else [],
            "importances": dict(self.importances.get(group.name, {})),
            "expected_best": expected_best(trials, group, first),
            "trials": [_trial_as_json(trial, first[0]) for trial in trials],
        }  # fmt: skip

    def _lines(self) -> Iterator[str]:
        study = self.plan.study
        yield f"search {study.study}: {self.coverage} in {clock(self.seconds)}"
        yield from (f"note: {note}" for note in self.plan.notes)
        first, factor = study.search.objectives()[0], study.scheduler.reduction_factor
        for group in self.plan.groups:
            trials = self.of(group)
            epochs = sum(trial.last_epoch for trial in trials)
            counts = Counter(str(trial.outcome) for trial in trials)
            other = ", ".join(f"{n} {o}" for o, n in sorted(counts.items()) if o != "completed")
            yield ""
            yield (
                f"{group.name}: {counts['completed']} of {group.trials} completed"
                + (f", {other}" if other else "")
                + f"; {epochs} of {group.trials * group.epochs} epochs"
            )
            yield from self._winner_lines(group, trials)
            yield from _selection_lines(
                selections(trials, group, first, self.test_metric), self.test_metric
            )
            yield from _audit_lines(audit_of(trials, group, first, factor))
            yield from self._pareto_lines(group, trials)
            if shares := self.importances.get(group.name):
                told = ", ".join(f"{key} {share:.2f}" for key, share in shares.items())
                yield f"  importance: {told}"
        if self.best is not None:
            yield f"\nwinners: {self.best} (run with `dynaloss ablate`)"
        for trial in self.trials:
            if trial.outcome in (Outcome.FAILED, Outcome.DIVERGED):
                yield f"{trial.outcome}: {trial.name}: {trial.message.strip().splitlines()[-1]}"
        if self.interrupted:
            yield "Interrupted: the same command goes on from here."

    @property
    def coverage(self) -> str:
        """How many of the planned trials completed, in words."""
        total = self.plan.num_trials
        done = sum(trial.outcome is Outcome.COMPLETED for trial in self.trials)
        return f"{done} of {total} trials completed"

    def _winner_lines(self, group: Group, trials: list[SearchTrial]) -> Iterator[str]:
        first = self.plan.study.search.objectives()[0]
        top = self.plan.study.confirmation.top
        for winner in winners(trials, group, first, top):
            told = ", ".join(f"{key}={short(value)}" for key, value in winner.chosen.items())
            mark = " (audited)" if winner.audited_at is not None else ""
            value = winner.last(first[0])
            yield f"  winner #{winner.number}{mark}: {first[0]} {value:.4f} with {told}"

    def _pareto_lines(self, group: Group, trials: list[SearchTrial]) -> Iterator[str]:
        objectives = self.plan.study.search.objectives()
        if len(objectives) < 2:
            return
        yield "  not beaten in every objective:"
        for trial in pareto_front(trials, group, objectives):
            told = ", ".join(f"{name} {trial.last(name):.4g}" for name, _ in objectives)
            yield f"    #{trial.number}: {told}"


def _selection_lines(picks: list[Selection], test: str) -> Iterator[str]:
    if not picks:
        return
    width = max(len(pick.rule) for pick in picks)
    yield f"  what each rule would have taken, and its {test}:"
    for pick in picks:
        used = f"  ({pick.clean_labels} clean labels)" if pick.clean_labels else ""
        yield (
            f"    {pick.rule:<{width}}  #{pick.number:<3} epoch {pick.epoch:<3} "
            f"{pick.test:.4f}  costs {pick.cost:.4f}{used}"
        )


def _audit_lines(audit: Audit) -> Iterator[str]:
    if audit.audited:
        yield (
            f"  audit: {audit.among_best} of {audit.finished} trials that were to be stopped "
            f"ended among the best (n = {audit.finished})"
        )
    known = [(rung, r, n) for rung, (r, n) in audit.correlations.items() if not math.isnan(r)]
    if known:
        told = ", ".join(f"epoch {rung}: {r:+.2f} (n = {n})" for rung, r, n in known)
        yield f"  rank correlation with the end: {told}"


def _trial_as_json(trial: SearchTrial, metric: str) -> dict[str, Any]:
    return {
        "number": trial.number,
        "key": trial.key,
        "outcome": str(trial.outcome),
        "epoch": trial.last_epoch,
        "rung": trial.last_rung,
        "audited_at": trial.audited_at,
        metric: trial.last(metric),
        "settings": dict(trial.chosen),
    }


def short(value: object) -> str:
    """A value to read: four significant digits, `none` where there is none."""
    if value is None:
        return "none"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _without_nan(value: Any) -> Any:  # noqa: ANN401 - any JSON
    if isinstance(value, dict):
        return {key: _without_nan(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_without_nan(one) for one in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
