"""Rankings and confusion of a classifier, and what the corrector learned."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dynaloss.errors import InputError
from dynaloss.learning.batches import Split, equal_batches
from dynaloss.learning.classifier import at_least_float32
from dynaloss.learning.losses._dynamic_loss import LabelCorrector, corrected_targets
from dynaloss.learning.meta.ranks import rank_bins
from dynaloss.learning.metrics import area_under_curve

# Images per pass in eval mode. On a CPU the layers' outputs of a small batch stay in its caches,
# which makes passes of resnet8 on CIFAR-10 three times as fast as those of large batches.
_EVALUATION_BATCH_SIZE = {"cpu": 64, "cuda": 1024}


@dataclass(frozen=True, slots=True, kw_only=True)
class Ranking:
    """A training set as a classifier sees it; N samples, C classes.

    Attributes:
        losses: Cross-entropy on the observed labels in nats, shape (N,).
        probs: Softmax of the logits, shape (N, C).
        ranks: Rank bins within the observed class, int64, shape (N,).
    """

    losses: Tensor
    probs: Tensor
    ranks: Tensor


@torch.no_grad()
def weak_logits(model: nn.Module, split: Split) -> Tensor:
    """Logits of a whole split in eval mode on the weak view, shape (N, C)."""
    model.eval()
    labels = split.observed_labels
    size = _EVALUATION_BATCH_SIZE["cuda" if labels.is_cuda else "cpu"]
    batches = equal_batches(torch.arange(len(labels)), size)
    return torch.cat([model(batch.weak) for batch in split.batches(batches, weak=True)])


def sample_losses(model: nn.Module, batches: Iterable[Sequence[Tensor]]) -> Tensor:
    """Cross-entropy of every sample on its observed label in nats, shape (N,), without gradient.

    The model is evaluated in eval mode, and then is in its former mode.

    Args:
        model: Classifier; batches are moved to its device.
        batches: Each begins with the inputs, not augmented, and ends with observed labels and
            indices, both int64, shape (batch,): a `DataLoader` over all samples, in any order.

    Raises:
        InputError: If the indices are not 0 to N - 1, each once.

    Examples:
        >>> import torch
        >>> from dynaloss.learning import sample_losses
        >>> model = torch.nn.Linear(2, 2, bias=False)
        >>> _ = torch.nn.init.eye_(model.weight)
        >>> inputs, labels = torch.tensor([[3.0, 0.0], [2.0, 2.0]]), torch.tensor([0, 1])
        >>> sample_losses(model, [(inputs, labels, torch.tensor([1, 0]))])
        tensor([0.6931, 0.0486])
    """
    device = next(model.parameters()).device
    was_training = {module: module.training for module in model.modules()}
    losses, indices = [], []
    try:
        model.eval()
        with torch.no_grad():
            for inputs, *_, labels, positions in batches:
                logits = at_least_float32(model(inputs.to(device)))
                losses.append(F.cross_entropy(logits, labels.to(device), reduction="none"))
                indices.append(positions.to(device))
    finally:
        for module, mode in was_training.items():
            module.training = mode
    places = torch.cat(indices) if indices else torch.empty(0)
    order = places.argsort()
    if not losses or not torch.equal(places[order], torch.arange(len(places), device=device)):
        raise InputError(
            "`batches` must give the samples of indices 0 to N - 1, each once: do not leave out "
            "the last batch (`drop_last`), nor draw with replacement."
        )
    return torch.cat(losses)[order]


def ranking_of(
    logits: Tensor, labels: Tensor, num_ranks: int, generator: torch.Generator | None = None
) -> Ranking:
    """Ranks samples by plain cross-entropy of their logits (N, C) on their observed labels.

    The other arguments are those of `rank_bins`.
    """
    losses = F.cross_entropy(logits, labels, reduction="none")
    ranks = rank_bins(losses, labels, num_ranks, generator)
    return Ranking(losses=losses, probs=F.softmax(logits, dim=1), ranks=ranks)


@torch.no_grad()
def corrector_metrics(
    corrector: LabelCorrector, ranking: Ranking, observed: Tensor, true: Tensor
) -> dict[str, float]:
    """How well the corrector's weights separate clean from mislabelled training samples.

    `corrector/auc` of the weight against cleanness, the mean weight of clean and of mislabelled
    samples, and `corrector/target_accuracy`: the share of samples whose expected corrected target
    has its maximum at the true class. Without a mislabelled sample, what needs one is absent.
    `corrector/saturated`: the share of all pairs of rank and class whose weight is 0 or 1 in
    float32, so that no gradient passes through it.
    """
    weights = corrector(ranking.ranks, observed)
    clean = observed == true
    targets = corrected_targets(weights, observed, ranking.probs).argmax(dim=1)
    table = corrector.table().float()
    metrics = {
        "corrector/auc": area_under_curve(weights, clean),
        "corrector/weight_clean": float(weights[clean].mean()),
        "corrector/weight_noisy": float(weights[~clean].mean()),
        "corrector/target_accuracy": float((targets == true).double().mean()),
        "corrector/saturated": float(((table == 0) | (table == 1)).double().mean()),
    }
    return {name: value for name, value in metrics.items() if not math.isnan(value)}


@torch.no_grad()
def corrector_table(
    corrector: LabelCorrector, ranking: Ranking, observed: Tensor, true: Tensor
) -> dict[str, Any]:
    """Weight, number of samples and number of clean ones by rank and class, each R x C."""
    table = corrector.table()
    R, C = table.shape
    cells = ranking.ranks * C + observed
    counts, clean = (
        torch.bincount(chosen, minlength=R * C).reshape(R, C).tolist()
        for chosen in (cells, cells[observed == true])
    )
    entry = {"per_class": corrector.per_class, "ranks": R, "weights": table.tolist()}
    return {**entry, "counts": counts, "clean": clean}
