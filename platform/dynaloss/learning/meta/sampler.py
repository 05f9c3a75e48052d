"""Chooses the metadata of each epoch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from dynaloss.learning.meta.metadata import (
    balanced_sample,
    hierarchical_sample,
    low_loss_sample,
    samples_per_class,
    uniform_sample,
)

__all__ = ["MetadataSampler", "SamplerKind", "SamplerSettings"]

SamplerKind = Literal[
    "hierarchical", "random_balanced", "random", "low_loss_only", "fixed", "clean"
]


@dataclass(frozen=True, slots=True, kw_only=True)
class SamplerSettings:
    """How metadata are drawn; all kinds but `clean` give equally many samples.

    Attributes:
        kind: `hierarchical`: at random per observed class, then the lowest losses of those;
            `random_balanced`: at random per class; `random`: at random whatever the class;
            `low_loss_only`: the lowest losses per class; `fixed`: hierarchical, drawn once;
            `clean`: the set that the user gives, with its true labels.
        random_ratio: Share of the smallest class that is drawn of each class, in (0, 1].
        low_loss_ratio: Share of those drawn that is kept, in (0, 1].
        every: Epochs from one draw to the next, at least 1.
        keep_in_train: Whether the metadata stay in the epoch's training split as well.
    """

    kind: SamplerKind
    random_ratio: float
    low_loss_ratio: float
    every: int
    keep_in_train: bool


class MetadataSampler:
    """Holds the present metadata, and draws new ones when it is time.

    Args:
        settings: See `SamplerSettings`.
        observed_labels: Observed labels of the training set, int64, shape (N,).
        clean_set: For the kind `clean`: positions in the training set, int64, distinct.
        generator: Random stream, on the device of `observed_labels`.
    """

    def __init__(
        self,
        *,
        settings: SamplerSettings,
        observed_labels: Tensor,
        clean_set: Tensor | None,
        generator: torch.Generator,
    ) -> None:
        if (settings.kind == "clean") != (clean_set is not None):
            raise ValueError("`clean_set` must be given for the kind `clean`, and for it alone.")
        self.settings = settings
        self._labels = observed_labels
        self._generator = generator
        self._clean = None if clean_set is None else clean_set.sort().values
        self._drawn: Tensor | None = None
        self._drawn_at = -1

    @property
    def num_clean_labels(self) -> int:
        """How many labels the trial takes as clean for its metadata."""
        return 0 if self._clean is None else len(self._clean)

    def metadata(self, epoch: int, losses: Tensor) -> Tensor:
        """Returns the metadata of an epoch, ascending positions, int64.

        Args:
            epoch: Counted from 0; the first one asked for draws.
            losses: Loss of each sample on its observed label, shape (N,).
        """
        if self._clean is not None:
            return self._clean
        if self._drawn is None or self._is_due(epoch):
            self._drawn, self._drawn_at = self._draw(losses), epoch
        return self._drawn

    def _is_due(self, epoch: int) -> bool:
        return self.settings.kind != "fixed" and epoch - self._drawn_at >= self.settings.every

    def _draw(self, losses: Tensor) -> Tensor:
        settings, labels, generator = self.settings, self._labels, self._generator
        ratios = settings.random_ratio, settings.low_loss_ratio
        counts = torch.bincount(labels)
        _, kept = samples_per_class(int(counts[counts > 0].min()), *ratios)
        match settings.kind:
            case "random_balanced":
                return balanced_sample(labels, kept, generator)
            case "random":
                return uniform_sample(labels, kept * int((counts > 0).sum()), generator)
            case "low_loss_only":
                return low_loss_sample(losses, labels, kept)
            case _:
                return hierarchical_sample(
                    losses,
                    labels,
                    random_ratio=settings.random_ratio,
                    low_loss_ratio=settings.low_loss_ratio,
                    generator=generator,
                )

    def state_dict(self) -> dict[str, Any]:
        """Returns the present metadata and when they were drawn."""
        return {"drawn": self._drawn, "drawn_at": self._drawn_at}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Goes on from what `state_dict` returned."""
        drawn = state["drawn"]
        self._drawn = None if drawn is None else drawn.to(self._labels.device)
        self._drawn_at = state["drawn_at"]
