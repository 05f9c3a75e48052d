"""Independent random streams, so that arms of one seed share what they can share."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor


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

    @classmethod
    def of(cls, seed: int | Streams) -> Streams:
        """The streams of a trial of that seed in a study with the base seed 0."""
        return seed if isinstance(seed, Streams) else cls(base_seed=0, seed=int(seed))

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


def stream(seed: int | torch.Generator, name: str, device: torch.device) -> torch.Generator:
    """Returns the stream `name` of a seed on `device`, or the generator that is given instead."""
    if isinstance(seed, torch.Generator):
        return seed
    return Streams.of(seed).torch(name, device)


def default_states(device: torch.device) -> list[Tensor]:
    """States of torch's default generators that code on `device` may draw from."""
    on_device = [torch.cuda.get_rng_state(device)] if device.type == "cuda" else []
    return [torch.get_rng_state(), *on_device]


def set_default_states(states: Sequence[Tensor], device: torch.device) -> None:
    """Lets torch's default generators continue from what `default_states` returned."""
    on_cpu, *on_device = states
    torch.set_rng_state(on_cpu)
    for state in on_device:
        torch.cuda.set_rng_state(state, device)


@contextmanager
def resumed_from(states: Sequence[Tensor], device: torch.device) -> Iterator[None]:
    """Lets torch's default generators continue from what `default_states` returned.

    On leaving they are as they were before, so the caller's random state is untouched.
    """
    with torch.random.fork_rng([device] if len(states) > 1 else []):
        set_default_states(states, device)
        yield


@contextmanager
def default_generator_seeded(seed: int) -> Iterator[None]:
    """Lets code that only knows torch's default CPU generator draw from its own stream."""
    with torch.random.fork_rng([]):
        torch.default_generator.manual_seed(seed)
        yield


class LayerStream:
    """The stream of layers that draw from torch's default generators, such as dropout.

    While it is active, the default generators of the CPU and of `device` continue this stream;
    afterwards they are as they were before.
    """

    def __init__(self, seed: int, device: torch.device) -> None:
        self._device = device
        places = ["cpu", *([str(device)] if device.type == "cuda" else [])]
        self._states = [torch.Generator(place).manual_seed(seed).get_state() for place in places]

    @contextmanager
    def active(self) -> Iterator[None]:
        """Lets layers draw from this stream."""
        with resumed_from(self._states, self._device):
            try:
                yield
            finally:
                self._states = default_states(self._device)

    def state_dict(self) -> list[Tensor]:
        """Returns what the next numbers depend on."""
        return self._states

    def load_state_dict(self, states: Sequence[Tensor]) -> None:
        """Continues from what `state_dict` returned, on a device of the same kind."""
        self._states = list(states)
