"""The metadata of each epoch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from dynaloss.config.families import SAMPLERS
from dynaloss.config.trial import SamplerConfig
from dynaloss.learning.meta.samplers import Candidates


class MetadataSampler:
    """Holds the present metadata, and draws new ones when they are due.

    The clean set are the positions in the training set, int64, distinct, that a file names where
    the settings name one; otherwise None. The random stream is on the device of the labels (N,).

    Attributes:
        has_true_labels: Whether metadata have their true labels.
        num_clean_labels: How many clean labels the metadata use.
    """

    def __init__(
        self,
        settings: SamplerConfig,
        observed_labels: Tensor,
        clean_set: Tensor | None,
        generator: torch.Generator,
    ) -> None:
        self._kind = SAMPLERS[settings.kind]
        if settings.is_from_file != (clean_set is not None):
            raise ValueError("`clean_set` must be given where `path` is used, and nowhere else.")
        self._settings = settings
        self._labels = observed_labels
        self._generator = generator
        self._clean_set = None if clean_set is None else clean_set.sort().values
        self.has_true_labels = self._kind.has_true_labels
        num_given = 0 if clean_set is None else len(clean_set)
        self.num_clean_labels = num_given if self.has_true_labels else 0
        self._drawn: Tensor | None = None
        self._drawn_at = -1

    def metadata(self, epoch: int, losses: Tensor) -> Tensor:
        """Returns the metadata of an epoch, counted from 0: ascending positions, int64.

        Losses (N,) are those of each sample on its observed label.
        """
        is_due = "every" in self._kind.uses and epoch - self._drawn_at >= self._settings.every
        if self._drawn is None or is_due:
            candidates = Candidates(
                losses=losses,
                labels=self._labels,
                clean_set=self._clean_set,
                generator=self._generator,
            )
            self._drawn, self._drawn_at = self._kind.draw(self._settings, candidates), epoch
        return self._drawn

    def state_dict(self) -> dict[str, Any]:
        """Returns the present metadata and when they were drawn."""
        return {"drawn": self._drawn, "drawn_at": self._drawn_at}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continues from what `state_dict` returned."""
        drawn = state["drawn"]
        self._drawn = None if drawn is None else drawn.to(self._labels.device)
        self._drawn_at = state["drawn_at"]
