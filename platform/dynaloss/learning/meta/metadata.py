"""The metadata of each epoch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from dynaloss.config.families import SAMPLERS
from dynaloss.config.trial import TrialConfig
from dynaloss.errors import InputError
from dynaloss.learning.meta.samplers import Candidates
from dynaloss.learning.streams import stream


class MetadataSampler:
    """Chooses the metadata of each epoch: by default the paper's hierarchical sampling.

    Source: arXiv 2211.12506: at random per observed class, then the lowest losses of those.

    Args:
        labels: Observed labels of the training set, int64, shape (N,).
        clean_set: Positions in the training set that are the metadata, int64, distinct, where
            the kind is `clean`; otherwise None.
        seed: Seed of the draws, or a generator on the device of the labels.
        **settings: As `sampler` in a study, such as `kind`, `random_ratio` and
            `low_loss_ratio`; see `SamplerConfig`.

    Attributes:
        has_true_labels: Whether metadata have their true labels.
        num_clean_labels: How many clean labels the metadata use.

    Raises:
        ValueError: If a setting is unknown or out of its range, or a clean set is missing.

    Examples:
        >>> import torch
        >>> from dynaloss.learning import MetadataSampler
        >>> labels = torch.tensor([0, 0, 0, 0, 1, 1, 1, 1])
        >>> losses = torch.tensor([0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8])
        >>> sampler = MetadataSampler(labels, random_ratio=1.0, low_loss_ratio=0.5)
        >>> metadata, rest = sampler.draw(epoch=0, losses=losses)
        >>> metadata.tolist(), rest.tolist()
        ([0, 1, 4, 5], [2, 3, 6, 7])
    """

    def __init__(
        self,
        labels: Tensor,
        *,
        clean_set: Tensor | None = None,
        seed: int | torch.Generator = 0,
        **settings: Any,  # noqa: ANN401 - validated
    ) -> None:
        self._settings = TrialConfig.model_validate({"sampler": settings}).sampler
        self._kind = SAMPLERS[self._settings.kind]
        if self._settings.is_from_file != (clean_set is not None):
            raise ValueError("`clean_set` must be given where `path` is used, and nowhere else.")
        self._labels = labels
        self._generator = stream(seed, "metadata", labels.device)
        self._clean_set = None if clean_set is None else clean_set.sort().values
        self.has_true_labels = self._kind.has_true_labels
        num_given = 0 if clean_set is None else len(clean_set)
        self.num_clean_labels = num_given if self.has_true_labels else 0
        self._drawn: Tensor | None = None
        self._drawn_at = -1

    def draw(self, epoch: int, losses: Tensor) -> tuple[Tensor, Tensor]:
        """Returns the metadata of an epoch, and what else it trains on: ascending positions.

        Both are int64 and on the CPU, as a `Subset` needs them. What else is trained on is the
        rest of the training set, or all of it with `keep_in_train`.

        Args:
            epoch: Counted from 0; new metadata are drawn in the first one and when due.
            losses: Of each sample on its observed label, shape (N,); see `sample_losses`.

        Raises:
            InputError: If the losses are not one per label, or no sample is left to train on.
        """
        if losses.shape != self._labels.shape:
            raise InputError(
                f"`losses` must have the shape {tuple(self._labels.shape)}, one per label, but "
                f"has {tuple(losses.shape)}."
            )
        is_due = "every" in self._kind.uses and epoch - self._drawn_at >= self._settings.every
        if self._drawn is None or is_due:
            candidates = Candidates(
                losses=losses.to(self._labels.device),
                labels=self._labels,
                clean_set=self._clean_set,
                generator=self._generator,
            )
            self._drawn, self._drawn_at = self._kind.draw(self._settings, candidates), epoch
        metadata = self._drawn.cpu()
        return metadata, self._trained_on(metadata)

    def _trained_on(self, metadata: Tensor) -> Tensor:
        is_left = torch.ones(len(self._labels), dtype=torch.bool)
        if not self._settings.keep_in_train:
            is_left[metadata] = False
        if not is_left.any():
            raise InputError(
                "[sampler] leaves no sample to train on: lower one of `random_ratio` and "
                "`low_loss_ratio`, give a smaller clean set, or set `keep_in_train` to true"
            )
        return torch.nonzero(is_left).squeeze(1)

    def state_dict(self) -> dict[str, Any]:
        """Returns the present metadata, when they were drawn, and the state of the stream."""
        stream_state = self._generator.get_state()
        return {"drawn": self._drawn, "drawn_at": self._drawn_at, "generator": stream_state}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continues from what `state_dict` returned."""
        drawn = state["drawn"]
        self._drawn = None if drawn is None else drawn.to(self._labels.device)
        self._drawn_at = state["drawn_at"]
        if "generator" in state:  # checkpoints of earlier versions hold it elsewhere
            self._generator.set_state(state["generator"].cpu())
