"""The summary of a search, as text and as values for JSON."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dynaloss.config.search import Objective
from dynaloss.execution.progress import clock
from dynaloss.execution.search.director import SearchTrial
from dynaloss.execution.search.outcome import GroupOutcome
from dynaloss.studies.search.groups import SearchPlan
from dynaloss.studies.trial_record import Outcome

if TYPE_CHECKING:
    from dynaloss.execution.ablation import LaunchSummary

INTERRUPTED = "Interrupted: run the same command again to continue."


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchSummary:
    """The result of a search.

    Attributes:
        plan: The plan.
        trials: Every trial so far, of this launch and those before.
        groups: Results by group, in the order of the plan.
        interrupted: Whether trials are left for the next launch.
        best: The study file of the winners; None if no trial completed.
        confirmed: The launch that retrained them; None if there was none.
        seconds: Wall time of this launch.
    """

    plan: SearchPlan
    trials: tuple[SearchTrial, ...]
    groups: tuple[GroupOutcome, ...]
    interrupted: bool = False
    best: Path | None = None
    confirmed: LaunchSummary | None = None
    seconds: float = 0.0

    @property
    def exit_status(self) -> int:
        """0 if all is done, 1 if a trial failed, 130 after an interruption."""
        confirmed = self.confirmed
        if self.interrupted or (confirmed is not None and confirmed.interrupted):
            return 130
        failed = any(trial.outcome is Outcome.FAILED for trial in self.trials)
        if confirmed is not None:
            failed = failed or confirmed.count(Outcome.FAILED) > 0
        return 1 if failed else 0

    @property
    def objectives(self) -> tuple[Objective, ...]:
        """What was optimised."""
        return self.plan.study.search.objectives()

    @property
    def test_metric(self) -> str:
        """The metric that shows what each selection rule costs."""
        return self.plan.study.confirmation.metric

    @property
    def coverage(self) -> str:
        """Share of the planned trials that completed, in words."""
        done = sum(trial.outcome is Outcome.COMPLETED for trial in self.trials)
        return f"{done} of {self.plan.num_trials} trials completed"

    def as_json(self) -> dict[str, Any]:
        """The summary as values for JSON; what has no value is null."""
        values = {
            "study": self.plan.study.study,
            "hash": self.plan.hash,
            "interrupted": self.interrupted,
            "seconds": round(self.seconds, 1),
            "best": None if self.best is None else str(self.best),
            "groups": [self._group_as_json(one) for one in self.groups],
        }
        plain: dict[str, Any] = _without_nan(values)
        return plain

    def as_text(self) -> str:
        """The summary to read."""
        return "\n".join(self._lines()) + "\n"

    def _group_as_json(self, one: GroupOutcome) -> dict[str, Any]:
        first, audit = self.objectives[0][0], one.audit
        return {
            "group": one.group.name,
            "budget": {"trials": one.group.trials, "epochs": one.epochs},
            "outcomes": dict(one.counts),
            "winners": [
                {"number": t.number, first: t.last(first), "settings": dict(t.chosen),
                 "audited": t.audited_at is not None}
                for t in one.winners
            ],
            "selection": [
                {"rule": s.rule, "number": s.number, "epoch": s.epoch, "value": s.value,
                 self.test_metric: s.test, "cost": s.cost, "clean_labels": s.clean_labels}
                for s in one.selections
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
                {"number": t.number, **{name: t.last(name) for name, _ in self.objectives}}
                for t in one.front
            ],
            "importances": dict(one.importances),
            "expected_best": list(one.expected_best),
            "trials": [
                {"number": t.number, "key": t.key, "outcome": str(t.outcome),
                 "epoch": t.last_epoch, "rung": t.last_rung, "audited_at": t.audited_at,
                 first: t.last(first), "settings": dict(t.chosen)}
                for t in one.trials
            ],
        }  # fmt: skip

    def _lines(self) -> Iterator[str]:
        yield f"search {self.plan.study.study}: {self.coverage} in {clock(self.seconds)}"
        yield from (f"note: {note}" for note in self.plan.notes)
        for one in self.groups:
            yield from self._group_lines(one)
        if self.best is not None:
            yield f"\nwinners: {self.best} (run with `dynaloss ablate`)"
        for trial in self.trials:
            if trial.outcome in (Outcome.FAILED, Outcome.DIVERGED):
                yield f"{trial.outcome}: {trial.name}: {trial.message.strip().splitlines()[-1]}"
        if self.interrupted:
            yield INTERRUPTED

    def _group_lines(self, one: GroupOutcome) -> Iterator[str]:
        group, counts = one.group, one.counts
        other = "".join(f", {n} {o}" for o, n in sorted(counts.items()) if o != "completed")
        yield ""
        yield (
            f"{group.name}: {counts['completed']} of {group.trials} completed{other}; "
            f"{one.epochs} of {group.trials * group.epochs} epochs"
        )
        first = self.objectives[0][0]
        for winner in one.winners:
            chosen = ", ".join(f"{key}={short(value)}" for key, value in winner.chosen.items())
            mark = " (audited)" if winner.audited_at is not None else ""
            value = winner.last(first)
            yield f"  winner #{winner.number}{mark}: {first} {value:.4f} with {chosen}"
        yield from self._selection_lines(one)
        yield from _audit_lines(one)
        if one.front:
            yield "  not beaten in every objective:"
        for trial in one.front:
            values = ", ".join(f"{name} {trial.last(name):.4g}" for name, _ in self.objectives)
            yield f"    #{trial.number}: {values}"
        if one.importances:
            shares = ", ".join(f"{key} {share:.2f}" for key, share in one.importances.items())
            yield f"  importance: {shares}"

    def _selection_lines(self, one: GroupOutcome) -> Iterator[str]:
        if one.selections:
            yield f"  choice of each rule, and its {self.test_metric}:"
        width = max((len(choice.rule) for choice in one.selections), default=0)
        for choice in one.selections:
            used = f"  ({choice.clean_labels} clean labels)" if choice.clean_labels else ""
            yield (
                f"    {choice.rule:<{width}}  #{choice.number:<3} epoch {choice.epoch:<3} "
                f"{choice.test:.4f}  costs {choice.cost:.4f}{used}"
            )


def _audit_lines(one: GroupOutcome) -> Iterator[str]:
    audit = one.audit
    if audit.audited:
        yield (
            f"  audit: {audit.among_best} of {audit.finished} trials that were to be stopped "
            f"ended among the best (n = {audit.finished})"
        )
    if audit.known_correlations:
        values = ", ".join(
            f"epoch {rung}: {r:+.2f} (n = {n})"
            for rung, (r, n) in audit.known_correlations.items()
        )
        yield f"  rank correlation with the end: {values}"


def short(value: object) -> str:
    """A value to read: four significant digits, `none` if there is none."""
    if isinstance(value, float):
        return "none" if math.isnan(value) else f"{value:.4g}"
    return "none" if value is None else str(value)


def _without_nan(value: Any) -> Any:  # noqa: ANN401 - any JSON
    if isinstance(value, dict):
        return {key: _without_nan(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_without_nan(one) for one in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
