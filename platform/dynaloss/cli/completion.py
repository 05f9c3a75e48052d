"""What a shell offers on Tab: studies, arms, metrics and runs.

Nothing is offered where that fails, such as for a study with errors, which its command explains.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from typing import TYPE_CHECKING

from click.shell_completion import CompletionItem

if TYPE_CHECKING:
    from click import Context, Parameter

    from dynaloss.tracking import Store

    Items = list[CompletionItem[str]]


def complete_study_file(context: Context, parameter: Parameter, typed: str) -> Items:
    """Bundled studies, and files."""
    from dynaloss.studies.reading.bundled import bundled_studies

    folder = "search_spaces" if context.command.name == "search" else "ablations"
    return [*_items(bundled_studies(folder), typed), CompletionItem(typed, type="file")]


def complete_study(context: Context, parameter: Parameter, typed: str) -> Items:
    """Studies of the store, and files."""
    names: Iterable[str] = ()
    with suppress(Exception):
        names = _store(context).studies()
    return [*_items(names, typed), CompletionItem(typed, type="file")]


def complete_arm(context: Context, parameter: Parameter, typed: str) -> Items:
    """Arms of the study that is named before."""
    with suppress(Exception):
        return _items(_arms(context), typed)
    return []


def complete_demand(context: Context, parameter: Parameter, typed: str) -> Items:
    """Demands on an arm; those on other keys are typed by hand."""
    with suppress(Exception):
        return _items([f"arm={arm}" for arm in _arms(context)], typed)
    return []


def complete_metric(context: Context, parameter: Parameter, typed: str) -> Items:
    """Metrics that trials report, with what they mean where the shell shows that."""
    from dynaloss.studies.metric_names import DEFINITIONS

    return [CompletionItem(m, help=t) for m, t in DEFINITIONS.items() if m.startswith(typed)]


def complete_run(context: Context, parameter: Parameter, typed: str) -> Items:
    """Keys of the trials in the store, with their names where the shell shows them."""
    with suppress(Exception):
        store = _store(context)
        records = (one for study in store.studies() for one in store.records(study, metrics=()))
        return [
            CompletionItem(one.key, help=f"{one.study}: {one.arm} · {one.condition} · {one.seed}")
            for one in records
            if one.key.startswith(typed)
        ]
    return []


def _items(words: Iterable[str], typed: str) -> Items:
    return [CompletionItem(word) for word in words if word.startswith(typed)]


def _arms(context: Context) -> tuple[str, ...]:
    """Arms of the study on the command line: of its file, or else of its plan in the store."""
    from dynaloss.errors import InputError
    from dynaloss.studies.loading import load_any

    given = context.params.get("studies") or [context.params.get("study")]
    # An option that lacks its value yet leaves the arguments unparsed.
    study = str(context.args[0] if context.args else given[0])
    try:
        return tuple(load_any(study).arm_overrides())
    except InputError:
        return tuple(_store(context).plan(study).arms)


def _store(context: Context) -> Store:
    from dynaloss.tracking import Workspace

    given = context.params
    return Workspace(given["storage"], given["tracking_uri"]).open_store(must_exist=True)
