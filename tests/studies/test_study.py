from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from dynaloss.config.families import LOSSES, SOURCES
from dynaloss.errors import InputError
from dynaloss.learning.losses.class_balanced import ClassBalancedConfig
from dynaloss.learning.losses.focal import FocalConfig
from dynaloss.learning.losses.ldam import LDAMConfig
from dynaloss.studies import COMPONENTS, AblationStudy, load_study, make_plan
from dynaloss.studies.loading import load_any
from dynaloss.studies.metric_names import unknown_metric
from dynaloss.studies.plan import conditions_of
from dynaloss.studies.reading.problems import listed

WriteStudy = Callable[[str], Path]
LoadText = Callable[[str], AblationStudy]
ProblemsOf = Callable[[str], list[str]]
AssertFacts = Callable[..., None]


def test_the_quickstart_is_read_from_its_file() -> None:
    study = load_study("quickstart")
    assert [c.values["data.imbalance_factor"] for c in conditions_of(study)] == [1, 10]
    design = ["none", "corrector-only", "margin-only", "full"]
    baselines = ["cross_entropy", "class_balanced", "gce"]
    assert list(study.arm_overrides()) == [*design, *baselines]
    assert study.baseline == "none"
    assert study.seeds == (0, 1, 2, 3, 4, 5)


def test_without_ablation_or_arms_the_trial_is_the_only_arm(load_text: LoadText) -> None:
    study = load_text("seeds: [0]")
    assert study.arm_overrides() == {"full": {}}
    assert study.baseline == "full"
    assert [condition.values for condition in conditions_of(study)] == [{}]


def test_written_arms_follow_those_of_a_design(load_text: LoadText) -> None:
    study = load_text("""
        ablation: {components: [margin]}
        arms: {ce: {loss.name: cross_entropy}}
        """)
    assert list(study.arm_overrides()) == ["none", "full", "ce"]


def test_baselines_follow_a_design_with_their_own_defaults(load_text: LoadText) -> None:
    study = load_text("""
        trial: {loss: {name: focal, gamma: 5}}
        ablation: {components: [], baselines: [focal, class_balanced, ldam], baseline: ldam}
        """)
    assert list(study.arm_overrides()) == ["full", "focal", "class_balanced", "ldam"]
    plan = make_plan(study, {"digits": "d"})
    losses = {trial.arm: trial.config.loss for trial in plan.trials}
    assert losses["full"].gamma == 5
    assert losses["focal"] == FocalConfig()
    assert losses["class_balanced"] == ClassBalancedConfig()
    assert losses["ldam"] == LDAMConfig()


def test_a_baseline_is_a_loss_that_there_is(
    problems_of: ProblemsOf, assert_facts: AssertFacts
) -> None:
    known = ("1: [ablation.baselines]", listed(name for name in LOSSES if name != "dynamic"))
    found = problems_of("ablation: {components: [margin], baselines: [ldam, ldan]}\n")
    assert_facts(found, [(*known, "got 'ldan'", "'ldam'")])
    found = problems_of("ablation: {components: [margin], baselines: [dynamic]}\n")
    assert_facts(found, [(*known, "got 'dynamic'")])


def test_a_baseline_and_an_arm_of_one_name_are_refused(
    problems_of: ProblemsOf, assert_facts: AssertFacts
) -> None:
    found = problems_of(
        "ablation: {components: [margin], baselines: [gce]}\narms: {gce: {loss.name: gce}}\n"
    )
    assert_facts(found, [("2: [arms.gce]", "also", "arm of the design")])


def test_without_a_none_arm_the_first_one_is_the_baseline(load_text: LoadText) -> None:
    assert load_text("arms: {b: {}, a: {meta.lr: 1}}").baseline == "b"


def test_a_written_arm_can_be_the_baseline(load_text: LoadText) -> None:
    study = load_text("""
        ablation: {baseline: ce}
        arms: {full: {}, ce: {loss.name: cross_entropy}}
        """)
    assert study.baseline == "ce"


