"""Ablations from Python."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Self

from dynaloss.api.loaded import Loaded
from dynaloss.studies.loading import StudySource, load_study
from dynaloss.studies.plan import Plan
from dynaloss.studies.study import AblationStudy

if TYPE_CHECKING:
    from dynaloss.api.ablation import AblationSummary
    from dynaloss.tracking import Workspace


class Study(Loaded[AblationStudy]):
    """An ablation: conditions x arms x seeds.

    Attributes:
        settings: Everything that the file of the study sets, or leaves at its default.

    Examples:
        >>> study = dynaloss.Study.load({
        ...     "study": "small",
        ...     "trial": {
        ...         "data": {"source": "digits", "noise": {"rate": 0.4}, "imbalance_factor": 10},
        ...         "model": {"name": "mlp"},
        ...         "schedule": {"epochs": 2, "warmup_epochs": 1},
        ...     },
        ...     "ablation": {"components": ["margin"], "baseline": "none"},
        ...     "seeds": [0],
        ... })
        >>> study.name, study.conditions, study.arms, study.seeds
        ('small', ('symmetric 0.4 · IR 10',), ('none', 'full'), (0,))
    """

    __slots__ = ()

    @classmethod
    def load(cls, source: StudySource) -> Self:
        """The study of a file, the bundled study of a name, or the study of the same content.

        Raises:
            InputError: With every problem of the study, or if it is a search.

        Examples:
            >>> dynaloss.Study.load("quickstart").arms[:4]
            ('none', 'corrector-only', 'margin-only', 'full')
        """
        return cls(load_study(source))

    @property
    def seeds(self) -> tuple[int, ...]:
        """Trial seeds, each run in every cell.

        Examples:
            >>> study.seeds
            (0,)
        """
        return self.settings.seeds

    def plan(self, workspace: Workspace | str | Path | None = None) -> Plan:
        """The trials with their keys; nothing is run.

        If the data are missing, the keys are provisional and a note names what to fetch.

        Args:
            workspace: Where a study tuned per arm finds the settings found so far.

        Examples:
            >>> study.plan().to_frame()[["condition", "arm", "seed"]]
                           condition   arm  seed
            0  symmetric 0.4 · IR 10  none     0
            1  symmetric 0.4 · IR 10  full     0
        """
        from dynaloss.execution.ablation import plan_study
        from dynaloss.execution.search.confirmation import with_stored_tuning
        from dynaloss.tracking import Workspace

        if self.settings.is_tuned_per_arm:
            return plan_study(with_stored_tuning(self.settings, Workspace.of(workspace)))
        return plan_study(self.settings)

    def run(
        self,
        workspace: Workspace | str | Path | None = None,
        *,
        fresh: bool = False,
        where: Sequence[str] = (),
        in_process: bool = False,
        slots: int | None = None,
        progress: bool = True,
    ) -> AblationSummary:
        """Runs the trials that have not ended yet; Ctrl-C ends it with those left interrupted.

        A study tuned per arm is searched first, and its trials are not run unless that completes.

        Args:
            workspace: Where things are kept: a folder, by default `results`, or a workspace.
            fresh: Whether finished trials are re-run.
            where: Demands such as `arm=full` or `noise.rate=0.4` on the trials to run; a key
                several times allows several values. The others are left for another run.
            in_process: Whether trials run one at a time in this process, without Ray.
            slots: Most trials at a time; by default as many as fit.
            progress: Whether to show progress on standard error.

        Raises:
            InputError: If data are missing, a trial does not fit the machine, or another process
                runs the same study.

        Examples:
            >>> run = study.run(in_process=True, progress=False)
            >>> run.exit_status
            0
        """
        from dynaloss.api.ablation import AblationSummary
        from dynaloss.execution.ablation import launch_ablation, plan_study
        from dynaloss.execution.progress import progress_console
        from dynaloss.execution.search.confirmation import with_stored_tuning
        from dynaloss.execution.search.launching import launch_search
        from dynaloss.studies.search.arm_tuning import tuning_search
        from dynaloss.tracking import Workspace

        place, console = Workspace.of(workspace), progress_console(quiet=not progress)
        study, tuning, launch = self.settings, None, None
        if study.is_tuned_per_arm:
            search = tuning_search(study)
            tuning = launch_search(search, place, console, in_process=in_process, confirm=False)
            study = with_stored_tuning(study, place)
        if tuning is None or tuning.exit_status == 0:
            launch = launch_ablation(
                study,
                place,
                console,
                fresh=fresh,
                where=where,
                in_process=in_process,
                slots=slots,
            )
        plan = plan_study(study) if launch is None else launch.plan
        return AblationSummary(plan=plan, workspace=place, launch=launch, tuning=tuning)
