"""Launches a search: groups, suggestions, trials, winners and their confirmation."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

from dynaloss.config import DataConfig, TrialConfig
from dynaloss.errors import InputError
from dynaloss.execution.ablation import Sources, launch_ablation, order_of
from dynaloss.execution.backends.interrupts import sigterm_as_sigint
from dynaloss.execution.search.confirmation import BEST, best_study, write_best
from dynaloss.execution.search.director import Director
from dynaloss.execution.search.journal import Journal
from dynaloss.execution.search.search_figures import write_search_report
from dynaloss.execution.search.search_recorder import SearchProgress, SearchRecorder
from dynaloss.execution.search.search_summary import SearchSummary
from dynaloss.execution.search.suggestions import (
    Suggester,
    earlier_best,
    open_storage,
)
from dynaloss.execution.trial.runner import TrialOrder, TrialRunner
from dynaloss.execution.trial.threads import trial_threads
from dynaloss.execution.trial_writer import TrialWriter
from dynaloss.studies.identity import RESULTS_VERSION, digest_of
from dynaloss.studies.overrides import override
from dynaloss.studies.search.search_plan import (
    SearchPlan,
    make_search_plan,
    stored_search_plan,
)
from dynaloss.studies.search.search_study import SearchStudy
from dynaloss.studies.study import load_study
from dynaloss.studies.trial_record import Outcome

if TYPE_CHECKING:
    from dynaloss.tracking import StudyRun, Workspace

__all__ = ["SearchSummary", "launch_search", "plan_search"]


def plan_search(study: SearchStudy) -> SearchPlan:
    """Plans a search; loads its data sources, since their content is part of a trial's key."""
    return _planned(study, Sources())


def _planned(study: SearchStudy, sources: Sources) -> SearchPlan:
    """The plan, with a note on each condition whose roles share images of equal content."""
    plan = make_search_plan(study, sources.digest)
    sources.check(_all_trained(plan))
    by_condition = {group.condition: group.config.data for group in plan.groups}
    notes = [
        note
        for condition, data in by_condition.items()
        if (note := _equal_images_note(study, condition, data, sources))
    ]
    return dataclasses.replace(plan, notes=(*plan.notes, *notes))


def _all_trained(plan: SearchPlan) -> Iterator[tuple[TrialConfig, int, int]]:
    """Settings, trial seed and study seed of the trials, and of a confirmation's."""
    study = plan.study
    for group in plan.groups:
        yield group.config, study.search.trial_seed, study.base_seed
        if study.confirm is not None:
            # It holds nothing out: see `best_study`.
            config = override(group.config, {"data.validation.fraction": 0.0})
            yield from ((config, seed, study.base_seed) for seed in study.confirm.seeds)


_CROSSINGS = {
    "train_test": "of train in test",
    "train_validation": "of train in validation",
    "validation_test": "of validation in test",
}


def _equal_images_note(
    study: SearchStudy, condition: str, data: DataConfig, sources: Sources
) -> str | None:
    from dynaloss.data.splits import assign_roles
    from dynaloss.learning.streams import Streams

    streams = Streams(base_seed=study.base_seed, seed=study.search.trial_seed)
    counts = assign_roles(sources.of(data), data, streams).equal_images
    crossing = [f"{counts[name]} {told}" for name, told in _CROSSINGS.items() if counts[name]]
    if not crossing:
        return None
    return (
        f"'{condition}': equal images in two roles: {', '.join(crossing)}; the source repeats "
        f"{counts['source']} (data.equal_images: drop keeps them out of training)"
    )


def launch_search(
    study: SearchStudy,
    workspace: Workspace,
    console: Console,
    *,
    sequential: bool = False,
    confirm: bool = True,
) -> SearchSummary:
    """Runs what is left of a search, then confirms its winners.

    Args:
        study: The search.
        workspace: Where things are kept.
        console: Where progress is shown.
        sequential: Run one trial at a time, in this process, without Ray.
        confirm: Whether winners are trained afresh.

    Raises:
        InputError: If the machine cannot give a trial its resources, another process runs the
            same search, or the search has begun with other settings.
    """
    started = time.monotonic()
    sources = Sources()
    plan = _planned(study, sources)
    folder = workspace.folder(study.study)
    # Ray, once started, serves the confirmation too.
    with ExitStack() as stack:
        with workspace.locked(study.study), Journal(folder / "journal.jsonl") as journal:
            journal.claim(_frozen(study))
            launch = _Launch(plan, sources, workspace, console, journal, stack)
            summary = launch.run(sequential=sequential)
        path = _write_best(summary, folder)
        confirmed = None
        if path is not None and study.confirm is not None and confirm and not summary.interrupted:
            confirmed = launch_ablation(load_study(path), workspace, console)
    seconds = time.monotonic() - started
    return dataclasses.replace(summary, best=path, confirmed=confirmed, seconds=seconds)


