"""The stored plan, and how a later one departs from it."""

from __future__ import annotations

from collections.abc import Callable

from dynaloss.studies import AblationStudy
from dynaloss.studies.plan import make_plan
from dynaloss.studies.stored_plan import amended_plan, deviations, stored_plan

LoadText = Callable[[str], AblationStudy]
DIGESTS = {"digits": "d"}
BASE = "ablation: {components: [margin]}\nseeds: [0, 1]\n"


def test_equal_plans_do_not_deviate(load_text: LoadText) -> None:
    plan = stored_plan(make_plan(load_text(BASE), DIGESTS))
    assert deviations(plan, plan) == ()
    assert deviations({}, plan) == ()


def test_every_kind_of_change_is_named(load_text: LoadText) -> None:
    old = stored_plan(make_plan(load_text(BASE), DIGESTS))
    text = BASE.replace("[0, 1]", "[0, 2]").replace("margin]", "margin], baseline: full")
    text += "report: {metric: test/worst_class_accuracy}\narms: {ce: {loss.name: cross_entropy}}"
    text += "\nconditions: {data.imbalance_factor: [10]}"
    found = deviations(old, stored_plan(make_plan(load_text(text), DIGESTS)))
    assert all(f"plan {old['hash']} became" in line for line in found)
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
    (found,) = deviations(old, new)
    assert "changed in 4 cells: none · no noise · IR 1 · seed 0" in found


def test_deviations_add_up_over_launches(load_text: LoadText) -> None:
    first, second, third = (
        make_plan(load_text(BASE.replace("[0, 1]", seeds)), DIGESTS)
        for seeds in ("[0, 1]", "[0, 1, 2]", "[0, 1, 2, 3]")
    )
    stored = amended_plan(first, {})
    stored = amended_plan(second, stored)
    stored = amended_plan(third, stored)
    assert stored["first_hash"] == first.hash
    assert [text.partition(": ")[2] for text in stored["deviations"]] == [
        "seeds added: 2.",
        "seeds added: 3.",
    ]


def test_arm_that_ignores_a_condition_is_stored_as_a_repeat(load_text: LoadText) -> None:
    text = """
        conditions: {meta.lr: [0.001, 0.002]}
        arms: {ce: {loss.name: cross_entropy}, full: {}}
        """
    plan = make_plan(load_text(text), DIGESTS)
    (repeat,) = stored_plan(plan)["repeats"]
    ce = next(trial for trial in plan.trials if trial.arm == "ce")
    assert repeat == {
        "condition": "no noise · IR 1 · meta.lr=0.002",
        "arm": "ce",
        "seed": 0,
        "key": ce.key,
    }
