from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, replace
from itertools import accumulate
from pathlib import Path

import pytest
import torch

from dynaloss.config import DataConfig, TrialConfig
from dynaloss.data.sources import Source, load_source
from dynaloss.execution.trial import runner as runner_module
from dynaloss.execution.trial.runner import StepResult, TrialOrder, TrialRunner
from dynaloss.studies.identity import origins
from dynaloss.studies.trial_record import Outcome


@pytest.fixture(scope="module")
def source() -> Source:
    return load_source(DataConfig())


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
        key="k",
        config=config.model_dump(),
        source="digits",
        seed=0,
        base_seed=0,
        checkpoints=str(tmp_path),
    )


def run_to_end(runner: TrialRunner) -> list[StepResult]:
    results = [runner.step()]
    while results[-1].outcome is None:
        results.append(runner.step())
    return results


def comparable(results: list[StepResult]) -> list[tuple[int, dict[str, float]]]:
    """Reports without the costs, which no seed determines."""
    costs = ("time/", "memory/", "disk/")
    return [
        (epoch, {name: value for name, value in metrics.items() if not name.startswith(costs)})
        for result in results
        for epoch, metrics in result.reports
    ]


def test_a_saved_trial_resumes_and_replays_its_reports(order: TrialOrder, source: Source) -> None:
    whole = run_to_end(TrialRunner(replace(order, key="whole"), source, gpus=0))
    first = TrialRunner(order, source, gpus=0)
    first.step()
    first.step()
    first.save()
    rest = run_to_end(TrialRunner(order, source, gpus=0))
    assert [[epoch for epoch, _ in result.reports] for result in rest] == [[1, 2], [3], [4]]
    assert [result.resumed_from for result in rest] == [2, 0, 0]
    assert [result.resumed_from for result in whole] == [0] * 4
    assert comparable(rest) == comparable(whole)
    assert rest[-1].diagnostics == whole[-1].diagnostics
    assert rest[-1].outcome is Outcome.COMPLETED


def test_a_trial_saved_after_its_last_epoch_only_ends(order: TrialOrder, source: Source) -> None:
    first = TrialRunner(order, source, gpus=0)
    whole = run_to_end(first)
    first.save()
    (rest,) = run_to_end(TrialRunner(order, source, gpus=0))
    assert (rest.resumed_from, rest.outcome) == (4, Outcome.COMPLETED)
    assert comparable([rest]) == comparable(whole)
    assert rest.diagnostics == whole[-1].diagnostics


@pytest.mark.parametrize(("saves", "resumed_from"), [((1, 2), 1), ((2,), 0)])
def test_a_damaged_checkpoint_changes_no_result(
    order: TrialOrder, source: Source, saves: tuple[int, ...], resumed_from: int
) -> None:
    whole = run_to_end(TrialRunner(replace(order, key="whole"), source, gpus=0))
    first = TrialRunner(order, source, gpus=0)
    for epoch in (1, 2):
        first.step()
        if epoch in saves:
            first.save()
    (path,) = Path(order.checkpoints).glob("k.pt")
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 4
    path.write_bytes(content)
    rest = run_to_end(TrialRunner(order, source, gpus=0))
    assert rest[0].resumed_from == resumed_from
    assert [str(path.with_suffix(".damaged")) in note for note in rest[0].notes] == [True]
    assert not any(result.notes for result in rest[1:])
    assert comparable(rest) == comparable(whole)


def test_a_checkpoint_without_room_is_said_once_and_changes_no_result(
    order: TrialOrder, source: Source
) -> None:
    whole = run_to_end(TrialRunner(replace(order, key="whole"), source, gpus=0))
    tight = TrialRunner(replace(order, checkpoint_gb=1e-6), source, gpus=0)
    results = [tight.step()]
    for _ in range(3):
        tight.save()
        results.append(tight.step())
    assert not list(Path(order.checkpoints).iterdir())
    assert [len(result.notes) for result in results] == [0, 1, 0, 0]
    assert "limits.checkpoint_gb" in results[1].notes[0]
    assert comparable(results) == comparable(whole)


def test_fresh_ignores_the_checkpoint(order: TrialOrder, source: Source) -> None:
    first = TrialRunner(order, source, gpus=0)
    first.step()
    first.save()
    again = TrialRunner(replace(order, fresh=True), source, gpus=0)
    assert [epoch for epoch, _ in again.step().reports] == [1]


