"""The ways that `benchmarks/meta_step.py` measures compute the same."""

from __future__ import annotations

import meta_step
import pytest
import torch


@pytest.mark.parametrize("case", ["small_cnn:16", "resnet8:4"])
def test_mixed_mode_differentiation_gives_the_same_hypergradient(case: str) -> None:
    problem = meta_step.Problem(case, "cpu")
    ours = meta_step.exact(problem, meta_step.hypergradient).gradients
    for mine, other in zip(ours, meta_step.mixed(problem), strict=True):
        torch.testing.assert_close(other, mine, rtol=1e-4, atol=1e-5 * float(mine.abs().max()))
        assert mine.any()
