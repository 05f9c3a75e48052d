"""Between a launch and the tracking store: what waits on disk, and how it gets there."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dynaloss.errors import InputError
from dynaloss.execution.trial.checkpoints import CheckpointFile, without_use
from dynaloss.studies.identity import digest_of
from dynaloss.studies.trial_record import Outcome
from dynaloss.tracking.client import ServerAbsentError, StoreAwayError
from dynaloss.tracking.outbox import Outbox

if TYPE_CHECKING:
    from dynaloss.tracking import Store, StudyRun, Workspace

Say = Callable[[str], None]

_RECORDS = (
    "begin_trial", "log_data", "tag_environment", "log_report", "tag_trial", "end_trial",
    "log_text", "log_artifacts", "finish",
)  # fmt: skip
_SECONDS_FOR_A_SERVER_TO_COME_UP = 30.0


@dataclass(slots=True)
class Delivery:
    """Writes the records of an outbox to a study in the store; see `Receiver`.

    A record is named after the method of `StudyRun` that it calls.

    Attributes:
        run: The study.
        store: The store that holds it.
        files: Folder of the files that wait to become artifacts, in one folder each.
        checkpoints: Folder of the study's checkpoints.
        outcome: How the study's run is to end; None while no record says so.
    """

    run: StudyRun
    store: Store
    files: Path
    checkpoints: Path
    outcome: Outcome | None = None

    def deliver(self, what: str, content: dict[str, Any]) -> None:
        """See `Receiver.deliver`."""
        key = content.get("key")
        if what == "finish":
            self.outcome = Outcome(content["outcome"])
        elif key is not None and what != "begin_trial" and key not in self.run:
            return  # left by an earlier launch, and the run was deleted since
        elif what == "log_artifacts":
            self._deliver_files(key, self.files / Path(content["folder"]).name)
        elif what in _RECORDS:
            getattr(self.run, what)(**content)
        else:
            raise InputError(f"{self.files}: a record must be one of {', '.join(_RECORDS)}")
        if what == "end_trial" and Outcome(content["outcome"]).is_final:
            CheckpointFile(self.checkpoints, content["key"]).remove()

    def settle(self) -> None:
        """See `Receiver.settle`."""
        self.run.flush()

    def require(self) -> None:
        """See `Receiver.require`."""
        self.store.client.require_server()

    def tidy(self) -> None:
        """Removes checkpoints of trials that have ended: their processes may write a last one."""
        states = self.run.trials()
        ended = {key for key, state in states.items() if state.outcome.is_final}
        for path in without_use(self.checkpoints, ended):
            path.unlink(missing_ok=True)

    def _deliver_files(self, key: str | None, folder: Path) -> None:
        if folder.is_dir():  # else they were delivered before a kill
            self.run.log_artifacts(key, folder)
            shutil.rmtree(folder)


@dataclass(frozen=True, slots=True)
class OpenStudy:
    """A study in the tracking store, open for a launch.

    Attributes:
        store: The store.
        run: The study's own run, for what is not written while trials run.
        outbox: Takes what is written while trials run.
        delivery: Where the outbox delivers to.
    """

    store: Store
    run: StudyRun
    outbox: Outbox
    delivery: Delivery

    def finish(self, outcome: Outcome, publish: Callable[[], None] | None = None) -> int:
        """Ends the study's run; where its records still wait, leaves that for their delivery.

        The result is the number of records that wait. `publish` is called before the end, unless
        records wait.
        """
        if not self.outbox.flush():
            self.delivery.tidy()
            if publish is not None:
                publish()
            with suppress(StoreAwayError):
                self.run.finish(outcome)
                return 0
        self.outbox.add("finish", outcome=str(outcome))
        self.run.leave_open()
        return self.outbox.waiting


def outbox_path(workspace: Workspace, study: str) -> Path:
    """File of what the store does not have yet of a study; each store has its own folder."""
    store = digest_of(workspace.store_uri)[:8]
    return workspace.folder(study) / "undelivered" / store / "records.jsonl"


def note_on_waiting(study: str, count: int) -> str:
    """What to say of records that wait."""
    return (
        f"{count} records wait for the tracking server, which is away: run "
        f"`dynaloss sync {study}` once it is back; the next launch delivers them too."
    )


@contextmanager
def opened_study(
    workspace: Workspace, study: str, say: Say, *, tags: Mapping[str, Any] | None = None
) -> Iterator[OpenStudy]:
    """Opens a study that is locked, and delivers what an earlier launch has left.

    Args:
        workspace: Where things are kept.
        study: Name of the study.
        say: Shows a sentence to the user.
        tags: Tags of the study's own run.

    Raises:
        InputError: If the store cannot be opened.
    """
    store = open_store(workspace, say)
    path = outbox_path(workspace, study)
    files = path.parent
    with store.start_study(study, tags=tags) as run:
        delivery = Delivery(run, store, files, workspace.checkpoints(study))
        with Outbox(path, delivery) as outbox:
            if outbox.damage:
                say(f"warning: {outbox.damage}")
            if count := outbox.deliver_left():
                say(f"{count} records of an earlier launch have been delivered to the store")
            if not outbox.damage:
                for folder in filter(Path.is_dir, files.iterdir()):  # without a record, by a kill
                    shutil.rmtree(folder)
            yield OpenStudy(store, run, outbox, delivery)
    with suppress(OSError):  # something waits, for this store or for another
        files.rmdir()
        files.parent.rmdir()


def open_store(workspace: Workspace, say: Say) -> Store:
    """The tracking store; a server that does not answer yet is given some seconds to come up.

    Raises:
        InputError: If the store cannot be opened.
    """
    end, told = time.monotonic() + _SECONDS_FOR_A_SERVER_TO_COME_UP, False
    while True:
        try:
            return workspace.open_store()
        except ServerAbsentError as error:
            if time.monotonic() > end:
                raise
            if not told:
                seconds = f"{_SECONDS_FOR_A_SERVER_TO_COME_UP:.0f} seconds"
                say(f"{error.problems[0]} Asking again for {seconds}.")
                told = True
            time.sleep(1)
