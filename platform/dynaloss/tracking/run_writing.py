"""Making runs, each once, and writing their parameters and tags within MLflow's limits."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from dynaloss.tracking.bulk_reading import StoredRun, read_runs
from dynaloss.tracking.client import Client
from dynaloss.tracking.schema import (
    MAX_NAME,
    MAX_PAIRS,
    MAX_PARAMETER,
    Tag,
    clean_name,
    cut,
    tag_values,
)


def find_run(client: Client, experiment_id: str, match: Mapping[str, str]) -> StoredRun | None:
    """The first started active run with these tags, or None.

    Raises:
        ValueError: If a value holds characters that MLflow's search cannot quote.
    """
    for value in match.values():
        if not re.fullmatch(r"[\w.:+\-]+", value):
            raise ValueError(
                f"A key must consist of letters, digits and `_.:+-`, but got {value!r}."
            )
    return next(iter(read_runs(client, experiment_id, match=match)), None)


def make_run(
    client: Client, experiment_id: str, *, name: str, tags: Mapping[str, Any], match: str
) -> StoredRun:
    """A new run with these tags, or the equal one that another process made at the same moment.

    MLflow has no unique tags: the run is made, then looked up; of two the first one stays.
    `match` names the tag whose value no other run of the experiment may have.
    """
    values = tag_values(tags)
    made = client.create_run(experiment_id, tags=values, run_name=cut(name, MAX_NAME))
    first = find_run(client, experiment_id, {match: values[match]}) or StoredRun.of(made)
    if first.run_id != made.info.run_id:
        client.delete_run(made.info.run_id)
    return first


def reopen_run(client: Client, run: StoredRun, *, name: str, tags: Mapping[str, Any]) -> None:
    """Set the run back to RUNNING under this name, with these tags added to its own."""
    if run.status != "RUNNING":
        client.update_run(run.run_id, status="RUNNING")
        run.status = "RUNNING"
    rename_run(client, run, name)
    write_tags(client, run, tags)
    if run.tags.pop(Tag.MESSAGE, None) is not None:  # belongs to the earlier end of the run
        client.delete_tag(run.run_id, Tag.MESSAGE)


def rename_run(client: Client, run: StoredRun, name: str) -> None:
    """Give the run this name, unless it has it."""
    if run.name != (name := cut(name, MAX_NAME)):
        client.update_run(run.run_id, name=name)
        run.name = name


def write_tags(client: Client, run: StoredRun, tags: Mapping[str, Any]) -> None:
    """Write the tags that differ from the run's."""
    from mlflow.entities import RunTag

    entities = [RunTag(*pair) for pair in changed_tags(run, tags).items()]
    for start in range(0, len(entities), MAX_PAIRS):
        client.log_batch(run.run_id, tags=entities[start : start + MAX_PAIRS])


def changed_tags(run: StoredRun, tags: Mapping[str, Any]) -> dict[str, str]:
    """The tags that differ from the run's, which has them from now on."""
    changed = dict(tag_values(tags).items() - run.tags.items())
    run.tags.update(changed)
    return changed


def new_parameters(
    run: StoredRun, parameters: Mapping[str, Any]
) -> tuple[dict[str, str], dict[str, str]]:
    """The parameters that the run lacks, and tags that name those that were cut or have changed.

    MLflow refuses another value for a parameter: the first value stays.
    """
    values = {clean_name(name): str(value) for name, value in parameters.items()}
    short = {name: cut(value, MAX_PARAMETER) for name, value in values.items()}
    new = {name: value for name, value in short.items() if name not in run.parameters}
    run.parameters = new | run.parameters
    notes = {
        Tag.CUT: [name for name in short if short[name] != values[name]],
        Tag.CHANGED: [name for name in short if short[name] != run.parameters[name]],
    }
    return new, changed_tags(run, {tag: ", ".join(names) for tag, names in notes.items() if names})
