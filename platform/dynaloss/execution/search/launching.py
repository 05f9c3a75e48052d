"""Launches a search: groups, suggestions, trials, winners and their confirmation."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, nullcontext
from dataclasses import asdict, dataclass, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

from dynaloss.config import DataConfig, TrialConfig
from dynaloss.config.families import PRUNERS
from dynaloss.config.settings import Scalar
from dynaloss.errors import InputError
from dynaloss.execution.ablation import launch_ablation
from dynaloss.execution.backends import Backend, Work, open_backend, shortages
from dynaloss.execution.delivery import OpenStudy, opened_study
from dynaloss.execution.launch_log import LOG, launch_log
from dynaloss.execution.progress import Cost, Progress
from dynaloss.execution.progress_file import progress_path
from dynaloss.execution.recording import Recorder
from dynaloss.execution.search.conclusion import SearchSummary
from dynaloss.execution.search.confirmation import write_best
from dynaloss.execution.search.director import Director
from dynaloss.execution.search.grace import grace_period
from dynaloss.execution.search.html_page import write_page
from dynaloss.execution.search.outcome import group_outcome
from dynaloss.execution.search.searched import SearchTrial
from dynaloss.execution.search.suggestions import (
    DamagedStorageError,
    Suggester,
    earlier_best,
    open_storage,
    set_storage_aside,
)
from dynaloss.execution.trial.inputs import Sources
from dynaloss.execution.trial.runner import TrialOrder
from dynaloss.journal import Journal
from dynaloss.studies.cost_groups import warmup_length
from dynaloss.studies.identity import KEY_VERSION, RESULTS_VERSION, digest_of
from dynaloss.studies.loading import load_study
from dynaloss.studies.overrides import override
from dynaloss.studies.search.groups import (
    Group,
    SearchPlan,
    make_search_plan,
    stored_search_plan,
    with_grace,
)
from dynaloss.studies.search.rungs import GracePeriod
from dynaloss.studies.study import SearchStudy
from dynaloss.studies.trial_record import Outcome

if TYPE_CHECKING:
    from dynaloss.tracking import Workspace

_JOURNAL = "journal.jsonl"
_REMEDY = "give the study another name, or remove its folder to start again"


def plan_search(
    study: SearchStudy, sources: Sources | None = None, workspace: Workspace | None = None
) -> SearchPlan:
    """Plans a search; checks its trials where their data are there.

    Notes name data to fetch, what may be wrong with files, and conditions whose roles share images
    of equal content.

    Args:
        study: The search.
        sources: The data of a launch, which have to be there; by default they may be missing.
        workspace: Where the search and the one that it starts from are kept.
    """
    is_launch = sources is not None
    sources = sources or Sources()
    digests = sources.digest if is_launch else sources.planned_digest
    plan = make_search_plan(study, digests)
    if workspace is not None and (name := study.search.start_from) is not None:
        own, earlier = (workspace.folder(one) / _JOURNAL for one in (study.study, name))
        if (grace := grace_period(plan, own, earlier)) is not None:
            plan = with_grace(plan, grace, digests)
    there = [g for g in plan.groups if g.config.data.source_key not in sources.missing]
    sources.check(_all_trained(study, there))
    by_condition = {group.condition: group.config.data for group in there}
    found = [_equal_images_note(study, *item, sources) for item in by_condition.items()]
    warnings = sources.warnings(by_condition.values())
    notes = (*plan.notes, *sources.missing_notes(), *warnings, *filter(None, found))
    if not is_launch:
        notes = (*notes, *shortages(study.resources))
    return replace(plan, notes=notes)


def _all_trained(
    study: SearchStudy, groups: Iterable[Group]
) -> Iterator[tuple[TrialConfig, int, int]]:
    """Settings, trial seed and study seed of the trials, and of a confirmation's."""
    for group in groups:
        yield group.config, study.search.trial_seed, study.base_seed
        if study.confirm is not None:
            config = override(group.config, study.retraining)
            yield from ((config, seed, study.base_seed) for seed in study.confirm.seeds)


def _equal_images_note(
    study: SearchStudy, condition: str, data: DataConfig, sources: Sources
) -> str:
    """A note on images in two roles; empty without any."""
    from dynaloss.data.splits import make_splits
    from dynaloss.learning.streams import Streams

    streams = Streams(base_seed=study.base_seed, seed=study.search.trial_seed)
    counts = make_splits(sources.of(data), data, streams).equal_images
    crossings = ("train", "test"), ("train", "validation"), ("validation", "test")
    found = [f"{n} of {a} in {b}" for a, b in crossings if (n := counts[f"{a}_{b}"])]
    if not found:
        return ""
    return (
        f"'{condition}': equal images in two roles: {', '.join(found)}; the source repeats "
        f"{counts['source']} (data.equal_images: drop keeps them out of training)"
    )


