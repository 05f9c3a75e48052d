"""The stored plan, and how a later one departs from it."""

from __future__ import annotations

import json
import re
from collections.abc import Callable

from dynaloss.studies import AblationStudy
from dynaloss.studies.identity import KEY_VERSION
from dynaloss.studies.plan import make_plan
from dynaloss.studies.stored_plan import StoredPlan, note_on_earlier_keys, stored_plan

LoadText = Callable[[str], AblationStudy]
DIGESTS = {"digits": "d"}
BASE = "ablation: {components: [margin]}\nseeds: [0, 1]\n"


def test_equal_plans_do_not_deviate(load_text: LoadText) -> None:
    plan = stored_plan(make_plan(load_text(BASE), DIGESTS))
    assert plan.deviations_from(plan) == ()
    assert plan.deviations_from(StoredPlan()) == ()


def test_every_kind_of_change_is_named(load_text: LoadText) -> None:
    old = stored_plan(make_plan(load_text(BASE), DIGESTS))
    text = BASE.replace("[0, 1]", "[0, 2]").replace("margin]", "margin], baseline: full")
    text += "report: {metric: test/worst_class_accuracy}\narms: {ce: {loss.name: cross_entropy}}"
    text += "\nconditions: {data.imbalance_factor: [10]}"
    found = stored_plan(make_plan(load_text(text), DIGESTS)).deviations_from(old)
    assert all(f"plan {old.hash} became" in line for line in found)
    for part in (
        "metric 'test/accuracy' became 'test/worst_class_accuracy'",
        "baseline 'none' became 'full'",
        "seeds added: 2",
        "seeds dropped: 1",
        "arms added: ce",
        "conditions added: no noise · IR 10",
        "conditions dropped: no noise · IR 1",
    ):
        assert any(part in line for line in found), (part, found)


def test_changed_settings_of_equal_cells_are_named(load_text: LoadText) -> None:
    old = stored_plan(make_plan(load_text(BASE), DIGESTS))
    new = stored_plan(make_plan(load_text(BASE + "trial: {optimizer: {lr: 0.2}}"), DIGESTS))
    (found,) = new.deviations_from(old)
    assert re.search("changed.* 4 cells: none · no noise · IR 1 · seed 0", found), found


def test_deviations_add_up_over_launches(load_text: LoadText) -> None:
    first, second, third = (
        make_plan(load_text(BASE.replace("[0, 1]", seeds)), DIGESTS)
        for seeds in ("[0, 1]", "[0, 1, 2]", "[0, 1, 2, 3]")
    )
    stored = stored_plan(first).amending(StoredPlan())
    stored = stored_plan(second).amending(stored)
    stored = stored_plan(third).amending(stored)
    assert stored.first_hash == first.hash
    assert [text.partition(": ")[2] for text in stored.deviations] == [
        "seeds added: 2.",
        "seeds added: 3.",
    ]


def test_arm_that_ignores_a_condition_is_stored_as_a_repeat(load_text: LoadText) -> None:
    text = """
        conditions: {meta.lr: [0.001, 0.002]}
        arms: {ce: {loss.name: cross_entropy}, full: {}}
        """
    plan = make_plan(load_text(text), DIGESTS)
    (repeat,) = stored_plan(plan).as_json()["repeats"]
    ce = next(trial for trial in plan.trials if trial.arm == "ce")
    assert repeat == {
        "condition": "no noise · IR 1 · meta.lr=0.002",
        "arm": "ce",
        "seed": 0,
        "key": ce.key,
    }


def test_plan_survives_the_store(load_text: LoadText) -> None:
    plan = stored_plan(make_plan(load_text(BASE), DIGESTS)).amending(StoredPlan())
    assert StoredPlan.model_validate(json.loads(json.dumps(plan.as_json()))) == plan


def test_plan_of_an_older_layout_is_compared_by_what_it_holds(load_text: LoadText) -> None:
    new = stored_plan(make_plan(load_text(BASE), DIGESTS))
    old = StoredPlan.model_validate(
        {"hash": "abc", "keys": ["a", "b"], "key_version": KEY_VERSION, "further": 1}
    )
    (found,) = new.deviations_from(old)
    assert re.search(r": 2 trials.* settings, data, code, threads or device\.$", found), found


def test_trials_with_earlier_keys_are_counted(load_text: LoadText) -> None:
    plan = stored_plan(make_plan(load_text(BASE), DIGESTS))
    assert plan.keys is not None
    versions = dict.fromkeys(plan.keys, 1) | {plan.keys[0]: KEY_VERSION, "of an older plan": 1}
    note = note_on_earlier_keys(plan, versions)
    assert note is not None
    assert re.search(r"^3 stored trials.* keys of an earlier version", note), note
    assert note_on_earlier_keys(plan, dict.fromkeys(plan.keys, KEY_VERSION)) is None
    assert note_on_earlier_keys(StoredPlan(), versions) is None


def test_keys_made_in_another_way_are_one_deviation(load_text: LoadText) -> None:
    new = stored_plan(make_plan(load_text(BASE), DIGESTS))
    values = new.as_json() | {"hash": "abc", "keys": ["a", "b", "c", "d"]}
    del values["key_version"]
    (found,) = new.deviations_from(StoredPlan.model_validate(values))
    assert re.search("keys changed.* all trials run again", found), found
