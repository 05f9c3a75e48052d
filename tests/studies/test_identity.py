from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dynaloss.studies import TrialConfig, effective_config, flatten, identity, override, trial_key

_OFF = {"loss.corrector.enabled": False, "loss.margin.enabled": False}


def _key_of(overrides: dict[str, Any]) -> str:
    return trial_key(override(TrialConfig(), overrides), 0, 0, "data")


def test_a_key_is_sixteen_hexadecimal_digits() -> None:
    assert re.fullmatch("[0-9a-f]{16}", _key_of({}))


@pytest.mark.parametrize(
    ("written", "otherwise"),
    [
        ({"data.noise.rate": 0.0}, {"data.noise.kind": "none"}),
        ({"data.noise.kind": "none", "data.noise.rate": 0.4}, {"data.noise.rate": 0.0}),
        ({"data.noise.rate": -0.0}, {"data.noise.rate": 0}),
        ({"data.validation.labels": "clean"}, {}),
        ({"data.root": "/elsewhere", "data.download": True}, {}),
        ({"data.imbalance": "none", "data.imbalance_factor": 9.0}, {}),
        ({"data.imbalance": "step"}, {}),
        ({"data.noise.map": "0>1", "data.noise.rate": 0.4}, {"data.noise.rate": 0.4}),
        ({"data.source": "cifar10", "data.test_fraction": 0.5}, {"data.source": "cifar10"}),
        ({"meta.batch_size": 512}, {}),
        ({"loss.corrector.enabled": False, "loss.corrector.ranks": 7},
         {"loss.corrector.enabled": False}),
        ({**_OFF, "schedule.warmup_epochs": 9}, _OFF),
        ({**_OFF, "meta.lr": 1, "sampler.random_ratio": 1, "loss.finetune": False}, _OFF),
        ({"loss.name": "cross_entropy", "meta.lr": 1, "sampler.random_ratio": 1},
         {"loss.name": "cross_entropy"}),
    ],
)  # fmt: skip
def test_what_cannot_affect_the_result_leaves_the_key(
    written: dict[str, Any], otherwise: dict[str, Any]
) -> None:
    assert _key_of(written) == _key_of(otherwise)


@pytest.mark.parametrize(
    "overrides",
    [
        {"loss.corrector.ranks": 7},
        {"loss.margin.enabled": False},
        {"loss.corrector.enabled": False},
        {"loss.finetune": False},
        {"meta.batch_size": 511},
        {"meta.lr": 1e-3},
        {"sampler.low_loss_ratio": 1},
        {"data.noise.rate": 0.4},
        {"data.noise.rate": 0.4, "data.noise.kind": "uniform"},
        {"data.imbalance": "step", "data.imbalance_factor": 9.0},
        {"data.test_fraction": 0.5},
        {"data.views.cutout": 2},
        {"schedule.precision": "bfloat16"},
        {"schedule.deterministic": True},
        {"schedule.compile": True},
        {"data.validation.fraction": 0.1},
        {"data.n_max": 100},
        {"schedule.ramp_epochs": 0},
        {"schedule.warmup_epochs": 9},
        {"model.name": "mlp"},
        _OFF,
        {"loss.name": "cross_entropy"},
    ],
    ids=str,
)
def test_what_affects_the_result_changes_the_key(overrides: dict[str, Any]) -> None:
    assert _key_of(overrides) != _key_of({})


def test_mixup_changes_the_key_of_a_loss_that_takes_it() -> None:
    plain = {"loss.name": "cross_entropy"}
    assert _key_of({**plain, "data.views.mixup": 0.2}) != _key_of(plain)


def test_settings_that_came_later_stand_in_no_key_by_default() -> None:
    """What the effective settings were before: keys of stored trials hang on them."""
    flat = flatten(TrialConfig())
    later = ("schedule.precision", "schedule.deterministic", "schedule.compile", "data.views")
    assert not [key for key in flat if key.startswith(later)]


def test_a_label_file_counts_by_its_content(tmp_path: Path) -> None:
    keys = []
    for name, content in (("a.csv", "0"), ("b.csv", "0"), ("c.csv", "1")):
        (tmp_path / name).write_text(content)
        noise = {"data.noise.kind": "file", "data.noise.path": str(tmp_path / name)}
        keys.append(_key_of(noise))
    assert keys[0] == keys[1] != keys[2]


@pytest.mark.parametrize("other", [(1, 0, "data"), (0, 1, "data"), (0, 0, "other")])
def test_seeds_and_data_change_the_key(other: tuple[int, int, str]) -> None:
    assert trial_key(TrialConfig(), *other) != _key_of({})


def test_the_results_version_changes_the_key(monkeypatch: pytest.MonkeyPatch) -> None:
    before = _key_of({})
    monkeypatch.setattr(identity, "RESULTS_VERSION", identity.RESULTS_VERSION + 1)
    assert _key_of({}) != before


def _reversed(values: Any) -> Any:
    if not isinstance(values, dict):
        return values
    return {key: _reversed(value) for key, value in reversed(values.items())}


@settings(deadline=None)
@given(
    st.fixed_dictionaries(
        {},
        optional={
            "data.noise.rate": st.floats(0, 1),
            "data.imbalance_factor": st.floats(1, 1e6),
            "loss.corrector.enabled": st.booleans(),
            "loss.margin.enabled": st.booleans(),
            "meta.batch_size": st.none() | st.integers(1, 600),
            "schedule.epochs": st.integers(5, 400),
        },
    )
)
def test_the_key_survives_json_and_another_order_of_keys(overrides: dict[str, Any]) -> None:
    trial = override(TrialConfig(), overrides)
    again = TrialConfig.model_validate(_reversed(json.loads(trial.model_dump_json())))
    assert again == trial
    assert trial_key(again, 0, 0, "data") == trial_key(trial, 0, 0, "data")


def test_flattened_settings_are_the_effective_ones(trial_config: TrialConfig) -> None:
    flat = flatten(trial_config)
    assert all(not isinstance(value, dict) for value in flat.values())
    assert {key.split(".")[0] for key in flat} == set(effective_config(trial_config))


def test_a_switched_off_corrector_shows_no_ranks() -> None:
    flat = flatten(override(TrialConfig(), {"loss.corrector.enabled": False}))
    assert flat["loss.corrector.enabled"] is False
    assert "loss.corrector.ranks" not in flat
