from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from dynaloss.config.families import SOURCES
from dynaloss.errors import InputError
from dynaloss.learning.losses.class_balanced import ClassBalancedConfig
from dynaloss.learning.losses.focal import FocalConfig
from dynaloss.learning.losses.ldam import LDAMConfig
from dynaloss.studies import COMPONENTS, AblationStudy, load_study, make_plan
from dynaloss.studies.plan import conditions_of
from dynaloss.studies.reading.problems import listed

WriteStudy = Callable[[str], Path]
LoadText = Callable[[str], AblationStudy]
ProblemsOf = Callable[[str], list[str]]


def test_the_quickstart_is_read_from_its_file() -> None:
    study = load_study("quickstart")
    assert [c.values["data.imbalance_factor"] for c in conditions_of(study)] == [1, 10]
    assert list(study.arm_overrides()) == ["none", "corrector-only", "margin-only", "full"]
    assert study.baseline == "none"
    assert study.seeds == (0, 1, 2)


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


def test_a_baseline_is_a_loss_that_there_is(problems_of: ProblemsOf) -> None:
    (problem,) = problems_of("ablation: {components: [margin], baselines: [ldam, ldan]}\n")
    assert problem.startswith("1: [ablation.baselines] must be one of ")
    assert "'balanced_softmax', " in problem
    assert problem.endswith("but got 'ldan'; did you mean 'ldam'?")
    (problem,) = problems_of("ablation: {components: [margin], baselines: [dynamic]}\n")
    assert "but got 'dynamic'" in problem


def test_a_baseline_and_an_arm_of_one_name_are_refused(problems_of: ProblemsOf) -> None:
    (problem,) = problems_of(
        "ablation: {components: [margin], baselines: [gce]}\narms: {gce: {loss.name: gce}}\n"
    )
    assert problem == "2: [arms.gce] is also an arm of the design: rename it"


def test_without_a_none_arm_the_first_one_is_the_baseline(load_text: LoadText) -> None:
    assert load_text("arms: {b: {}, a: {meta.lr: 1}}").baseline == "b"


def test_a_written_arm_can_be_the_baseline(load_text: LoadText) -> None:
    study = load_text("""
        ablation: {baseline: ce}
        arms: {full: {}, ce: {loss.name: cross_entropy}}
        """)
    assert study.baseline == "ce"


def test_all_problems_of_a_file_are_reported_at_once(write_study: WriteStudy) -> None:
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
    name = "must be letters, digits and _ {} only, with a letter, digit or _ first, but got "
    assert str(caught.value).splitlines() == [
        f"study.yaml:1: [study] {name.format('. -')}'my study'",
        f"study.yaml:3: [trial.data.source] must be one of {listed(SOURCES)}, but got 'digit'; "
        "did you mean 'digits'?",
        "study.yaml:3: [trial.data.imbalance_factor] must be at least 1, but got 0.1; it is "
        "n_max / n_min, the inverse of what the released code writes: did you mean 10?",
        "study.yaml:4: [trial.optimiser] is not a known key; did you mean 'optimizer'?",
        "study.yaml:6: [trial.loss.corrector.enabled] must be true or false, but got 'yes'",
        "study.yaml:6: [trial.loss.corrector.ranks] must be at least 2, but got 1",
        "study.yaml:7: [trial.meta.lr] must be a number, but got '1e-2'",
        "study.yaml:7: [trial.meta.every] must be at least 1, but got 0",
        "study.yaml:9: [conditions.data.nois.rate] is not a setting of the trial; "
        "did you mean 'data.noise.rate'?",
        "study.yaml:10: [conditions.data.noise.rate] must hold distinct values, but got 0.1 twice",
        "study.yaml:13: [conditions.data.noise.rate] must be at most 1, but got 2",
        "study.yaml:14: [conditions.data.imbalance_factor] must be a list, but got 10",
        "study.yaml:15: [ablation.desing] is not a known key; did you mean 'design'?",
        "study.yaml:15: [ablation.components] must be one of "
        f"{listed(COMPONENTS)}, but got 'margins'; did you mean 'margin'?",
        f"study.yaml:17: [arms.a b] {name.format('. - +')}'a b'",
        "study.yaml:17: [arms.a b.schedule.batch_size] must be at least 2, but got 0",
        "study.yaml:18: [seeds] must be at least 0, but got -1",
        "study.yaml:18: [seeds] must hold distinct values, but got 0 twice",
        "study.yaml:19: [resources.cpu] must be greater than 0, but got 0",
        "study.yaml:19: [resources.gpu] must be at least 0, but got -1",
        "study.yaml:20: [report.metric] must be letters, digits and _ . / - only, "
        "with a letter, digit or _ first, but got ''",
    ]


