"""The result of an ablation."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from dynaloss.analysis import Result
from dynaloss.analysis.frames import curves_frame, trials_frame
from dynaloss.analysis.pivot import planned
from dynaloss.api.compare import compare
from dynaloss.errors import InputError
from dynaloss.execution.ablation import LaunchSummary
from dynaloss.execution.search.conclusion import SearchSummary
from dynaloss.studies.notebook import notebook_html
from dynaloss.studies.plan import Plan
from dynaloss.studies.trial_record import TrialRecord
from dynaloss.tracking import Workspace

if TYPE_CHECKING:
    import pandas


@dataclass(frozen=True, slots=True, kw_only=True)
class AblationSummary:
    """The result of running an ablation.

    Attributes:
        plan: The plan of the study.
        workspace: Where the trials are kept.
        launch: What became of the trials; None where the search of the arms did not complete.
        tuning: The search of the arms; None where the study demands none.

    Examples:
        >>> run = study.run(in_process=True, progress=False)
        >>> len(run.plan.trials), run.tuning
        (2, None)
    """

    plan: Plan
    workspace: Workspace = field(repr=False)
    launch: LaunchSummary | None
    tuning: SearchSummary | None = None

    @property
    def exit_status(self) -> int:
        """0 if all is done, 1 if a trial failed or diverged, 130 after an interruption.

        Examples:
            >>> run.exit_status
            0
        """
        statuses = (part.exit_status for part in (self.tuning, self.launch) if part is not None)
        return next(filter(None, statuses), 0)

    @property
    def interrupted(self) -> bool:
        """Whether trials are left for the next run.

        Examples:
            >>> run.interrupted
            False
        """
        return any(part.interrupted for part in (self.tuning, self.launch) if part is not None)

    def to_frame(self) -> pandas.DataFrame:
        """One row a trial that has begun; see `Result.to_frame`.

        Examples:
            >>> run.to_frame()[["arm", "seed", "outcome"]]
                arm  seed    outcome
            0  none     0  completed
            1  full     0  completed
        """
        return trials_frame(self._records())

    def curves(self, *metrics: str) -> pandas.DataFrame:
        """One row a trial and epoch, with a column per metric; all metrics unless named.

        Examples:
            >>> run.curves("train/loss")[["arm", "epoch"]]
                arm  epoch
            0  none      1
            1  none      2
            2  full      1
            3  full      2
        """
        return curves_frame(self._records(history=metrics or True), metrics)

    def compare(self, metric: str | Sequence[str] = (), *, extras: Sequence[str] = ()) -> Result:
        """The arms compared; `dynaloss.compare` has all options.

        Raises:
            InputError: If no trial has completed, or a name is unknown.

        Examples:
            >>> run.compare().comparisons[0].metric
            'test/accuracy'
        """
        return compare(self.plan.study, metric=metric, extras=extras, workspace=self.workspace)

    def as_text(self) -> str:
        """What the command line prints of it.

        Examples:
            >>> run.as_text().startswith("study small: ")
            True
        """
        return "".join(part.as_text() for part in (self.tuning, self.launch) if part is not None)

    def __repr__(self) -> str:
        return self.as_text()

    def _repr_html_(self) -> str:
        shown = notebook_html(self.as_text().splitlines())
        try:
            return shown + self.compare()._repr_html_()
        except InputError:  # nothing has completed
            return shown

    def _records(self, *, history: Collection[str] | bool = False) -> list[TrialRecord]:
        store, study = self.workspace.open_store(must_exist=True), self.plan.study
        if study not in store.studies():  # the search of the arms did not complete
            return []
        return planned(store.records(study, history=history), store.plan(study))
