"""Fractions of a factorial against what they claim."""

from __future__ import annotations

import re
from itertools import combinations

import numpy as np
import pytest

from dynaloss.config.families import DESIGNS
from dynaloss.studies.designs import Fraction, fraction_of


def signs(fraction: Fraction) -> dict[str, np.ndarray]:
    subsets = fraction.subsets()
    return {n: np.array([1 if n in s else -1 for s in subsets]) for n in fraction.components}


@pytest.mark.parametrize(
    ("k", "resolution", "arms"),
    [(3, 3, 4), (4, 4, 8), (5, 3, 8), (5, 5, 16), (6, 3, 8), (6, 4, 16), (7, 3, 8), (7, 4, 16)],
)
def test_fractions_are_the_smallest_known(k: int, resolution: int, arms: int) -> None:
    # Sizes as in Box, Hunter and Hunter, "Statistics for Experimenters", table 12.15.
    fraction = fraction_of("abcdefg"[:k], resolution)
    assert len({*fraction.subsets()}) == arms
    assert fraction.resolution >= resolution


@pytest.mark.parametrize(("k", "resolution"), [(3, 3), (5, 3), (5, 4), (6, 4), (5, 5), (7, 4)])
def test_effects_are_separated_by_the_resolution(k: int, resolution: int) -> None:
    columns = signs(fraction_of("abcdefg"[:k], resolution))
    effects = [(n,) for n in columns]
    pairs = list(combinations(columns, 2))
    compared = {3: (effects, effects), 4: (effects, effects + pairs), 5: (effects + pairs,) * 2}
    for one in compared[resolution][0]:
        for other in compared[resolution][1]:
            if one != other:
                product = np.prod([columns[n] for n in (*one, *other)], axis=0)
                assert product.sum() == 0


def test_the_arm_with_everything_is_always_there() -> None:
    for k in range(2, 8):
        assert fraction_of("abcdefg"[:k], 3).subsets()[0] == tuple("abcdefg"[:k])


def test_no_fraction_of_two_components() -> None:
    fraction = fraction_of(["a", "b"], 3)
    assert len(fraction.subsets()) == 4
    assert "all 4 arms" in fraction.describe()


def test_aliasing_of_the_half_of_three() -> None:
    size, _, effects = fraction_of(["a", "b", "c"], 3).describe().partition("aliased: ")
    assert re.search(r"resolution III\b.* 4 of 8 arms.* generators c = a × b\W*$", size), size
    assert effects.split("; ") == ["a = b × c", "b = a × c", "c = a × b"]


def test_subsets_of_the_half_of_three() -> None:
    assert DESIGNS["fractional"].subsets(["a", "b", "c"], 3) == [
        ("a", "b", "c"),
        ("a",),
        ("b",),
        ("c",),
    ]


def test_a_path_adds_one_component_at_a_time() -> None:
    subsets = DESIGNS["path"].subsets(["c", "a", "b"], 4)
    assert subsets == [(), ("c",), ("c", "a"), ("c", "a", "b")]
