"""Studies given in Python: the same as those of files, and as strictly checked."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

import dynaloss
from dynaloss import InputError, Search, Study
from dynaloss.studies import bundled_studies

HEAVY = {"torch", "ray", "mlflow", "pandas", "numpy", "pydantic", "optuna", "click", "yaml"}


def test_importing_dynaloss_imports_nothing_heavy() -> None:
    code = f"import sys, dynaloss; print(*({HEAVY!r} & sys.modules.keys()))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""


def test_every_public_name_is_there_and_listed() -> None:
    assert {*dynaloss.__all__} <= {*dir(dynaloss)}
    assert all(getattr(dynaloss, name) is not None for name in dynaloss.__all__)
    with pytest.raises(AttributeError, match="no attribute 'Studies'"):
        dynaloss.Studies  # noqa: B018 - the look-up is the test


def test_content_gives_the_trials_of_its_file(small: dict[str, Any], tmp_path: Path) -> None:
    path = tmp_path / "small.yaml"
    path.write_text(yaml.safe_dump(small))
    of_file, of_content = Study.load(path), Study.load(small)
    assert of_file == of_content
    assert of_file.plan().trials == of_content.plan().trials
    assert len({trial.key for trial in of_content.plan().trials}) == 8


@pytest.mark.parametrize("name", sorted(bundled_studies()))
def test_a_bundled_study_survives_a_change_of_nothing(name: str) -> None:
    is_search = bundled_studies()[name].parent.name == "search_spaces"
    loaded = Search.load(name) if is_search else Study.load(name)
    assert loaded.with_() == loaded


def test_values_may_be_tuples_ranges_paths_and_numbers_of_numpy(small: dict[str, Any]) -> None:
    data = {**small["trial"]["data"], "root": Path("data"), "noise": {"rate": np.float32(0.5)}}
    given = small | {
        "trial": small["trial"] | {"data": data},
        "conditions": {"data.noise.rate": (np.float64(0.25), Fraction(1, 2))},
        "seeds": range(2),
        "base_seed": np.int64(7),
    }
    study = Study.load(given)
    assert study.seeds == (0, 1)
    assert study.conditions == ("symmetric 0.25 · IR 1", "symmetric 0.5 · IR 1")
    assert study.settings.base_seed == 7
    assert study.settings.trial.data.root == str(Path("data").absolute())


@pytest.mark.parametrize(
    ("change", "facts"),
    [
        ({"seeds": {0, 1}}, [r"study: \[seeds\].*list.*set"]),
        ({"seeds": [0, 0]}, [r"study: \[seeds\].*0.*twice"]),
        ({7: 1}, [r"study: .*key.*text.*7"]),
        ({"conditions": {"data.noise.rate": [0.2, 2]}}, [r"study: \[conditions.*rate\].*1.*2"]),
        (
            {"trial": {"schedule": {"epoch": 3}}, "sedes": 1},
            [r"\[trial.schedule.epoch\].*'epochs'", r"\[sedes\].*'seeds'"],
        ),
    ],
    ids=["a set", "a seed twice", "a key that is no text", "a value", "unknown keys"],
)
def test_every_problem_is_named_by_its_key(
    small: dict[str, Any], change: dict[Any, Any], facts: list[str]
) -> None:
    with pytest.raises(InputError) as caught:
        Study.load(small | change)
    assert len(caught.value.problems) == len(facts)
    for fact in facts:
        assert caught.match(fact)


def test_each_kind_refuses_the_other(small: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=r"is a search.*dynaloss\.search"):
        Study.load("search_spaces/quickstart")
    with pytest.raises(InputError, match=r"study: is an ablation.*dynaloss\.Study"):
        Search.load(small)


def test_changes_of_the_trial_are_by_dotted_key_and_replace_other_parts(
    small: dict[str, Any],
) -> None:
    study = Study.load(small).with_({"schedule.epochs": 5}, conditions={}, seeds=[3])
    assert study.settings.trial.schedule.epochs == 5
    assert study.settings.trial.schedule.warmup_epochs == 1
    assert (study.conditions, study.seeds) == (("symmetric 0.4 · IR 1",), (3,))


def test_a_change_of_the_loss_leaves_the_settings_of_the_former_one_behind(
    small: dict[str, Any],
) -> None:
    study = Study.load(small).with_({"loss.name": "focal", "loss.gamma": 1.0}, ablation=None)
    assert study.settings.trial.loss.model_dump() == {"name": "focal", "gamma": 1.0}


def test_a_change_is_checked_as_a_file_is(small: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=r"\[trial.schedule.epoch\].*did you mean 'epochs'"):
        Study.load(small).with_({"schedule.epoch": 5})


def test_a_study_shows_what_it_holds(small: dict[str, Any]) -> None:
    study = Study.load(small | {"study": "a-study"})
    assert repr(study) == "<Study a-study: 2 conditions, 2 arms>"
    assert "symmetric 0.2 · IR 1, symmetric 0.4 · IR 1" in study._repr_html_()


def test_a_plan_has_a_row_for_every_trial(small: dict[str, Any]) -> None:
    plan = Study.load(small).plan()
    frame = plan.to_frame()
    assert frame["key"].tolist() == [trial.key for trial in plan.trials]
    assert frame.groupby("condition")["data.noise.rate"].unique().map(list).to_dict() == {
        "symmetric 0.2 · IR 1": [0.2],
        "symmetric 0.4 · IR 1": [0.4],
    }
    assert plan._repr_html_().count("<tr") == 1 + len(plan.trials)
    assert repr(plan) == f"<plan {plan.hash} of study {plan.study}: {len(plan.trials)} trials>"


def test_a_plan_shows_its_warnings_in_a_notebook(small: dict[str, Any]) -> None:
    plan = replace(Study.load(small).plan(), warnings=("labels differ",))
    assert "warning: labels differ" in plan._repr_html_()
