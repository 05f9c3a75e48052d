"""Delivers to the tracking store what launches have left on disk."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from dynaloss.errors import InputError
from dynaloss.execution.delivery import OpenStudy, Say, opened_study, outbox_path
from dynaloss.studies.trial_record import Outcome

if TYPE_CHECKING:
    from dynaloss.tracking import Workspace


def studies_that_wait(workspace: Workspace) -> list[str]:
    """Names of the studies with records for the store of the workspace."""
    pattern = outbox_path(workspace, "*").relative_to(workspace.storage).as_posix()
    return sorted(path.parents[2].name for path in workspace.storage.glob(pattern))


def sync(workspace: Workspace, say: Say, studies: Sequence[str] = ()) -> None:
    """Delivers the records of studies, of all that have some by default, and ends their runs.

    Raises:
        InputError: If the store cannot be opened, a study has no records, or another process
            runs it.
    """
    waiting = studies_that_wait(workspace)
    if unknown := [name for name in studies if name not in waiting]:
        there = f"those of {', '.join(waiting)} do" if waiting else "none do"
        raise InputError(
            f"No records of '{name}' wait in {workspace.storage}: {there}" for name in unknown
        )
    if not waiting:
        say(f"No records wait in {workspace.storage}.")
    for name in studies or waiting:
        with workspace.locked(name), opened_study(workspace, name, say) as opened:
            opened.run.mark_stale()
            _finish(opened, name, say)


def _finish(opened: OpenStudy, name: str, say: Say) -> None:
    """Ends the study's run as its last launch would have."""
    store, run = opened.store, opened.run
    is_search = store.tags(name).get("dynaloss.kind") == "search"
    outcome = opened.delivery.outcome or Outcome.INTERRUPTED

    def publish() -> None:
        from dynaloss.execution.publish import try_to_publish

        if outcome is Outcome.COMPLETED and not is_search:
            try_to_publish(store, run, store.plan(name), say)

    opened.finish(outcome, publish)
