from __future__ import annotations

import pytest
import torch

from dynaloss.learning.streams import Streams, default_generator_seeded


def test_streams_start_anew_at_each_call() -> None:
    streams = Streams(base_seed=1, seed=2)
    assert streams.numpy("noise").random() == streams.numpy("noise").random()
    draws = [torch.rand(3, generator=streams.torch("noise")) for _ in range(2)]
    assert torch.equal(*draws)


def test_every_part_of_the_address_gives_another_stream() -> None:
    addresses = [(1, 2, "noise"), (2, 1, "noise"), (12, 0, "noise"), (1, 20, "noise")]
    addresses += [(1, 2, "tail"), (0, 0, "noise"), (0, 0, "")]
    seeds = {Streams(base_seed=base, seed=seed).derive(name) for base, seed, name in addresses}
    assert len(seeds) == len(addresses)
    assert all(0 <= seed < 2**63 for seed in seeds)


def test_seed_of_a_stream_is_stable() -> None:
    """Results of past studies depend on it; the number is from sha256sum."""
    assert Streams(base_seed=0, seed=0).derive("noise") == 8555955568791778487


def test_default_generator_is_seeded_inside_and_restored_outside() -> None:
    before = torch.random.get_rng_state()
    draws = []
    for _ in range(2):
        with default_generator_seeded(5):
            draws.append(torch.rand(4))
    assert torch.equal(*draws)
    assert torch.equal(torch.random.get_rng_state(), before)


def test_default_generator_is_restored_after_an_error() -> None:
    before = torch.random.get_rng_state()

    def fail() -> None:
        with default_generator_seeded(5):
            torch.rand(1)
            raise RuntimeError("on purpose")

    with pytest.raises(RuntimeError, match="on purpose"):
        fail()
    assert torch.equal(torch.random.get_rng_state(), before)