def test_all_problems_of_a_file_are_reported_at_once(
    write_study: WriteStudy, assert_facts: AssertFacts
) -> None:
    path = write_study("""
        study: my study
        trial:
          data: {source: digit, imbalance_factor: 0.1}
          optimiser: {lr: 0.1}
          loss:
            corrector: {enabled: yes, ranks: 1}
          meta: {lr: "1e-2", every: 0}
        conditions:
          data.nois.rate: [0.1]
          data.noise.rate:
            - 0.1
            - 0.1
            - 2
          data.imbalance_factor: 10
        ablation: {components: [corrector, margins], desing: factorial}
        arms:
          "a b": {schedule.batch_size: 0}
        seeds: [0, 0, -1]
        resources: {cpu: 0, gpu: -1}
        report: {metric: ""}
        """)
    with pytest.raises(InputError, match=r"^study.yaml:1: ") as caught:
        load_study(path)
    lines = [line.removeprefix("study.yaml:") for line in str(caught.value).splitlines()]
    expected = [
        ("1: [study]", "letters, digits and _ . - only", "letter, digit or _ first",
         "got 'my study'"),
        ("3: [trial.data.source]", listed(SOURCES), "got 'digit'", "'digits'"),
        ("3: [trial.data.imbalance_factor]", "at least 1", "got 0.1", "n_max / n_min", "inverse",
         "10"),
        ("4: [trial.optimiser]", "not a known key", "'optimizer'"),
        ("6: [trial.loss.corrector.enabled]", "true or false", "got 'yes'"),
        ("6: [trial.loss.corrector.ranks]", "at least 2", "got 1"),
        ("7: [trial.meta.lr]", "a number", "got '1e-2'"),
        ("7: [trial.meta.every]", "at least 1", "got 0"),
        ("9: [conditions.data.nois.rate]", "not a setting", "trial", "'data.noise.rate'"),
        ("10: [conditions.data.noise.rate]", "distinct", "got 0.1 twice"),
        ("13: [conditions.data.noise.rate]", "at most 1", "got 2"),
        ("14: [conditions.data.imbalance_factor]", "a list", "got 10"),
        ("15: [ablation.desing]", "not a known key", "'design'"),
        ("15: [ablation.components]", listed(COMPONENTS), "got 'margins'", "'margin'"),
        ("17: [arms.a b]", "letters, digits and _ . - + only", "letter, digit or _ first",
         "got 'a b'"),
        ("17: [arms.a b.schedule.batch_size]", "at least 2", "got 0"),
        ("18: [seeds]", "at least 0", "got -1"),
        ("18: [seeds]", "distinct", "got 0 twice"),
        ("19: [resources.cpu]", "greater than 0", "got 0"),
        ("19: [resources.gpu]", "at least 0", "got -1"),
        ("20: [report.metric]", "letters, digits and _ . / - only", "letter, digit or _ first",
         "got ''"),
    ]  # fmt: skip
    assert_facts(lines, expected)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param(
            "ablation: {components: [corrector, margin], baseline: non}",
            [("1: [ablation.baseline]", "arms 'none', 'corrector-only', 'margin-only', 'full'",
              "got 'non'", "'none'")],
            id="unknown baseline",
        ),
        pytest.param(
            "ablation: {baseline: none}",
            [("1: [ablation.components]", "at least one", listed(COMPONENTS), "no arms"),
             ("1: [ablation.baseline]", "arms 'full'", "got 'none'")],
            id="nothing to ablate",
        ),
        pytest.param(
            "ablation: {components: [margin]}\narms: {none: {}}",
            [("2: [arms.none]", "also", "arm of the design")],
            id="arm of the design",
        ),
        pytest.param(
            "conditions: {meta.lr: [1, 2]}\narms: {a: {}, b: {meta.lr: 3}}",
            [("1: [conditions.meta.lr]", "also", "arm 'b'")],
            id="set by arm and condition",
        ),
        pytest.param(
            "trial: {loss: {name: cross_entropy}}\nablation: {components: [margin]}",
            [("2: [ablation.components]", "leads to loss.margin", "not a setting",
              "'cross_entropy'")],
            id="component of another loss",
        ),
        pytest.param(
            "conditions:\n  schedule.epochs:\n  - 50\n  - 1\narms: {a: {}, b: {meta.lr: 1}}",
            [("4: [conditions.schedule.epochs]", "leads to schedule.warmup_epochs",
              "at most schedule.epochs (1)", "got 5")],
            id="rule between two settings, told once for all arms",
        ),
        pytest.param(
            "trial: {schedule: {epochs: 0}}\nconditions: {schedule.batch_size: [8, 1]}",
            [("1: [trial.schedule.epochs]", "at least 1", "got 0"),
             ("2: [conditions.schedule.batch_size]", "at least 2", "got 1")],
            id="trial and condition",
        ),
        pytest.param(
            "trial: {schedule: {epochs: 0}}\nconditions: {schedule.epochs: [0, 9]}",
            [("1: [trial.schedule.epochs]", "at least 1", "got 0"),
             ("2: [conditions.schedule.epochs]", "at least 1", "got 0")],
            id="same value in trial and condition",
        ),
        pytest.param(
            "conditions: {meta.lr: [[1], {}]}\narms: {a: 3}",
            [("1: [conditions.meta.lr]", "single value", "got a list"),
             ("1: [conditions.meta.lr]", "single value", "got a mapping"),
             ("2: [arms.a]", "a mapping", "got 3")],
            id="malformed choices",
        ),
        pytest.param(
            "trial:\nconditions:\nseeds: []",
            [("1: [trial]", "a mapping", "got null"),
             ("2: [conditions]", "a mapping", "got null"),
             ("3: [seeds]", "at least one value", "empty")],
            id="empty parts",
        ),
    ],
)  # fmt: skip
def test_rules_between_the_parts(
    problems_of: ProblemsOf,
    assert_facts: AssertFacts,
    text: str,
    expected: list[tuple[str, ...]],
) -> None:
    assert_facts(problems_of(text), expected)


