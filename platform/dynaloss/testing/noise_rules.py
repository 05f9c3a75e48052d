"""The contract of a kind of label noise."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from dynaloss.data.sources import ImageArrays
from dynaloss.testing.parts import (
    Part,
    draws_from_its_generators,
    is_reproducible,
    keeps_its_settings,
    leaves_what_it_is_given,
    names_its_settings,
    resumes,
)
from dynaloss.testing.rules import Rule, rule

_LOW, _HIGH = 0.1, 0.9


class NoisePart(Part):
    """A kind of label noise, put on three quarters of a source."""

    def given(self) -> dict[str, Any]:
        """Positions in the pool of the source, and what the pool holds."""
        pool = copy.deepcopy(self.source.pool)
        rows = np.flatnonzero(np.arange(len(pool.labels)) % 4)
        return {"rows": rows, "labels": pool.labels, "images": pool.images}

    def result(self, given: Mapping[str, Any], **changed: float) -> Any:  # noqa: ANN401
        """Observed labels of these rows, with some settings changed."""
        noise = self.settings.model_copy(update=changed)
        pool = ImageArrays(images=given["images"], labels=given["labels"])
        source, rng = replace(self.source, pool=pool), np.random.default_rng(0)
        return self.kind.observe(noise, source, given["rows"], rng)


@rule("must give an observed label for each sample, int64, in [0, C)")
def _gives_labels(part: NoisePart) -> Iterator[str]:
    if part.kind.check is not None:
        part.kind.check(part.settings, part.source)
    given = part.given()
    observed, number = part.result(given), len(given["rows"])
    if not isinstance(observed, np.ndarray):
        yield f"gave a {type(observed).__name__}"
    elif observed.shape != (number,) or observed.dtype != np.int64:
        yield (
            f"gave an array of shape {observed.shape} and type {observed.dtype} for {number} "
            "samples"
        )
    elif observed.min() < 0 or observed.max() >= part.source.num_classes:
        yield (
            f"gave labels from {observed.min()} to {observed.max()} for "
            f"{part.source.num_classes} classes"
        )


@rule("must change more labels at a higher rate, if it uses `rate`")
def _follows_the_rate(part: NoisePart) -> Iterator[str]:
    if "rate" in part.kind.uses:
        given = part.given()
        true = given["labels"][given["rows"]]
        low, high = ((part.result(given, rate=r) != true).sum() for r in (_LOW, _HIGH))
        if low >= high:
            yield f"changed {low} of {len(true)} at {_LOW} and {high} at {_HIGH}"


NOISE_STAGES: tuple[tuple[Rule[Any], ...], ...] = (
    (_gives_labels,),
    (
        keeps_its_settings,
        names_its_settings,
        draws_from_its_generators,
        is_reproducible,
        leaves_what_it_is_given,
        _follows_the_rate,
    ),
    (resumes,),
)
