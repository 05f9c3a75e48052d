"""The contract of a metadata sampler."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from dynaloss.learning.meta.samplers import Candidates
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

# Classes 0, 1 and 3; a training set has no sample of class 2.
_CLASS_SIZES = (30, 20, 0, 8)
CLEAN_SET = (1, 4, 20, 33)
"""Positions that a file of metadata names, where a sampler reads one."""


class SamplerPart(Part):
    """A metadata sampler, and a training set in random order with a random loss per sample."""

    def given(self, class_sizes: Sequence[int] = _CLASS_SIZES) -> dict[str, Any]:
        """The tensors of `Candidates`."""
        generator = torch.Generator().manual_seed(0)
        labels = torch.repeat_interleave(torch.arange(len(class_sizes)), torch.tensor(class_sizes))
        return {
            "losses": torch.rand(len(labels), generator=generator),
            "labels": labels[torch.randperm(len(labels), generator=generator)],
            "clean_set": torch.tensor(CLEAN_SET) if self.settings.is_from_file else None,
        }

    def result(self, given: Mapping[str, Any]) -> Any:  # noqa: ANN401 - whatever it draws
        """What it draws."""
        generator = torch.Generator().manual_seed(0)
        return self.kind.draw(self.settings, Candidates(**given, generator=generator))


@rule("must draw ascending, distinct positions in the training set, int64, at least one")
def _draws_positions(part: SamplerPart) -> Iterator[str]:
    given = part.given()
    if fault := _no_positions(part.result(given), len(given["labels"])):
        yield f"drew {fault}"


@rule("must draw such positions where a class has one sample")
def _draws_of_small_classes(part: SamplerPart) -> Iterator[str]:
    if not part.settings.is_from_file:
        given = part.given(class_sizes=(2, 1, 1))
        if fault := _no_positions(part.result(given), len(given["labels"])):
            yield f"drew {fault}"


def _no_positions(drawn: object, number: int) -> str:
    """What was drawn that is no positions in a training set; empty for positions."""
    if not isinstance(drawn, Tensor):
        return f"a {type(drawn).__name__}"
    if drawn.ndim != 1 or drawn.dtype != torch.int64:
        return f"a tensor of shape {tuple(drawn.shape)} and type {drawn.dtype}"
    if not len(drawn):
        return "none"
    if int(drawn.min()) < 0 or int(drawn.max()) >= number:
        return f"positions from {int(drawn.min())} to {int(drawn.max())} of {number} samples"
    return "" if (drawn.diff() > 0).all() else f"{drawn.tolist()}"


SAMPLER_STAGES: tuple[tuple[Rule[Any], ...], ...] = (
    (_draws_positions,),
    (
        keeps_its_settings,
        names_its_settings,
        _draws_of_small_classes,
        draws_from_its_generators,
        is_reproducible,
        leaves_what_it_is_given,
    ),
    (resumes,),
)
