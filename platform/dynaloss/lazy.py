"""torch, imported at its first use.

The settings of a kind and what it computes share one file, and study files are checked without
torch: such files import it from here.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__all__ = ["F", "Tensor", "torch"]


class _Module:
    """Stands for a module until the first of its attributes is used."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __getattr__(self, attribute: str) -> Any:  # noqa: ANN401 - any attribute of a module
        value = getattr(importlib.import_module(self._name), attribute)
        setattr(self, attribute, value)
        return value


if TYPE_CHECKING:
    import torch
    from torch import Tensor
    from torch.nn import functional as F
else:
    torch, F = _Module("torch"), _Module("torch.nn.functional")
    Tensor = "torch.Tensor"  # for annotations alone
