"""Tunes the arms of an ablation before they are compared."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Console

from dynaloss.execution.search.conclusion import SearchSummary
from dynaloss.execution.search.confirmation import BEST
from dynaloss.execution.search.launching import launch_search
from dynaloss.studies.reading.document import read_document
from dynaloss.studies.search.arm_tuning import tuning_search, with_tuned
from dynaloss.studies.study import AblationStudy

if TYPE_CHECKING:
    from dynaloss.tracking import Workspace


def tune_arms(
    study: AblationStudy, workspace: Workspace, console: Console, *, in_process: bool = False
) -> SearchSummary:
    """Runs what is left of the search of a study's arms; `with_stored_tuning` then applies it.

    Args:
        study: A study whose `ablation.tuning` is `per_arm`.
        workspace: Where things are kept; the search is a study of its own there.
        console: Where progress is shown.
        in_process: Whether trials run one at a time in this process, without Ray.

    Raises:
        InputError: As `launch_search` does.
    """
    search = tuning_search(study)
    return launch_search(search, workspace, console, in_process=in_process, confirm=False)


def with_stored_tuning(study: AblationStudy, workspace: Workspace) -> AblationStudy:
    """The study with the settings that its search has found so far, if any."""
    path = workspace.folder(tuning_search(study).study) / BEST
    if not path.is_file():
        return study
    arms = study.arm_overrides()
    entries = read_document(path).values["tuned"]
    return with_tuned(study, [entry for entry in entries if entry["arm"] in arms])
