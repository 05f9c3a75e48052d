"""Making runs once, and writing their parameters and tags within MLflow's limits."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from dynaloss.tracking.client import Client
from dynaloss.tracking.limits import (
    MAX_NAME,
    MAX_PAIRS,
    MAX_PARAMETER,
    chunks,
    clean_name,
    cut,
    tag_values,
)
from dynaloss.tracking.rows import RunRow, read_rows
from dynaloss.tracking.vocabulary import CHANGED, CUT, MESSAGE

__all__ = ["find_run", "make_run", "reopen_run", "write_parameters", "write_tags"]


def find_run(client: Client, experiment_id: str, match: Mapping[str, str]) -> RunRow | None:
    """The first started active run that carries these tags; None where there is none.

    Raises:
        ValueError: If a value holds what MLflow's search cannot quote.
    """
    for value in match.values():
        if not re.fullmatch(r"[\w.:+\-]+", value):
            raise ValueError(
                f"A key must consist of letters, digits and `_.:+-`, but got {value!r}."
            )
    return next(iter(read_rows(client, experiment_id, match=match)), None)


def make_run(
    client: Client, experiment_id: str, *, name: str, tags: Mapping[str, Any], match: str
) -> RunRow:
    """A new run with these tags, unless another process made its equal at the same moment.

    MLflow has no unique tags: the run is made, then looked up; of two the first one stays.

    Args:
        client: The connection to the store.
        experiment_id: Identifier of the experiment.
        name: Name of the run.
        tags: Its tags, among them those that identify it.
        match: Name of the tag that no other run of the experiment may share.
    """
    values = tag_values(tags)
    made = client.create_run(experiment_id, tags=values, run_name=cut(name, MAX_NAME))
    first = find_run(client, experiment_id, {match: values[match]})
    if first is None or first.run_id == made.info.run_id:
        return RunRow.of(made)
    client.delete_run(made.info.run_id)
    return first


def reopen_run(client: Client, row: RunRow, *, name: str, tags: Mapping[str, Any]) -> None:
    """Set the run back to RUNNING under this name, with these tags beside its own."""
    name = cut(name, MAX_NAME)
    if (row.status, row.name) != ("RUNNING", name):
        client.update_run(row.run_id, status="RUNNING", name=name)
        row.status, row.name = "RUNNING", name
    write_tags(client, row, tags)
    if row.tags.pop(MESSAGE, None) is not None:  # told how the run ended before
        client.delete_tag(row.run_id, MESSAGE)


def write_tags(client: Client, row: RunRow, tags: Mapping[str, Any]) -> None:
    """Write those tags that differ from the run's."""
    changed = tag_values(tags).items() - row.tags.items()
    _write_pairs(client, row.run_id, {}, dict(changed))
    row.tags.update(changed)


def write_parameters(client: Client, row: RunRow, parameters: Mapping[str, Any]) -> None:
    """Write those parameters that the run lacks; tags name what was cut and what has changed.

    MLflow refuses another value for a parameter: the first value stays.
    """
    values = {clean_name(name): str(value) for name, value in parameters.items()}
    short = {name: cut(value, MAX_PARAMETER) for name, value in values.items()}
    new = {name: value for name, value in short.items() if name not in row.parameters}
    notes = {
        CUT: [name for name in values if short[name] != values[name]],
        CHANGED: [name for name in short if row.parameters.get(name, short[name]) != short[name]],
    }
    tags = tag_values({tag: ", ".join(names) for tag, names in notes.items() if names})
    _write_pairs(client, row.run_id, new, tags)
    row.parameters.update(new)
    row.tags.update(tags)


def _write_pairs(
    client: Client, run_id: str, parameters: Mapping[str, str], tags: Mapping[str, str]
) -> None:
    from mlflow.entities import Param, RunTag

    for chunk in chunks(parameters.items(), MAX_PAIRS):
        client.log_batch(run_id, params=[Param(name, value) for name, value in chunk])
    for pairs in chunks(tags.items(), MAX_PAIRS):
        client.log_batch(run_id, tags=[RunTag(name, value) for name, value in pairs])
