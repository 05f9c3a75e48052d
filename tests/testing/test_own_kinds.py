"""The built-in parts, and those of the example package, keep the contracts of their families."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dynaloss.config import outside
from dynaloss.config.families import LOSSES, MODELS, NOISES, SAMPLERS
from dynaloss.studies import COMPONENTS
from dynaloss.testing import (
    check_component,
    check_loss,
    check_model,
    check_noise,
    check_sampler,
    check_source,
)

_OWN_PARTS = Path(__file__).parents[2] / "examples/own_parts"
_TEMPERED = "own_parts.losses:TEMPERED"
# Those of 11 million weights train for many seconds.
_LARGE = ("preact_resnet18",)


@pytest.mark.parametrize("name", LOSSES)
def test_every_loss_keeps_its_contract(name: str) -> None:
    check_loss(name)


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("class_balanced", {"gamma": 0.5}),
        ("cross_entropy", {"label_smoothing": 0.2}),
        ("dynamic", {"corrector": {"enabled": False}}),
        ("dynamic", {"corrector": {"enabled": False}, "margin": {"enabled": False}}),
        ("dynamic", {"corrector": {"pseudo_labels": "soft", "per_class": False}}),
        ("dynamic", {"margin": {"in_finetune": False}, "corrector": {"warm_start": False}}),
        ("focal", {"gamma": 0.5}),
        ("ldam", {"cosine_head": False, "scale": 5.0, "drw_epoch": 1}),
        ("logit_adjustment", {"tau": 0.5}),
        ("sce", {"alpha": 6.0, "beta": 0.1}),
    ],
    ids=str,
)
def test_losses_keep_their_contract_with_other_settings(
    name: str, settings: dict[str, Any]
) -> None:
    check_loss(name, **settings)


@pytest.mark.parametrize("name", SAMPLERS)
def test_every_sampler_keeps_its_contract(name: str) -> None:
    check_sampler(name)
    check_sampler(name, random_ratio=0.2, low_loss_ratio=1.0, every=2, keep_in_train=True)


@pytest.mark.parametrize("name", NOISES)
def test_every_noise_kind_keeps_its_contract(name: str) -> None:
    check_noise(name)
    check_noise(name, rate=0.5, map="0<>1")


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=pytest.mark.slow if n in _LARGE else ()) for n in MODELS]
)
def test_every_model_keeps_its_contract(name: str) -> None:
    check_model(name, input_shape=(1, 8, 8))


def test_a_model_of_torchvision_keeps_the_contract() -> None:
    check_model("torchvision/squeezenet1_1", input_shape=(3, 32, 32))


def test_digits_keep_the_contract_of_sources() -> None:
    check_source("digits")


@pytest.mark.parametrize("name", COMPONENTS)
def test_every_component_keeps_its_contract(name: str) -> None:
    check_component(name)


@pytest.mark.parametrize(
    ("check", "name", "settings"),
    [
        (check_loss, _TEMPERED, {"temperature": 2.0}),
        (check_sampler, "own_parts.samplers:MIDDLE_LOSS", {"share": 0.5}),
        (check_noise, "own_parts.noises:NEIGHBOUR", {"reach": 2}),
        (check_model, "own_parts.models:HIDDEN", {"width": 8}),
        (check_source, "own_parts.sources:STRIPES", {"num_images": 80}),
        (check_component, "own_parts.components:SOFT", {"loss": {"name": _TEMPERED}}),
    ],
    ids=lambda value: value.__name__ if callable(value) else "",
)
def test_the_example_package_keeps_the_contracts(
    check: Callable[..., None],
    name: str,
    settings: dict[str, Any],
    write_modules: object,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.syspath_prepend(_OWN_PARTS)
    try:
        check(name, **settings)
    finally:
        for module in [m for m in sys.modules if m.partition(".")[0] == "own_parts"]:
            del sys.modules[module]
        outside.source_digest.cache_clear()