def test_what_is_missing_is_named(write_study: WriteStudy) -> None:
    with pytest.raises(
        InputError, match=r"^study.yaml:1: \[trial\].* missing\n.*:1: \[seeds\].* missing"
    ):
        load_study(write_study("study: tiny"))


@pytest.mark.parametrize("name", ["..", ".hidden", "-x", "a/b", "a b", "a\\b", "", "a" * 101, "ä"])
def test_a_study_is_named_like_a_folder(problems_of: ProblemsOf, name: str) -> None:
    (problem,) = problems_of(f"study: '{name}'")
    assert problem.startswith("1: [study] ")


@pytest.mark.parametrize("name", ["artifacts", "mlflow.db"])
def test_a_study_is_not_named_like_what_lies_beside_studies(
    problems_of: ProblemsOf, name: str
) -> None:
    (problem,) = problems_of(f"study: {name}\nseeds: [0]")
    assert f"got '{name}'" in problem


@pytest.mark.parametrize(
    ("text", "facts"),
    [
        pytest.param(
            "seeds: [0, 1, 2]\narms: {a: {}, b: {}}\nconditions: {meta.lr: [1, 2]}\n"
            "limits: {trials: 11}",
            ("4: [limits.trials]", "at least the 12", "2 conditions × 2 arms × 3 seeds", "got 11"),
            id="more trials than allowed",
        ),
        pytest.param(
            f"seeds: {list(range(10_001))}",
            ("1: [limits.trials]", "at least the 10,001", "1 arms × 10,001 seeds", "got 10000"),
            id="more seeds than allowed by default",
        ),
        pytest.param(
            "space: {meta.lr: {uniform: [0.1, 1]}}\nsearch: {trials: 20000}\n"
            "conditions: {data.noise.rate: [0.1, 0.2]}",
            ("1: [limits.trials]", "at least the 40,000", "20,000 trials of each", "got 10000"),
            id="a larger search than allowed",
        ),
        pytest.param(
            f"seeds: [0]\nablation: {{components: {[f'c{i}' for i in range(40)]}}}",
            ("2: [ablation.components]", "at most 10", "got 40"),
            id="2^40 arms",
        ),
    ],
)
def test_a_plan_is_counted_before_it_is_built(
    write_study: WriteStudy, text: str, facts: tuple[str, ...]
) -> None:
    with pytest.raises(InputError) as caught:
        load_any(write_study(f"{text}\nstudy: s"))
    (problem,) = caught.value.problems
    place, *rest = facts
    assert problem.startswith(f"study.yaml:{place}")
    assert all(fact in problem for fact in rest)


def test_a_limit_changes_neither_keys_nor_hashes(load_text: LoadText) -> None:
    with_limit = make_plan(load_text("limits: {trials: 9}"), {"digits": "d"})
    without = make_plan(load_text(""), {"digits": "d"})
    assert with_limit == without


@pytest.mark.parametrize(
    ("text", "facts"),
    [
        ("report: {metric: test/acuracy}", ("1: [report.metric]", "'test/accuracy'")),
        ("report: {metric: test_other/accuracy}", ("1: [report.metric]", "'test_other/accuracy'")),
    ],
)
def test_a_metric_that_no_trial_reports_is_refused(
    problems_of: ProblemsOf, text: str, facts: tuple[str, ...]
) -> None:
    (problem,) = problems_of(text)
    assert all(fact in problem for fact in facts)


def test_a_further_test_set_has_metrics_of_its_own() -> None:
    assert unknown_metric("test_other/accuracy_last10", ["other"]) is None
    assert unknown_metric("test_other/acuracy", ["other"]) is not None


