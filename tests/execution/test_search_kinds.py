"""The registries of Optuna's samplers and of the rules that stop trials."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import ValidationError

from dynaloss.config.families import OPTUNA_SAMPLERS, PRUNERS
from dynaloss.config.registry import Kind, Registry
from dynaloss.config.search import SchedulerConfig, SearchConfig
from dynaloss.config.trial import ScheduleConfig, TrialConfig
from dynaloss.studies.search.rungs import first_rung

DOCS = Path(__file__).parents[2] / "docs/search.md"


@pytest.mark.parametrize(
    ("registry", "names"),
    [
        (OPTUNA_SAMPLERS, ["tpe", "shared_tpe", "random", "qmc", "cmaes", "gp", "nsgaii", "grid"]),
        (PRUNERS, ["asha", "promotion", "pasha", "median", "hyperband", "none"]),
    ],
    ids=["samplers", "pruners"],
)
def test_every_kind_is_registered_and_documented(
    registry: Registry[..., Kind], names: list[str]
) -> None:
    assert list(registry) == names
    for name, kind in registry.items():
        assert kind.description
        assert f"`{name}`" in DOCS.read_text(encoding="utf-8")


def test_an_unknown_kind_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ValidationError) as sampler:
        SearchConfig(sampler="tp")
    with pytest.raises(ValidationError) as pruner:
        SchedulerConfig(name="ashes")
    assert sampler.value.errors()[0]["ctx"] == {"choices": list(OPTUNA_SAMPLERS)}
    assert pruner.value.errors()[0]["ctx"] == {"choices": list(PRUNERS)}


@pytest.mark.parametrize(
    ("name", "settings", "rungs"),
    [
        ("asha", {}, [6, 18]),
        ("asha", {"rungs": 1}, [6]),
        ("asha", {"grace_epochs": 3}, [3, 9, 27]),
        ("hyperband", {"grace_epochs": 2, "reduction_factor": 2}, [2, 4, 8, 16]),
        ("median", {"grace_epochs": 27}, [27, 28, 29]),
        ("none", {}, []),
    ],
)
def test_rungs_in_thirty_epochs(name: str, settings: dict[str, int], rungs: list[int]) -> None:
    scheduler = SchedulerConfig(name=name, **settings)
    schedule = ScheduleConfig(epochs=30, warmup_epochs=1, ramp_epochs=1)
    first = first_rung(scheduler, TrialConfig(schedule=schedule))
    assert PRUNERS[name].rungs(scheduler, first, 30) == rungs


def test_kinds_load_without_optuna_ray_and_torch() -> None:
    code = (
        "import sys; from dynaloss.config.families import OPTUNA_SAMPLERS, PRUNERS; "
        "len(OPTUNA_SAMPLERS), len(PRUNERS); "
        "print(*sorted({'optuna', 'ray', 'torch', 'mlflow'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""
