"""What a call must leave alone: global random states, and the values that it is given."""

from __future__ import annotations

import copy
import random  # noqa: TID251 - looked at and put back, never drawn from
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor


@dataclass(frozen=True, slots=True)
class _State:
    name: str
    get: Callable[[], Any]
    put: Callable[[Any], object]


_STATES = (
    _State("Python's", random.getstate, random.setstate),
    _State("NumPy's", np.random.get_state, np.random.set_state),
    _State("torch's", torch.get_rng_state, torch.set_rng_state),
)
_ON_GPUS = _State("torch's CUDA", torch.cuda.get_rng_state_all, torch.cuda.set_rng_state_all)


@contextmanager
def global_states() -> Iterator[list[str]]:
    """Puts the global random states back after a block, and lists what changed one.

    The list is filled when the block ends, with ends of sentences.
    """
    has_gpus = torch.cuda.is_initialized()  # type: ignore[no-untyped-call] # torch has none for it
    states = [*_STATES, *([_ON_GPUS] if has_gpus else [])]
    before = [state.get() for state in states]
    changed: list[str] = []
    try:
        yield changed
    finally:
        for state, value in zip(states, before, strict=True):
            if not equal(state.get(), value):
                changed.append(f"changed {state.name} global random state")
                state.put(value)


@contextmanager
def inputs(values: Mapping[str, Any]) -> Iterator[list[str]]:
    """Lists which of the values, by name, a block changed; as `global_states`."""
    before = copy.deepcopy(values)
    changed: list[str] = []
    yield changed
    changed += [f"changed `{n}`" for n, value in values.items() if not equal(value, before[n])]


def equal(one: object, other: object) -> bool:
    """Whether plain values, tensors, arrays and what holds them are equal bit for bit."""
    if isinstance(one, Tensor) and isinstance(other, Tensor):
        return one.dtype == other.dtype and torch.equal(one, other)
    if isinstance(one, np.ndarray) and isinstance(other, np.ndarray):
        return one.dtype == other.dtype and np.array_equal(one, other)
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        return one.keys() == other.keys() and all(equal(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple) and isinstance(other, list | tuple):
        return len(one) == len(other) and all(map(equal, one, other))
    return one is other or bool(one == other) or (one != one and other != other)  # NaN
