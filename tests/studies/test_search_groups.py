from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dynaloss.config import TrialConfig
from dynaloss.config.parameters import ParameterConfig
from dynaloss.studies.search.groups import make_search_plan, search_plan_as_json, search_trial
from dynaloss.studies.search.points import grid_points, is_active
from dynaloss.studies.search.rungs import bracket_of, rungs
from dynaloss.studies.study import SearchStudy

AssertFacts = Callable[..., None]


def make_study(**parts: Any) -> SearchStudy:
    trial = {"data": {"validation": {"fraction": 0.2}}, "schedule": {"epochs": 10}}
    values = {"study": "s", "trial": trial, "space": {"meta.lr": {"choice": [1, 2]}}}
    return SearchStudy.model_validate({**values, **parts})


def test_rungs_are_whole_epochs_below_the_end() -> None:
    assert rungs(1, 3, 244) == [1, 3, 9, 27, 81, 243]
    assert rungs(1, 3, 243) == [1, 3, 9, 27, 81]
    assert rungs(3, 3, 3) == []
    assert rungs(1, 2, 100, most=3) == [1, 2, 4]


@pytest.mark.parametrize(
    ("space", "first", "untuned"),
    [
        ({"meta.lr": {"uniform": [0.001, 0.1]}}, True, {"meta.lr": 0.003}),
        ({"meta.lr": {"uniform": [0.001, 0.1]}}, False, None),
        ({"meta.lr": {"uniform": [0.01, 0.1]}}, True, None),
        ({"meta.lr": {"choice": [0.01, 0.003]}}, True, {"meta.lr": 0.003}),
        ({"meta.every": {"integer": [1, 9], "step": 4}}, True, {"meta.every": 1}),
        ({"meta.every": {"integer": [2, 9], "step": 4}}, True, None),
        ({"loss.corrector.enabled": {"choice": [1, 0]}}, True, None),
        (
            {
                "loss.corrector.enabled": {"choice": [True, False]},
                "loss.corrector.ranks": {
                    "choice": [100],
                    "when": {"loss.corrector.enabled": False},
                },
            },
            True,
            {"loss.corrector.enabled": True},
        ),
    ],
)
def test_the_untuned_trial_is_that_of_the_study_where_the_space_holds_it(
    space: dict[str, Any], first: bool, untuned: dict[str, Any] | None
) -> None:
    study = make_study(space=space, search={"untuned_first": first})
    (group,) = make_search_plan(study, {"digits": "d"}).groups
    assert group.untuned == untuned


@given(st.integers(1, 50), st.integers(2, 5), st.integers(1, 2000))
def test_every_rung_is_a_multiple_of_the_one_before(grace: int, factor: int, epochs: int) -> None:
    found = rungs(grace, factor, epochs)
    assert all(b == a * factor for a, b in itertools.pairwise(found))
    assert all(rung < epochs for rung in found)
    assert not found or found[-1] * factor >= epochs


def test_brackets_get_trials_in_proportion_whatever_the_order() -> None:
    assert rungs(1, 3, 10) == [1, 3, 9]
    counts = [[bracket_of(n, 3, 3) for n in range(100)].count(b) for b in range(4)]
    assert counts == sorted(counts, reverse=True)
    assert min(counts) > 0


def test_each_condition_and_arm_has_an_equal_budget() -> None:
    study = make_study(
        conditions={"data.noise.rate": [0.2, 0.4]},
        arms={"full": {}, "no": {"loss.margin.enabled": False}},
        search={"trials": 7},
        scheduler={"grace_epochs": 2, "reduction_factor": 2},
    )
    plan = make_search_plan(study, {"digits": "d"})
    assert [(g.arm, g.trials, g.rungs) for g in plan.groups] == [
        ("full", 7, (2, 4, 8)), ("no", 7, (2, 4, 8)),
        ("full", 7, (2, 4, 8)), ("no", 7, (2, 4, 8)),
    ]  # fmt: skip
    assert len({g.pool for g in plan.groups}) == 4
    # Four groups of seven trials, and races of four with two seeds, of ten epochs each.
    found = json.loads(json.dumps(search_plan_as_json(plan)))
    assert found["most_epochs"] == 4 * (7 + 4 * 2) * 10
    assert found["race"] == {"top": 4, "seeds": [100, 101]}


