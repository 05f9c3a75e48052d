"""Arrays behind the figures, from the history and diagnostics of records.

R: number of rank bins, C: number of classes, S: number of seeds.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dynaloss.studies.trial_record import Outcome, TrialRecord

Array = NDArray[np.float64]
Diagnostics = Mapping[str, Any]
Series = dict[tuple[str, str], list[Array]]
"""Per (condition, arm): one array per seed."""


def collect(
    records: Sequence[TrialRecord], value: Callable[[TrialRecord], Array | None]
) -> Series:
    """The array of every completed trial that has one."""
    series: Series = {}
    for record in records:
        array = value(record) if record.outcome is Outcome.COMPLETED else None
        if array is not None and array.size:
            series.setdefault((record.condition, record.arm), []).append(array)
    return series


def curve(record: TrialRecord, metric: str) -> Array:
    """Rows (x, value) over the epochs, shape (2, number of epochs)."""
    return np.asarray(record.history.get(metric, ()), dtype=np.float64).reshape(-1, 2).T


def corrector_table(diagnostics: Diagnostics) -> Array | None:
    """Rows (rank, weight, true share of clean labels) over the bins, shape (3, R).

    The rank is the middle of its bin, in (0, 1); the weight is the mean over the samples of the
    bin (over the classes where it is empty); the clean share of an empty bin is NaN.
    """
    if "corrector" not in diagnostics:
        return None
    weights, counts, clean = (
        _array(diagnostics["corrector"][name]) for name in ("weights", "counts", "clean")
    )
    filled = counts.sum(axis=1) > 0
    shares = np.where(filled[:, None], counts, 1.0)
    ranks = (np.arange(len(weights)) + 0.5) / len(weights)
    clean_share = np.where(filled, clean.sum(axis=1) / shares.sum(axis=1), np.nan)
    return np.stack([ranks, np.average(weights, axis=1, weights=shares), clean_share])


def centred_margins(diagnostics: Diagnostics) -> Array | None:
    """Margins minus their mean, in nats, shape (C,)."""
    if "margins" not in diagnostics:
        return None
    values = _array(diagnostics["margins"]["margins"])
    return values - np.mean(values)


def row_shares(matrix: Array) -> Array:
    """Each row divided by its sum, shape (C, C); NaN for a class without samples."""
    totals = matrix.sum(axis=1, keepdims=True)
    return _array(np.divide(matrix, totals, out=np.full_like(matrix, np.nan), where=totals > 0))


def recalls(diagnostics: Diagnostics) -> Array | None:
    """Test accuracy within each class, in percent, shape (C,)."""
    if "confusion" not in diagnostics:
        return None
    shares = row_shares(_array(diagnostics["confusion"]["matrix"]))
    return 100 * shares.diagonal()


def class_counts(records: Sequence[TrialRecord]) -> Array | None:
    """Training samples per class, mean over the trials: true ones, else observed ones."""
    for artifact, name in (("data", "true_class_counts"), ("margins", "class_counts")):
        found = [r.diagnostics[artifact][name] for r in records if artifact in r.diagnostics]
        if found:
            return _array(np.mean(found, axis=0))
    return None


def class_names(diagnostics: Diagnostics, num_classes: int) -> list[str]:
    """Names of the classes where an artifact holds them, else their indices."""
    for artifact in ("confusion", "data"):
        names = diagnostics.get(artifact, {}).get("class_names")
        if names and len(names) == num_classes:
            return [str(name) for name in names]
    return [str(index) for index in range(num_classes)]


def align(tables: Sequence[Array]) -> list[Array]:
    """One table per seed, shape (rows, points), on the union of the ascending x in the first row.

    Returns the union of x, shape (points,), then an array of shape (S, points) per other row, NaN
    where a seed has no such x.
    """
    x = np.unique(np.concatenate([table[0] for table in tables]))
    aligned = np.full((len(tables[0]) - 1, len(tables), len(x)), np.nan)
    for seed, table in enumerate(tables):
        aligned[:, seed, np.searchsorted(x, table[0])] = table[1:]
    return [x, *aligned]


def spread(values: Array) -> tuple[Array, Array, Array]:
    """Mean, minimum and maximum over the seeds, shape (S, points) to (points,), without NaN."""
    known = np.ma.masked_invalid(values)
    mean, low, high = (
        np.ma.filled(found.astype(np.float64), np.nan)
        for found in (known.mean(axis=0), known.min(axis=0), known.max(axis=0))
    )
    return mean, low, high


def _array(values: object) -> Array:
    return np.asarray(values, dtype=np.float64)
