"""Conducts a search: what runs next, what a report leads to; knows neither Ray nor MLflow.

Its state follows from the study, the journal and Optuna's storage, in that order of precedence:
each event is written to the journal before it has any effect, and a relaunch replays them.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from dynaloss.config.settings import Scalar
from dynaloss.execution.search.journal import Journal
from dynaloss.execution.search.pruning import Candidate, Decision, Verdict, make_pruner
from dynaloss.execution.trial.live import LiveTrial
from dynaloss.execution.trial.runner import StepResult
from dynaloss.studies.search.groups import Group, SearchPlan, search_trial
from dynaloss.studies.trial_record import Outcome

if TYPE_CHECKING:
    from dynaloss.execution.recording import Recorder
    from dynaloss.execution.search.suggestions import Suggester


@dataclass(slots=True, kw_only=True)
class SearchTrial(LiveTrial):
    """A trial of a search and what is known of it, of this launch and of those before.

    Attributes:
        group: Its group.
        number: Position in the group, from 0.
        chosen: The suggested values.
        rungs: Rungs reached, each with the decision made there.
        audited_at: Rung at which it would have been stopped, if it ran on for the audit.
    """

    group: Group
    number: int
    chosen: Mapping[str, Scalar]
    rungs: dict[int, Decision] = field(default_factory=dict)
    audited_at: int | None = None

    @property
    def name(self) -> str:
        """The trial in words."""
        return f"{self.group.name} · #{self.number}"

    @property
    def note(self) -> str:
        """The rung where it would have been stopped."""
        return "" if self.audited_at is None else f"audited at {self.audited_at}"

    @property
    def tags(self) -> Mapping[str, Any]:
        """Position, suggestion and rungs."""
        return {
            "dynaloss.group": self.group.name,
            "dynaloss.number": self.number,
            "dynaloss.suggested": json.dumps(dict(self.chosen)),
            "dynaloss.rung": self.last_rung,
            "dynaloss.audited": self.audited_at is not None,
        }

    @property
    def last_rung(self) -> int:
        """Last rung reached, in epochs, 0 before the first."""
        return max(self.rungs, default=0)

    def curve(self, metric: str) -> dict[int, float]:
        """Values of a metric by epoch."""
        return {
            epoch: metrics.get(metric, math.nan) for epoch, metrics in sorted(self.reports.items())
        }


class Director:
    """Conducts one search; `start` comes before everything but the properties.

    Args:
        plan: The plan.
        journal: What happened so far; replayed at once.
        suggestions: By name of the group.
    """

    _recorder: Recorder

    def __init__(
        self, plan: SearchPlan, journal: Journal, suggestions: Mapping[str, Suggester]
    ) -> None:
        search = plan.study.search
        self._plan = plan
        self.trials: dict[str, SearchTrial] = {}
        self._objectives = search.objectives()
        self._journal = journal
        self._suggestions = suggestions
        self._groups = {group.name: group for group in plan.groups}
        self._first = self._objectives[0]
        self._pruner = make_pruner(plan.study.scheduler, seed=search.seed, mode=self._first.mode)
        self._asked = dict.fromkeys(self._groups, 0)
        self._undecided = self._replay()
        self._queue: list[SearchTrial] = []

    @property
    def left(self) -> list[Group]:
        """The group of each trial that has not ended for good."""
        ended = Counter(t.group.name for t in self.trials.values() if t.outcome.is_final)
        return [
            group
            for group in self._plan.groups
            for _ in range(max(group.trials, self._asked[group.name]) - ended[group.name])
        ]

    @property
    def all_asked(self) -> bool:
        """Whether every trial of the budget has been begun."""
        return all(self._asked[group.name] >= group.trials for group in self._plan.groups)

    def start(self, recorder: Recorder) -> None:
        """Makes up for what a kill cut off; `recorder` receives everything from now on."""
        self._recorder = recorder
        for trial in self.trials.values():
            if trial.outcome is Outcome.RUNNING and trial.key in self._undecided:
                self._act(trial, self._undecided[trial.key])
            else:
                self._tell(trial)
        self._queue = [t for t in self.trials.values() if not t.outcome.is_final]

    def next(self) -> SearchTrial | None:
        """The next trial: one that an earlier launch left, or else a new one; None at the end.

        New trials go to the group with the fewest, so that all groups advance together.
        """
        if self._queue:
            trial = self._queue.pop(0)
            trial.outcome, trial.message = Outcome.RUNNING, ""
        else:
            open_ = [g for g in self._plan.groups if self._asked[g.name] < g.trials]
            if not open_:
                return None
            group = min(open_, key=lambda group: self._asked[group.name])
            trial = self._ask(group)
        self._recorder.begun(trial)
        return trial

    def _ask(self, group: Group) -> SearchTrial:
        number = self._asked[group.name]
        chosen = self._suggestions[group.name].ask(number)
        self._journal.write("begin", group=group.name, number=number, chosen=chosen)
        return self._begin(group, number, chosen)

    def _begin(self, group: Group, number: int, chosen: Mapping[str, Scalar]) -> SearchTrial:
        trial = search_trial(self._plan.study, group, number, chosen)
        found = SearchTrial(trial=trial, group=group, number=number, chosen=chosen)
        self.trials[found.key] = found
        self._asked[group.name] = max(self._asked[group.name], number + 1)
        return found

    def take(self, key: str, result: StepResult) -> bool:
        """Decides on a trial by the result of a step; returns whether the trial continues.

        Epochs that were reported before, by this launch or an earlier one, are ignored.
        """
        trial = self.trials[key]
        if result.data and not trial.data:
            self._journal.write("data", key=key, record=result.data)
            trial.data, trial.environment = result.data, result.environment
            self._recorder.prepared(trial)
        trial.resumed_from = result.resumed_from or trial.resumed_from
        for epoch, metrics in result.reports:
            if trial.outcome is not Outcome.RUNNING or epoch <= trial.last_epoch:
                continue
            self._journal.write("report", key=key, epoch=epoch, metrics=metrics)
            decision = self._report(trial, epoch, metrics)
            self._recorder.reported(trial)
            self._act(trial, decision)
        if result.resumed_from and trial.outcome is Outcome.RUNNING:
            self._recorder.resumed(trial)
        if result.outcome is not None and trial.outcome is Outcome.RUNNING:
            self.end(key, result.outcome, result.message, result.diagnostics)
        return trial.outcome is Outcome.RUNNING

    def end(
        self,
        key: str,
        outcome: Outcome,
        message: str = "",
        diagnostics: dict[str, Any] | None = None,
    ) -> None:
        """Ends a trial, once; a failed one is retried by the next launch."""
        trial = self.trials[key]
        if trial.outcome is not Outcome.RUNNING:
            return
        learned = diagnostics or {}
        self._journal.write(
            "end", key=key, outcome=str(outcome), message=message, diagnostics=learned
        )
        trial.outcome, trial.message, trial.diagnostics = outcome, message, learned
        self._tell(trial)
        self._recorder.ended(trial)

    def _report(self, trial: SearchTrial, epoch: int, metrics: dict[str, float]) -> Decision:
        trial.reports[epoch] = metrics
        group = trial.group
        candidate = Candidate(
            key=trial.key,
            number=trial.number,
            pool=group.pool,
            rungs=group.rungs,
            epochs=group.epochs,
        )
        decision = self._pruner.report(candidate, epoch, trial.last(self._first.name))
        if decision.rung is not None:
            trial.rungs[epoch] = decision
        if decision.verdict is Verdict.AUDIT:
            trial.audited_at = epoch
        return decision

    def _act(self, trial: SearchTrial, decision: Decision) -> None:
        epoch = trial.last_epoch
        if decision.verdict is Verdict.PRUNE:
            place = f"place {decision.place} of {decision.among} in '{trial.group.pool}'"
            message = f"stopped at epoch {epoch}, rung {decision.rung}: {place}"
            self.end(trial.key, Outcome.PRUNED, message)
        elif decision.verdict is Verdict.DIVERGED:
            message = f"{self._first.name} is not finite at epoch {epoch}"
            self.end(trial.key, Outcome.DIVERGED, message)

    def _tell(self, trial: SearchTrial) -> None:
        if not trial.outcome.is_final:
            return
        curve = trial.curve(self._first.name)
        shown = set(trial.group.rungs) | {trial.last_epoch}
        self._suggestions[trial.group.name].tell(
            trial.number,
            trial.outcome,
            [trial.last(name) for name, _ in self._objectives],
            {epoch: value for epoch, value in curve.items() if epoch in shown},
        )

    def _replay(self) -> dict[str, Decision]:
        """Feeds the journal through the same decisions; returns the last one on each trial."""
        last: dict[str, Decision] = {}
        for event in self._journal.read():
            match event["event"]:
                case "begin" if event["group"] in self._groups:
                    group = self._groups[event["group"]]
                    self._begin(group, event["number"], event["chosen"])
                case "data" if event["key"] in self.trials:
                    self.trials[event["key"]].data = event["record"]
                case "report" if event["key"] in self.trials:
                    trial = self.trials[event["key"]]
                    trial.outcome = Outcome.RUNNING  # a failed one has resumed
                    last[trial.key] = self._report(trial, event["epoch"], event["metrics"])
                case "end" if event["key"] in self.trials:
                    trial = self.trials[event["key"]]
                    trial.outcome = Outcome(event["outcome"])
                    trial.message, trial.diagnostics = event["message"], event["diagnostics"]
        return last