@pytest.mark.parametrize(
    ("text", "problems"),
    [
        pytest.param(
            "ablation: {components: [corrector, margin], baseline: non}",
            ["1: [ablation.baseline] must be one of the arms 'none', 'corrector-only', "
             "'margin-only', 'full', but got 'non'; did you mean 'none'?"],
            id="unknown baseline",
        ),
        pytest.param(
            "ablation: {baseline: none}",
            [f"1: [ablation.components] must name at least one of {listed(COMPONENTS)}, "
             "as the study lists no arms",
             "1: [ablation.baseline] must be one of the arms 'full', but got 'none'"],
            id="nothing to ablate",
        ),
        pytest.param(
            "ablation: {components: [margin]}\narms: {none: {}}",
            ["2: [arms.none] is also an arm of the design: rename it"],
            id="arm of the design",
        ),
        pytest.param(
            "conditions: {meta.lr: [1, 2]}\narms: {a: {}, b: {meta.lr: 3}}",
            ["1: [conditions.meta.lr] is also set by the arm 'b': "
             "keep it in one of the two"],
            id="set by arm and condition",
        ),
        pytest.param(
            "trial: {loss: {name: cross_entropy}}\nablation: {components: [margin]}",
            ["2: [ablation.components] leads to loss.margin, which is not a setting of "
             "'cross_entropy'"],
            id="component of another loss",
        ),
        pytest.param(
            "conditions:\n  schedule.epochs:\n  - 50\n  - 1\narms: {a: {}, b: {meta.lr: 1}}",
            ["4: [conditions.schedule.epochs] leads to schedule.warmup_epochs, which must be at "
             "most schedule.epochs (1), but got 5"],
            id="rule between two settings, told once for all arms",
        ),
        pytest.param(
            "trial: {schedule: {epochs: 0}}\nconditions: {schedule.batch_size: [8, 1]}",
            ["1: [trial.schedule.epochs] must be at least 1, but got 0",
             "2: [conditions.schedule.batch_size] must be at least 2, but got 1"],
            id="trial and condition",
        ),
        pytest.param(
            "trial: {schedule: {epochs: 0}}\nconditions: {schedule.epochs: [0, 9]}",
            ["1: [trial.schedule.epochs] must be at least 1, but got 0",
             "2: [conditions.schedule.epochs] must be at least 1, but got 0"],
            id="same value in trial and condition",
        ),
        pytest.param(
            "conditions: {meta.lr: [[1], {}]}\narms: {a: 3}",
            ["1: [conditions.meta.lr] must be a single value, but got a list",
             "1: [conditions.meta.lr] must be a single value, but got a mapping",
             "2: [arms.a] must be a mapping, but got 3"],
            id="malformed choices",
        ),
        pytest.param(
            "trial:\nconditions:\nseeds: []",
            ["1: [trial] must be a mapping, but got null",
             "2: [conditions] must be a mapping, but got null",
             "3: [seeds] must hold at least one value, but is empty"],
            id="empty parts",
        ),
    ],
)  # fmt: skip
def test_rules_between_the_parts(problems_of: ProblemsOf, text: str, problems: list[str]) -> None:
    assert problems_of(text) == problems


def test_what_is_missing_is_named(write_study: WriteStudy) -> None:
    with pytest.raises(InputError, match=r"^study.yaml:1: \[trial\] is missing\n.*\[seeds\]"):
        load_study(write_study("study: tiny"))


@pytest.mark.parametrize("name", ["..", ".hidden", "-x", "a/b", "a b", "a\\b", "", "a" * 101, "ä"])
def test_a_study_is_named_like_a_folder(problems_of: ProblemsOf, name: str) -> None:
    (problem,) = problems_of(f"study: '{name}'")
    assert problem.startswith("1: [study] must ")


def test_true_and_one_are_two_values(problems_of: ProblemsOf) -> None:
    (problem,) = problems_of("conditions: {meta.every: [1, true]}")
    assert problem == "1: [conditions.meta.every] must be a whole number, but got true"


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
    ("text", "problem"),
    [
        ("components: {margin: {on: {}, off: {}}}", "is the name of a built-in component"),
        (
            "components: {a: {on: {meta.lr: 1.0}, off: {}}}",
            "[components.a] must set the same keys in `on` and `off`, but only one of them sets "
            "'meta.lr'",
        ),
        ("components: {a: {on: {meta.rl: 1.0}, off: {meta.rl: 2.0}}}", "did you mean 'meta.lr'?"),
        (
            "components: {a: {on: {meta.every: 0}, off: {meta.every: 1}}}\n"
            "ablation: {components: [a]}",
            "leads to meta.every, which must be at least 1",
        ),
        (
            "ablation: {one_factor: {loss.corrector.ranks: [1, 5]}}",
            "must be at least 2, but got 1",
        ),
        ("ablation: {one_factor: {loss.rank: [1]}}", "is not a setting of the trial"),
        (
            "ablation: {one_factor: {meta.lr: [0.1], optimizer.lr: [0.01, 0.1]}}",
            "makes an arm 'lr-0.1', as another level does",
        ),
    ],
)
def test_broken_components_and_levels_are_reported(
    problems_of: ProblemsOf, text: str, problem: str
) -> None:
    assert any(problem in found for found in problems_of(text)), problems_of(text)


def test_fractional_design_states_its_aliasing(load_text: LoadText) -> None:
    study = load_text(
        "ablation: {components: [corrector, margin, finetune, sampling], design: fractional}"
    )
    assert len(study.arm_overrides()) == 8
    (note,) = study.design_notes()
    assert (
        "resolution IV: 8 of 16 arms, generators sampling = corrector × margin × finetune" in note
    )
    assert "corrector × margin = finetune × sampling" in note


def test_mixup_in_conditions_names_the_arms_it_does_not_go_with(problems_of: ProblemsOf) -> None:
    found = problems_of("""
        trial: {loss: {name: cross_entropy}}
        conditions: {data.views.mixup: [0, 0.2]}
        arms:
          ce: {loss.label_smoothing: 0.1}
          focal: {loss.name: focal}
        """)
    assert [text for text in found if "[arms.focal.loss.name]" in text] == [
        "5: [arms.focal.loss.name] leads to loss, which must be 'balanced_softmax', "
        "'cross_entropy' or 'logit_adjustment' where data.views.mixup is above 0: 'focal' has "
        "no target for a mixed image"
    ]
    assert len(found) == 1
