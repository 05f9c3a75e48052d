from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, ValidationError

from dynaloss.config import TrialConfig
from dynaloss.config.families import LOSSES, MODELS, NOISES, SAMPLERS, SOURCES
from dynaloss.config.registry import groups_of
from dynaloss.learning.losses.dynamic import DynamicLossConfig
from dynaloss.studies import setting_keys
from dynaloss.studies.overrides import apply_overrides
from dynaloss.studies.reading.problems import listed, problems_of


def test_defaults_are_those_of_the_paper() -> None:
    trial = TrialConfig()
    assert isinstance(trial.loss, DynamicLossConfig)
    assert trial.loss.corrector.ranks == 100
    assert (trial.sampler.random_ratio, trial.sampler.low_loss_ratio) == (0.5, 0.5)
    assert (trial.meta.lr, trial.optimizer.lr, trial.optimizer.weight_decay) == (3e-3, 0.1, 5e-4)
    assert (trial.schedule.epochs, trial.schedule.warmup_epochs) == (325, 5)
    assert trial.schedule.batch_size == 512


def test_a_trial_is_frozen() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        TrialConfig().schedule.epochs = 3  # type: ignore[misc]  # the very thing under test


def test_whole_numbers_become_floats_where_floats_are_meant() -> None:
    factor = TrialConfig.model_validate({"data": {"imbalance_factor": 10}}).data.imbalance_factor
    assert isinstance(factor, float)


def test_a_loss_without_a_name_is_the_dynamic_one() -> None:
    trial = TrialConfig.model_validate({"loss": {"margin": {"enabled": False}}})
    assert trial.loss.name == "dynamic"


def test_the_known_names_are_described() -> None:
    assert {"dynamic", "cross_entropy", "focal", "gce", "elr", "meta_weight_net"} <= set(LOSSES)
    assert {"mlp", "small_cnn", "resnet32"} <= set(MODELS)
    assert {"hierarchical", "random", "clean"} <= set(SAMPLERS)
    kinds = [*MODELS.values(), *LOSSES.values(), *SAMPLERS.values()]
    assert all([*SOURCES.values(), *(kind.description for kind in kinds)])


def _fields(model: type[BaseModel]) -> list[Any]:
    groups = [groups_of(field) for field in model.model_fields.values()]
    own = [f for f, g in zip(model.model_fields.values(), groups, strict=True) if not g]
    return own + [field for group in groups for inner in group for field in _fields(inner)]


def test_every_setting_is_described_in_words() -> None:
    fields = _fields(TrialConfig)
    assert len(fields) >= len(setting_keys())
    assert all(field.description and field.description.endswith(".") for field in fields)


@pytest.mark.parametrize(
    ("key", "value", "problem"),
    [
        ("data.imbalance_factor", 0.01, "must be at least 1, but got 0.01; it is n_max / n_min, "
         "the inverse of what the released code writes: did you mean 100?"),
        ("data.imbalance_factor", 0, "must be at least 1, but got 0; it is n_max / n_min, "
         "the inverse of what the released code writes"),
        ("data.noise.rate", 1.01, "must be at most 1, but got 1.01"),
        ("data.noise.rate", True, "must be a number, but got true"),
        ("data.noise.rate", "0.4", "must be a number, but got '0.4'"),
        ("data.noise.rate", float("nan"), "must be a finite number, but got nan"),
        ("data.noise.rate", None, "must be a number, but got null"),
        ("data.noise.kind", "none ", f"must be one of {listed(NOISES)}, but got 'none '; "
         "did you mean 'none'?"),
        ("data.noise.map", "9-1", "must be pairs such as '9>1, 3<>5', but got '9-1'"),
        ("data.root", "", "must be a path, but got ''"),
        ("data.source", "cifar", f"must be one of {listed(SOURCES)}, but got 'cifar'; "
         "did you mean 'cifar10'?"),
        ("data.n_max", 1.0, "must be a whole number, but got 1"),
        ("data.validation.fraction", 1, "must be less than 1, but got 1"),
        ("model.name", 32, "must be text, but got 32"),
        ("model.name", "resnet23", f"must be one of {listed(MODELS)}, "
         "but got 'resnet23'; did you mean 'resnet32'?"),
        ("loss.name", "dinamic", f"must be one of {listed(LOSSES)}, but got 'dinamic'; "
         "did you mean 'dynamic'?"),
        ("loss.name", 3, f"must be one of {listed(LOSSES)}, but got 3"),
        ("loss.name", None, f"must be one of {listed(LOSSES)}, but got null"),
        ("loss.corrector.enabled", 1, "must be true or false, but got 1"),
        ("loss.corrector.ranks", 1, "must be at least 2, but got 1"),
        ("sampler.kind", "cleanest", f"must be one of {listed(SAMPLERS)}, "
         "but got 'cleanest'; did you mean 'clean'?"),
        ("sampler.every", 0, "must be at least 1, but got 0"),
        ("sampler.random_ratio", 0, "must be greater than 0, but got 0"),
        ("meta.every", 0, "must be at least 1, but got 0"),
        ("meta.batch_size", 0, "must be at least 1, but got 0"),
        ("schedule.batch_size", 1, "must be at least 2, but got 1"),
        ("schedule.warmup_epochs", 326, "must be at most schedule.epochs (325), but got 326"),
    ],
)  # fmt: skip
def test_broken_rules_are_reported_in_plain_words(key: str, value: Any, problem: str) -> None:
    found = problems_of(TrialConfig, apply_overrides({}, {key: value}))
    assert [str(p) for p in found] == [f"[{key}] {problem}"]


def test_noise_from_a_file_needs_the_file() -> None:
    found = [str(p) for p in problems_of(TrialConfig, {"data": {"noise": {"kind": "file"}}})]
    rule = "must be a label file where data.noise.kind is 'file', but got null"
    assert found == [f"[data.noise.path] {rule}"]


def test_settings_of_another_loss_are_refused() -> None:
    values = {"loss": {"name": "cross_entropy", "corrector": {"enabled": False}}}
    found = [str(p) for p in problems_of(TrialConfig, values)]
    assert found == ["[loss.corrector] is not a setting of 'cross_entropy'"]


def test_an_unknown_key_without_a_near_one_shows_those_that_exist() -> None:
    found = [str(p) for p in problems_of(TrialConfig, {"model": {"width": 3}})]
    assert found == ["[model.width] is not a known key; known: 'name', 'pretrained_path'"]


_odd = st.sampled_from(
    [None, True, -1, 0, 2, 10**400, 0.5, -0.5, float("inf"), float("nan"), "", "x", [], [1], {}]
)


@settings(deadline=None)
@given(st.dictionaries(st.sampled_from(setting_keys()), _odd, min_size=1))
def test_no_value_meets_an_exception_or_jargon(overrides: dict[str, Any]) -> None:
    for problem in problems_of(TrialConfig, apply_overrides({}, overrides)):
        assert problem.text.startswith(("must be ", "is not "))
        assert not {"Input", "instance", "url", "kind,"} & set(str(problem).split())


def test_a_trial_survives_dumping_and_validating(trial_config: TrialConfig) -> None:
    assert TrialConfig.model_validate(trial_config.model_dump()) == trial_config
