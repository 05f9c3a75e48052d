"""Loads local weights into a classifier."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from dynaloss.errors import InputError
from dynaloss.learning.given_files import read_torch

_SETTING = "model.pretrained_path"
# Keys under which checkpoints keep the weights among other things.
_WRAPPERS = ("state_dict", "model", "model_state_dict")


def load_pretrained(model: nn.Module, path: Path) -> None:
    """Copies the weights of a file into a classifier; see `fitting_weights`."""
    model.load_state_dict(fitting_weights(model, path), strict=False)


def fitting_weights(model: nn.Module, path: Path) -> dict[str, Tensor]:
    """The weights of a file that fit a classifier: all, but for a head of another size.

    Args:
        model: The classifier; its last layer keeps its initial weights where the file's has
            another number of classes.
        path: A `.pt` or `.pth` file with a mapping of names to tensors, possibly below
            `state_dict` or `model`; a prefix `module.` is dropped. Nothing in it is executed.

    Raises:
        InputError: If the file cannot be read or does not fit.
    """
    given, own = _read(path), model.state_dict()
    head = list(own)[-1].rpartition(".")[0]
    missing = [name for name in own if name not in given]
    unknown = [name for name in given if name not in own]
    differing = [n for n in own if n in given and given[n].shape != own[n].shape]
    resized = [name for name in differing if name.startswith(f"{head}.")]
    misfits = [name for name in differing if name not in resized]
    if missing or unknown or misfits:
        first = (misfits or missing or unknown)[0]
        raise InputError(
            f"[{_SETTING}] '{path}' does not fit the model: {len(missing)} weights are missing, "
            f"{len(unknown)} unknown, {len(misfits)} of another shape; the first is '{first}'"
        )
    for name, tensor in given.items():
        rule = "real numbers" if own[name].is_floating_point() else "numbers"
        if not _kind(tensor).endswith(rule):
            raise InputError(
                f"[{_SETTING}] '{name}' of '{path}' must be a tensor of {rule}, but is one of "
                f"{_kind(tensor)}"
            )
    return {name: tensor for name, tensor in given.items() if name not in resized}


def _kind(tensor: Tensor) -> str:
    """The numbers that a tensor holds; `real numbers` or `whole numbers` where they are usual."""
    unusual = {
        "no values": tensor.is_meta,
        "quantised values": tensor.is_quantized,
        "complex values": tensor.is_complex(),
        "sparse values": tensor.layout != torch.strided,
    }
    usual = "real numbers" if tensor.is_floating_point() else "whole numbers"
    return next((name for name, holds in unusual.items() if holds), usual)


def _read(path: Path) -> dict[str, Tensor]:
    content = read_torch(path, _SETTING)
    for wrapper in _WRAPPERS:
        if isinstance(content, dict) and isinstance(content.get(wrapper), dict):
            content = content[wrapper]
    tensors = isinstance(content, dict) and all(isinstance(t, Tensor) for t in content.values())
    if not tensors or not content:
        raise InputError(f"[{_SETTING}] '{path}' must hold a mapping of names to tensors")
    return {str(name).removeprefix("module."): tensor for name, tensor in content.items()}
