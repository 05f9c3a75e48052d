from __future__ import annotations

from collections.abc import Callable

import pytest

from dynaloss.studies import AblationStudy, make_plan

LoadText = Callable[[str], AblationStudy]
ProblemsOf = Callable[[str], list[str]]
AssertFacts = Callable[..., None]

_STUDY = """
conditions: {data.noise.rate: [0.2, 0.4], data.imbalance_factor: [1, 10]}
arms: {full: {}, other: {}}
tuned:
- {arm: full, condition: {data.noise.rate: 0.2}, settings: {meta.lr: 0.5}}
- arm: full
  condition: {data.noise.rate: 0.2, data.imbalance_factor: 10}
  settings: {meta.lr: 0.25, optimizer.lr: 0.01}
"""


def test_tuned_settings_hold_for_their_arm_and_conditions(load_text: LoadText) -> None:
    plan = make_plan(load_text(_STUDY), {"digits": "d"})
    found = {(t.arm, t.condition): (t.config.meta.lr, t.config.optimizer.lr) for t in plan.trials}
    assert found["full", "symmetric 0.2 · IR 1"] == (0.5, 0.1)
    assert found["full", "symmetric 0.2 · IR 10"] == (0.25, 0.01)
    assert found["full", "symmetric 0.4 · IR 10"] == (0.003, 0.1)
    assert found["other", "symmetric 0.2 · IR 10"] == (0.003, 0.1)


@pytest.mark.parametrize(
    ("entry", "facts"),
    [
        (
            "{arm: ful, settings: {}}",
            ("1: [tuned.arm]", "arms 'full'", "got 'ful'", "'full'"),
        ),
        (
            "{arm: full, condition: {data.noise.rate: 0.3}, settings: {}}",
            ("1: [tuned.condition.data.noise.rate]", "values of the conditions", "got 0.3"),
        ),
        (
            "{arm: full, settings: {meta.rl: 1}}",
            ("1: [tuned.settings.meta.rl]", "not a setting", "trial", "'meta.lr'"),
        ),
        (
            "{arm: full, settings: {meta.lr: -1}}",
            ("1: [tuned.settings.meta.lr]", "greater than 0", "got -1"),
        ),
    ],
    ids=["arm", "condition", "setting", "value"],
)
def test_what_does_not_fit_is_refused(
    problems_of: ProblemsOf, assert_facts: AssertFacts, entry: str, facts: tuple[str, ...]
) -> None:
    assert_facts(problems_of(f"tuned: [{entry}]"), [facts])


def test_problems_of_tuned_settings_are_reported_beside_all_others(
    problems_of: ProblemsOf,
) -> None:
    found = problems_of("""
        trial: {meta: {every: 0}}
        conditions: {schedule.epochs: [9, 20]}
        arms: {full: {}, other: {optimizer.lr: 0}}
        tuned:
        - {arm: full, settings: {meta.lr: 1.0}}
        - {arm: full, condition: {schedule.epochs: 9}, settings: {schedule.warmup_epochs: 10}}
        ablation: {components: [margins]}
        components: {decay: {on: {meta.lr: [1]}, of: {}}}
        """)
    assert [(text[0], text.split("]")[0][4:]) for text in found] == [
        ("1", "trial.meta.every"),
        ("3", "arms.other.optimizer.lr"),
        ("6", "tuned.settings.schedule.warmup_epochs"),
        ("7", "ablation.components"),
        ("8", "components.decay.on.meta.lr"),
        ("8", "components.decay.off"),
        ("8", "components.decay.of"),
        ("8", "components.decay"),
    ]
