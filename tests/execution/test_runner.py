from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path

import pytest

from dynaloss.data.sources import Source
from dynaloss.design import DataConfig, TrialConfig
from dynaloss.design.record import Outcome
from dynaloss.execution import runner as runner_module
from dynaloss.execution.assembly import load_source_of
from dynaloss.execution.runner import StepResult, TrialOrder, TrialRunner


@pytest.fixture(scope="module")
def source() -> Source:
    return load_source_of(DataConfig())


@pytest.fixture
def order(tmp_path: Path) -> TrialOrder:
    config = TrialConfig.model_validate(
        {
            "data": {"noise": {"rate": 0.4}, "imbalance_factor": 10.0},
            "model": {"name": "mlp"},
            "schedule": {"epochs": 4, "warmup_epochs": 1, "batch_size": 128, "ramp_epochs": 1},
        }
    )
    return TrialOrder(
        key="k", config=config.model_dump(), seed=0, base_seed=0, checkpoints=str(tmp_path)
    )


def run_to_end(runner: TrialRunner) -> list[StepResult]:
    results = [runner.step()]
    while results[-1].outcome is None:
        results.append(runner.step())
    return results


def comparable(results: list[StepResult]) -> list[tuple[int, dict[str, float]]]:
    """Reports without the times, which no seed determines."""
    return [
        (epoch, {name: value for name, value in metrics.items() if not name.startswith("time/")})
        for result in results
        for epoch, metrics in result.reports
    ]


def test_a_saved_trial_goes_on_and_replays_its_reports(order: TrialOrder, source: Source) -> None:
    whole = run_to_end(TrialRunner(replace(order, key="whole"), source, gpus=0))
    first = TrialRunner(order, source, gpus=0)
    first.step()
    first.step()
    first.save()
    rest = run_to_end(TrialRunner(order, source, gpus=0))
    assert [epoch for epoch, _ in rest[0].reports] == [1, 2, 3]
    assert comparable(rest) == comparable(whole)
    assert rest[-1].diagnostics == whole[-1].diagnostics
    assert rest[-1].outcome is Outcome.COMPLETED


def test_fresh_ignores_the_checkpoint(order: TrialOrder, source: Source) -> None:
    first = TrialRunner(order, source, gpus=0)
    first.step()
    first.save()
    again = TrialRunner(replace(order, fresh=True), source, gpus=0)
    assert [epoch for epoch, _ in again.step().reports] == [1]


def test_a_checkpoint_is_written_once_enough_time_has_passed(
    order: TrialOrder, source: Source, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(runner_module, "CHECKPOINT_SECONDS", 0.0)
    TrialRunner(order, source, gpus=0).step()
    assert [path.name for path in tmp_path.iterdir()] == ["k.pt"]


def test_an_error_inside_a_trial_is_its_outcome(order: TrialOrder, source: Source) -> None:
    broken = dict(order.config, model={"name": "no_such_model"})
    result = TrialRunner(replace(order, config=broken), source, gpus=0).step()
    assert result.outcome is Outcome.FAILED
    assert "no_such_model" in result.message


def test_a_trial_that_diverges_says_where(order: TrialOrder, source: Source) -> None:
    exploding = dict(order.config, optimizer={"lr": 1e30, "momentum": 0.9, "weight_decay": 5e-4})
    result = run_to_end(TrialRunner(replace(order, config=exploding), source, gpus=0))[-1]
    assert result.outcome is Outcome.DIVERGED
    assert "epoch 1, batch" in result.message


def test_an_order_is_plain_values(order: TrialOrder) -> None:
    assert TrialOrder(**asdict(order)) == order
