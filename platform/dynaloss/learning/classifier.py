"""How the trainer calls a classifier: at which precision, and compiled or not."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from contextlib import AbstractContextManager

import torch
from torch import Tensor, nn

from dynaloss.config.trial import ScheduleConfig


class Classifier(nn.Module):
    """A model as the trainer calls it; its logits are float32 at either precision.

    It has no state of its own: checkpoints hold the model.

    Args:
        model: The model; at `bfloat16` it is given a hook that returns its logits as float32.
        schedule: Its `precision` `bfloat16` runs the forward passes under autocast, weights
            stay float32; with `compile`, training passes go through `torch.compile`. Where that
            fails, a warning is given and they continue without; evaluation is never compiled.
        device: Where the model lives.
    """

    def __init__(self, model: nn.Module, schedule: ScheduleConfig, device: torch.device) -> None:
        super().__init__()
        self.model = model
        self._is_half = schedule.precision == "bfloat16"
        self._is_compiled = schedule.compile
        self._device = device
        self._compiled: Callable[[Tensor], Tensor] | None = None
        if self._is_half:
            model.register_forward_hook(_as_float32)

    def precision(self) -> AbstractContextManager[object]:
        """Context of a forward pass; losses and backward passes stay outside."""
        return torch.autocast(self._device.type, torch.bfloat16, enabled=self._is_half)

    def forward(self, images: Tensor) -> Tensor:
        """Returns the logits (N, C) of images (N, channels, height, width)."""
        call: Callable[[Tensor], Tensor] = self.model
        if self._is_compiled and self.training and torch.is_grad_enabled():
            self._compiled = call = self._compiled or self._try_to_compile(images)
        with self.precision():
            return call(images)

    def backward(self, loss: Tensor) -> None:
        """Gives the weights their gradients of a loss of the logits of the last `forward`."""
        loss.backward()  # type: ignore[no-untyped-call] # torch has no annotation for it

    def _try_to_compile(self, images: Tensor) -> Callable[[Tensor], Tensor]:
        """Compiles for any batch size and tries out both passes; the model stays as it was."""
        model = self.model

        def call(images: Tensor) -> Tensor:
            logits: Tensor = model(images)
            return logits

        compiled = torch.compile(call)
        # Of its own: a mark stays on a tensor, and batches differ by a sample.
        example = images.detach().clone()
        torch._dynamo.mark_dynamic(example, 0)
        buffers = {name: buffer.clone() for name, buffer in model.named_buffers()}
        weights = [weight for weight in model.parameters() if weight.requires_grad]
        try:
            with torch.random.fork_rng([images.device] if images.is_cuda else []):
                with self.precision():
                    logits = compiled(example)
                torch.autograd.grad(logits.sum(), weights, allow_unused=True)
        except Exception as error:  # whatever the compiler, or the lack of one, raises
            first_line = str(error).strip().partition("\n")[0] or "no message"
            reason = f"{type(error).__name__}: {first_line}"
            warnings.warn(_NOT_COMPILED.format(reason), RuntimeWarning, stacklevel=2)
            return call
        finally:
            for name, buffer in model.named_buffers():
                buffer.copy_(buffers[name])
        return compiled


def at_least_float32(logits: Tensor) -> Tensor:
    """Logits as losses need them, where a classifier gives half precision."""
    return logits.float() if logits.dtype.itemsize < 4 else logits


_NOT_COMPILED = "torch.compile does not work here ({}): training continues without it."


def _as_float32(_module: nn.Module, _images: object, logits: Tensor) -> Tensor:
    return logits.float()