def test_a_checkpoint_is_written_once_enough_time_has_passed(
    order: TrialOrder, source: Source, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(runner_module, "_CHECKPOINT_SECONDS", 0.0)
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


def test_a_trial_that_diverges_keeps_its_last_good_state(
    order: TrialOrder, source: Source, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runner = TrialRunner(order, source, gpus=0)
    runner.step()
    runner.save()
    good = (tmp_path / "k.pt").read_bytes()
    trainer = runner._trial.trainer
    with torch.no_grad():
        next(trainer.model.parameters()).fill_(torch.nan)
    assert runner.step().outcome is Outcome.DIVERGED
    runner.save()
    assert (tmp_path / "k.pt").read_bytes() == good
    state = torch.load(tmp_path / "k.pt", weights_only=True)
    assert state["trainer"]["epoch"] == 1
    assert all(tensor.isfinite().all() for tensor in state["trainer"]["model"].values())


def test_an_interrupt_inside_an_epoch_keeps_the_last_whole_state(
    order: TrialOrder, source: Source, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = run_to_end(TrialRunner(replace(order, key="whole"), source, gpus=0))
    runner = TrialRunner(order, source, gpus=0)
    runner.step()
    runner.save()

    def interrupted(*arguments: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        # The weights have been trained on by then.
        patch.setattr(runner._trial.trainer._evaluator, "evaluate", interrupted)
        with pytest.raises(KeyboardInterrupt):
            runner.step()
    runner.save()
    rest = run_to_end(TrialRunner(order, source, gpus=0))
    assert [epoch for epoch, _ in rest[0].reports] == [1]
    assert comparable(rest) == comparable(whole)


def test_a_trial_reports_its_costs_over_all_launches(
    order: TrialOrder, source: Source, tmp_path: Path
) -> None:
    first = TrialRunner(order, source, gpus=0)
    first.step()
    first.save()
    again = TrialRunner(order, source, gpus=0)
    reports = [report for result in run_to_end(again) for report in result.reports]
    again.save()
    seconds = [metrics["time/epoch_seconds"] for _, metrics in reports]
    assert [metrics["time/trial_seconds"] for _, metrics in reports] == pytest.approx(
        list(accumulate(seconds))
    )
    # Python with torch alone takes more than 100 MiB; a MiB is not a KiB.
    peaks = [metrics["memory/peak_mib"] for _, metrics in reports]
    assert peaks == sorted(peaks)
    assert 100 < peaks[-1] < 100_000
    size = [metrics.get("disk/checkpoint_mib") for _, metrics in reports]
    assert size[:-1] == [None] * 3
    assert size[-1] * 2**20 == pytest.approx((tmp_path / "k.pt").stat().st_size, rel=0.02)


def test_only_the_first_result_holds_the_data_record(order: TrialOrder, source: Source) -> None:
    first, second, *_ = run_to_end(TrialRunner(order, source, gpus=0))
    assert second.data == {}
    assert first.data["splits"]["train"] == sum(first.data["true_class_counts"])


def test_an_order_is_plain_values(order: TrialOrder) -> None:
    assert TrialOrder(**asdict(order)) == order


def test_source_that_was_edited_after_the_plan_fails_the_trial(
    order: TrialOrder, source: Source, write_modules: Callable[..., Path]
) -> None:
    text = """
        from dynaloss.config.families import ModelKind
        from dynaloss.learning.models.small import MLP

        def build(settings, **shape):
            return MLP(**shape)

        OWN = ModelKind(name="own", description="", build=build)
        """
    write_modules({"own_model.py": text})
    config = TrialConfig.model_validate(order.config | {"model": {"name": "own_model:OWN"}})
    own = replace(order, config=config.model_dump(), origins=origins(config))
    assert TrialRunner(own, source, gpus=0).step().outcome is None
    planned = {"model.name": "own_model:OWN 0123456789ab"}
    result = TrialRunner(replace(own, origins=planned), source, gpus=0).step()
    assert result.outcome is Outcome.FAILED
    assert "[model.name] was planned with 'own_model:OWN 0123456789ab', but" in result.message


def test_a_classifier_that_cannot_be_written_does_not_spoil_its_trial(
    order: TrialOrder, source: Source, tmp_path: Path
) -> None:
    (tmp_path / "k.part").mkdir()  # in the way of the file
    last = run_to_end(TrialRunner(replace(order, keeps_model=True), source, gpus=0))[-1]
    assert last.outcome is Outcome.COMPLETED
    assert [note.partition(":")[0] for note in last.notes] == ["its classifier could not be kept"]