def test_pooled_groups_are_warned_of() -> None:
    study = make_study(conditions={"data.noise.rate": [0.2, 0.4]}, scheduler={"group_by": ["arm"]})
    plan = make_search_plan(study, {"digits": "d"})
    assert {g.pool for g in plan.groups} == {"full"}
    assert any("compete" in note for note in plan.notes)


def test_conditions_that_are_equal_in_effect_are_searched_once(assert_facts: AssertFacts) -> None:
    study = make_study(
        conditions={"data.noise.kind": ["none", "symmetric"], "data.noise.rate": [0.2, 0.4]}
    )
    plan = make_search_plan(study, {"digits": "d"})
    assert [group.condition for group in plan.groups] == [
        "no noise · IR 1",
        "symmetric 0.2 · IR 1",
        "symmetric 0.4 · IR 1",
    ]
    assert_facts(plan.notes, [("'no noise · IR 1'", "2 conditions", "one")])


def test_equal_suggestions_are_trials_of_their_own() -> None:
    study = make_study()
    (group,) = make_search_plan(study, {"digits": "d"}).groups
    first, second = (search_trial(study, group, n, {"meta.lr": 1}) for n in (0, 1))
    assert first.config == second.config
    assert first.key != second.key


def test_a_parameter_exists_only_when_its_condition_holds() -> None:
    parameter = ParameterConfig.model_validate(
        {"choice": [5], "when": {"loss.corrector.enabled": True, "loss.name": ["dynamic", "x"]}}
    )
    assert is_active(parameter, TrialConfig(), {})
    assert not is_active(parameter, TrialConfig(), {"loss.corrector.enabled": False})
    other = TrialConfig.model_validate({"loss": {"name": "cross_entropy"}})
    assert not is_active(parameter, other, {})


def test_true_and_one_are_two_values_of_a_condition() -> None:
    for wanted, other in ((1, True), (True, 1)):
        parameter = ParameterConfig.model_validate({"choice": [5], "when": {"meta.every": wanted}})
        assert is_active(parameter, TrialConfig(), {"meta.every": wanted})
        assert not is_active(parameter, TrialConfig(), {"meta.every": other})


def test_a_grid_counts_each_distinct_combination_once() -> None:
    space = {
        "loss.corrector.enabled": {"choice": [True, False]},
        "loss.corrector.ranks": {"choice": [5, 10], "when": {"loss.corrector.enabled": True}},
        "sampler.random_ratio": {"uniform": [0.1, 1.0], "step": 0.45},
    }
    typed = {key: ParameterConfig.model_validate(value) for key, value in space.items()}
    points = list(grid_points(typed, TrialConfig()))
    assert len(points) == 9
    assert {"loss.corrector.enabled": False, "sampler.random_ratio": 1.0} in points
    plan = make_search_plan(
        make_study(space=space, search={"sampler": "grid", "trials": 20}), {"digits": "d"}
    )
    assert plan.groups[0].trials == 9


@pytest.mark.parametrize(
    ("changed", "equal"),
    [
        ({"resources": {"cpu": 0.5}}, True),
        ({"resources": {"cpu": 2.0}}, False),
        ({"search": {"seed": 1}}, False),
    ],
    ids=["cores", "threads", "seed"],
)
def test_the_hash_is_of_what_is_planned(changed: dict[str, Any], equal: bool) -> None:
    one, other = (make_search_plan(make_study(**parts), {"digits": "d"}).hash
                  for parts in ({}, changed))  # fmt: skip
    assert (one == other) is equal


def test_another_number_of_threads_gives_a_search_other_trials() -> None:
    keys = []
    for cpu in (1.0, 1.5, 2.0):
        study = make_study(resources={"cpu": cpu})
        group = make_search_plan(study, {"digits": "d"}).groups[0]
        keys.append(search_trial(study, group, 0, {"meta.lr": 1}).key)
    assert keys[0] == keys[1] != keys[2]
