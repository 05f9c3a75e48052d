from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dynaloss.config import LossConfig, NoiseConfig, SamplerConfig, ScheduleConfig, TrialConfig
from dynaloss.config.families import LOSSES, NOISES, SAMPLERS
from dynaloss.studies import (
    ResourcesConfig,
    effective_config,
    flatten,
    identity,
    override,
    setting_keys,
    trial_key,
)

_OFF = {"loss.corrector.enabled": False, "loss.margin.enabled": False}
_PLAIN = {**_OFF, "loss.finetune": False}


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
        ({"data.root": "/elsewhere", "data.download": True, "data.verify": False}, {}),
        ({"data.imbalance": "none", "data.imbalance_factor": 9.0}, {}),
        ({"data.imbalance": "step"}, {}),
        ({"data.noise.map": "0>1", "data.noise.rate": 0.4}, {"data.noise.rate": 0.4}),
        ({"data.source": "cifar10", "data.test_fraction": 0.5}, {"data.source": "cifar10"}),
        ({"data.source": "cifar10", "data.test_seed": 1}, {"data.source": "cifar10"}),
        ({"data.views.fill": 0}, {}),
        ({**_OFF, "loss.look_ahead_view": "strong"}, _OFF),
        ({"loss.corrector.warm_start": False, "loss.corrector.warm_start_statistics": False},
         {"loss.corrector.warm_start": False}),
        ({"meta.batch_size": 512}, {}),
        ({"schedule.ramp_epochs": 0, "schedule.cosine": "after_ramp"},
         {"schedule.ramp_epochs": 0}),
        ({"loss.corrector.enabled": False, "loss.corrector.ranks": 7},
         {"loss.corrector.enabled": False}),
        ({**_OFF, "meta.lr": 1, "meta.every": 2, "meta.hypergradient": "head"}, _OFF),
        ({**_OFF, "meta.batch_size": 512}, _OFF),
        ({**_PLAIN, "schedule.warmup_epochs": 9}, _PLAIN),
        ({**_PLAIN, "meta.batch_size": 7, "sampler.random_ratio": 1}, _PLAIN),
        ({"loss.name": "cross_entropy", "meta.lr": 1, "sampler.random_ratio": 1},
         {"loss.name": "cross_entropy"}),
        ({"loss.corrector.warm_start_epochs": 5}, {}),
        ({"loss.corrector.warm_start_epochs": 9}, {}),
        ({"schedule.warmup_epochs": 0},
         {"schedule.warmup_epochs": 0, "loss.corrector.warm_start": False}),
        ({"loss.finetune": False, "loss.margin.in_finetune": False}, {"loss.finetune": False}),
        ({"loss.name": "ldam", "loss.drw_epoch": 260}, {"loss.name": "ldam"}),
        ({"loss.name": "ldam", "loss.drw_epoch": 260, "loss.drw_fraction": 0.1},
         {"loss.name": "ldam"}),
        ({"sampler.kind": "fixed", "sampler.every": 3}, {"sampler.kind": "fixed"}),
        ({"sampler.path": "/nowhere/unused.npy"}, {}),
        ({"data.noise.rate": 0.4, "data.noise.key": "unused"}, {"data.noise.rate": 0.4}),
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
        {"data.views.augment": "autoaugment", "data.views.fill": 128},
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


@pytest.mark.parametrize(
    "overrides",
    [
        {"loss.finetune": False},
        {"meta.batch_size": 7},
        {"sampler.random_ratio": 1.0},
        {"schedule.warmup_epochs": 9},
    ],
    ids=str,
)
def test_the_pass_over_the_metadata_alone_depends_on_how_they_are_drawn(
    overrides: dict[str, Any],
) -> None:
    assert _key_of({**_OFF, **overrides}) != _key_of(_OFF)


def test_mixup_changes_the_key_of_a_loss_with_soft_targets() -> None:
    plain = {"loss.name": "cross_entropy"}
    assert _key_of({**plain, "data.views.mixup": 0.2}) != _key_of(plain)


