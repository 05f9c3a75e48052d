"""What the trainer needs of a loss."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Generic, Self, TypeVar

from dynaloss.config.trial import LossConfig
from dynaloss.lazy import Tensor, torch

if TYPE_CHECKING:
    from dynaloss.learning.streams import Streams

_Config = TypeVar("_Config", bound=LossConfig)


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingFacts:
    """What a loss may know of its trial; C classes.

    Attributes:
        class_counts: Training samples per observed class, int64, shape (C,).
        epochs: Number of epochs, warm-up included.
        streams: Source of random streams, for initial loss parameters.
    """

    class_counts: Tensor
    epochs: int
    streams: Streams

    @property
    def num_classes(self) -> int:
        """Number of classes C."""
        return len(self.class_counts)

    @property
    def num_samples(self) -> int:
        """Number of training samples."""
        return int(self.class_counts.sum())


class TrainingLoss(Generic[_Config]):
    """A loss without loss parameters: the trainer calls it for every batch of every epoch.

    Its tensors are attributes; `remembered` names those that training changes, so that
    checkpoints hold them.
    """

    remembered: ClassVar[tuple[str, ...]] = ()

    def __init__(self, settings: _Config, facts: TrainingFacts) -> None:
        self.settings = settings

    def start_epoch(self, epoch: int) -> None:
        """Prepares for an epoch, counted from 0."""

    def __call__(self, logits: Tensor, labels: Tensor, indices: Tensor) -> Tensor:
        """Mean loss of a batch in nats, a scalar; may change what the loss remembers.

        Args:
            logits: Of the strong view, shape (N, C).
            labels: Observed labels, int64, shape (N,); where the settings accept soft targets,
                also distributions over classes, shape (N, C).
            indices: Positions of the samples in the training set, int64, shape (N,).
        """
        raise NotImplementedError

    def to(self, target: torch.device | torch.dtype) -> Self:
        """Moves or converts every tensor, in place."""
        for name, value in vars(self).items():
            if isinstance(value, torch.Tensor):
                setattr(self, name, value.to(target))
        return self

    def state_dict(self) -> dict[str, Tensor]:
        """Returns the live tensors that training changes."""
        return {name: getattr(self, name) for name in self.remembered}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Continues from what `state_dict` returned."""
        for name, tensor in self.state_dict().items():
            tensor.copy_(state[name])


def effective_number_weights(class_counts: Tensor, beta: float) -> Tensor:
    """Class weights by the inverse effective number of samples; they sum to C.

    Equations 2 and 10 of Cui et al., CVPR 2019: (1 - beta) / (1 - beta^n), n samples per class,
    shape (C,). A class without a sample has weight 0 and is not counted in C.
    """
    counts = class_counts.double()
    weights = torch.where(counts > 0, (1 - beta) / (1 - beta ** counts.clamp(min=1)), 0.0)
    return (weights * (counts > 0).sum() / weights.sum()).float()
