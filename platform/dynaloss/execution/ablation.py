"""Launches a study: works out which trials are left, runs them with Ray Tune, records them."""

from __future__ import annotations

import time
from collections.abc import Hashable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from dynaloss.config import DataConfig, TrialConfig
from dynaloss.errors import InputError
from dynaloss.execution.progress import Progress
from dynaloss.execution.recording import Ending, Recorder
from dynaloss.execution.trial.assembly import checks_of
from dynaloss.execution.trial.runner import TrialOrder, TrialRunner
from dynaloss.execution.trial.threads import trial_threads
from dynaloss.execution.trial_writer import TrialWriter
from dynaloss.studies.plan import Plan, Trial, make_plan
from dynaloss.studies.stored_plan import StoredPlan, stored_plan
from dynaloss.studies.study import AblationStudy
from dynaloss.studies.trial_record import Outcome

if TYPE_CHECKING:
    from dynaloss.data.sources import Source
    from dynaloss.tracking import Store, StudyRun, Workspace

__all__ = [
    "LaunchSummary",
    "Sources",
    "launch_ablation",
    "launch_trial",
    "order_of",
    "plan_study",
    "single_trial",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class LaunchSummary:
    """What a launch came to.

    Attributes:
        plan: The plan of the study.
        endings: Of the trials that this launch ran, by key.
        skipped: Number of trials that had ended before.
        seconds: Wall time.
        deviations: How the plan departs from the one before, one sentence each.
    """

    plan: Plan
    endings: Mapping[str, Ending]
    skipped: int
    seconds: float
    deviations: tuple[str, ...] = ()

    def count(self, outcome: Outcome) -> int:
        """Number of this launch's trials that ended so."""
        return sum(ending.outcome is outcome for ending in self.endings.values())

    @property
    def interrupted(self) -> bool:
        """Whether trials are left that a next launch continues."""
        return self.count(Outcome.INTERRUPTED) > 0


class Sources:
    """The data sources of a launch, each loaded once."""

    def __init__(self) -> None:
        self._loaded: dict[str, Source] = {}

    def of(self, config: DataConfig) -> Source:
        """The source of the settings."""
        from dynaloss.data.sources import load_source

        key = config.source_key
        if key not in self._loaded:
            self._loaded[key] = load_source(config)
        return self._loaded[key]

    def digest(self, config: DataConfig) -> str:
        """Digest of the content of the source."""
        return self.of(config).digest

    def check(self, trials: Iterable[tuple[TrialConfig, int, int]]) -> None:
        """Refuses every trial that cannot be assembled, before any starts.

        Args:
            trials: Settings, trial seed and study seed of each.

        Raises:
            InputError: With all problems.
        """
        problems: dict[str, None] = {}
        done: set[Hashable] = set()
        for config, seed, base_seed in trials:
            checks = checks_of(config, seed=seed, base_seed=base_seed)
            for key, check in checks.items():
                try:
                    if key not in done:
                        check(self.of(config.data))
                except InputError as error:
                    problems |= dict.fromkeys(error.problems)
            done |= checks.keys()
        if problems:
            raise InputError(problems)


def plan_study(study: AblationStudy) -> Plan:
    """Plans a study without loading its data, of which only the digest is needed.

    Where the data are not there, the keys are provisional and a note says what to fetch.
    """
    from dynaloss.data.sources import source_status

    missing: dict[str, None] = {}

    def digest(config: DataConfig) -> str:
        status = source_status(config)
        if status.missing:
            missing[f"data not found, so the keys are provisional: {status.missing}"] = None
        return status.digest

    plan = make_plan(study, digest)
    return replace(plan, notes=(*plan.notes, *missing))


def launch_ablation(
    study: AblationStudy, workspace: Workspace, console: Console, *, fresh: bool = False
) -> LaunchSummary:
    """Runs the trials of a study that have not ended yet, with Ray Tune.

    Args:
        study: The study.
        workspace: Where things are kept.
        console: Where progress is shown.
        fresh: Whether trials that have ended are run again.

    Raises:
        InputError: If the machine cannot give a trial its resources, or another process runs
            the same study.
    """
    sources = Sources()
    plan = make_plan(study, sources.digest)
    sources.check((t.config, t.seed, t.base_seed) for t in plan.trials)
    with workspace.locked(study.study):
        return _launch(study, plan, sources, workspace, console, fresh)


def single_trial(study: AblationStudy, arm: str | None = None, seed: int | None = None) -> Trial:
    """The `trial` of a study as it is written, conditions aside.

    Args:
        study: The study.
        arm: Name of the arm whose settings apply; None for none.
        seed: Trial seed; None for the study's first.

    Raises:
        InputError: If the study has no such arm.
    """
    arms = study.arm_overrides()
    if arm is not None and arm not in arms:
        raise InputError(f"--arm must be one of {', '.join(arms)}, but got '{arm}'")
    alone = study.model_copy(
        update={
            "conditions": {},
            "ablation": None,
            "arms": {arm or "as-written": dict(arms[arm]) if arm else {}},
            "seeds": (study.seeds[0] if seed is None else seed,),
        }
    )
    return make_plan(alone, Sources().digest).trials[0]


def launch_trial(
    study: AblationStudy,
    trial: Trial,
    workspace: Workspace,
    console: Console,
    *,
    fresh: bool = False,
) -> Ending:
    """Runs one trial in this process, without Ray, and records it as a launch would."""
    plan = Plan(study=study.study, trials=(trial,), baseline=trial.arm, metric=study.report.metric)
    sources = Sources()
    sources.check([(trial.config, trial.seed, trial.base_seed)])
    source = sources.of(trial.config.data)
    with (
        workspace.locked(study.study),
        _study_run(workspace.open_store(), plan) as run,
        trial_threads(study.resources),
    ):
        folder = workspace.checkpoints(study.study)
        with Progress(console, [trial], done=0, slots=1, metric=plan.metric) as progress:
            recorder = Recorder(TrialWriter(run, folder), [trial], progress, fresh=fresh)
            runner = TrialRunner(order_of(trial, folder, fresh=fresh), source, study.resources.gpu)
            recorder.begin(trial.key)
            try:
                while recorder.take(trial.key, runner.step()):
                    pass
            finally:
                runner.save()
                recorder.close()
        run.finish(Outcome.COMPLETED)
        return recorder.endings[trial.key]


def _launch(
    study: AblationStudy,
    plan: Plan,
    sources: Sources,
    workspace: Workspace,
    console: Console,
    fresh: bool,
) -> LaunchSummary:
    from dynaloss.tracking import read_plan

    started = time.monotonic()
    store = workspace.open_store()
    with _study_run(store, plan) as run:
        earlier = read_plan(store, plan.study)
        stored = stored_plan(plan).amending(earlier)
        run.log_dict(None, "plan.json", stored.as_json())
        left = plan.trials if fresh else _trials_left(plan, run)
        run.mark_stale(keep=[trial.key for trial in left])
        endings: Mapping[str, Ending] = {}
        if left:
            endings = _run_with_ray(study, plan, left, run, sources, workspace, console, fresh)
        summary = LaunchSummary(
            plan=plan,
            endings=endings,
            skipped=len(plan.trials) - len(left),
            seconds=time.monotonic() - started,
            deviations=stored.deviations[len(earlier.deviations) :],
        )
        is_news = endings or stored != earlier or not run.was_completed
        if is_news and not summary.interrupted:
            _publish(store, run, stored, console)
        run.finish(Outcome.INTERRUPTED if summary.interrupted else Outcome.COMPLETED)
    return summary


def _publish(store: Store, run: StudyRun, plan: StoredPlan, console: Console) -> None:
    """Refreshes what MLflow's interface shows of the study; the trials are safe without it."""
    from dynaloss.execution.publish import publish_report

    try:
        publish_report(store, run, plan)
    except Exception as error:  # such as a full disk: no reason to call the launch a failure
        console.print(f"The report could not be stored: {error}", markup=False)


def _study_run(store: Store, plan: Plan) -> StudyRun:
    return store.start_study(plan.study, tags={"dynaloss.plan_hash": plan.hash})


def _trials_left(plan: Plan, run: StudyRun) -> tuple[Trial, ...]:
    """The trials without a final outcome; labels of the others follow the plan."""
    states = run.trials()
    left = []
    for trial in plan.trials:
        state = states.get(trial.key)
        if state is None or not state.outcome.is_final:
            left.append(trial)
        else:
            run.update_tags(
                trial.key,
                condition=trial.condition,
                arm=trial.arm,
                seed=trial.seed,
                name=trial.name,
            )
    return tuple(left)


def order_of(trial: Trial, checkpoints: Path, *, fresh: bool = False) -> TrialOrder:
    """What a runner has to know of a trial.

    Args:
        trial: The trial.
        checkpoints: Folder of the study's checkpoints.
        fresh: Whether an existing checkpoint is ignored.
    """
    return TrialOrder(
        key=trial.key,
        config=trial.config.model_dump(),
        seed=trial.seed,
        base_seed=trial.base_seed,
        checkpoints=str(checkpoints),
        fresh=fresh,
    )


def _begun_orders(
    left: Iterable[Trial], recorder: Recorder, folder: Path, fresh: bool
) -> Iterator[tuple[TrialOrder, str]]:
    """Each trial's order with the name of its source; a trial begins when its order is taken."""
    for trial in left:
        recorder.begin(trial.key)
        yield order_of(trial, folder, fresh=fresh), trial.config.data.source_key


def _run_with_ray(
    study: AblationStudy,
    plan: Plan,
    left: tuple[Trial, ...],
    run: StudyRun,
    sources: Sources,
    workspace: Workspace,
    console: Console,
    fresh: bool,
) -> Mapping[str, Ending]:
    from dynaloss.execution.backends.ray_cluster import cluster, run_trials

    folder = workspace.checkpoints(study.study)
    with cluster(study.resources) as slots:
        progress = Progress(
            console,
            left,
            done=len(plan.trials) - len(left),
            slots=slots,
            metric=plan.metric,
        )
        with progress:
            recorder = Recorder(TrialWriter(run, folder), left, progress, fresh=fresh)
            try:
                run_trials(
                    _begun_orders(left, recorder, folder, fresh),
                    {t.config.data.source_key: sources.of(t.config.data) for t in left},
                    study.resources,
                    recorder,
                    most=len(left),
                    slots=slots,
                )
            finally:
                recorder.close()
    return recorder.endings
