"""Launches an ablation: plans it, runs the trials that are left and records them."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from rich.console import Console

from dynaloss.analysis.pivot import as_records, select
from dynaloss.config.search import Objective
from dynaloss.errors import DynalossError, InputError
from dynaloss.execution.backends import Backend, Work, open_backend, shortages
from dynaloss.execution.delivery import OpenStudy, note_on_waiting, opened_study, outbox_path
from dynaloss.execution.launch_log import LOG, launch_log
from dynaloss.execution.progress import Progress, TimeLeft, cost_of
from dynaloss.execution.progress_file import clock, progress_path
from dynaloss.execution.recording import Recorder
from dynaloss.execution.trial.inputs import Sources
from dynaloss.execution.trial.live import LiveTrial
from dynaloss.execution.trial.runner import StepResult, TrialOrder
from dynaloss.studies.metric_names import higher_is_better
from dynaloss.studies.plan import Plan, Trial, make_plan
from dynaloss.studies.stored_plan import note_on_earlier_keys, stored_plan
from dynaloss.studies.study import AblationStudy
from dynaloss.studies.trial_record import Outcome
from dynaloss.tracking.schema import Tag
from dynaloss.tracking.study_run import TrialState, is_up_to_date

if TYPE_CHECKING:
    from dynaloss.tracking import StudyRun, Workspace


@dataclass(frozen=True, slots=True, kw_only=True)
class LaunchSummary:
    """The result of a launch.

    Attributes:
        plan: The plan of the study.
        endings: The trials that this launch was to run, by key, each with its end.
        skipped: Number of trials that had ended before.
        seconds: Wall time.
        deviations: How the plan departs from the one before, one sentence each.
        waiting: Number of records that wait on disk, as the tracking server is away.
        beyond: Number of trials that are left, but were not asked for.
    """

    plan: Plan
    endings: Mapping[str, LiveTrial]
    skipped: int
    seconds: float
    deviations: tuple[str, ...] = ()
    waiting: int = 0
    beyond: int = 0

    @property
    def interrupted(self) -> bool:
        """Whether trials are left for the next launch."""
        return any(ending.outcome is Outcome.INTERRUPTED for ending in self.endings.values())

    @property
    def exit_status(self) -> int:
        """0 if all is done, 130 if trials are left, 1 if one failed, diverged, or records wait."""
        if self.interrupted:
            return 130
        outcomes = {ending.outcome for ending in self.endings.values()}
        return 1 if outcomes & {Outcome.FAILED, Outcome.DIVERGED} or self.waiting else 0

    def as_text(self) -> str:
        """The outcomes, then a line for each trial that failed or diverged."""
        counts = Counter(ending.outcome for ending in self.endings.values())
        parts = [f"{count} {outcome}" for outcome, count in sorted(counts.items())]
        if self.skipped:
            parts.append(f"{self.skipped} finished before")
        if self.beyond:
            parts.append(f"{self.beyond} left out by --where")
        lines = [
            f"study {self.plan.study}: {', '.join(parts) or 'nothing to run'} "
            f"(of {len(self.plan.trials)} trials, in {clock(self.seconds)})"
        ]
        for trial in self.plan.trials:
            ending = self.endings.get(trial.key)
            if ending is not None and ending.outcome in (Outcome.FAILED, Outcome.DIVERGED):
                reason = (ending.message.strip().splitlines() or [""])[-1]
                lines.append(f"{ending.outcome}: {trial.name} ({trial.key}): {reason}")
        lines += [f"deviation: {text}" for text in self.deviations]
        if self.waiting:
            lines.append(note_on_waiting(self.plan.study, self.waiting))
        if self.interrupted:
            lines.append("Interrupted. Run the same command again to continue.")
        return "\n".join(lines) + "\n"


def plan_study(study: AblationStudy) -> Plan:
    """Plans a study by the digest of its data, which are loaded only for labels of a file.

    If the data are missing, the keys are provisional and a note names what to fetch.

    Raises:
        InputError: If files are there, but cannot be used.
    """
    sources = Sources()
    plan = make_plan(study, sources.planned_digest)
    warnings = sources.warnings(trial.config.data for trial in plan.trials)
    notes = (*plan.notes, *sources.missing_notes(), *shortages(study.resources))
    return replace(plan, notes=notes, warnings=(*plan.warnings, *warnings))


def launch_ablation(
    study: AblationStudy,
    workspace: Workspace,
    console: Console,
    *,
    fresh: bool = False,
    where: Sequence[str] = (),
    in_process: bool = False,
    slots: int | None = None,
    backend: Callable[[], AbstractContextManager[Backend]] | None = None,
) -> LaunchSummary:
    """Runs the trials of a study that have not ended yet; returns at once if there are none.

    Args:
        study: The study.
        workspace: Where things are kept.
        console: Where progress is shown.
        fresh: Whether finished trials are re-run.
        where: Demands `key=value` on the trials to run; see `select`.
        in_process: Whether trials run one at a time in this process, without Ray.
        slots: Most trials at a time; by default as many as fit.
        backend: Gives the backend, in place of a new one.

    Raises:
        InputError: If the machine cannot give a trial its resources, or another process runs
            the same study.
    """
    started = time.monotonic()
    sources = Sources()
    opening = backend or partial(open_backend, study.resources, in_process=in_process, slots=slots)
    with ExitStack() as stack:
        stack.enter_context(launch_log(workspace.folder(study.study)))
        # Ray takes seconds to start: at once where something is to be run for certain.
        is_new = fresh or not workspace.folder(study.study).is_dir()
        opened = stack.enter_context(opening()) if is_new else None
        plan = make_plan(study, sources.digest)
        chosen = {record.key for record in select(as_records(plan), where)}
        if not is_new and is_finished(plan, workspace):
            seconds = time.monotonic() - started
            return LaunchSummary(plan=plan, endings={}, skipped=len(plan.trials), seconds=seconds)
        opened = opened or stack.enter_context(opening())
        plan = _checked(plan, sources, console)
        launch = _Launch(study, plan, sources, workspace, console, fresh, opened, started)
        return launch.run(chosen)


def is_finished(plan: Plan, workspace: Workspace) -> bool:
    """Whether an earlier launch has left nothing to run, to deliver or to bring up to date.

    Found without MLflow and torch, which take seconds to import, where the store is SQL.
    """
    if not workspace.has_store or outbox_path(workspace, plan.study).exists():
        return False
    try:
        store = workspace.open_store(must_exist=True)
        if plan.study not in store.studies():
            return False
        earlier, runs = store.plan(plan.study), store.runs(plan.study)
    except DynalossError:  # the launch says what is wrong
        return False
    ended = {run.tags.get(Tag.KEY): run for run in reversed(runs) if run.has_ended}
    is_completed = any(
        run.tags.get(Tag.ROLE) == "study" and run.tags.get(Tag.OUTCOME) == Outcome.COMPLETED
        for run in runs
    )
    return (
        is_completed
        and stored_plan(plan).amending(earlier) == earlier
        and all(
            trial.key in ended and is_up_to_date(ended[trial.key], trial) for trial in plan.trials
        )
    )


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
) -> LiveTrial:
    """Runs one trial in this process, without Ray, and records it as a launch would.

    One that has ended, under whatever name, is left as it is, unless `fresh`.
    """
    plan = Plan(study=study.study, trials=(trial,), baseline=trial.arm, metric=study.report.metric)
    sources = Sources()
    plan = _checked(plan, sources, console)
    with (
        open_backend(study.resources, in_process=True) as backend,
        (
            launch := _Launch(
                study, plan, sources, workspace, console, fresh, backend, time.monotonic()
            )
        ).opened() as opened,
    ):
        state = opened.run.trials().get(trial.key)
        if state is not None and state.outcome.is_final and not fresh:
            opened.finish(Outcome.COMPLETED)
            return _stored(study.study, trial, state, opened, launch.say)
        progress = launch.progress(plan.trials)
        ending = launch.run_trials(plan.trials, opened, progress)[trial.key]
        is_interrupted = ending.outcome is Outcome.INTERRUPTED
        opened.finish(Outcome.INTERRUPTED if is_interrupted else Outcome.COMPLETED)
        return ending


def _stored(
    study: str, trial: Trial, state: TrialState, opened: OpenStudy, say: Callable[[str], None]
) -> LiveTrial:
    """A trial that has ended before, under the name that it has there."""
    (record,) = opened.store.records(study, run_id=state.run_id)
    named = replace(trial, arm=record.arm, condition=record.condition, seed=record.seed)
    say(f"{named.name} has ended in an earlier launch; `--fresh` trains it again")
    reports = {state.last_epoch or 0: dict(record.metrics)}
    return LiveTrial(trial=named, outcome=state.outcome, reports=reports)


def _checked(plan: Plan, sources: Sources, console: Console) -> Plan:
    """The plan with the warnings of its data, all printed; refuses what cannot be run."""
    sources.check((t.config, t.seed, t.base_seed) for t in plan.trials)
    warnings = *plan.warnings, *sources.warnings(trial.config.data for trial in plan.trials)
    for text in warnings:
        LOG.info("warning: %s", text)
        console.print(f"warning: {text}", markup=False, soft_wrap=True)
    return replace(plan, warnings=warnings)


@dataclass(frozen=True, slots=True)
class _Launch:
    """One launch of an ablation, with what its parts share."""

    study: AblationStudy
    plan: Plan
    sources: Sources
    workspace: Workspace
    console: Console
    fresh: bool
    backend: Backend
    started: float

    @contextmanager
    def opened(self) -> Iterator[OpenStudy]:
        """The study in the tracking store."""
        name, tags = self.study.study, {"dynaloss.plan_hash": self.plan.hash}
        with (
            self.workspace.locked(name),
            opened_study(self.workspace, name, self.say, tags=tags) as opened,
        ):
            yield opened

    def say(self, text: str) -> None:
        """Shows a sentence."""
        LOG.info(text)
        self.console.print(text, markup=False, soft_wrap=True)

    def run(self, chosen: Collection[str]) -> LaunchSummary:
        """Runs what is left of the trials with these keys, and stores the plan and the report."""
        plan = self.plan
        with self.opened() as opened:
            store, run = opened.store, opened.run
            earlier = store.plan(plan.study)
            stored = stored_plan(plan).amending(earlier)
            run.log_dict(None, "plan.json", stored.as_json())
            versions = {key: state.key_version for key, state in run.trials().items()}
            if note := note_on_earlier_keys(earlier, versions):
                self.say(f"note: {note}")
            open_ = [*plan.trials] if self.fresh else _trials_left(plan, run)
            run.mark_stale(keep=[trial.key for trial in open_])
            left = [trial for trial in open_ if trial.key in chosen]
            skipped = len(plan.trials) - len(open_)
            progress = self.progress(left, done=skipped) if left else None
            summary = LaunchSummary(
                plan=plan,
                endings=self.run_trials(left, opened, progress) if progress else {},
                skipped=skipped,
                beyond=len(open_) - len(left),
                seconds=time.monotonic() - self.started,
                deviations=stored.deviations[len(earlier.deviations) :],
            )
            is_news = summary.endings or stored != earlier or not run.was_completed

            def publish() -> None:
                from dynaloss.execution.publish import try_to_publish

                if is_news and not summary.interrupted:
                    try_to_publish(store, run, stored, self.say)
                    if progress:
                        run.tag_trial(None, self.pace(progress.time_left))

            is_whole = not (summary.interrupted or summary.beyond)
            outcome = Outcome.COMPLETED if is_whole else Outcome.INTERRUPTED
            return replace(summary, waiting=opened.finish(outcome, publish))

    def progress(self, left: Sequence[Trial], *, done: int = 0) -> Progress:
        """The display of the trials that are left, after those that were done before."""
        metric = self.plan.metric
        return Progress(
            self.console,
            Objective(metric, "max" if higher_is_better(metric) else "min"),
            waiting=[cost_of(trial) for trial in left],
            done=done,
            slots=self.backend.slots,
            path=progress_path(self.workspace, self.study.study),
        )

    def pace(self, found: TimeLeft) -> dict[str, str]:
        """Tags of what this launch took besides its epochs, for the forecast of the next one."""
        around = time.monotonic() - self.started - found.passed
        values = {Tag.SECONDS_AROUND: around, Tag.BESIDE_EPOCHS: found.beside_epochs}
        return {name: f"{value:.3g}" for name, value in values.items()}

    def run_trials(
        self, left: Sequence[Trial], opened: OpenStudy, progress: Progress
    ) -> dict[str, LiveTrial]:
        """Runs and records trials; those without an end are interrupted."""
        folder = self.workspace.checkpoints(self.study.study)
        trials = {trial.key: LiveTrial(trial=trial) for trial in left}
        recorder = Recorder(
            opened.outbox,
            opened.delivery.files,
            progress,
            trials.values(),
            fresh=self.fresh,
            checkpoints=folder,
            limits=self.study.limits,
            earlier=opened.store.records(self.study.study, metrics=(self.plan.metric,)),
        )

        def orders() -> Iterator[TrialOrder]:
            for live in trials.values():
                recorder.begun(live)
                yield TrialOrder.of(live.trial, folder, fresh=self.fresh, limits=self.study.limits)

        with progress, recorder:
            work = Work(
                orders=orders(),
                sources=self.sources.named(trial.config.data for trial in left),
                retries=self.study.limits.retries,
            )
            self.backend.run(work, _Listener(trials, recorder))
        return trials


class _Listener:
    """Lets every trial run to its end, and keeps no more of it than its last report."""

    def __init__(self, trials: Mapping[str, LiveTrial], recorder: Recorder) -> None:
        self._trials = trials
        self._recorder = recorder

    def take(self, key: str, result: StepResult) -> bool:
        """Records a result; see `Listener.take`."""
        live = self._trials[key]
        if result.data:
            live.data, live.environment = result.data, result.environment
            self._recorder.prepared(live)
        self._recorder.noted(live, result.notes)
        live.resumed_from = result.resumed_from or live.resumed_from
        for epoch, metrics in result.reports:
            live.reports = {epoch: metrics}
            self._recorder.reported(live)
        if result.resumed_from:
            self._recorder.resumed(live)
        if result.outcome is not None:
            self.end(key, result.outcome, result.message, result.diagnostics)
        return result.outcome is None

    def end(
        self,
        key: str,
        outcome: Outcome,
        message: str = "",
        diagnostics: dict[str, Any] | None = None,
    ) -> None:
        """Records the end of a trial, once; see `Listener.end`."""
        live = self._trials[key]
        if live.outcome is Outcome.RUNNING:
            live.outcome, live.message, live.diagnostics = outcome, message, diagnostics or {}
            self._recorder.ended(live)
            live.data, live.diagnostics = {}, {}

    def note(self, key: str | None, text: str) -> None:
        """Shows a sentence; see `Listener.note`."""
        self._recorder.noted(self._trials[key] if key else None, [text])


def _trials_left(plan: Plan, run: StudyRun) -> list[Trial]:
    """The trials without a final outcome; labels of the others follow the plan."""
    states = run.trials()
    left = []
    for trial in plan.trials:
        if trial.key in states and states[trial.key].outcome.is_final:
            run.update_labels(trial)
        else:
            left.append(trial)
    return left