_CE = {"loss.name": "cross_entropy"}
_BIASED = {"data.noise.rate": 0.4}
_FILE = {"data.noise.kind": "file", "data.noise.path": "/nowhere/labels.npy"}
_CLEAN = {"sampler.kind": "clean", "sampler.path": "/nowhere/clean.npy"}
_EFFECTIVE: dict[str, tuple[dict[str, Any], Any]] = {
    "data.source": ({}, "cifar10"),
    "data.image_size": ({}, 32),
    "data.num_classes": ({}, 5),
    "data.memory": ({}, "stream"),
    "data.noise.kind": (_BIASED, "flip"),
    "data.noise.rate": ({}, 0.4),
    "data.noise.map": ({**_BIASED, "data.noise.kind": "asymmetric"}, "9>1"),
    "data.noise.path": (_FILE, "/elsewhere/labels.npy"),
    "data.noise.key": (_FILE, "worse_label"),
    "data.imbalance": ({"data.imbalance_factor": 9.0}, "step"),
    "data.imbalance_factor": ({}, 9.0),
    "data.n_max": ({}, 100),
    "data.test_fraction": ({}, 0.5),
    "data.test_seed": ({}, 1),
    "data.validation.fraction": ({}, 0.1),
    "data.validation.labels": ({"data.validation.fraction": 0.1}, "clean"),
    "data.equal_images": ({}, "drop"),
    "data.views.augment": ({}, "randaugment"),
    "data.views.cutout": ({}, 2),
    "data.views.crop_padding": ({}, 2),
    "data.views.flip": ({}, False),
    "data.views.fill": ({"data.views.cutout": 2}, 0),
    "data.views.statistics": ({}, "images"),
    "data.views.mixup": (_CE, 0.2),
    "model.name": ({}, "mlp"),
    "model.pretrained_path": ({}, "/nowhere/weights.pt"),
    "loss.name": ({}, "meta_weight_net"),
    "loss.corrector.enabled": ({}, False),
    "loss.corrector.ranks": ({}, 7),
    "loss.corrector.per_class": ({}, False),
    "loss.corrector.hidden_layers": ({}, 1),
    "loss.corrector.warm_start": ({}, False),
    "loss.corrector.warm_start_epochs": ({}, 2),
    "loss.corrector.warm_start_statistics": ({}, False),
    "loss.corrector.ranking": ({}, "random"),
    "loss.corrector.pseudo_labels": ({}, "hard"),
    "loss.margin.enabled": ({}, False),
    "loss.margin.hidden_layers": ({}, 1),
    "loss.margin.in_finetune": ({}, False),
    "loss.finetune": ({}, False),
    "loss.look_ahead_view": ({}, "strong"),
    "loss.label_smoothing": (_CE, 0.1),
    "loss.gamma": ({"loss.name": "focal"}, 1.0),
    "loss.q": ({"loss.name": "gce"}, 0.5),
    "loss.alpha": ({"loss.name": "sce"}, 0.5),
    "loss.beta": ({"loss.name": "sce"}, 0.5),
    "loss.strength": ({"loss.name": "elr"}, 1.0),
    "loss.momentum": ({"loss.name": "elr"}, 0.5),
    "loss.max_margin": ({"loss.name": "ldam"}, 0.4),
    "loss.scale": ({"loss.name": "ldam"}, 10.0),
    "loss.cosine_head": ({"loss.name": "ldam"}, False),
    "loss.drw_fraction": ({"loss.name": "ldam"}, 0.5),
    "loss.drw_epoch": ({"loss.name": "ldam"}, 3),
    "loss.tau": ({"loss.name": "logit_adjustment"}, 2.0),
    "loss.hidden_size": ({"loss.name": "meta_weight_net"}, 7),
    "sampler.kind": ({}, "random"),
    "sampler.random_ratio": ({}, 0.4),
    "sampler.low_loss_ratio": ({}, 1.0),
    "sampler.every": ({}, 2),
    "sampler.keep_in_train": ({}, True),
    "sampler.path": (
        {"sampler.kind": "clean", "sampler.path": "/nowhere/a.npy"},
        "/nowhere/b.npy",
    ),
    "meta.lr": ({}, 1e-3),
    "meta.every": ({}, 2),
    "meta.batch_size": ({}, 511),
    "meta.hypergradient": ({}, "head"),
    "optimizer.name": ({}, "adamw"),
    "optimizer.lr": ({}, 0.2),
    "optimizer.beta1": ({"optimizer.name": "adamw"}, 0.8),
    "optimizer.beta2": ({"optimizer.name": "adamw"}, 0.9),
    "optimizer.eps": ({"optimizer.name": "adamw"}, 1e-3),
    "optimizer.momentum": ({}, 0.8),
    "optimizer.weight_decay": ({}, 0.0),
    "schedule.epochs": ({}, 9),
    "schedule.warmup_epochs": ({}, 9),
    "schedule.batch_size": ({}, 64),
    "schedule.equal_batches": ({}, True),
    "schedule.ramp_epochs": ({}, 0),
    "schedule.cosine": ({}, "after_ramp"),
    "schedule.decay": ({}, "linear"),
    "schedule.first_step": ({"schedule.decay": "steps"}, 0.4),
    "schedule.second_step": ({"schedule.decay": "steps"}, 0.8),
    "schedule.step_factor": ({"schedule.decay": "steps"}, 0.2),
    "schedule.precision": ({}, "bfloat16"),
    "schedule.deterministic": ({}, True),
    "schedule.compile": ({}, True),
}
_COVERED_BY_THE_DATA = {"data.verify", "data.root", "data.train", "data.test", "data.download"}
_COVERED_BY_THE_DATA |= {"data.more_tests"}


