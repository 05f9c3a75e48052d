"""Comparisons from Python."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Literal

from dynaloss.analysis import Query, Result, run_query
from dynaloss.analysis.tables.extras import EXTRAS
from dynaloss.api.loaded import Loaded
from dynaloss.config.settings import Scalar
from dynaloss.errors import InputError
from dynaloss.studies.reading.problems import not_one_of
from dynaloss.studies.study import Study
from dynaloss.tracking import Workspace


def compare(
    *studies: str | Path | Loaded[Study],
    metric: str | Sequence[str] = (),
    baseline: str | None = None,
    margin: float | None = None,
    adjust: Literal["maxt", "holm"] | None = None,
    rows: str | Sequence[str] = "arm",
    columns: str | Sequence[str] = "condition",
    where: Mapping[str, Scalar | Sequence[Scalar]] | Sequence[str] = (),
    include_pruned: bool = False,
    force: bool = False,
    exact: bool = False,
    extras: Sequence[str] = (),
    everything: bool = False,
    workspace: Workspace | str | Path | None = None,
    note: Callable[[str], object] = warnings.warn,
) -> Result:
    """The arms of one or several studies in one table, from the tracking store.

    A search means its winners, trained again. Only completed trials count, and several studies
    share a table where they saw the same data.

    Args:
        studies: Studies, their names or their files.
        metric: Metric to compare by, or several; by default the first study's own.
        baseline: Row that the others are compared with; by default the first study's own.
        margin: Differences up to this do not matter, above 0: in points where the metric is shown
            in percent, otherwise in its unit. By default the first study's own.
        adjust: How p values are adjusted for all differences of a table: by `maxt` (Westfall and
            Young's step-down maxT) or `holm`; by default the first study's own.
        rows: Keys that name the rows: `arm`, `condition`, `seed`, `study`, a parameter or a tag.
        columns: Keys that name the columns, such as `["noise", "imbalance"]`.
        where: Values that trials must have, by key: one, or a list of those allowed. Texts
            `key=value` mean the same.
        include_pruned: Whether the last value of pruned trials counts.
        force: Whether studies that saw different data are joined; the table is marked then.
        exact: Whether texts show every digit, in fractions rather than percent.
        extras: Tables beside the comparison: `effects`, `cost`, `rules`, `aggregates`.
        everything: Whether all that a report and the figures show is read at once, rather than
            when it is needed.
        workspace: Where the trials are: a folder, by default `results`, or a workspace.
        note: Receives notes on trials that are left out; by default they are warnings.

    Raises:
        InputError: If a name is unknown, no trial has completed, the winners of a search have not
            been trained again, or studies of different data are joined without `force`.

    Examples:
        >>> result = dynaloss.compare("small", metric="test/accuracy", where={"seed": [0, 1]})
        >>> [cell.arm for cell in result.comparisons[0].cells]
        ['none', 'full']
    """
    if unknown := [name for name in extras if name not in EXTRAS]:
        raise InputError(f"`extras` {not_one_of(EXTRAS, name)}" for name in unknown)
    query = Query(
        studies=tuple(one.name if isinstance(one, Loaded) else str(one) for one in studies),
        metrics=_names(metric),
        baseline=baseline,
        margin=margin,
        adjust=adjust,
        rows=_names(rows),
        columns=_names(columns),
        where=tuple(_demands(where)),
        include_pruned=include_pruned,
        force=force,
        exact=exact,
        extras=tuple(extras),
        everything=everything,
    )
    store = Workspace.of(workspace).open_store(must_exist=True)
    return run_query(query, store, note=note)


def _names(given: str | Sequence[str]) -> tuple[str, ...]:
    return (given,) if isinstance(given, str) else tuple(given)


def _demands(where: Mapping[str, Scalar | Sequence[Scalar]] | Sequence[str]) -> Iterable[str]:
    if not isinstance(where, Mapping):
        return where
    return (
        f"{key}={value}"
        for key, allowed in where.items()
        for value in (allowed if isinstance(allowed, list | tuple) else [allowed])
    )
