"""The data of a trial as MLflow's dataset inputs, one per role."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from mlflow.entities import DatasetInput

__all__ = ["dataset_inputs"]

_DIGEST: Final = 16  # MLflow takes 36


def dataset_inputs(record: Mapping[str, Any]) -> list[DatasetInput]:
    """One input per role, with a digest of its images and labels, tail and noise included.

    Args:
        record: What was done to the data, as `TrialSplits.record` tells it.
    """
    from mlflow.entities import Dataset, DatasetInput, InputTag

    return [
        DatasetInput(
            Dataset(
                name=record["source"],
                digest=digest[:_DIGEST],
                source_type="dynaloss",
                source=json.dumps({"source": record["source"], "digest": record["digest"]}),
                profile=json.dumps(dict(_profile(record, role))),
            ),
            [InputTag("mlflow.data.context", role)],
        )
        for role, digest in record["split_digests"].items()
    ]


def _profile(record: Mapping[str, Any], role: str) -> Iterator[tuple[str, Any]]:
    yield "num_rows", record["splits"][role]
    if role == "train":
        for name in ("flip_rate", "true_class_counts", "observed_class_counts"):
            yield name, record[name]
        for name in ("tail_digest", "noise_digest"):
            yield name, record[name][:_DIGEST]
