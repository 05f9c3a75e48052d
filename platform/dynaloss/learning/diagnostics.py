"""Rankings and confusion of a classifier, and what the corrector learned."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dynaloss.learning.batches import Split, equal_batches
from dynaloss.learning.losses._dynamic_loss import LabelCorrector, corrected_targets
from dynaloss.learning.meta.ranks import rank_bins
from dynaloss.learning.metrics import area_under_curve

_EVALUATION_BATCH_SIZE = 1024


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
    batches = equal_batches(torch.arange(len(split.observed_labels)), _EVALUATION_BATCH_SIZE)
    return torch.cat([model(batch.weak) for batch in split.batches(batches, weak=True)])


def ranking_of(logits: Tensor, labels: Tensor, num_ranks: int) -> Ranking:
    """Ranks samples by plain cross-entropy of their logits (N, C) on their observed labels."""
    losses = F.cross_entropy(logits, labels, reduction="none")
    ranks = rank_bins(losses, labels, num_ranks)
    return Ranking(losses=losses, probs=F.softmax(logits, dim=1), ranks=ranks)


@torch.no_grad()
def corrector_metrics(
    corrector: LabelCorrector, ranking: Ranking, observed: Tensor, true: Tensor
) -> dict[str, float]:
    """How well the corrector's weights separate clean from mislabelled training samples.

    `corrector/auc` of the weight against cleanness, the mean weight of clean and of mislabelled
    samples, and `corrector/target_accuracy`: the share of samples whose expected corrected target
    has its maximum at the true class. Without a mislabelled sample, what needs one is absent.
    """
    weights = corrector(ranking.ranks, observed)
    clean = observed == true
    targets = corrected_targets(weights, observed, ranking.probs).argmax(dim=1)
    metrics = {
        "corrector/auc": area_under_curve(weights, clean),
        "corrector/weight_clean": float(weights[clean].mean()),
        "corrector/weight_noisy": float(weights[~clean].mean()),
        "corrector/target_accuracy": float((targets == true).double().mean()),
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
