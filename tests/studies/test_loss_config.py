from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dynaloss.config import TrialConfig
from dynaloss.config.families import LOSSES, SAMPLERS
from dynaloss.config.settings import Settings
from dynaloss.studies import effective_config, override, trial_key
from dynaloss.studies.overrides import apply_overrides
from dynaloss.studies.reading.problems import problems_of

AssertFacts = Callable[..., None]


def _key_of(overrides: dict[str, Any]) -> str:
    return trial_key(override(TrialConfig(), overrides), 0, 0, "data")


def test_every_loss_names_itself_and_its_own_settings() -> None:
    settings = [kind.settings() for kind in LOSSES.values()]
    assert [s.name for s in settings] == list(LOSSES)
    assert len(set(map(type, settings))) == len(LOSSES)


@pytest.mark.parametrize("kind", SAMPLERS.values(), ids=lambda kind: kind.name)
def test_every_sampler_uses_settings_that_exist(kind: Any) -> None:
    assert issubclass(kind.settings, Settings)
    assert set(kind.uses) <= {*kind.settings.model_fields} - {"kind"}


@pytest.mark.parametrize(
    ("kind", "setting", "value"),
    [
        (kind, setting, value)
        for kind in SAMPLERS
        for setting, value in (
            ("random_ratio", 0.3), ("low_loss_ratio", 0.3), ("every", 3), ("keep_in_train", True),
        )
    ],
)  # fmt: skip
def test_a_sampler_setting_counts_where_it_is_used(kind: str, setting: str, value: Any) -> None:
    base = {"sampler.kind": kind, "sampler.path": "set.npy"}
    changed = _key_of({**base, f"sampler.{setting}": value}) != _key_of(base)
    assert changed is (setting in SAMPLERS[kind].uses)


@pytest.mark.parametrize("name", [name for name in LOSSES if name != "dynamic"])
def test_every_loss_is_a_trial_of_its_own(name: str) -> None:
    values = effective_config(override(TrialConfig(), {"loss.name": name}))
    assert ("sampler" in values) is (name == "meta_weight_net")
    assert _key_of({"loss.name": name}) != _key_of({})


@pytest.mark.parametrize(
    "overrides",
    [
        {"loss.corrector.pseudo_labels": "soft"},
        {"loss.corrector.warm_start_epochs": 2},
        {"loss.margin.in_finetune": False},
        {"sampler.kind": "fixed"},
        {"sampler.every": 2},
        {"sampler.keep_in_train": True},
        {"meta.hypergradient": "head"},
    ],
    ids=str,
)
def test_switches_change_the_key(overrides: dict[str, Any]) -> None:
    assert _key_of(overrides) != _key_of({})


@pytest.mark.parametrize(
    ("written", "otherwise"),
    [
        ({"loss.corrector.warm_start_epochs": 5}, {}),
        ({"loss.corrector.warm_start_epochs": 9}, {}),
        ({"loss.corrector.warm_start_epochs": 3, "loss.corrector.warm_start": False},
         {"loss.corrector.warm_start": False}),
        ({"schedule.warmup_epochs": 0, "loss.corrector.warm_start": False},
         {"schedule.warmup_epochs": 0}),
        ({"loss.finetune": False, "loss.margin.in_finetune": False}, {"loss.finetune": False}),
        ({"sampler.kind": "fixed", "sampler.every": 3}, {"sampler.kind": "fixed"}),
        ({"sampler.path": "unused.npy"}, {}),
        ({"loss.name": "ldam", "loss.drw_epoch": 260}, {"loss.name": "ldam"}),
    ],
    ids=str,
)  # fmt: skip
def test_what_has_no_effect_leaves_the_key(
    written: dict[str, Any], otherwise: dict[str, Any]
) -> None:
    assert _key_of(written) == _key_of(otherwise)


def test_another_sampler_drops_the_settings_that_only_the_former_has() -> None:
    given = {"sampler": {"kind": "other", "every": 3, "setting_of_the_other": 2}}
    found = apply_overrides(given, {"sampler.every": 4, "sampler.kind": "random"})
    assert found == {"sampler": {"kind": "random", "every": 4}}


def test_a_clean_set_counts_by_its_content(tmp_path: Path) -> None:
    paths = [str(tmp_path / f"{name}.npy") for name in "abc"]
    for path, indices in zip(paths, [[1, 2], [1, 2], [1, 3]], strict=True):
        np.save(path, np.array(indices))
    first, same, other = (_key_of({"sampler.kind": "clean", "sampler.path": p}) for p in paths)
    assert first == same != other


@pytest.mark.parametrize(
    ("values", "facts"),
    [
        ({"sampler.kind": "clean"},
         ("[sampler.path]", "file of indices", "sampler.kind", "'clean'", "got null")),
        ({"model.name": "torchvision/resnet5"},
         ("[model.name]", "classifier of torchvision", "got 'torchvision/resnet5'",
          "'torchvision/resnet50'")),
        ({"loss.name": "gce", "loss.q": 0}, ("[loss.q]", "greater than 0", "got 0")),
        ({"data.views.mixup": 0.2, "loss.name": "focal"},
         ("[loss]", "'balanced_softmax', 'cross_entropy', 'dynamic' or 'logit_adjustment'",
          "data.views.mixup", "above 0", "'focal'", "no target")),
        ({"loss.name": "meta_weight_net", "meta.hypergradient": "head"},
         ("[meta]", "'forward' or 'unrolled'", "loss.name", "'meta_weight_net'", "other way")),
        ({"data.views.mixup": -1}, ("[data.views.mixup]", "at least 0", "got -1")),
    ],
    ids=str,
)  # fmt: skip
def test_refused_in_plain_words(
    assert_facts: AssertFacts, values: dict[str, Any], facts: tuple[str, ...]
) -> None:
    assert_facts(map(str, problems_of(TrialConfig, apply_overrides({}, values))), [facts])


@pytest.mark.parametrize("name", LOSSES)
def test_mixup_goes_with_the_losses_that_accept_soft_targets(name: str) -> None:
    accepted = LOSSES[name].settings().accepts_soft_targets
    values = apply_overrides({}, {"loss.name": name, "data.views.mixup": 0.2})
    assert (not problems_of(TrialConfig, values)) is accepted


def test_mixup_goes_with_a_dynamic_loss_without_parts() -> None:
    off = {"loss.corrector.enabled": False, "loss.margin.enabled": False}
    assert override(TrialConfig(), {**off, "data.views.mixup": 0.2})


def test_a_torchvision_model_is_accepted() -> None:
    assert override(TrialConfig(), {"model.name": "torchvision/vgg19_bn"})
