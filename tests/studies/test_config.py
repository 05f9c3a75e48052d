from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, ValidationError

from dynaloss.config import TrialConfig
from dynaloss.config.families import LOSSES, MODELS, NOISES, SAMPLERS, SOURCES
from dynaloss.config.registry import groups_of
from dynaloss.errors import InputError
from dynaloss.learning.losses.dynamic import DynamicLossConfig
from dynaloss.studies import load_study, setting_keys
from dynaloss.studies.overrides import apply_overrides
from dynaloss.studies.reading.problems import listed, problems_of

AssertFacts = Callable[..., None]


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
    ("key", "value", "facts"),
    [
        ("data.imbalance_factor", 0.01,
         ("at least 1", "got 0.01", "n_max / n_min", "inverse", "100")),
        ("data.imbalance_factor", 0, ("at least 1", "got 0", "n_max / n_min", "inverse")),
        ("data.noise.rate", 1.01, ("at most 1", "got 1.01")),
        ("data.noise.rate", True, ("a number", "got true")),
        ("data.noise.rate", "0.4", ("a number", "got '0.4'")),
        ("data.noise.rate", float("nan"), ("finite number", "got nan")),
        ("data.noise.rate", None, ("a number", "got null")),
        ("data.noise.kind", "none ", (listed(NOISES), "got 'none '", "'none'")),
        ("data.noise.map", "9-1", ("'9>1, 3<>5'", "got '9-1'")),
        ("data.root", "", ("a path", "got ''")),
        ("data.source", "cifar", (listed(SOURCES), "got 'cifar'", "'cifar10'")),
        ("data.n_max", 1.0, ("whole number", "got 1")),
        ("data.validation.fraction", 1, ("less than 1", "got 1")),
        ("model.name", 32, (listed(MODELS), "got 32")),
        ("model.name", "resnet23", (listed(MODELS), "got 'resnet23'", "'resnet32'")),
        ("loss.name", "dinamic", (listed(LOSSES), "got 'dinamic'", "'dynamic'")),
        ("loss.name", 3, (listed(LOSSES), "got 3")),
        ("loss.name", None, (listed(LOSSES), "got null")),
        ("loss.corrector.enabled", 1, ("true or false", "got 1")),
        ("loss.corrector.ranks", 1, ("at least 2", "got 1")),
        ("sampler.kind", "cleanest", (listed(SAMPLERS), "got 'cleanest'", "'clean'")),
        ("sampler.every", 0, ("at least 1", "got 0")),
        ("sampler.random_ratio", 0, ("greater than 0", "got 0")),
        ("meta.every", 0, ("at least 1", "got 0")),
        ("meta.batch_size", 0, ("at least 1", "got 0")),
        ("schedule.batch_size", 1, ("at least 2", "got 1")),
        ("schedule.warmup_epochs", 326, ("at most schedule.epochs (325)", "got 326")),
    ],
)  # fmt: skip
def test_broken_rules_are_reported_in_plain_words(
    assert_facts: AssertFacts, key: str, value: Any, facts: tuple[str, ...]
) -> None:
    found = problems_of(TrialConfig, apply_overrides({}, {key: value}))
    assert_facts(map(str, found), [(f"[{key}]", *facts)])


def test_noise_from_a_file_needs_the_file(assert_facts: AssertFacts) -> None:
    found = problems_of(TrialConfig, {"data": {"noise": {"kind": "file"}}})
    facts = ("[data.noise.path]", "label file", "data.noise.kind", "'file'", "got null")
    assert_facts(map(str, found), [facts])


def test_settings_of_another_loss_are_refused(assert_facts: AssertFacts) -> None:
    values = {"loss": {"name": "cross_entropy", "corrector": {"enabled": False}}}
    found = problems_of(TrialConfig, values)
    assert_facts(map(str, found), [("[loss.corrector]", "not a setting", "'cross_entropy'")])


def test_an_unknown_key_without_a_near_one_shows_those_that_exist(
    assert_facts: AssertFacts,
) -> None:
    found = problems_of(TrialConfig, {"model": {"width": 3}})
    facts = ("[model.width]", "not a known key", "'name', 'pretrained_path'")
    assert_facts(map(str, found), [facts])


_odd = st.sampled_from(
    [None, True, -1, 0, 2, 10**400, 0.5, -0.5, float("inf"), float("nan"), "", "x", [], [1], {}]
)


@settings(deadline=None)
@given(st.dictionaries(st.sampled_from(setting_keys()), _odd, min_size=1))
def test_no_value_meets_an_exception_or_jargon(overrides: dict[str, Any]) -> None:
    for problem in problems_of(TrialConfig, apply_overrides({}, overrides)):
        assert problem.text[0].islower()
        assert not {"Input", "instance", "url", "kind,"} & set(str(problem).split())


def test_a_trial_survives_dumping_and_validating(trial_config: TrialConfig) -> None:
    assert TrialConfig.model_validate(trial_config.model_dump()) == trial_config


def test_a_default_that_breaks_a_rule_is_called_one() -> None:
    with pytest.raises(InputError, match=r"warmup_epochs.*got 5 \(its default\)"):
        load_study({"study": "s", "trial": {"schedule": {"epochs": 3}}})
    with pytest.raises(InputError, match=r"warmup_epochs.*got 6\n"):
        load_study({"study": "s", "trial": {"schedule": {"epochs": 3, "warmup_epochs": 6}}})