def launch_search(
    study: SearchStudy,
    workspace: Workspace,
    console: Console,
    *,
    in_process: bool = False,
    confirm: bool = True,
) -> SearchSummary:
    """Runs what is left of a search, then confirms its winners.

    Args:
        study: The search.
        workspace: Where things are kept.
        console: Where progress is shown.
        in_process: Whether trials run one at a time in this process, without Ray.
        confirm: Whether winners are retrained.

    Raises:
        InputError: If the machine cannot give a trial its resources, another process runs the
            same search, or the search has begun with other settings.
    """
    started = time.monotonic()
    sources = Sources()
    plan = plan_search(study, sources, workspace)
    folder = workspace.folder(study.study)
    # Ray, once started, serves the confirmation too.
    with ExitStack() as stack:
        stack.enter_context(launch_log(folder))

        @cache
        def backend() -> Backend:
            return stack.enter_context(open_backend(study.resources, in_process=in_process))

        with (
            workspace.locked(study.study),
            Journal(folder / _JOURNAL, _REMEDY) as journal,
        ):
            earlier = _earlier(plan, workspace)
            claim(journal, _frozen(study, plan.grace), plan.grace)
            summary = _Launch(
                study, folder, plan, sources, workspace, console, journal, backend, in_process
            ).run(earlier)
        path = write_best(study, summary.groups, folder)
        confirmed = None
        is_over = not summary.interrupted and not summary.waiting
        if path is not None and study.confirm is not None and confirm and is_over:
            best = load_study(path)
            confirmed = launch_ablation(
                best, workspace, console, backend=lambda: nullcontext(backend())
            )
    seconds = time.monotonic() - started
    return replace(summary, best=path, confirmed=confirmed, seconds=seconds, workspace=workspace)


@dataclass(frozen=True, slots=True)
class _Launch:
    """One launch of a search, with what its parts share."""

    study: SearchStudy
    folder: Path
    plan: SearchPlan
    sources: Sources
    workspace: Workspace
    console: Console
    journal: Journal
    backend: Callable[[], Backend]
    in_process: bool

    def run(self, earlier: Mapping[str, list[dict[str, Scalar]]]) -> SearchSummary:
        """Runs the trials that are left, and stores the results.

        Args:
            earlier: What an earlier search suggests to each group.
        """
        director, suggesters = self._restored(earlier)
        tags = {"dynaloss.plan_hash": self.plan.hash, "dynaloss.kind": "search"}
        if director.left:
            self.backend()  # starts Ray, if that is the one
        with opened_study(self.workspace, self.study.study, self.say, tags=tags) as opened:
            plan = stored_search_plan(self.plan).as_json()
            opened.run.log_dict(None, "plan.json", plan)
            opened.run.mark_stale(keep=list(director.trials))
            is_news = bool(director.left)
            self._conduct(director, opened)
            summary = self._summary(director, suggesters)
            found = json.dumps(summary.as_json(), indent=1)
            opened.outbox.add("log_text", key=None, name="search.json", text=found)
            if summary.trials:
                page = write_page(summary, suggesters, self.folder / "search.html")
                text = page.read_text("utf-8")
                opened.outbox.add("log_text", key=None, name=page.name, text=text)

            def publish() -> None:
                from dynaloss.execution.publish import try_to_publish

                if is_news:
                    plan = stored_search_plan(self.plan)
                    text = summary.as_text()
                    try_to_publish(opened.store, opened.run, plan, self.say, summary=text)

            outcome = Outcome.INTERRUPTED if summary.interrupted else Outcome.COMPLETED
            return replace(summary, waiting=opened.finish(outcome, publish))

    def say(self, text: str) -> None:
        """Shows a sentence."""
        LOG.info(text)
        self.console.print(text, markup=False, soft_wrap=True)

    def _restored(
        self, earlier: Mapping[str, list[dict[str, Scalar]]]
    ) -> tuple[Director, dict[str, Suggester]]:
        """The search by its journal; Optuna's file is made anew from it where it differs."""
        try:
            return self._opened(earlier)
        except DamagedStorageError as error:
            aside = set_storage_aside(self.folder)
            text = f"warning: {error}; made anew from the journal, the former is {aside}"
            self.say(text)
            return self._opened(earlier)

    def _opened(
        self, earlier: Mapping[str, list[dict[str, Scalar]]]
    ) -> tuple[Director, dict[str, Suggester]]:
        suggesters = self._suggesters(earlier)
        director = Director(self.plan, self.journal, suggesters)
        names = [name for name, _ in self.study.search.objectives()]
        for trial in director.searched():
            is_complete = trial.outcome is Outcome.COMPLETED
            values = [trial.last(name) for name in names] if is_complete else None
            suggesters[trial.group.name].restore(trial.number, trial.chosen, values)
        return director, suggesters

    def _conduct(self, director: Director, opened: OpenStudy) -> None:
        """Runs and records what is left; without that, only what a kill kept from the store."""
        left, study = director.left, self.study
        outbox, files = opened.outbox, opened.delivery.files
        progress = Progress(
            self.console,
            study.search.objectives()[0],
            waiting=[
                Cost(group.condition, group.arm, group.epochs, warmup_length(group.config))
                for group in left
            ],
            done=sum(trial.outcome.is_final for trial in director.trials.values()),
            slots=self.backend().slots if left else 1,
            path=progress_path(self.workspace, study.study),
        )
        recorder = Recorder(
            outbox,
            files,
            progress,
            director.trials.values(),
            checkpoints=self.workspace.checkpoints(study.study),
            limits=study.limits,
            earlier=opened.store.records(study.study, metrics=(progress.objective.name,)),
        )
        with progress, recorder:
            director.start(recorder)
            recorder.catch_up(opened.run.trials())
            work = Work(
                orders=(self._order(one) if one else None for one in director.upcoming()),
                sources=self.sources.named(group.config.data for group in self.plan.groups),
                retries=study.limits.retries,
            )
            if director.left:
                self.backend().run(work, director)

    def _order(self, one: SearchTrial) -> TrialOrder:
        promotes = PRUNERS[self.study.scheduler.name].promotes
        checkpoints = self.workspace.checkpoints(self.study.study)
        return TrialOrder.of(
            one.trial,
            checkpoints,
            save_at=one.group.rungs if promotes else (),
            limits=self.study.limits,
        )

    def _summary(self, director: Director, suggesters: Mapping[str, Suggester]) -> SearchSummary:
        trials = tuple(director.trials.values())
        groups = tuple(
            group_outcome(self.study, group, trials, suggesters[group.name].importances())
            for group in self.plan.groups
        )
        for found in groups:
            suggesters[found.group.name].keep_race([one.number for one in found.standings])
        return SearchSummary(
            plan=self.plan,
            trials=trials,
            groups=groups,
            interrupted=not director.is_done,
        )

    def _suggesters(self, earlier: Mapping[str, list[dict[str, Scalar]]]) -> dict[str, Suggester]:
        study, storage, groups = self.study, open_storage(self.folder), self.plan.groups
        parallel = not self.in_process or study.resources.stack > 1
        suggesters = {}
        for group in groups:
            one = Suggester(storage, study, group, parallel=parallel, groups=groups)
            suggesters[group.name] = one
            if not one.has_begun:
                one.begin_with(earlier.get(group.name, []))
        return suggesters


