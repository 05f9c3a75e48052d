"""The modules of the Dynamic Loss: the label corrector, the margin generator, and both as a loss.

Symbols: N batch size, C number of classes, R number of ranks.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, assert_never

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dynaloss.errors import InputError
from dynaloss.learning.losses._interfaces import TrainingFacts
from dynaloss.learning.losses._learned import LearnedLoss
from dynaloss.learning.losses.dynamic import DynamicLossConfig, PseudoLabelKind
from dynaloss.learning.meta.ranks import rank_bins
from dynaloss.learning.streams import Streams, default_generator_seeded

_EMBEDDING_SIZE = 64
# Sigmoid of 3.98 is 0.982: every observed label is trusted at the start.
_CORRECTOR_BIAS = 3.98
# Inert: cross-entropy ignores a constant shift of the logits.
_MARGIN_BIAS = 1.0


def _embedding_mlp(
    num_rows: int, num_outputs: int, *, hidden_layers: int, last_bias: float
) -> nn.Sequential:
    """Embedding of `num_rows` rows followed by an MLP 64-...-64-`num_outputs`, initialised."""
    embedding = nn.Embedding(num_rows, _EMBEDDING_SIZE)
    hidden = [nn.Linear(_EMBEDDING_SIZE, _EMBEDDING_SIZE) for _ in range(hidden_layers)]
    output = nn.Linear(_EMBEDDING_SIZE, num_outputs)
    nn.init.xavier_uniform_(embedding.weight)
    for layer in (*hidden, output):
        nn.init.xavier_normal_(layer.weight)
        nn.init.zeros_(layer.bias)
    nn.init.constant_(output.bias, last_bias)
    body = (module for layer in hidden for module in (layer, nn.ReLU()))
    return nn.Sequential(embedding, *body, output)


class LabelCorrector(nn.Module):
    """Weight w(rank, class) in (0, 1) that the corrected target gives to the observed label.

    Args:
        num_ranks: Number of rank bins R, at least 2 (100 in the paper).
        num_classes: Number of classes C.
        per_class: One output per class, of which that of the observed class counts; otherwise
            one output for all classes.
        hidden_layers: Number of hidden layers, at least 1 (2 in the authors' code).
    """

    def __init__(
        self, *, num_ranks: int, num_classes: int, per_class: bool, hidden_layers: int
    ) -> None:
        super().__init__()
        self.num_classes = num_classes
        self.per_class = per_class
        self.layers = _embedding_mlp(
            num_ranks,
            num_classes if per_class else 1,
            hidden_layers=hidden_layers,
            last_bias=_CORRECTOR_BIAS,
        )
        self.register_buffer("rows", torch.arange(num_ranks), persistent=False)

    def table(self) -> Tensor:
        """Returns every weight, shape (R, C); differentiable in the parameters."""
        weights: Tensor = torch.sigmoid(self.layers(self.rows))
        return weights.expand(-1, self.num_classes)

    def forward(self, ranks: Tensor, labels: Tensor) -> Tensor:
        """Weights of samples with the given rank bins and observed labels, shape (N,)."""
        return self.table()[ranks, labels]


class MarginGenerator(nn.Module):
    """Additive margin per class, in nats, for the logits of the training losses.

    Only differences between classes matter; show margins mean-centred. The arguments are those
    of `LabelCorrector`.
    """

    def __init__(self, *, num_classes: int, hidden_layers: int) -> None:
        super().__init__()
        self.layers = _embedding_mlp(
            1, num_classes, hidden_layers=hidden_layers, last_bias=_MARGIN_BIAS
        )
        self.register_buffer("row", torch.zeros(1, dtype=torch.int64), persistent=False)

    def forward(self) -> Tensor:
        """Returns the margins, shape (C,); differentiable in the parameters."""
        margins: Tensor = self.layers(self.row)
        return margins[0]


class DynamicLoss(LearnedLoss):
    """The Dynamic Loss: label corrector and margin generator, each of which may be absent.

    Source: Jiang et al., arXiv 2211.12506. Without both parts it is cross-entropy. `MetaStep`
    trains it; `state_dict` holds its parameters.

    Args:
        num_classes: Number of classes C.
        seed: Seed of the initial parameters.
        **settings: As `loss` in a study; what is not given is the paper's. See
            `DynamicLossConfig`.

    Attributes:
        corrector: The label corrector; None trains on observed labels.
        margin: The margin generator; None adds no margin.

    Raises:
        ValueError: If a setting is unknown or out of its range.

    Examples:
        >>> import torch
        >>> from dynaloss.learning import DynamicLoss
        >>> loss = DynamicLoss(num_classes=3, corrector={"ranks": 4, "per_class": False})
        >>> losses, labels = torch.tensor([0.3, 2.0, 0.1, 0.7]), torch.tensor([0, 0, 2, 0])
        >>> ranks = loss.ranks(losses, labels)
        >>> ranks
        tensor([0, 2, 0, 1])
        >>> loss.corrector(ranks, labels).shape, loss.margins().shape
        (torch.Size([4]), torch.Size([3]))
    """

    corrector: LabelCorrector | None
    margin: MarginGenerator | None

    def __init__(
        self,
        *,
        num_classes: int,
        seed: int | Streams = 0,
        **settings: Any,  # noqa: ANN401 - validated
    ) -> None:
        super().__init__()
        self.settings = DynamicLossConfig.model_validate(settings)
        self.look_ahead_view = self.settings.look_ahead_view
        self.num_classes = num_classes
        self.corrector, self.margin = None, None
        corrector, margin = self.settings.corrector, self.settings.margin
        streams = Streams.of(seed)
        if corrector.enabled:
            with default_generator_seeded(streams.derive("corrector")):
                self.corrector = LabelCorrector(
                    num_ranks=corrector.ranks,
                    num_classes=num_classes,
                    per_class=corrector.per_class,
                    hidden_layers=corrector.hidden_layers,
                )
        if margin.enabled:
            with default_generator_seeded(streams.derive("margin")):
                self.margin = MarginGenerator(
                    num_classes=num_classes, hidden_layers=margin.hidden_layers
                )

    @property
    def needs_logits(self) -> bool:
        """Whether targets of the real step depend on the classifier: with a corrector."""
        return self.corrector is not None

    @property
    def updates_statistics(self) -> bool:
        """See `LearnedLoss.updates_statistics`; by `corrector.warm_start_statistics`."""
        return self.settings.corrector.warm_start_statistics

    def ranks(
        self, losses: Tensor, labels: Tensor, generator: torch.Generator | None = None
    ) -> Tensor:
        """Returns the rank bins of a whole training set; int64 in [0, R), on the labels' device.

        Args:
            losses: Of each sample on its observed label, shape (N,); see `sample_losses`.
            labels: Observed labels, int64 in [0, C), shape (N,).
            generator: Draws the ranks where `corrector.ranking` is `random`.

        Raises:
            InputError: If a shape or a label does not hold, or the generator is missing.
        """
        if not self.settings.has_random_ranks:
            generator = None
        elif generator is None:
            raise InputError("`generator` must be given where `corrector.ranking` is 'random'.")
        if labels.shape != losses.shape or labels.ndim != 1:
            raise InputError(
                "`losses` and `labels` must have one shape (N,), but got "
                f"{tuple(losses.shape)} and {tuple(labels.shape)}."
            )
        lowest, highest = (int(label) for label in labels.aminmax())
        if lowest < 0 or highest >= self.num_classes:
            wrong = lowest if lowest < 0 else highest
            raise InputError(f"`labels` must be in [0, {self.num_classes}), but got {wrong}.")
        losses = losses.to(labels.device)
        return rank_bins(losses, labels, self.settings.num_ranks, generator)

    def margins(self) -> Tensor | float:
        """Returns the margins in nats, shape (C,); 0 without a margin generator."""
        return 0.0 if self.margin is None else self.margin()

    def targets(self, labels: Tensor, ranks: Tensor, pseudo_labels: Tensor | None) -> Tensor:
        """Returns the corrected targets (N, C), or the labels (N,) themselves without a corrector.

        Rank bins are in [0, R), int64, shape (N,); pseudo-labels are distributions over classes,
        shape (N, C), or None without a corrector.
        """
        if self.corrector is None or pseudo_labels is None:
            return labels
        return corrected_targets(self.corrector(ranks, labels), labels, pseudo_labels)

    def forward(
        self, logits: Tensor, labels: Tensor, ranks: Tensor, pseudo_labels: Tensor | None
    ) -> Tensor:
        """Mean training loss of a batch in nats: cross-entropy of logits (N, C) plus margin.

        The other arguments are those of `targets`.
        """
        return F.cross_entropy(logits + self.margins(), self.targets(labels, ranks, pseudo_labels))

    def look_ahead_loss(
        self, logits: Tensor, labels: Tensor, ranks: Tensor, generator: torch.Generator
    ) -> Tensor:
        """See `LearnedLoss.look_ahead_loss`; pseudo-labels are made of these logits."""
        self._check(logits, labels)
        loss: Tensor = self(logits, labels, ranks, self._pseudo_labels_of(logits, generator))
        return loss

    def real_loss(
        self, logits: Tensor | None, labels: Tensor, ranks: Tensor, generator: torch.Generator
    ) -> Callable[[Tensor], Tensor]:
        """See `LearnedLoss.real_loss`: targets and margins by the present parameters."""
        if logits is not None:
            self._check(logits, labels)
        with torch.no_grad():
            pseudo_labels = None if logits is None else self._pseudo_labels_of(logits, generator)
            targets = self.targets(labels, ranks, pseudo_labels)
            margins = self.margins()
        return lambda strong: F.cross_entropy(strong + margins, targets)

    def warm_start_loss(self, logits: Tensor, labels: Tensor, ranks: Tensor) -> Tensor:
        """See `LearnedLoss.warm_start_loss`; fits the corrector."""
        if self.corrector is None:
            raise InputError("`loss` has no corrector to fit: set `corrector.enabled`.")
        self._check(logits, labels)
        probs = F.softmax(logits, dim=1)
        observed = probs.gather(1, labels.unsqueeze(1)).squeeze(1)
        return warm_start_loss(self.corrector(ranks, labels), observed)

    @torch.no_grad()
    def finetune_margins(self) -> Tensor | float:
        """See `LearnedLoss.finetune_margins`."""
        return self.margins() if self.settings.margin.in_finetune else 0.0

    def _check(self, logits: Tensor, labels: Tensor) -> None:
        expected = (len(labels), self.num_classes)
        if logits.shape != expected:
            raise InputError(
                f"the model's logits must have the shape {expected}, (images, `num_classes`), "
                f"but have {tuple(logits.shape)}."
            )

    def _pseudo_labels_of(self, logits: Tensor, generator: torch.Generator) -> Tensor | None:
        if self.corrector is None:
            return None
        return make_pseudo_labels(logits, self.settings.corrector.pseudo_labels, generator)


def build_dynamic_loss(settings: DynamicLossConfig, facts: TrainingFacts) -> DynamicLoss:
    """The loss of a trial."""
    return DynamicLoss(num_classes=facts.num_classes, seed=facts.streams, **dict(settings))


def corrected_targets(weights: Tensor, labels: Tensor, pseudo_labels: Tensor) -> Tensor:
    """Returns w * onehot(observed) + (1 - w) * pseudo-label, shape (N, C); rows sum to 1.

    Weights w in (0, 1) and observed labels have shape (N,), pseudo-labels (N, C).
    """
    observed = F.one_hot(labels, pseudo_labels.shape[1]).to(pseudo_labels.dtype)
    return torch.lerp(pseudo_labels, observed, weights.unsqueeze(1))


def warm_start_loss(weights: Tensor, observed_probs: Tensor) -> Tensor:
    """Mean of -log(w + (1 - w) p_observed), what the corrector is fitted by in warm-up.

    Both weights w in (0, 1) and the classifier's probabilities p have shape (N,).
    """
    return -torch.log(weights + (1 - weights) * observed_probs + 1e-8).mean()


def sample_pseudo_labels(logits: Tensor, generator: torch.Generator) -> Tensor:
    """Draws a hard pseudo-label from the softmax of each row; one-hot (N, C), no gradient.

    The forward value of the hard Gumbel softmax with temperature 1: the arg max of the logits
    plus Gumbel noise is distributed as the softmax, and p / E with E exponential has the same
    arg max.
    """
    probs = F.softmax(logits.detach(), dim=1)
    noise = torch.empty_like(probs).exponential_(generator=generator)
    return F.one_hot((probs / noise).argmax(dim=1), logits.shape[1]).to(probs.dtype)


def make_pseudo_labels(
    logits: Tensor, kind: PseudoLabelKind, generator: torch.Generator
) -> Tensor:
    """Pseudo-labels of a batch by its logits, distributions over classes (N, C), no gradient.

    `sampled`: see `sample_pseudo_labels`; `soft`: the softmax itself; `hard`: all on the most
    likely class. The last two draw nothing.
    """
    if kind == "sampled":
        return sample_pseudo_labels(logits, generator)
    probs = F.softmax(logits.detach(), dim=1)
    if kind == "soft":
        return probs
    if kind == "hard":
        return F.one_hot(probs.argmax(dim=1), logits.shape[1]).to(probs.dtype)
    assert_never(kind)
