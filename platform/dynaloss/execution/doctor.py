"""What launches need, and what they may have left: found, and repaired where that is safe."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import shutil
from collections import defaultdict
from collections.abc import Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from dynaloss.config.trial import ResourcesConfig
from dynaloss.errors import DynalossError, InputError
from dynaloss.execution.backends import open_backend
from dynaloss.execution.delivery import opened_study, outbox_path
from dynaloss.execution.trial.checkpoints import without_use
from dynaloss.execution.trial.process import processor
from dynaloss.journal import Journal
from dynaloss.lazy import torch
from dynaloss.studies.trial_record import Outcome
from dynaloss.tracking.client import redacted
from dynaloss.tracking.schema import Tag

if TYPE_CHECKING:
    from dynaloss.tracking import Store, StudyRun, Workspace
    from dynaloss.tracking.bulk_reading import StoredRun

_LOW_DISK_GIB = 1.0
_PACKAGES = ("dynaloss", "torch", "torchvision", "ray", "mlflow", "optuna")


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """Something that was looked at.

    Attributes:
        about: What was looked at, such as `store` or the name of a study.
        text: What was found.
        is_problem: Whether it should be otherwise.
    """

    about: str
    text: str
    is_problem: bool = False

    def __str__(self) -> str:
        return f"{'problem' if self.is_problem else 'ok'}: {self.about}: {self.text}"


def examine(workspace: Workspace, *, repair: bool = False) -> Iterator[Finding]:
    """Looks at the machine, the store and each study; a repair is said as a finding.

    A study that runs is left alone. What is repaired: runs left open by killed launches,
    duplicate runs, records that the store lacks, files without use. No result is deleted.
    """
    yield from _machine()
    yield from _disk(workspace)
    if not workspace.has_store:
        yield Finding(about="store", text=f"there is none in {workspace.storage} yet")
        return
    try:
        store = workspace.open_store(must_exist=True)
        studies = store.studies()
    except DynalossError as error:
        yield Finding(about="store", text=str(error), is_problem=True)
        return
    if damage := store.damage():
        yield from (Finding(about="store", text=text, is_problem=True) for text in damage)
        return
    text = f"{redacted(store.tracking_uri)} opens, and holds {len(studies)} studies"
    yield Finding(about="store", text=text)
    for name, location in store.moved_studies().items():
        text = f"artifacts are in {location}, not beside the store: `dynaloss doctor --relocate`"
        yield Finding(about=name, text=text, is_problem=True)
    for name in studies:
        yield from _study(store, workspace, name, repair=repair)


def relocate(workspace: Workspace) -> Iterator[Finding]:
    """Points a SQLite store that was moved, or copied, with its folder to the artifacts beside it.

    Raises:
        InputError: If another process runs a study of the workspace.
    """
    store = workspace.open_store(must_exist=True)
    if not (moved := store.moved_studies()):
        yield Finding(about="store", text="its artifacts lie beside it: nothing is to be done")
    for name, location in moved.items():
        with workspace.locked(name):
            count = store.relocate(name)
        yield Finding(about=name, text=f"{count} runs had their artifacts in {location}; now here")


def _machine() -> Iterator[Finding]:
    versions = []
    for package in _PACKAGES:
        try:
            versions.append(f"{package} {importlib.metadata.version(package)}")
        except importlib.metadata.PackageNotFoundError:
            yield Finding(about="packages", text=f"{package} is not installed", is_problem=True)
    yield Finding(
        about="packages", text=f"Python {platform.python_version()}, {', '.join(versions)}"
    )
    gpus = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    yield Finding(about="devices", text=", ".join([processor(), *(gpus or ["no GPU"])]))
    try:
        with open_backend(ResourcesConfig(), in_process=False) as backend:
            yield Finding(
                about="Ray", text=f"starts, with room for {backend.slots} trials of a core"
            )
    except DynalossError as error:
        yield Finding(about="Ray", text=str(error), is_problem=True)


def _disk(workspace: Workspace) -> Iterator[Finding]:
    there = next(path for path in (workspace.storage, *workspace.storage.parents) if path.exists())
    free = shutil.disk_usage(there).free / 2**30
    yield Finding(
        about="disk",
        text=f"{free:.1f} GiB are free in {workspace.storage}",
        is_problem=free < _LOW_DISK_GIB,
    )
    if not os.access(there, os.W_OK):
        yield Finding(about="disk", text=f"{there} cannot be written to", is_problem=True)


@dataclass(slots=True)
class _Left:
    """What launches have left of a study.

    Attributes:
        open_runs: Names of runs that count as running.
        duplicates: Identifiers of the runs of a trial beside the one that counts.
        waiting: Number of records that the store lacks.
        files: Files and folders without use.
    """

    open_runs: list[str] = field(default_factory=list)
    duplicates: list[str] = field(default_factory=list)
    waiting: int = 0
    files: list[Path] = field(default_factory=list)

    def texts(self) -> Iterator[str]:
        """What there is of it."""
        if self.open_runs:
            yield f"{len(self.open_runs)} runs of a launch that was killed count as running"
        if self.duplicates:
            yield f"{len(self.duplicates)} runs beside the one of their trial"
        if self.waiting:
            yield f"{self.waiting} records wait to be delivered"
        if self.files:
            names = ", ".join(path.name for path in self.files[:3])
            more = f" and {len(self.files) - 3} more" if len(self.files) > 3 else ""
            yield f"files without use: {names}{more}"


def _study(store: Store, workspace: Workspace, name: str, *, repair: bool) -> Iterator[Finding]:
    if not workspace.folder(name).is_dir():
        yield Finding(about=name, text="launched from another storage folder: left alone")
        return
    with ExitStack() as locked:
        try:
            locked.enter_context(workspace.locked(name))
        except InputError as error:  # it runs
            yield Finding(about=name, text=str(error))
            return
        except OSError as error:
            yield Finding(about=name, text=f"cannot be looked at: {error}", is_problem=True)
            return
        yield from _locked_study(store, workspace, name, repair=repair)


def _locked_study(
    store: Store, workspace: Workspace, name: str, *, repair: bool
) -> Iterator[Finding]:
    try:
        left = _left(store, workspace, name)
        problems = list(left.texts())
        for text in problems:
            yield Finding(about=name, text=text, is_problem=not repair)
        if not problems:
            yield Finding(about=name, text="nothing is left behind")
        elif repair:
            for text in _repaired(store, workspace, name, left):
                yield Finding(about=name, text=text)
    except (DynalossError, OSError) as error:
        yield Finding(about=name, text=f"cannot be looked at: {error}", is_problem=True)


def _left(store: Store, workspace: Workspace, name: str) -> _Left:
    left = _Left()
    by_key: dict[str, list[StoredRun]] = defaultdict(list)
    for run in store.runs(name):
        if run.status == "RUNNING":
            left.open_runs.append(run.name)
        if (key := run.tags.get(Tag.KEY)) is not None:
            by_key[key].append(run)
    for runs in by_key.values():
        # As all tables do, the first one counts, unless only a later one has ended.
        kept = next((run for run in runs if run.has_ended), runs[0])
        left.duplicates += [run.run_id for run in runs if run is not kept]
    path = outbox_path(workspace, name)
    if path.exists():
        with closing(Journal(path)) as journal:
            left.waiting = sum(1 for _ in journal.read())
    ended = {key for key, runs in by_key.items() if any(run.has_ended for run in runs)}
    left.files = without_use(workspace.checkpoints(name), ended)
    return left


def _repaired(store: Store, workspace: Workspace, name: str, left: _Left) -> Iterator[str]:
    """Repairs a study that is locked; says what was done."""
    for path in left.files:
        path.unlink()
        yield f"{path} is removed"
    # Before the study is opened, which takes the first run of each trial.
    for run_id in left.duplicates:
        store.client.delete_run(run_id)
        yield f"run {run_id} is deleted in MLflow (which can restore it)"
    said: list[str] = []
    with opened_study(workspace, name, said.append) as opened:
        yield from said
        run = opened.run
        stale = run.mark_stale()
        if stale:
            yield f"{len(stale)} trials are marked as interrupted"
        opened.finish(opened.delivery.outcome or _earlier_outcome(run))


def _earlier_outcome(run: StudyRun) -> Outcome:
    return Outcome.COMPLETED if run.was_completed else Outcome.INTERRUPTED
