"""Searches from Python."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Self

from dynaloss.api.loaded import Loaded
from dynaloss.studies.loading import StudySource, load_search
from dynaloss.studies.search.groups import SearchPlan
from dynaloss.studies.study import SearchStudy

if TYPE_CHECKING:
    from dynaloss.execution.search.conclusion import SearchSummary
    from dynaloss.tracking import Workspace


class Search(Loaded[SearchStudy]):
    """A search: conditions x arms, and a space to choose from in each.

    Attributes:
        settings: Everything that the file of the study sets, or leaves at its default.

    Examples:
        >>> search = dynaloss.Search.load({
        ...     "study": "small-search",
        ...     "trial": {
        ...         "data": {
        ...             "source": "digits",
        ...             "noise": {"rate": 0.4},
        ...             "imbalance_factor": 10,
        ...             "validation": {"fraction": 0.2},
        ...         },
        ...         "model": {"name": "mlp"},
        ...         "schedule": {"epochs": 2, "warmup_epochs": 1},
        ...     },
        ...     "space": {"optimizer.lr": {"loguniform": [0.01, 1]}},
        ...     "search": {"trials": 4, "sampler": "random", "race": None},
        ...     "scheduler": {"name": "none"},
        ...     "confirm": {"seeds": [1]},
        ... })
        >>> search.name, search.conditions, search.arms
        ('small-search', ('symmetric 0.4 · IR 10',), ('full',))
    """

    __slots__ = ()

    @classmethod
    def load(cls, source: StudySource) -> Self:
        """The search of a file, the bundled search of a name, or the search of the same content.

        Raises:
            InputError: With every problem of the search, or if it is an ablation.

        Examples:
            >>> dynaloss.Search.load("quickstart").name
            'quickstart-search'
        """
        return cls(load_search(source))

    def plan(self, workspace: Workspace | str | Path | None = None) -> SearchPlan:
        """The groups with their budgets and rungs; loads the data and runs nothing.

        Args:
            workspace: Where things are kept, such as the search that `search.start_from` names:
                a folder, by default `results`, or a workspace.

        Examples:
            >>> search.plan().num_trials
            4
        """
        from dynaloss.execution.search.launching import plan_search
        from dynaloss.tracking import Workspace

        return plan_search(self.settings, workspace=Workspace.of(workspace))

    def run(
        self,
        workspace: Workspace | str | Path | None = None,
        *,
        confirm: bool = True,
        in_process: bool = False,
        progress: bool = True,
    ) -> SearchSummary:
        """Runs what is left of the search, then confirms its winners; Ctrl-C interrupts it.

        Args:
            workspace: Where things are kept: a folder, by default `results`, or a workspace.
            confirm: Whether the winners are trained again.
            in_process: Whether trials run one at a time in this process, without Ray:
                suggestions are reproducible then.
            progress: Whether to show progress on standard error.

        Raises:
            InputError: If data are missing, a trial does not fit the machine, another process runs
                the same search, or the search has begun with other settings.

        Examples:
            >>> found = search.run(in_process=True, progress=False)
            >>> len(found.trials)
            4
        """
        from dynaloss.execution.progress import progress_console
        from dynaloss.execution.search.launching import launch_search
        from dynaloss.tracking import Workspace

        return launch_search(
            self.settings,
            Workspace.of(workspace),
            progress_console(quiet=not progress),
            in_process=in_process,
            confirm=confirm,
        )


def search(
    source: StudySource | Search,
    workspace: Workspace | str | Path | None = None,
    *,
    confirm: bool = True,
    in_process: bool = False,
    progress: bool = True,
) -> SearchSummary:
    """Loads a search and runs what is left of it; see `Search.load` and `Search.run`.

    Examples:
        >>> found = dynaloss.search(search, in_process=True, progress=False)
        >>> found.to_frame().shape[0]
        4
    """
    loaded = source if isinstance(source, Search) else Search.load(source)
    return loaded.run(workspace, confirm=confirm, in_process=in_process, progress=progress)
