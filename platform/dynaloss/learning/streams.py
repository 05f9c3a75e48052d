"""Independent random streams, so that arms of one seed share what they can share."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch

__all__ = ["Streams", "default_generator_seeded"]


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
