"""The last linear layer of a classifier."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from dynaloss.errors import InputError


class CosineLinear(nn.Linear):
    """Linear layer whose outputs are cosines of features and class vectors, in [-1, 1].

    Source: the classifier that Cao et al. (NeurIPS 2019) train with the LDAM loss. The bias of
    the layer it replaces is dropped.
    """

    def forward(self, features: Tensor) -> Tensor:
        """Returns cosines (N, C) of features (N, D)."""
        return F.linear(F.normalize(features, dim=1), F.normalize(self.weight, dim=1))


def last_linear(model: nn.Module) -> nn.Linear:
    """Returns the head: the linear layer that was registered last.

    Raises:
        InputError: If the classifier has no linear layer.
    """
    return model.get_submodule(_name_of_last_linear(model))  # type: ignore[return-value] # by name


def make_head_cosine(model: nn.Module) -> None:
    """Replaces the head by a `CosineLinear` with the same weights, in place."""
    parent, _, name = _name_of_last_linear(model).rpartition(".")
    head = last_linear(model)
    cosine = CosineLinear(head.in_features, head.out_features, bias=False, device="meta")
    cosine.weight = head.weight
    setattr(model.get_submodule(parent), name, cosine)


def _name_of_last_linear(model: nn.Module) -> str:
    names = [name for name, module in model.named_modules() if isinstance(module, nn.Linear)]
    if not names:
        raise InputError("the model has no linear layer at its end: choose another one.")
    return str(names[-1])