class _Launch:
    """One launch of a search, with what its parts share."""

    def __init__(
        self,
        plan: SearchPlan,
        sources: Sources,
        workspace: Workspace,
        console: Console,
        journal: Journal,
        stack: ExitStack,
    ) -> None:
        self._plan = plan
        self._sources = sources
        self._workspace = workspace
        self._console = console
        self._journal = journal
        self._stack = stack
        self._folder = workspace.folder(plan.study.study)
        self._checkpoints = workspace.checkpoints(plan.study.study)

    def run(self, *, sequential: bool) -> SearchSummary:
        """Runs the trials that are left."""
        suggesters = self._suggesters(parallel=not sequential)
        with self._study_run() as run:
            run.log_dict(None, "plan.json", stored_search_plan(self._plan).as_json())
            progress = self._progress()
            recorder = SearchRecorder(TrialWriter(run, self._checkpoints), progress)
            director = Director(self._plan, self._journal, suggesters, recorder)
            run.mark_stale(keep=list(director.trials))
            progress.expect(left=director.left)
            try:
                recorder.catch_up(director.trials.values(), run.trials())
                self._conduct(director, sequential)
            finally:
                recorder.close(director.trials.values())
            stopped = director.left > 0 and not director.all_asked
            left = [t for t in director.trials.values() if t.outcome is Outcome.INTERRUPTED]
            interrupted = bool(left) or stopped
            summary = SearchSummary(
                plan=self._plan,
                trials=tuple(director.trials.values()),
                importances={name: one.importances() for name, one in suggesters.items()},
                interrupted=interrupted,
            )
            run.log_dict(None, "search.json", summary.as_json())
            if summary.trials:
                page = write_search_report(summary, suggesters, self._folder / "search.html")
                run.log_study_artifact(page)
            run.finish(Outcome.INTERRUPTED if interrupted else Outcome.COMPLETED)
        return summary

    def _conduct(self, director: Director, sequential: bool) -> None:
        if not director.left:
            return
        if sequential:
            self._one_by_one(director)
            return
        from dynaloss.execution.backends.ray_cluster import cluster, run_trials

        study = self._plan.study
        configs = [group.config.data for group in self._plan.groups]
        sources = {config.source_key: self._sources.of(config) for config in configs}
        slots = self._stack.enter_context(cluster(study.resources))
        run_trials(
            self._orders(director),
            sources,
            study.resources,
            director,
            most=director.left,
            slots=slots,
        )

    def _orders(self, director: Director) -> Iterator[tuple[TrialOrder, str]]:
        while (trial := director.next()) is not None:
            yield order_of(trial.trial, self._checkpoints), trial.trial.config.data.source_key

    def _one_by_one(self, director: Director) -> None:
        resources = self._plan.study.resources
        runner: TrialRunner | None = None
        try:
            with sigterm_as_sigint(), trial_threads(resources):
                while (trial := director.next()) is not None:
                    source = self._sources.of(trial.trial.config.data)
                    order = order_of(trial.trial, self._checkpoints)
                    runner = TrialRunner(order, source, resources.gpu)
                    while director.take(trial.key, runner.step()):
                        pass
                    runner = None
        except KeyboardInterrupt:
            # The next launch goes on from here; what is marked below says so.
            pass
        finally:
            if runner is not None:
                runner.save()

    def _suggesters(self, *, parallel: bool) -> dict[str, Suggester]:
        study = self._plan.study
        storage = open_storage(self._folder)
        suggesters = {}
        for group in self._plan.groups:
            one = Suggester(storage, study, group, parallel=parallel)
            suggesters[group.name] = one
            if study.search.start_from is not None and not one.optuna_study.trials:
                earlier = self._workspace.folder(study.search.start_from)
                one.begin_with(earlier_best(earlier, group))
        return suggesters

    def _study_run(self) -> StudyRun:
        tags = {"dynaloss.plan_hash": self._plan.hash, "dynaloss.kind": "search"}
        return self._workspace.open_store().start_study(self._plan.study.study, tags=tags)

    def _progress(self) -> SearchProgress:
        metric = self._plan.study.search.objectives()[0][0]
        return SearchProgress(self._console, metric, total=self._plan.num_trials)


def _frozen(study: SearchStudy) -> Mapping[str, str]:
    """Digest of each part of a search that must stay as it is once the search has begun."""
    values: dict[str, Any] = study.model_dump(mode="json")
    search = {key: value for key, value in values["search"].items() if key != "trials"}
    parts = {key: values[key] for key in ("trial", "space", "scheduler", "base_seed")}
    frozen = {name: digest_of(part) for name, part in {**parts, "search": search}.items()}
    return {**frozen, "version of the results": str(RESULTS_VERSION)}


def _write_best(summary: SearchSummary, folder: Path) -> Path | None:
    values = best_study(summary.plan, summary.trials)
    if values is None:
        return None
    told = f"Winners of the search '{summary.plan.study.study}': run with `dynaloss ablate`."
    path = write_best(values, folder / BEST, told)
    try:
        load_study(path)
    except InputError as error:  # ours to mend: a search must not write what cannot be read
        raise RuntimeError(f"the winners make no valid study: {error}") from error
    return path
