from __future__ import annotations

import itertools
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.utils.data import DataLoader, TensorDataset

from dynaloss.errors import InputError
from dynaloss.learning import endless
from dynaloss.learning.batches import equal_batches, full_batches


@given(st.integers(0, 500), st.integers(1, 64))
def test_batches_are_few_full_and_of_nearly_equal_size(size: int, batch_size: int) -> None:
    indices = torch.arange(size)
    batches = equal_batches(indices, batch_size)
    sizes = [len(batch) for batch in batches]
    assert len(batches) == math.ceil(size / batch_size)
    assert not batches or max(sizes) <= batch_size
    assert not batches or max(sizes) - min(sizes) <= 1
    assert [i for batch in batches for i in batch.tolist()] == indices.tolist()


@given(st.integers(0, 500), st.integers(2, 64))
def test_full_batches_leave_the_rest_for_the_last(size: int, batch_size: int) -> None:
    """As torch's loader makes them, but for a single one that would be left."""
    expected = [batch.tolist() for batch in DataLoader(range(size), batch_size)]
    if len(expected) > 1 and size % batch_size == 1:
        expected[-2:] = [[*expected[-2], *expected[-1]]]
    assert [b.tolist() for b in full_batches(torch.arange(size), batch_size)] == expected


def test_endless_batches_are_in_a_new_order_in_every_pass() -> None:
    data = TensorDataset(torch.arange(64))
    generator = torch.Generator().manual_seed(0)
    batches = endless(DataLoader(data, batch_size=16, shuffle=True, generator=generator))
    passes = [torch.cat([next(batches)[0] for _ in range(4)]) for _ in range(3)]
    for one, other in itertools.pairwise(passes):
        assert torch.equal(one.sort().values, torch.arange(64))
        assert not torch.equal(one, other)


def test_endless_batches_need_one_batch() -> None:
    with pytest.raises(InputError, match="at least one batch"):
        next(endless([]))