def _earlier(plan: SearchPlan, workspace: Workspace) -> dict[str, list[dict[str, Scalar]]]:
    """What the earlier search that is named suggests to each group."""
    if (name := plan.study.search.start_from) is None:
        return {}
    folder = workspace.folder(name)
    return {group.name: earlier_best(folder, group) for group in plan.groups}


def claim(journal: Journal, frozen: Mapping[str, str], grace: GracePeriod | None = None) -> None:
    """Records what must not change between launches, or compares it with the record.

    Raises:
        InputError: If a part of the study file differs from the launch before.
    """
    earlier = next(journal.read(), None)
    if earlier is None:
        decided = {} if grace is None else {"grace": asdict(grace)}
        journal.write("plan", frozen=dict(frozen), **decided)
        return
    changed = [name for name, digest in frozen.items() if earlier["frozen"].get(name) != digest]
    if changed:
        raise InputError(
            f"the search has begun with another {' and '.join(changed)}: "
            "decisions could not be repeated. Give the study another name, or change back; "
            "`search.trials`, `search.race`, conditions, arms and `confirm` may change"
        )


def _frozen(study: SearchStudy, grace: GracePeriod | None) -> Mapping[str, str]:
    """Digest of each part of a search that must stay as it is once the search has begun."""
    values: dict[str, Any] = study.model_dump(mode="json")
    search = {k: v for k, v in values["search"].items() if k not in ("trials", "race")}
    parts = {key: values[key] for key in ("trial", "space", "scheduler", "base_seed")}
    parts["number of threads, or device"] = study.resources.effective()
    frozen = {name: digest_of(part) for name, part in {**parts, "search": search}.items()}
    versions = {"results": RESULTS_VERSION, "keys": KEY_VERSION}
    decided = {} if grace is None else {"grace period": str(grace.epochs)}
    return {
        **frozen,
        **decided,
        **{f"version of the {name}": str(n) for name, n in versions.items()},
    }
