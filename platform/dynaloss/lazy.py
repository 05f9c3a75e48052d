"""What is slow to import, such as torch, imported at first use.

The settings of a kind and what it computes share one file, and study files are checked without
torch: such files import it from here. Subclasses of its modules have files of their own.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

__all__ = ["F", "Late", "Tensor", "late_names", "torch"]


def late_names(package: str, homes: Mapping[str, str]) -> Callable[[str], Any]:
    """A package's `__getattr__`, which imports each public name from its module at first use.

    Args:
        package: Dotted name of the package.
        homes: Dotted name of the module of each public name.
    """

    def find(name: str) -> Any:  # noqa: ANN401 - as its own
        if name not in homes:
            raise AttributeError(f"module '{package}' has no attribute '{name}'")
        return getattr(importlib.import_module(homes[name]), name)

    return find


class Late:
    """A class or function that is imported when it is first called or resolved.

    Args:
        module: Dotted name of its module, which is looked at but not imported.
        name: Its name there.
        options: Keyword arguments of every call.

    Raises:
        ImportError: If the module does not define it.
    """

    def __init__(self, module: str, name: str, **options: Any) -> None:  # noqa: ANN401 - any
        spec = find_spec(module)
        source = Path(spec.origin).read_text() if spec and spec.origin else ""
        if not re.search(rf"^(class|def) {name}\b", source, re.MULTILINE):
            raise ImportError(f"`{module}` must define `{name}`.")
        self._module, self._name, self._options = module, name, options

    def __call__(self, *args: Any, **options: Any) -> Any:  # noqa: ANN401 - as its own
        """Imports it and calls it."""
        return getattr(importlib.import_module(self._module), self._name)(
            *args, **self._options, **options
        )


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
