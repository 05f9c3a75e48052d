"""Which trials cost alike."""

from __future__ import annotations

import pytest

from dynaloss.config import TrialConfig
from dynaloss.studies import override
from dynaloss.studies.cost_groups import cost_group, warmup_length

FULL = TrialConfig()
CE = {"loss.name": "cross_entropy"}
FINETUNE = {"loss.corrector.enabled": False, "loss.margin.enabled": False}
NOTHING_LEARNED = {**FINETUNE, "loss.finetune": False}


@pytest.mark.parametrize(
    "overrides",
    [
        {"data.noise.kind": "symmetric", "data.noise.rate": 0.4},
        {"optimizer.lr": 0.01, "meta.lr": 1e-2, "loss.corrector.ranks": 10},
        {"schedule.epochs": 10, "schedule.warmup_epochs": 3},
    ],
    ids=["noise", "rates", "length"],
)
def test_what_costs_nothing_keeps_the_group(overrides: dict[str, object]) -> None:
    assert cost_group(override(FULL, overrides)) == cost_group(FULL)


@pytest.mark.parametrize(
    "overrides",
    [
        {"data.imbalance_factor": 10},
        {"data.n_max": 50},
        {"model.name": "mlp"},
        {"schedule.batch_size": 32},
        {"loss.margin.enabled": False},
        {"meta.every": 2},
        {"sampler.random_ratio": 1},
        CE,
    ],
    ids=str,
)
def test_what_costs_makes_a_group(overrides: dict[str, object]) -> None:
    assert cost_group(override(FULL, overrides)) != cost_group(FULL)


def test_losses_that_are_not_learned_cost_alike() -> None:
    groups = {
        cost_group(override(FULL, {"loss.name": name}))
        for name in ("cross_entropy", "gce", "ldam")
    }
    assert groups == {cost_group(override(FULL, NOTHING_LEARNED))}
    assert cost_group(override(FULL, {"loss.name": "meta_weight_net"})) not in groups
    assert cost_group(override(FULL, FINETUNE)) not in groups


def test_only_where_metadata_are_drawn_is_there_a_warmup() -> None:
    assert warmup_length(FULL) == warmup_length(override(FULL, FINETUNE)) == 5
    assert warmup_length(override(FULL, CE)) == 0
