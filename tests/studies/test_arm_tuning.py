"""The search of each arm of an ablation."""

from __future__ import annotations

from collections.abc import Callable

from dynaloss.studies import AblationStudy, make_plan
from dynaloss.studies.search.arm_tuning import tuning_search, with_tuned
from dynaloss.studies.search.groups import make_search_plan

LoadText = Callable[[str], AblationStudy]
ProblemsOf = Callable[[str], list[str]]
AssertFacts = Callable[..., None]

PER_ARM = """
    conditions: {data.imbalance_factor: [1, 10]}
    ablation: {components: [margin], baselines: [gce], tuning: per_arm}
    tuning:
      space:
        optimizer.lr: {loguniform: [1e-3, 1]}
        meta.lr: {loguniform: [1e-3, 1e-1], when: {loss.name: dynamic}}
      search: {trials: 7}
    seeds: [3, 4]
    """


def test_every_arm_is_searched_with_an_equal_budget(load_text: LoadText) -> None:
    search = tuning_search(load_text(PER_ARM))
    plan = make_search_plan(search, lambda data: data.source)
    groups = {(g.arm, g.condition_values["data.imbalance_factor"]): g for g in plan.groups}
    assert set(groups) == {(arm, ir) for arm in ("none", "full", "gce") for ir in (1, 10)}
    assert {group.trials for group in plan.groups} == {7}
    assert groups["gce", 1].parameters == ("optimizer.lr",)
    assert groups["full", 1].parameters == ("optimizer.lr", "meta.lr")
    assert search.study == "tiny-tuning"
    assert search.trial.data.validation.fraction == 0.2


def test_the_search_trains_with_seeds_that_the_arms_are_not_compared_on(
    load_text: LoadText, problems_of: ProblemsOf
) -> None:
    search = tuning_search(load_text(PER_ARM.replace("[3, 4]", "[0, 1, 100]"))).search
    assert search.trial_seed == 2
    assert search.race is not None
    assert search.race.seeds == (101, 102)
    for given in ("trial_seed: 4", "race: {seeds: [4, 5]}"):
        (problem,) = problems_of(PER_ARM.replace("trials: 7", f"trials: 7, {given}"))
        assert "[seeds] must not hold 4," in problem
    without = tuning_search(load_text(PER_ARM.replace("trials: 7", "trials: 7, race: null")))
    assert without.search.race is None


def test_arms_are_compared_with_what_was_found_and_without_validation(
    load_text: LoadText,
) -> None:
    study = load_text(PER_ARM)
    assert "searched" in make_plan(study, {"digits": "d"}).notes[0]
    entry = {
        "arm": "gce",
        "condition": {"data.imbalance_factor": 10},
        "settings": {"optimizer.lr": 0.02},
    }
    plan = make_plan(with_tuned(study, [entry]), {"digits": "d"})
    rates = {
        (t.arm, t.condition_values["data.imbalance_factor"]): t.config.optimizer.lr
        for t in plan.trials
    }
    assert rates.pop(("gce", 10)) == 0.02
    assert set(rates.values()) == {0.1}
    assert {t.config.data.validation.fraction for t in plan.trials} == {0.0}
    assert plan.notes == ()


def test_a_frozen_study_ignores_its_search(load_text: LoadText) -> None:
    assert not load_text(PER_ARM.replace("per_arm", "frozen")).is_tuned_per_arm


def test_problems_of_the_search_are_reported_at_their_lines(
    problems_of: ProblemsOf, assert_facts: AssertFacts
) -> None:
    found = problems_of("ablation: {components: [margin], tuning: per_arm}\n")
    assert_facts(found, [("1: [ablation.tuning]", "'per_arm'", "[tuning.space]")])
    found = problems_of(
        "ablation: {components: [margin], tuning: per_arm}\n"
        "tuning:\n"
        "  space:\n"
        "    optimiser.lr: {loguniform: [1e-3, 1]}\n"
        "  search:\n"
        "    trials: 0\n"
        "    metric: test/accuracy\n"
    )
    expected = [
        ("4: [tuning.space.optimiser.lr]", "not a setting", "trial", "'optimizer.lr'"),
        ("6: [tuning.search.trials]", "at least 1", "got 0"),
        ("7: [tuning.search.metric]", "validation", "test set", "got 'test/accuracy'",
         "'val/accuracy'"),
    ]  # fmt: skip
    assert_facts(found, expected)
