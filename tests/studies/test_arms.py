from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dynaloss.config import TrialConfig
from dynaloss.studies import COMPONENTS, arm_name, design_arms, override


@pytest.mark.parametrize(
    ("design", "components", "expected"),
    [
        ("factorial", ["corrector", "margin"], ["none", "corrector-only", "margin-only", "full"]),
        ("leave_one_out", ["corrector", "margin"], ["full", "margin-only", "corrector-only"]),
        ("only_one", ["corrector", "margin"], ["none", "corrector-only", "margin-only"]),
        ("factorial", ["margin"], ["none", "full"]),
        ("leave_one_out", ["margin"], ["full", "none"]),
        ("only_one", ["margin"], ["none", "full"]),
    ],
)
def test_a_design_names_its_arms_in_order(
    design: str, components: list[str], expected: list[str]
) -> None:
    assert list(design_arms(design, components, resolution=4)) == expected


@pytest.mark.parametrize(
    ("on", "components", "name"),
    [
        ("", "abc", "none"),
        ("a", "abc", "a-only"),
        ("ac", "abc", "no-b"),
        ("abc", "abc", "full"),
        ("ac", "abcd", "a+c"),
        ("bcd", "abcd", "no-a"),
    ],
)
def test_arm_names(on: str, components: str, name: str) -> None:
    assert arm_name(tuple(on), tuple(components)) == name


@given(st.integers(1, 7))
def test_subsets_have_distinct_names(size: int) -> None:
    components = tuple("abcdefg"[:size])
    subsets = [[c for i, c in enumerate(components) if n >> i & 1] for n in range(2**size)]
    names = sorted(arm_name(on, components) for on in subsets)
    assert all(one != other for one, other in pairwise(names))


def test_every_component_switches_an_existing_setting() -> None:
    trial = override(TrialConfig(), {"sampler.random_ratio": 0.4})
    for component in COMPONENTS.values():
        assert override(trial, component.on) != override(trial, component.off)


def test_an_arm_overrides_all_components_of_the_trial() -> None:
    arms = design_arms("factorial", ["corrector", "margin"], resolution=4)
    assert arms["margin-only"] == {"loss.corrector.enabled": False, "loss.margin.enabled": True}