def test_true_and_one_are_two_values(problems_of: ProblemsOf, assert_facts: AssertFacts) -> None:
    found = problems_of("conditions: {meta.every: [1, true]}")
    assert_facts(found, [("1: [conditions.meta.every]", "whole number", "got true")])


def test_fractional_resources_are_allowed(load_text: LoadText) -> None:
    assert load_text("resources: {cpu: 0.5, gpu: 0.25}").resources.gpu == 0.25


def test_importing_the_layer_stays_light() -> None:
    heavy = "{'torch', 'ray', 'mlflow', 'sklearn', 'optuna'}"
    code = f"import sys, dynaloss.studies; print({heavy} & set(sys.modules))"
    shown = subprocess.check_output([sys.executable, "-c", code], text=True)
    assert shown.strip() == "set()"


def test_a_study_declares_components_of_its_own(load_text: LoadText) -> None:
    study = load_text(
        """
        components: {decay: {on: {optimizer.weight_decay: 5e-4}, off: {optimizer.weight_decay: 0}}}
        ablation: {components: [decay, margin], design: [leave_one_out, only_one]}
        """
    )
    arms = study.arm_overrides()
    assert list(arms) == ["full", "margin-only", "decay-only", "none"]
    assert arms["decay-only"] == {"optimizer.weight_decay": 5e-4, "loss.margin.enabled": False}


def test_levels_of_one_setting_are_arms(load_text: LoadText) -> None:
    study = load_text("ablation: {one_factor: {loss.corrector.ranks: [10, 50]}}")
    assert study.arm_overrides() == {
        "ranks-10": {"loss.corrector.ranks": 10},
        "ranks-50": {"loss.corrector.ranks": 50},
    }
    assert study.baseline == "ranks-10"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "components: {margin: {on: {}, off: {}}}",
            [("1: [components.margin]", "name", "built-in component")],
        ),
        (
            "components: {a: {on: {meta.lr: 1.0}, off: {}}}",
            [("1: [components.a]", "same keys", "`on` and `off`", "only one", "'meta.lr'")],
        ),
        (
            "components: {a: {on: {meta.rl: 1.0}, off: {meta.rl: 2.0}}}",
            [
                (f"1: [components.a.{side}.meta.rl]", "not a setting", "trial", "'meta.lr'")
                for side in ("on", "off")
            ],
        ),
        (
            "components: {a: {on: {meta.every: 0}, off: {meta.every: 1}}}\n"
            "ablation: {components: [a]}",
            [("2: [ablation.components]", "leads to meta.every", "at least 1", "got 0")],
        ),
        (
            "ablation: {one_factor: {loss.corrector.ranks: [1, 5]}}",
            [("1: [ablation.one_factor.loss.corrector.ranks]", "at least 2", "got 1")],
        ),
        (
            "ablation: {one_factor: {loss.rank: [1]}}",
            [("1: [ablation.one_factor.loss.rank]", "not a setting", "trial", "'loss.tau'")],
        ),
        (
            "ablation: {one_factor: {meta.lr: [0.1], optimizer.lr: [0.01, 0.1]}}",
            [("1: [ablation.one_factor.optimizer.lr]", "arm 'lr-0.1'", "another level", "`arms`")],
        ),
    ],
)
def test_broken_components_and_levels_are_reported(
    problems_of: ProblemsOf,
    assert_facts: AssertFacts,
    text: str,
    expected: list[tuple[str, ...]],
) -> None:
    assert_facts(problems_of(text), expected)


def test_fractional_design_states_its_aliasing(load_text: LoadText) -> None:
    study = load_text(
        "ablation: {components: [corrector, margin, finetune, sampling], design: fractional}"
    )
    assert len(study.arm_overrides()) == 8
    (note,) = study.design_notes()
    generators = "generators sampling = corrector × margin × finetune"
    aliased = "aliased.* corrector × margin = finetune × sampling"
    assert re.search(f"resolution IV.* 8 of 16 arms.* {generators}.* {aliased}", note), note


def test_mixup_in_conditions_names_the_arms_it_does_not_go_with(
    problems_of: ProblemsOf, assert_facts: AssertFacts
) -> None:
    found = problems_of("""
        trial: {loss: {name: cross_entropy}}
        conditions: {data.views.mixup: [0, 0.2]}
        arms:
          ce: {loss.label_smoothing: 0.1}
          focal: {loss.name: focal}
        """)
    fit = "'balanced_softmax', 'cross_entropy', 'dynamic' or 'logit_adjustment'"
    why = ("data.views.mixup", "above 0", "'focal'", "no target")
    assert_facts(found, [("5: [arms.focal.loss.name]", "leads to loss", fit, *why)])
