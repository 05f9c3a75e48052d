"""What a probe measures, and how it scales."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from rich.console import Console

from dynaloss.config import TrialConfig
from dynaloss.config.trial import ResourcesConfig
from dynaloss.errors import DynalossError, InputError
from dynaloss.execution.probe import _shortened, probe_costs, trials_at_once
from dynaloss.studies import override
from dynaloss.studies.plan import Trial

SMALL = {"data.n_max": 20, "model.name": "mlp", "schedule.batch_size": 64}


@pytest.fixture
def trial() -> Trial:
    return Trial(
        key="a",
        condition="c",
        condition_values={},
        arm="full",
        seed=0,
        base_seed=0,
        config=override(TrialConfig(), SMALL),
    )


def of_length(trial: Trial, epochs: int, warmup: int) -> Trial:
    length = {"schedule.epochs": epochs, "schedule.warmup_epochs": warmup}
    return replace(trial, key=f"{epochs}-{warmup}", config=override(trial.config, length))


def test_each_kind_of_epoch_is_scaled_by_its_number(
    trial: Trial, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    output, threads = io.StringIO(), torch.get_num_threads()
    trials = [of_length(trial, *length) for length in ((10, 4), (20, 4), (20, 10))]
    costs = probe_costs(trials, ResourcesConfig(), Console(file=output))
    meta = (costs["20-4"].seconds - costs["10-4"].seconds) / 10
    warmup = meta + (costs["20-10"].seconds - costs["20-4"].seconds) / 6
    assert meta > 0
    assert warmup > 0
    assert costs["10-4"].seconds == pytest.approx(4 * warmup + 6 * meta)
    assert output.getvalue().count("probe 1 of 1") == 1
    assert costs["20-4"].stored_mib > costs["10-4"].stored_mib > 0.05
    assert 0 < costs["10-4"].checkpoint_mib < 5
    assert list(tmp_path.iterdir()) == []
    assert torch.get_num_threads() == threads


@pytest.mark.parametrize(
    ("epochs", "warmup", "kept"),
    [(325, 5, (2, 1)), (325, 0, (2, 0)), (3, 3, (2, 2)), (1, 0, (1, 0)), (1, 1, (1, 1))],
)
def test_a_probe_has_the_kinds_of_epochs_that_its_trial_has(
    trial: Trial, epochs: int, warmup: int, kept: tuple[int, int]
) -> None:
    schedule = _shortened(of_length(trial, epochs, warmup).config).schedule
    assert (schedule.epochs, schedule.warmup_epochs) == kept


def test_a_failed_probe_is_an_error(trial: Trial) -> None:
    broken = replace(trial, config=override(trial.config, {"optimizer.lr": 1e30}))
    with pytest.raises(DynalossError, match=r"full · c · seed 0\b.*diverged.*epoch 1, batch \d"):
        probe_costs([broken], ResourcesConfig(), Console(quiet=True))


def test_missing_data_are_an_error(trial: Trial) -> None:
    absent = replace(trial, config=override(trial.config, {"data.source": "cifar10"}))
    with pytest.raises(InputError, match=r"^\[data\.root\].*'cifar10'"):
        probe_costs([absent], ResourcesConfig(), Console(quiet=True))


def test_trials_share_the_processors(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda pid: range(8))
    assert trials_at_once(ResourcesConfig(cpu=0.5)) == 16
    assert trials_at_once(ResourcesConfig(cpu=3.0)) == 2
    assert trials_at_once(ResourcesConfig(cpu=64.0)) == 1
