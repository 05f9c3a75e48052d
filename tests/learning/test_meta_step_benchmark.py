"""What `benchmarks/meta_step.py` and `benchmarks/exactness.py` compare is what they say."""

from __future__ import annotations

import exactness
import meta_step
import pytest
import torch

from dynaloss.config import TrialConfig
from dynaloss.data.sources import load_source
from dynaloss.execution.trial.assembly import assemble_trial
from dynaloss.learning import Hypergradient, LookAheadProblem, hypergradient
from dynaloss.learning.meta.hypergradient import HYPERGRADIENTS


@pytest.mark.parametrize("case", ["small_cnn:16", "resnet8:4"])
def test_mixed_mode_differentiation_gives_the_same_hypergradient(case: str) -> None:
    problem = meta_step.Problem(case, "cpu")
    ours = meta_step.exact(problem, meta_step.hypergradient).gradients
    for mine, other in zip(ours, meta_step.mixed(problem), strict=True):
        torch.testing.assert_close(other, mine, rtol=1e-4, atol=1e-5 * float(mine.abs().max()))
        assert mine.any()


def test_exactness_is_measured_against_float64() -> None:
    config = TrialConfig.model_validate(
        {
            "data": {"n_max": 12},
            "model": {"name": "small_cnn"},
            "loss": {"corrector": {"ranks": 5, "per_class": False}},
            "schedule": {"epochs": 2, "batch_size": 32, "warmup_epochs": 1, "ramp_epochs": 1},
        }
    )
    rows = []

    def watched(problem: LookAheadProblem) -> Hypergradient:
        rows.append(exactness.compared(problem))
        return hypergradient(problem)

    before = HYPERGRADIENTS["forward"]
    HYPERGRADIENTS["forward"] = watched
    try:
        source, cpu = load_source(config.data), torch.device("cpu")
        trial = assemble_trial(config, seed=0, base_seed=0, source=source, device=cpu)
        assert len([*trial.trainer.epochs()]) == 2
    finally:
        HYPERGRADIENTS["forward"] = before
    assert rows
    for row in rows:
        assert 0 < row["float32"] < 1e-4 < row["bfloat16"] < 0.3
        assert row["head"] > row["bfloat16"]
        assert -1 <= row["cosine"] <= 1