def _own_settings_of_untried_kinds() -> set[str]:
    """Keys that only a kind has whose settings are not tried here; its own test tries them."""
    tried = {name for others, _ in _EFFECTIVE.values() for name in others.values()}
    shared = (("loss", LOSSES, LossConfig), ("sampler", SAMPLERS, SamplerConfig))
    return {
        f"{group}.{name}"
        for group, registry, base in (*shared, ("data.noise", NOISES, NoiseConfig))
        for kind in registry.values()
        if kind.name not in tried
        for name in kind.settings.model_fields.keys() - base.model_fields.keys()
    }


def test_every_setting_enters_the_key_where_it_has_an_effect() -> None:
    listed, keys = {*_EFFECTIVE} | _COVERED_BY_THE_DATA, {*setting_keys()}
    assert listed <= keys
    assert keys - listed <= _own_settings_of_untried_kinds()
    for key, (others, value) in _EFFECTIVE.items():
        assert _key_of({**others, key: value}) != _key_of(others), key


class _LaterSchedule(ScheduleConfig):
    later: bool = False


class _LaterTrial(TrialConfig):
    schedule: _LaterSchedule = _LaterSchedule()
    later: int | None = None


def test_a_setting_added_later_leaves_all_keys_at_its_default(trial_config: TrialConfig) -> None:
    later = _LaterTrial.model_validate(trial_config.model_dump())
    assert "schedule.later" in flatten(later)
    assert trial_key(later, 0, 0, "data") == trial_key(trial_config, 0, 0, "data")
    for change in ({"later": 1}, {"schedule": {"later": True}}):
        changed = _LaterTrial.model_validate(change)
        assert trial_key(changed, 0, 0, "data") != _key_of({})


def test_parameters_hold_the_defaults_too() -> None:
    flat = flatten(TrialConfig())
    assert flat["schedule.precision"] == "float32"
    assert flat["data.views.augment"] == "none"
    assert flat["meta.batch_size"] == 512


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


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ({"cpu": 1}, {"cpu": 0.5}, True),
        ({"cpu": 1}, {"cpu": 1.9}, True),
        ({"cpu": 1}, {"cpu": 2}, False),
        ({"cpu": 2}, {"cpu": 2.5}, True),
        ({"cpu": 2}, {"cpu": 4}, False),
        ({"cpu": 2, "gpu": 1}, {"cpu": 8, "gpu": 0.5}, True),
        ({"cpu": 1}, {"cpu": 1, "gpu": 1}, False),
    ],
    ids=str,
)
def test_threads_enter_the_key_on_a_cpu_and_the_device_on_a_gpu(
    one: dict[str, float], other: dict[str, float], same: bool
) -> None:
    keys = [
        trial_key(TrialConfig(), 0, 0, "data", ResourcesConfig(**resources))
        for resources in (one, other)
    ]
    assert (keys[0] == keys[1]) is same


def test_one_thread_on_a_cpu_needs_no_entry_in_the_key() -> None:
    assert trial_key(TrialConfig(), 0, 0, "data", ResourcesConfig(cpu=1)) == _key_of({})


@pytest.mark.parametrize("name", ["RESULTS_VERSION", "KEY_VERSION"])
def test_versions_change_the_key(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    before = _key_of({})
    monkeypatch.setattr(identity, name, getattr(identity, name) + 1)
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


def test_conditions_differ_in_their_factor_alone() -> None:
    balanced, imbalanced = (
        flatten(override(TrialConfig(), {"data.imbalance_factor": factor})) for factor in (1, 10)
    )
    differing = dict(balanced.items() ^ imbalanced.items())
    assert differing.keys() == {"data.imbalance_factor"}


def test_flattened_settings_are_the_effective_ones(trial_config: TrialConfig) -> None:
    flat = flatten(trial_config)
    assert all(not isinstance(value, dict) for value in flat.values())
    assert {key.split(".")[0] for key in flat} == set(effective_config(trial_config))


def test_a_switched_off_corrector_shows_no_ranks() -> None:
    flat = flatten(override(TrialConfig(), {"loss.corrector.enabled": False}))
    assert flat["loss.corrector.enabled"] is False
    assert "loss.corrector.ranks" not in flat
