from __future__ import annotations

import math

import torch
from hypothesis import given
from hypothesis import strategies as st

from dynaloss.learning.batches import equal_batches


@given(st.integers(0, 500), st.integers(1, 64))
def test_batches_are_few_full_and_of_nearly_equal_size(size: int, batch_size: int) -> None:
    indices = torch.arange(size)
    batches = equal_batches(indices, batch_size)
    sizes = [len(batch) for batch in batches]
    assert len(batches) == math.ceil(size / batch_size)
    assert not batches or max(sizes) <= batch_size
    assert not batches or max(sizes) - min(sizes) <= 1
    assert [i for batch in batches for i in batch.tolist()] == indices.tolist()
