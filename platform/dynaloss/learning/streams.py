"""Independent random streams, so that arms of one seed share what they can share."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

__all__ = ["LayerStream", "Streams", "default_generator_seeded"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Streams:
    """Derives one random stream per purpose from (base seed, trial seed, stream name).

    Two purposes never share a stream: drawing more from one leaves every other as it was.

    Attributes:
        base_seed: Seed of the study, at least 0.
        seed: Seed of the trial, at least 0; replicates differ in it and in nothing else.
    """

    base_seed: int
    seed: int

    def derive(self, name: str) -> int:
        """Returns the 63-bit seed of the stream `name`."""
        text = f"{self.base_seed}/{self.seed}/{name}"
        return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1

    def numpy(self, name: str) -> np.random.Generator:
        """Returns a new NumPy generator at the start of the stream `name`."""
        return np.random.default_rng(self.derive(name))

    def torch(self, name: str, device: torch.device | str = "cpu") -> torch.Generator:
        """Returns a new torch generator on `device` at the start of the stream `name`."""
        return torch.Generator(device=device).manual_seed(self.derive(name))


@contextmanager
def default_generator_seeded(seed: int) -> Iterator[None]:
    """Lets code that only knows torch's default CPU generator draw from a stream of its own.

    The generator's state is put back on leaving, so the caller's random state is untouched.
    """
    state = torch.default_generator.get_state()
    torch.default_generator.manual_seed(seed)
    try:
        yield
    finally:
        torch.default_generator.set_state(state)


class LayerStream:
    """The stream of layers that know torch's default generators alone, such as dropout.

    While it is lent, the default generators of the CPU and of `device` go on with this stream;
    afterwards they are as they were before.

    Args:
        seed: Seed of the stream.
        device: Where the layers draw.
    """

    def __init__(self, seed: int, device: torch.device) -> None:
        self._devices = [device] if device.type == "cuda" else []
        kinds = [torch.device("cpu"), *self._devices]
        self._states = [torch.Generator(kind).manual_seed(seed).get_state() for kind in kinds]

    @contextmanager
    def lent(self) -> Iterator[None]:
        """Lets layers draw from this stream."""
        outside = self._present()
        self._set(self._states)
        try:
            yield
        finally:
            self._states = self._present()
            self._set(outside)

    def state(self) -> list[Tensor]:
        """Returns what the next numbers depend on."""
        return self._states

    def set_state(self, states: Sequence[Tensor]) -> None:
        """Goes on from what `state` returned, on a device of the same kind."""
        self._states = list(states)

    def _present(self) -> list[Tensor]:
        on_devices = [torch.cuda.get_rng_state(device) for device in self._devices]
        return [torch.get_rng_state(), *on_devices]

    def _set(self, states: Sequence[Tensor]) -> None:
        torch.set_rng_state(states[0])
        for device, state in zip(self._devices, states[1:], strict=True):
            torch.cuda.set_rng_state(state, device)
