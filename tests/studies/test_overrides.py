from __future__ import annotations

from collections.abc import Callable

import pytest

from dynaloss.config import TrialConfig
from dynaloss.errors import InputError
from dynaloss.studies import override, setting_keys

AssertFacts = Callable[..., None]


def test_a_dotted_key_sets_one_setting_and_leaves_the_others() -> None:
    trial = TrialConfig()
    changed = override(trial, {"loss.corrector.ranks": 10})
    assert changed.model_dump() != trial.model_dump()
    assert override(changed, {"loss.corrector.ranks": 100}) == trial


def test_another_loss_drops_the_settings_of_the_former() -> None:
    changed = override(TrialConfig(), {"loss.name": "cross_entropy"})
    assert changed.loss.model_dump() == {"name": "cross_entropy", "label_smoothing": 0.0}


def test_the_name_of_the_loss_is_set_before_its_settings() -> None:
    plain = override(TrialConfig(), {"loss.name": "cross_entropy"})
    changed = override(plain, {"loss.corrector.ranks": 7, "loss.name": "dynamic"})
    assert changed.model_dump()["loss"]["corrector"]["ranks"] == 7


def test_every_setting_has_a_dotted_key() -> None:
    assert {"data.noise.rate", "loss.corrector.ranks", "meta.batch_size"} <= set(setting_keys())
    assert len(set(setting_keys())) == len(setting_keys())


@pytest.mark.parametrize(
    ("key", "facts"),
    [
        ("meta.leraning", ("not a setting", "trial", "'meta.lr'")),
        ("rate", ("not a setting", "trial", "'data.noise.rate'")),
        ("loss.margin", ("group of settings", "'loss.margin.enabled'")),
    ],
)
def test_a_key_that_is_no_setting_is_refused(
    assert_facts: AssertFacts, key: str, facts: tuple[str, ...]
) -> None:
    with pytest.raises(InputError, match=key) as caught:
        override(TrialConfig(), {key: 1})
    assert_facts(caught.value.problems, [(f"[{key}]", *facts)])


def test_a_value_that_the_trial_refuses_is_refused() -> None:
    with pytest.raises(InputError, match=r"^\[meta.lr\].* greater than 0,.* got 0$"):
        override(TrialConfig(), {"meta.lr": 0})


def test_another_kind_has_its_own_defaults_and_keeps_what_was_given() -> None:
    for gamma, expected in ((0.0, 2.0), (1.0, 1.0)):  # 0 is the default of class_balanced
        former = override(TrialConfig(), {"loss.name": "class_balanced", "loss.gamma": gamma})
        changed = override(former, {"loss.name": "focal"})
        assert changed.model_dump()["loss"] == {"name": "focal", "gamma": expected}
    symmetric = override(TrialConfig(), {"loss.name": "sce"})
    balanced = override(symmetric, {"loss.name": "class_balanced"})
    assert balanced.model_dump()["loss"]["beta"] == 0.9999
