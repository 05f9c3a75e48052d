"""The components of an ablation: what switches each on and off."""

from __future__ import annotations

from dataclasses import dataclass

from dynaloss.config.registry import Kind, Registry
from dynaloss.config.settings import Scalar
from dynaloss.studies.overrides import Overrides

_PAPER = "Jiang et al., Dynamic Loss For Robust Learning, IEEE TPAMI 45(12), 2023"


@dataclass(frozen=True, slots=True, kw_only=True)
class ComponentKind(Kind):
    """A component that an ablation switches.

    Attributes:
        on: Values per dotted key of a trial that switch it on.
        off: The same keys with the values that switch it off.
    """

    on: Overrides
    off: Overrides


COMPONENTS = Registry(
    "component", "dynaloss.studies.components", ComponentKind, group="dynaloss.components"
)


_BUILT_IN: tuple[tuple[str, str, Scalar, Scalar, str], ...] = (
    ("corrector", "loss.corrector.enabled", True, False, "labels are corrected by loss rank"),
    ("margin", "loss.margin.enabled", True, False, "logits get a learned margin per class"),
    (
        "sampling", "sampler.kind", "hierarchical", "random_balanced",
        "of a random draw per class the lowest losses become metadata, not all of it",
    ),
    ("finetune", "loss.finetune", True, False, "an epoch ends with one pass over its metadata"),
    (
        "per_class_corrector", "loss.corrector.per_class", True, False,
        "the corrector has one trust curve for each class, not one for all",
    ),
    (
        "warm_start", "loss.corrector.warm_start", True, False,
        "the corrector is fitted during warm-up already",
    ),
    (
        "sampled_pseudo_labels", "loss.corrector.pseudo_labels", "sampled", "soft",
        "a corrected label uses a class drawn from the softmax, not the softmax itself",
    ),
    (
        "loss_ranks", "loss.corrector.ranking", "loss", "random",
        "samples are ranked by their loss, not by chance",
    ),
    (
        "weak_look_ahead", "loss.look_ahead_view", "weak", "strong",
        "the look-ahead step and the corrected labels see the weak view, not the strong one",
    ),
)  # fmt: skip

for _name, _key, _on, _off, _text in _BUILT_IN:
    COMPONENTS.add(name=_name, description=_text, source=_PAPER, on={_key: _on}, off={_key: _off})

_DEPTHS = ("loss.corrector.hidden_layers", "loss.margin.hidden_layers")
COMPONENTS.add(
    name="second_hidden_layer",
    description="corrector and margin generator have two hidden layers, not one",
    source=_PAPER,
    on=dict.fromkeys(_DEPTHS, 2),
    off=dict.fromkeys(_DEPTHS, 1),
)
