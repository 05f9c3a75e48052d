"""Effects of components, counted by hand and against properties that they must have."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import combinations, permutations

import numpy as np
import pytest

from dynaloss.analysis import compare
from dynaloss.analysis.statistics.effects import POOLED, Effect, effects, infer_components
from dynaloss.studies.arms import arm_name
from dynaloss.studies.trial_record import TrialRecord

MakeRecord = Callable[..., TrialRecord]
METRIC = "test/accuracy"
Value = Callable[[frozenset[str], int, str], float]


def factorial(
    record: MakeRecord, names: str, value: Value, seeds: int = 3, conditions: str = "C"
) -> list[TrialRecord]:
    components = tuple(names)
    subsets = [s for size in range(len(names) + 1) for s in combinations(components, size)]
    return [
        record(arm_name(s, components), seed, value(frozenset(s), seed, c), condition=c)
        for c in conditions
        for s in subsets
        for seed in range(seeds)
    ]


def by_name(found: tuple[Effect, ...], kind: str, condition: str = "C") -> dict[str, float]:
    return {e.name: e.mean for e in found if e.kind == kind and e.condition == condition}


def test_effects_of_a_hand_counted_example(record: MakeRecord) -> None:
    values = {"": 0.5, "a": 0.6, "b": 0.7, "ab": 0.9}
    trials = factorial(record, "ab", lambda s, _seed, _c: values["".join(sorted(s))])
    found = effects(compare(trials, METRIC))
    assert by_name(found, "main") == {}  # of two components they are the Shapley values
    assert by_name(found, "interaction") == pytest.approx({"a × b": (0.9 - 0.7) - (0.6 - 0.5)})
    assert by_name(found, "shapley") == pytest.approx({"a": 0.15, "b": 0.25})
    assert by_name(found, "removed") == pytest.approx({"a": 0.2, "b": 0.3})
    assert by_name(found, "alone") == pytest.approx({"a": 0.1, "b": 0.2})


@pytest.mark.parametrize("k", [2, 3, 4, 6])
def test_shapley_values_add_up_to_full_minus_none(record: MakeRecord, k: int) -> None:
    names = "abcdef"[:k]
    rng = np.random.default_rng(k)
    table = {(arm, s): rng.random() for arm in range(2**k) for s in range(3)}

    def value(subset: frozenset[str], seed: int, _condition: str) -> float:
        return float(table[sum(2 ** names.index(c) for c in subset), seed])

    comparison = compare(factorial(record, names, value), METRIC)
    shapley = by_name(effects(comparison, tuple(names)), "shapley")
    gain = comparison.cell("C", "full").mean - comparison.cell("C", "none").mean
    assert math.fsum(shapley.values()) == pytest.approx(gain)


def test_shapley_is_the_mean_over_all_orders(record: MakeRecord) -> None:
    values = {"": 0.1, "a": 0.2, "b": 0.5, "c": 0.3, "ab": 0.4, "ac": 0.9, "bc": 0.6, "abc": 0.7}
    trials = factorial(record, "abc", lambda s, _seed, _c: values["".join(sorted(s))])
    gains = []
    for order in permutations("abc"):
        before = "".join(sorted(order[: order.index("a")]))
        gains.append(values["".join(sorted("a" + before))] - values[before])
    assert by_name(effects(compare(trials, METRIC)), "shapley")["a"] == pytest.approx(
        np.mean(gains)
    )


def test_pooled_effect_pairs_seeds_over_conditions(record: MakeRecord) -> None:
    def value(subset: frozenset[str], seed: int, condition: str) -> float:
        gain = {"x": 0.1, "y": 0.3}[condition]
        return 0.5 + gain * ("a" in subset) + 0.01 * seed * (condition == "y") * len(subset)

    found = effects(compare(factorial(record, "ab", value, conditions="xy"), METRIC))
    pooled = next(e for e in found if (e.kind, e.name, e.condition) == ("shapley", "a", POOLED))
    assert (pooled.n, pooled.mean) == (3, pytest.approx(0.2 + 0.005))


def test_main_effects_of_three_components_are_differences_of_means(record: MakeRecord) -> None:
    values = {"": 0.1, "a": 0.2, "b": 0.5, "c": 0.3, "ab": 0.4, "ac": 0.9, "bc": 0.6, "abc": 0.7}
    trials = factorial(record, "abc", lambda s, _seed, _c: values["".join(sorted(s))])
    main = by_name(effects(compare(trials, METRIC)), "main")
    for name in "abc":
        on = np.mean([value for arm, value in values.items() if name in arm])
        off = np.mean([value for arm, value in values.items() if name not in arm])
        assert main[name] == pytest.approx(on - off)


def test_effects_are_adjusted_over_those_of_their_kind(record: MakeRecord) -> None:
    """Of six seeds p is 2 / 64 at least, and large for an effect of either sign."""
    of_b = (0.05, -0.01, 0.03, -0.06, 0.02, -0.02)

    def value(subset: frozenset[str], seed: int, _condition: str) -> float:
        return 0.5 + (0.1 + 0.01 * seed) * ("a" in subset) + of_b[seed] * ("b" in subset)

    found = effects(compare(factorial(record, "ab", value, seeds=6), METRIC))
    p = {e.name: (e.p_adjusted, e.clear) for e in found if e.kind == "shapley"}
    assert p == {"a": (2 / 64, True), "b": (pytest.approx(1, abs=0.4), False)}
    few = effects(compare(factorial(record, "ab", value, seeds=5), METRIC))
    assert not any(effect.clear for effect in few)
    assert all(math.isnan(effect.p_adjusted) for effect in few)


def test_half_fraction_gives_main_effects_only(record: MakeRecord) -> None:
    half = {"none": "", "no-c": "ab", "no-b": "ac", "no-a": "bc"}
    trials = [record(arm, 0, 0.5 + 0.1 * ("a" in on)) for arm, on in half.items()]
    found = effects(compare(trials, METRIC), ("a", "b", "c"))
    assert {e.kind for e in found} == {"main"}
    condition = trials[0].condition
    assert by_name(found, "main", condition) == pytest.approx({"a": 0.1, "b": 0, "c": 0})


def test_path_gives_the_gain_of_each_step_over_the_arm_before(record: MakeRecord) -> None:
    path = {"none": 0.5, "b-only": 0.6, "no-c": 0.9, "full": 0.8}
    trials = [record(arm, 0, value) for arm, value in path.items()]
    found = effects(compare(trials, METRIC), ("a", "b", "c"))
    assert {e.kind for e in found} == {"step"}
    assert [e.name for e in found] == ["b", "a", "c"]
    assert [e.mean for e in found] == pytest.approx([0.1, 0.3, -0.1])


def test_arms_with_a_gap_are_no_path(record: MakeRecord) -> None:
    trials = [record(arm, 0, 0.5) for arm in ("none", "a-only", "full")]
    assert {e.kind for e in effects(compare(trials, METRIC), ("a", "b", "c"))} == {"alone"}


def test_seed_without_all_arms_is_left_out(record: MakeRecord) -> None:
    trials = factorial(record, "ab", lambda s, seed, _c: 0.5 + 0.1 * len(s) + seed)
    found = effects(compare(trials[:-1], METRIC))
    assert {e.n for e in found if e.kind == "shapley"} == {2}


def test_conditions_without_a_shared_seed_are_not_pooled(record: MakeRecord) -> None:
    trials = [record(arm, 0, condition="x") for arm in ("none", "full")]
    trials += [record(arm, 1, condition="y") for arm in ("none", "full")]
    found = effects(compare(trials, METRIC), ("a",))
    assert {effect.condition for effect in found} == {"x", "y"}


def test_arms_without_components_have_no_effects(record: MakeRecord) -> None:
    assert effects(compare([record("ce"), record("mixup")], METRIC)) == ()
    assert effects(compare([record("full")], METRIC)) == ()


def test_components_are_read_off_the_names_of_arms() -> None:
    assert infer_components(["none", "a-only", "b-only", "full", "ce"]) == ("a", "b")
    assert infer_components(["full", "no-a", "no-b", "no-c"]) == ("a", "b", "c")
    assert infer_components(["x", "y"]) == ()
