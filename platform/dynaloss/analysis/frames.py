"""Trials as pandas frames: flat columns, one row a trial or an epoch."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

from dynaloss.config.settings import Scalar
from dynaloss.studies.trial_record import ENVIRONMENT, TrialRecord

if TYPE_CHECKING:
    import pandas

_PLACE = ("study", "key", "condition", "arm", "seed")
_WORDS = {"True": True, "False": False, "None": None}


def trials_frame(records: Sequence[TrialRecord]) -> pandas.DataFrame:
    """One row a trial: its place, outcome and environment, its settings, its last metrics.

    Settings are columns by dotted key, as numbers and truth values where they are such.
    """
    import pandas

    settings = dict.fromkeys(name for record in records for name in record.parameters)
    metrics = sorted({name for record in records for name in record.metrics})
    rows = [
        {name: plain_value(text) for name, text in record.parameters.items()}
        | {**record.metrics, **_place(record), "outcome": str(record.outcome)}
        | {"environment": record.tags.get(ENVIRONMENT)}
        for record in records
    ]
    columns = dict.fromkeys([*_PLACE, "outcome", "environment", *settings, *metrics])
    return pandas.DataFrame(rows, columns=[*columns])


def curves_frame(
    records: Iterable[TrialRecord], metrics: Collection[str] = ()
) -> pandas.DataFrame:
    """One row a trial and epoch, with a column per metric; all metrics unless some are named."""
    import pandas

    rows = []
    for record in records:
        epochs: dict[int, dict[str, float]] = {}
        for name, points in record.history.items():
            for epoch, value in points if name in metrics or not metrics else ():
                epochs.setdefault(epoch, {})[name] = value
        rows += [{**epochs[e], **_place(record), "epoch": e} for e in sorted(epochs)]
    names = metrics or sorted({name for row in rows for name in row} - {*_PLACE, "epoch"})
    return pandas.DataFrame(rows, columns=[*_PLACE, "epoch", *names])


def _place(record: TrialRecord) -> dict[str, str | int]:
    return {name: getattr(record, name) for name in _PLACE}


def plain_value(text: str) -> Scalar:
    """The value of a setting that a store keeps as text."""
    if text in _WORDS:
        return _WORDS[text]
    for convert in (int, float):
        with suppress(ValueError):
            return convert(text)
    return text
