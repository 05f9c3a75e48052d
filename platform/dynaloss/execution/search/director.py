"""Conducts a search: what runs next, what a report leads to; knows neither Ray nor MLflow.

Its state follows from the study, the journal and Optuna's storage, in that order of precedence:
each event is written to the journal before it has any effect, and a relaunch replays them.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from dynaloss.config.settings import Scalar
from dynaloss.execution.search.outcome import race_among
from dynaloss.execution.search.pruning import Candidate, Decision, Pruner, Verdict, make_pruner
from dynaloss.execution.search.race import Entry, Race, at_once
from dynaloss.execution.search.searched import SearchTrial
from dynaloss.execution.trial.runner import StepResult
from dynaloss.journal import Journal
from dynaloss.studies.search.groups import Group, SearchPlan, search_trial
from dynaloss.studies.trial_record import Outcome

if TYPE_CHECKING:
    from dynaloss.execution.recording import Recorder
    from dynaloss.execution.search.suggestions import Suggester


class Director:
    """Conducts one search; `start` comes before everything but the properties.

    Args:
        plan: The plan.
        journal: What happened so far; replayed at once.
        suggestions: By name of the group.
        pruner: Decides when trials stop; by default that of the study.
    """

    _recorder: Recorder

    def __init__(
        self,
        plan: SearchPlan,
        journal: Journal,
        suggestions: Mapping[str, Suggester],
        pruner: Pruner | None = None,
    ) -> None:
        search = plan.study.search
        self._plan = plan
        self.trials: dict[str, SearchTrial] = {}
        self._objectives = search.objectives()
        self._journal = journal
        self._suggestions = suggestions
        self._groups = {group.name: group for group in plan.groups}
        self._first = self._objectives[0]
        self._pruner = pruner or make_pruner(
            plan.study.scheduler, seed=search.seed, mode=self._first.mode
        )
        self._asked = dict.fromkeys(self._groups, 0)
        self._undecided = self._replay()
        self._queue: list[SearchTrial] = []

    @property
    def left(self) -> list[Group]:
        """The group of each trial that has not ended for good, with all that a race may bring."""
        ended = Counter(t.group.name for t in self.searched() if t.outcome.is_final)
        return [
            group
            for group in self._plan.groups
            for _ in range(
                max(group.trials, self._asked[group.name])
                - ended[group.name]
                + self._most_of_race(group)
            )
        ]

    @property
    def is_done(self) -> bool:
        """Whether nothing but failed trials is left for the next launch."""
        unfinished = {Outcome.RUNNING, Outcome.INTERRUPTED}
        return not (
            self._open_groups()
            or any(trial.outcome in unfinished for trial in self.trials.values())
            or any(self._race_entries(group) for group in self._plan.groups)
        )

    def searched(self) -> list[SearchTrial]:
        """The trials of the search itself, without those of the races, in order of their start."""
        return [trial for trial in self.trials.values() if trial.race_seed is None]

    def start(self, recorder: Recorder) -> None:
        """Makes up for what a kill cut off; `recorder` receives everything from now on."""
        self._recorder = recorder
        for trial in self.trials.values():
            if trial.outcome is Outcome.RUNNING and trial.key in self._undecided:
                self._act(trial, self._undecided[trial.key])
            else:
                self._tell(trial)
        self._queue = [
            t for t in self.trials.values() if not t.outcome.is_final and not t.is_paused
        ]

    def upcoming(self) -> Iterator[SearchTrial | None]:
        """The trials to run, each when there is room; None while the next follows from others.

        First those that an earlier launch left, then those promoted to the next rung, then new
        ones, in the group with the fewest, so that all groups advance together; then the races.
        """
        while True:
            trial = self._next()
            if trial is not None:
                self._recorder.begun(trial)
            elif not self._running():
                return
            yield trial

    def _next(self) -> SearchTrial | None:
        if self._queue:
            trial = self._queue.pop(0)
            trial.outcome, trial.message = Outcome.RUNNING, ""
            return trial
        while (key := self._pruner.promotable()) is not None:
            if self.trials[key].is_paused:
                return self._promote(self.trials[key])
            self._pruner.promote(key)  # it has ended, before the search was made longer
        if open_ := self._open_groups():
            return self._ask(min(open_, key=lambda group: self._asked[group.name]))
        if not any(trial.race_seed is None for trial in self._running()):
            if (last := self._last_promotion()) is not None:
                return self._promote(last)
            self._end_paused()
        for group in self._plan.groups:
            for number, seed in self._race_entries(group):
                chosen = self._trial_of(group, number).chosen
                self._journal.write(
                    "begin", group=group.name, number=number, chosen=chosen, race_seed=seed
                )
                return self._begin(group, number, chosen, seed)
        return None

    def _open_groups(self) -> list[Group]:
        return [g for g in self._plan.groups if self._asked[g.name] < g.trials]

    def _running(self) -> list[SearchTrial]:
        return [
            trial
            for trial in self.trials.values()
            if trial.outcome is Outcome.RUNNING and not trial.is_paused
        ]

    def _trial_of(self, group: Group, number: int) -> SearchTrial:
        return next(
            t for t in self.searched() if t.group.name == group.name and t.number == number
        )

    def _promote(self, trial: SearchTrial) -> SearchTrial:
        self._journal.write("promote", key=trial.key)
        self._pruner.promote(trial.key)
        trial.is_paused = False
        return trial

    def _last_promotion(self) -> SearchTrial | None:
        """The best paused trial of a group in which too few have completed to name a winner."""
        race = self._plan.study.search.race
        for group in self._plan.groups:
            own = [t for t in self.searched() if t.group.name == group.name]
            paused = [t for t in own if t.is_paused]
            completed = sum(t.outcome is Outcome.COMPLETED for t in own)
            if paused and completed < (race.top if race else 1):
                sign, name = self._first.sign, self._first.name
                return max(paused, key=lambda t: (t.last_rung, sign * t.last(name), -t.number))
        return None

    def _end_paused(self) -> None:
        for trial in self.trials.values():
            if trial.is_paused:
                trial.is_paused = False
                message = f"not promoted from rung {trial.last_rung}"
                self.end(trial.key, Outcome.PRUNED, message)

    def race(self, group: Group) -> Race | None:
        """The race of a group as far as it has come; None before it, or without one."""
        config = self._plan.study.search.race
        own = [t for t in self.trials.values() if t.group.name == group.name]
        searched = [t for t in own if t.race_seed is None]
        is_over = self._asked[group.name] >= group.trials and not any(
            t.outcome in (Outcome.RUNNING, Outcome.INTERRUPTED) for t in searched
        )
        return race_among(config, own, self._first) if config and is_over else None

    def _race_entries(self, group: Group) -> list[Entry]:
        """What the race of a group has to begin now, or may begin before the search has ended."""
        race = self.race(group)
        begun = {
            (t.number, t.race_seed) for t in self.trials.values() if t.group.name == group.name
        }
        wanted = race.to_run if race else self._certain_entries(group)
        return [entry for entry in wanted if entry not in begun]

    def _certain_entries(self, group: Group) -> list[Entry]:
        """Those of the untuned trial, which races wherever it stands, while others still run."""
        config, places = self._plan.study.search.race, {Outcome.RUNNING, Outcome.COMPLETED}
        untuned = [t for t in self.searched() if t.group.name == group.name and t.is_untuned]
        if config is None or group.trials < 2 or not all(t.outcome in places for t in untuned):
            return []
        return [(t.number, seed) for t in untuned for seed in at_once(config.seeds)]

    def _most_of_race(self, group: Group) -> int:
        config, race = self._plan.study.search.race, self.race(group)
        if config is None or (race is not None and not race.to_run):
            return 0
        own = [t for t in self.trials.values() if t.group.name == group.name]
        ended = sum(t.race_seed is not None and t.outcome.is_final for t in own)
        return min(config.top, group.trials) * len(config.seeds) - ended

    def _ask(self, group: Group) -> SearchTrial:
        number = self._asked[group.name]
        chosen = self._suggestions[group.name].ask(number)
        self._journal.write("begin", group=group.name, number=number, chosen=chosen)
        return self._begin(group, number, chosen)

    def _begin(
        self,
        group: Group,
        number: int,
        chosen: Mapping[str, Scalar],
        race_seed: int | None = None,
    ) -> SearchTrial:
        trial = search_trial(self._plan.study, group, number, chosen, race_seed)
        found = SearchTrial(
            trial=trial, group=group, number=number, chosen=chosen, race_seed=race_seed
        )
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
        self._recorder.noted(trial, result.notes)
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
        return trial.outcome is Outcome.RUNNING and not trial.is_paused

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

    def note(self, key: str | None, text: str) -> None:
        """Shows a sentence; see `Listener.note`."""
        self._recorder.noted(self.trials[key] if key else None, [text])

    def _report(self, trial: SearchTrial, epoch: int, metrics: dict[str, float]) -> Decision:
        trial.reports[epoch] = metrics
        decision = self._decide(trial, epoch, trial.last(self._first.name))
        if decision.rung is not None:
            trial.rungs[epoch] = decision
        if decision.verdict is Verdict.AUDIT:
            trial.audited_at = epoch
        trial.is_paused = decision.verdict is Verdict.PAUSE
        return decision

    def _decide(self, trial: SearchTrial, epoch: int, value: float) -> Decision:
        if trial.race_seed is not None:  # a race compares at the end
            finite = math.isfinite(value)
            return Decision(verdict=Verdict.CONTINUE if finite else Verdict.DIVERGED)
        group = trial.group
        candidate = Candidate(
            key=trial.key,
            number=trial.number,
            pool=group.pool,
            rungs=group.rungs,
            epochs=group.epochs,
        )
        decision = self._pruner.report(candidate, epoch, value)
        if trial.is_untuned and decision.verdict in (Verdict.PRUNE, Verdict.PAUSE):
            self._pruner.promote(trial.key)
            return replace(decision, verdict=Verdict.CONTINUE)
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
        elif decision.verdict is Verdict.PAUSE:
            self._recorder.paused(trial)

    def _tell(self, trial: SearchTrial) -> None:
        if not trial.outcome.is_final or trial.race_seed is not None:
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
                    self._begin(group, event["number"], event["chosen"], event.get("race_seed"))
                case "data" if event["key"] in self.trials:
                    self.trials[event["key"]].data = event["record"]
                case "report" if event["key"] in self.trials:
                    trial = self.trials[event["key"]]
                    trial.outcome = Outcome.RUNNING  # a failed one has resumed
                    last[trial.key] = self._report(trial, event["epoch"], event["metrics"])
                case "promote" if event["key"] in self.trials:
                    self._pruner.promote(event["key"])
                    self.trials[event["key"]].is_paused = False
                case "end" if event["key"] in self.trials:
                    trial = self.trials[event["key"]]
                    trial.outcome = Outcome(event["outcome"])
                    trial.message, trial.diagnostics = event["message"], event["diagnostics"]
                    trial.is_paused = False
        return last
