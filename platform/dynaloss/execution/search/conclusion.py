"""The summary of a search, as text and as values for JSON."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jinja2
from pydantic_core import to_json

from dynaloss.config.search import Objective
from dynaloss.execution.progress import clock
from dynaloss.execution.search.director import SearchTrial
from dynaloss.execution.search.outcome import GroupOutcome
from dynaloss.studies.search.groups import SearchPlan
from dynaloss.studies.trial_record import Outcome

if TYPE_CHECKING:
    from dynaloss.execution.ablation import LaunchSummary


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
        confirmed = () if self.confirmed is None else self.confirmed.endings.values()
        outcomes = {trial.outcome for trial in (*self.trials, *confirmed)}
        if self.interrupted or Outcome.INTERRUPTED in outcomes:
            return 130
        return 1 if Outcome.FAILED in outcomes else 0

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
            "best": self.best,
            "groups": [self._group_as_json(one) for one in self.groups],
        }
        plain: dict[str, Any] = json.loads(to_json(values, inf_nan_mode="null"))
        return plain

    def as_text(self) -> str:
        """The summary to read."""
        names = [name for name, _ in self.objectives]
        return page_template("search.txt.j2").render(summary=self, names=names)

    def _group_as_json(self, one: GroupOutcome) -> dict[str, Any]:
        first, audit = self.objectives[0].name, one.audit
        return {
            "group": one.group.name,
            "budget": {"trials": one.group.trials, "epochs": one.epochs},
            "outcomes": one.counts,
            "winners": [
                {"number": t.number, first: t.last(first), "settings": t.chosen,
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
                    rung: {"value": value, "n": n}
                    for rung, (value, n) in audit.correlations.items()
                },
            },
            "pareto": [
                {"number": t.number, **{name: t.last(name) for name, _ in self.objectives}}
                for t in one.front
            ],
            "importances": one.importances,
            "expected_best": one.expected_best,
            "trials": [
                {"number": t.number, "key": t.key, "outcome": t.outcome,
                 "epoch": t.last_epoch, "rung": t.last_rung, "audited_at": t.audited_at,
                 first: t.last(first), "settings": t.chosen}
                for t in one.trials
            ],
        }  # fmt: skip


def page_template(name: str) -> jinja2.Template:
    """The template of that name, which shows a `summary` by `names` of its objectives."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("dynaloss.execution.search"),
        autoescape=jinja2.select_autoescape(["html.j2"]),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
    )
    environment.filters["number"] = _short
    interrupted = "Interrupted: run the same command again to continue."
    return environment.get_template(name, globals={"interrupted": interrupted, "clock": clock})


def _short(value: object) -> str:
    """A value to read: four significant digits, `none` if there is none."""
    if isinstance(value, float):
        return "none" if math.isnan(value) else f"{value:.4g}"
    return "none" if value is None else str(value)
