"""Every family of kinds: what study files may name is what the registry holds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields, replace
from typing import Any

import pytest

from dynaloss.analysis.selection import SELECTION_RULES
from dynaloss.config import LossConfig, TrialConfig, families
from dynaloss.config.ablation import AblationConfig
from dynaloss.config.registry import Kind, Registry
from dynaloss.config.search import SchedulerConfig, SearchConfig
from dynaloss.config.settings import Settings
from dynaloss.studies.arms import known_components
from dynaloss.studies.checks import check_across
from dynaloss.studies.components import COMPONENTS
from dynaloss.studies.overrides import apply_overrides
from dynaloss.studies.reading.problems import listed, problems_of

AssertFacts = Callable[..., None]

_NAMED_BY: dict[str, tuple[type[Settings], str]] = {
    "LOSSES": (TrialConfig, "loss.name"),
    "SAMPLERS": (TrialConfig, "sampler.kind"),
    "MODELS": (TrialConfig, "model.name"),
    "NOISES": (TrialConfig, "data.noise.kind"),
    "IMBALANCES": (TrialConfig, "data.imbalance"),
    "SOURCES": (TrialConfig, "data.source"),
    "AUGMENTATIONS": (TrialConfig, "data.views.augment"),
    "OPTUNA_SAMPLERS": (SearchConfig, "sampler"),
    "PRUNERS": (SchedulerConfig, "name"),
    "DESIGNS": (AblationConfig, "design"),
}
_REGISTRIES = {n: value for n, value in vars(families).items() if isinstance(value, Registry)}
_EVERY = {**_REGISTRIES, "COMPONENTS": COMPONENTS, "SELECTION_RULES": SELECTION_RULES}
# Names of what is usual, and of what no paper is about.
_WITHOUT_SOURCE = {"NOISES": {"file", "none", "uniform"}, "AUGMENTATIONS": {"none"}}

every_family = pytest.mark.parametrize("family", _EVERY)
named_family = pytest.mark.parametrize("family", _NAMED_BY)


class _OtherLoss(LossConfig):
    name: str = "other"


def _problems(family: str, name: str) -> list[str]:
    """What is wrong with a name at the setting that names a kind."""
    model, key = _NAMED_BY[family]
    found = problems_of(model, apply_overrides({}, {key: name}))
    return [str(problem) for problem in found if problem.key == key]


def test_every_family_has_a_setting_that_names_its_kinds() -> None:
    assert _REGISTRIES.keys() == _NAMED_BY.keys()


@every_family
def test_every_kind_is_described_in_one_line(family: str) -> None:
    for name, kind in _EVERY[family].items():
        assert kind.name == name
        assert kind.description.strip()
        assert "\n" not in kind.description


@pytest.mark.parametrize("family", ["LOSSES", "SAMPLERS", "NOISES"])
def test_every_setting_of_a_kind_has_a_default(family: str) -> None:
    for kind in _EVERY[family].values():
        assert not [n for n, field in kind.settings.model_fields.items() if field.is_required()]


@pytest.mark.parametrize("family", ["LOSSES", "NOISES", "AUGMENTATIONS", "COMPONENTS"])
def test_methods_name_their_source(family: str) -> None:
    missing = {name for name, kind in _EVERY[family].items() if not kind.source}
    assert missing == _WITHOUT_SOURCE.get(family, set())


@every_family
def test_a_kind_without_an_implementation_cannot_be_made(family: str) -> None:
    for kind in {type(kind) for kind in _EVERY[family].values()}:
        assert {field.name for field in fields(kind)} > {f.name for f in fields(Kind)}
        with pytest.raises(TypeError, match=r"missing .* required keyword-only argument"):
            kind(name="unfinished", description="has no implementation")


@named_family
def test_every_registered_name_is_accepted(family: str) -> None:
    assert _EVERY[family]
    assert not [name for name in _EVERY[family] if _problems(family, name)]


@named_family
def test_an_unknown_name_is_refused_with_all_names_and_the_nearest(
    assert_facts: AssertFacts, family: str
) -> None:
    longest = max(_EVERY[family], key=len)
    place = f"[{_NAMED_BY[family][1]}]"
    facts = (place, listed(_EVERY[family]), f"got '{longest}s'", f"'{longest}'")
    assert_facts(_problems(family, f"{longest}s"), [facts])


@named_family
def test_settings_accept_what_is_registered_later(
    family: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry: Registry[..., Any] = _EVERY[family]
    changes = {"settings": _OtherLoss} if family == "LOSSES" else {}
    other = replace(next(iter(registry.values())), name="other", **changes)
    assert _problems(family, "other")
    monkeypatch.setattr(registry, "_kinds", {**registry, "other": other})
    assert not _problems(family, "other")


def test_an_unknown_component_is_refused_with_all_names_and_the_nearest(
    assert_facts: AssertFacts,
) -> None:
    values = {"ablation": {"components": ["corrector", "margins"]}}
    facts = ("[ablation.components]", listed(known_components({})), "got 'margins'", "'margin'")
    assert_facts(map(str, check_across(values, [])), [facts])
