"""The summary of a search, as text and as values for JSON."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jinja2
from pydantic_core import to_json

from dynaloss.analysis import Query, Result, run_query
from dynaloss.config.search import Objective
from dynaloss.config.settings import Scalar
from dynaloss.execution.delivery import note_on_waiting
from dynaloss.execution.progress_file import clock
from dynaloss.execution.search.outcome import GroupOutcome, telling_epoch
from dynaloss.execution.search.searched import SearchTrial
from dynaloss.execution.search.worth import worth
from dynaloss.studies.notebook import notebook_html
from dynaloss.studies.search.groups import SearchPlan
from dynaloss.studies.trial_record import Outcome

if TYPE_CHECKING:
    import pandas

    from dynaloss.execution.ablation import LaunchSummary
    from dynaloss.tracking import Workspace


_PLACE = ("condition", "arm", "number", "key")


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchSummary:
    """The result of a search.

    Attributes:
        plan: The plan.
        trials: Every trial so far, of this launch and those before, and of the races.
        groups: Results by group, in the order of the plan.
        interrupted: Whether trials are left for the next launch.
        best: The study file of the winners; None if no trial completed.
        confirmed: The launch that retrained them; None if there was none.
        seconds: Wall time of this launch.
        workspace: Where the search is kept; None where nothing can be read from it.
        waiting: Number of records that wait on disk, as the tracking server is away; winners are
            then not confirmed yet.

    Examples:
        >>> found = dynaloss.search(search, in_process=True, progress=False)
        >>> found.coverage
        '4 of 4 trials completed'
        >>> [len(group.winners) for group in found.groups]
        [1]
    """

    plan: SearchPlan
    trials: tuple[SearchTrial, ...]
    groups: tuple[GroupOutcome, ...]
    interrupted: bool = False
    best: Path | None = None
    confirmed: LaunchSummary | None = None
    seconds: float = 0.0
    workspace: Workspace | None = field(default=None, repr=False)
    waiting: int = 0

    @property
    def exit_status(self) -> int:
        """0 if all is done, 1 if a trial failed or records wait, 130 after an interruption.

        Examples:
            >>> found.exit_status
            0
        """
        confirmed = () if self.confirmed is None else self.confirmed.endings.values()
        outcomes = {trial.outcome for trial in (*self.trials, *confirmed)}
        if self.interrupted or Outcome.INTERRUPTED in outcomes:
            return 130
        return 1 if Outcome.FAILED in outcomes or self.waiting else 0

    @property
    def note_on_waiting(self) -> str:
        """What to say of records that wait; empty where none does.

        Examples:
            >>> found.note_on_waiting
            ''
        """
        return note_on_waiting(self.plan.study.study, self.waiting) if self.waiting else ""

    @property
    def objectives(self) -> tuple[Objective, ...]:
        """What was optimised.

        Examples:
            >>> found.objectives
            (Objective(name='val/balanced_accuracy', mode='max'),)
        """
        return self.plan.study.search.objectives()

    @property
    def test_metric(self) -> str:
        """The metric that shows what each selection rule costs.

        Examples:
            >>> found.test_metric
            'test/accuracy'
        """
        return self.plan.study.confirmation.metric

    @property
    def coverage(self) -> str:
        """Share of the planned trials that completed, in words.

        Examples:
            >>> found.coverage
            '4 of 4 trials completed'
        """
        searched = (trial for one in self.groups for trial in one.trials)
        done = sum(trial.outcome is Outcome.COMPLETED for trial in searched)
        return f"{done} of {self.plan.num_trials} trials completed"

    @property
    def best_settings(self) -> dict[tuple[str, str], dict[str, Scalar]]:
        """What the best trial of each condition and arm chose, by dotted key.

        Examples:
            >>> {place: [*settings] for place, settings in found.best_settings.items()}
            {('symmetric 0.4 · IR 10', 'full'): ['optimizer.lr']}
        """
        return {
            (one.group.condition, one.group.arm): dict(one.winners[0].chosen)
            for one in self.groups
            if one.winners
        }

    @property
    def confirmation(self) -> Result | None:
        """The winners compared, trained again with new seeds; None where they have not been.

        Raises:
            InputError: If no winner has completed.

        Examples:
            >>> found.confirmation.to_frame()[["condition", "arm", "seed"]]
                           condition      arm  seed
            0  symmetric 0.4 · IR 10     full     1
            1  symmetric 0.4 · IR 10  untuned     1
        """
        if self.confirmed is None or self.workspace is None:
            return None
        query = Query(studies=(self.confirmed.plan.study,))
        return run_query(query, self.workspace.open_store(must_exist=True))

    @property
    def worth(self) -> tuple[str, ...]:
        """Winners against the untuned trial and the best baseline, and the cost, a line each.

        Empty where the winners have not been trained again.

        Examples:
            >>> [line.partition(":")[0] for line in found.worth]
            ['full against untuned', 'cost']
        """
        if (confirmation := self.confirmation) is None:
            return ()
        return tuple(worth(self.plan.study, self.groups, confirmation))

    @property
    def telling_epoch(self) -> int | None:
        """First epoch from which on results rank as those at the end; None where too few show it.

        Examples:
            >>> found.telling_epoch is None
            True
        """
        return telling_epoch(self.groups, self.objectives[0].name)

    def to_frame(self) -> pandas.DataFrame:
        """One row a trial: its place, outcome, epochs, chosen values and last objectives.

        Examples:
            >>> found.to_frame()[["arm", "number", "outcome", "epochs"]]
                arm  number    outcome  epochs
            0  full       0  completed       2
            1  full       1  completed       2
            2  full       2  completed       2
            3  full       3  completed       2
        """
        import pandas

        keys = dict.fromkeys(key for trial in self.trials for key in trial.chosen)
        names = [name for name, _ in self.objectives]
        rows = [
            {
                **_place(trial),
                "outcome": str(trial.outcome),
                "epochs": trial.last_epoch,
                "audited": trial.audited_at is not None,
                **trial.chosen,
                **{name: trial.last(name) for name in names},
            }
            for one in self.groups
            for trial in one.trials
        ]
        columns = [*_PLACE, "outcome", "epochs", "audited", *keys, *names]
        return pandas.DataFrame(rows, columns=columns)

    def curves(self, *metrics: str) -> pandas.DataFrame:
        """One row a trial and epoch, with a column per metric; the objectives unless named.

        Examples:
            >>> found.curves("train/loss")[["number", "epoch"]].tail(1)
               number  epoch
            7       3      2
        """
        import pandas

        names = metrics or [name for name, _ in self.objectives]
        rows = [
            _place(trial) | {"epoch": epoch, **{name: report.get(name) for name in names}}
            for one in self.groups
            for trial in one.trials
            for epoch, report in sorted(trial.reports.items())
        ]
        return pandas.DataFrame(rows, columns=[*_PLACE, "epoch", *names])

    def as_json(self) -> dict[str, Any]:
        """The summary as values for JSON; what has no value is null.

        Examples:
            >>> found.as_json()["study"]
            'small-search'
        """
        values = {
            "study": self.plan.study.study,
            "hash": self.plan.hash,
            "interrupted": self.interrupted,
            "seconds": round(self.seconds, 1),
            "notes": self.plan.notes,
            "best": self.best,
            "telling_epoch": self.telling_epoch,
            "groups": [self._group_as_json(one) for one in self.groups],
        }
        plain: dict[str, Any] = json.loads(to_json(values, inf_nan_mode="null"))
        return plain

    def as_text(self) -> str:
        """The summary to read.

        Examples:
            >>> found.as_text().splitlines()[0][:49]
            'search small-search: 4 of 4 trials completed in 0'
        """
        names = [name for name, _ in self.objectives]
        return page_template("search.txt.j2").render(summary=self, names=names)

    def __repr__(self) -> str:
        return self.as_text()

    def _repr_html_(self) -> str:
        head = f"search {self.plan.study.study}: {self.coverage}"
        lines = [head, *(f"note: {note}" for note in self.plan.notes)]
        winners = {trial.key for one in self.groups for trial in one.winners}
        frame = self.to_frame()
        shown = notebook_html(lines, frame[frame["key"].isin(winners)])
        if self.confirmation is not None:
            shown += notebook_html(["confirmation, on train + validation:"])
            shown += self.confirmation._repr_html_()
        return shown

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
            "race": [
                {"number": s.number, first: [self.objectives[0].sign * v for v in s.values],
                 "dropped_after": s.dropped_after}
                for s in one.standings
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
                "chance": audit.chance,
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
                {"number": t.number, "seed": t.trial.seed, "key": t.key, "outcome": t.outcome,
                 "epoch": t.last_epoch, "rung": t.last_rung, "audited_at": t.audited_at,
                 first: t.last(first), "settings": t.chosen}
                for t in (*one.trials, *one.raced)
            ],
        }  # fmt: skip


def _place(trial: SearchTrial) -> dict[str, str | int]:
    values = (trial.trial.condition, trial.trial.arm, trial.number, trial.key)
    return dict(zip(_PLACE, values, strict=True))


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
