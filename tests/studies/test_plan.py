from __future__ import annotations

import json
import pickle
import re
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dynaloss.config import TrialConfig
from dynaloss.studies import (
    AblationStudy,
    bundled_studies,
    condition_label,
    load_study,
    make_plan,
    override,
    plan_as_json,
)
from dynaloss.studies.loading import load_any

LoadText = Callable[[str], AblationStudy]
AssertFacts = Callable[..., None]
_DIGESTS = {"digits": "0123"}


def _cells(study: AblationStudy) -> list[tuple[str, str, int]]:
    return [(t.condition, t.arm, t.seed) for t in make_plan(study, _DIGESTS).trials]


def test_trials_go_by_condition_then_seed_then_arm(load_text: LoadText) -> None:
    study = load_text("""
        conditions: {data.imbalance_factor: [1, 10]}
        ablation: {components: [margin]}
        seeds: [3, 1]
        """)
    assert _cells(study) == [
        (f"no noise · IR {factor}", arm, seed)
        for factor in (1, 10)
        for seed in (3, 1)
        for arm in ("none", "full")
    ]


def test_the_quickstart_has_84_trials_with_keys_of_their_own() -> None:
    trials = make_plan(load_study("quickstart"), _DIGESTS).trials
    assert len({trial.key for trial in trials}) == len(trials) == 84


def test_a_trial_is_named_in_words() -> None:
    trial = make_plan(load_study("quickstart"), _DIGESTS).trials[-1]
    assert trial.name == "gce · symmetric 0.4 · IR 10 · seed 5"


def test_a_trial_can_be_sent_to_another_process() -> None:
    trial = make_plan(load_study("quickstart"), _DIGESTS).trials[0]
    assert pickle.loads(pickle.dumps(trial)) == trial


@pytest.mark.parametrize(
    ("overrides", "label"),
    [
        ({}, "no noise · IR 1"),
        ({"data.noise.kind": "none", "data.noise.rate": 0.3}, "no noise · IR 1"),
        ({"data.noise.rate": 0.4, "data.imbalance_factor": 10}, "symmetric 0.4 · IR 10"),
        ({"data.imbalance_factor": 2.5}, "no noise · IR 2.5"),
        ({"data.source": "digits"}, "digits · no noise · IR 1"),
        ({"loss.corrector.ranks": 10}, "no noise · IR 1 · ranks=10"),
        ({"meta.lr": 1e-2}, "no noise · IR 1 · meta.lr=0.01"),
        ({"loss.margin.enabled": False}, "no noise · IR 1 · margin.enabled=false"),
        ({"model.name": "mlp"}, "no noise · IR 1 · model.name=mlp"),
        ({"data.n_max": None}, "no noise · IR 1 · n_max=null"),
    ],
    ids=str,
)
def test_condition_labels(overrides: dict[str, Any], label: str) -> None:
    assert condition_label(override(TrialConfig(), overrides), overrides) == label


def test_arms_that_are_equal_everywhere_run_once(
    load_text: LoadText, assert_facts: AssertFacts
) -> None:
    study = load_text("""
        ablation: {components: [margin], baseline: same}
        arms:
          same: {loss.margin.enabled: false, schedule.batch_size: 512}
          other: {meta.lr: 1}
        """)
    plan = make_plan(study, _DIGESTS)
    assert [trial.arm for trial in plan.trials] == ["none", "full", "other"]
    assert plan.baseline == "none"
    assert_facts(plan.notes, [("arm 'same'", "arm 'none'", "once")])


def test_cells_that_are_equal_run_once(load_text: LoadText, assert_facts: AssertFacts) -> None:
    study = load_text("""
        trial: {loss: {margin: {enabled: false}}}
        conditions: {loss.corrector.ranks: [10, 20]}
        ablation: {components: [corrector]}
        seeds: [0, 1]
        """)
    plan = make_plan(study, _DIGESTS)
    assert len(plan.trials) == 6
    cells = (f"'none · no noise · IR 1 · ranks={ranks}'" for ranks in (20, 10))
    assert_facts(plan.notes, [(*cells, "once")])


def test_conditions_that_are_equal_run_once(
    load_text: LoadText, assert_facts: AssertFacts
) -> None:
    study = load_text("""
        conditions: {data.noise.kind: [none, symmetric], data.noise.rate: [0.2, 0.4]}
        """)
    plan = make_plan(study, _DIGESTS)
    labels = [trial.condition for trial in plan.trials]
    assert labels == ["no noise · IR 1", "symmetric 0.2 · IR 1", "symmetric 0.4 · IR 1"]
    assert_facts(plan.notes, [("another condition", "'full · no noise · IR 1'", "once")])


def test_the_digest_of_the_data_enters_the_keys() -> None:
    study = load_study("quickstart")
    ours, theirs = (make_plan(study, {"digits": digest}) for digest in ("a", "b"))
    assert not {t.key for t in ours.trials} & {t.key for t in theirs.trials}
    assert make_plan(study, lambda data: {"digits": "a"}[data.source]) == ours


def test_another_seed_adds_trials_and_keeps_the_others() -> None:
    study = load_study("quickstart")
    longer = study.model_copy(update={"seeds": (*study.seeds, 6)})
    before, after = ({t.key for t in make_plan(s, _DIGESTS).trials} for s in (study, longer))
    assert before < after
    assert len(after) == 98


@pytest.mark.parametrize(
    ("change", "same"),
    [
        ({"resources": {"cpu": 1.5}}, True),
        ({"resources": {"cpu": 2}}, False),
        ({"study": "renamed"}, True),
        ({"seeds": [0, 1]}, False),
        ({"report": {"metric": "test/worst_class_accuracy"}}, False),
        ({"ablation": {"components": ["corrector", "margin"], "baseline": "full"}}, False),
    ],
    ids=str,
)
def test_the_hash_is_that_of_what_was_planned(change: dict[str, Any], same: bool) -> None:
    values = load_study("quickstart").model_dump()
    other = AblationStudy.model_validate({**values, **change})
    before = make_plan(load_study("quickstart"), _DIGESTS).hash
    assert (make_plan(other, _DIGESTS).hash == before) is same


def test_the_plan_as_json_has_the_promised_form() -> None:
    plan = make_plan(load_study("quickstart"), _DIGESTS)
    values = json.loads(json.dumps(plan_as_json(plan)))
    assert list(values) == ["study", "hash", "trials"]
    assert values["trials"][0] == {
        "key": plan.trials[0].key, "condition": "symmetric 0.4 · IR 1", "arm": "none", "seed": 0,
    }  # fmt: skip


@settings(deadline=None, max_examples=40)
@given(
    rates=st.lists(st.floats(0, 1), min_size=1, max_size=3, unique=True),
    kinds=st.lists(st.sampled_from(["none", "symmetric"]), min_size=1, unique=True),
    factors=st.lists(st.floats(1, 1e3), min_size=1, max_size=2, unique=True),
    seeds=st.lists(st.integers(0, 9), min_size=1, max_size=3, unique=True),
)
def test_keys_and_cells_are_unique_in_every_plan(
    rates: list[float], kinds: list[str], factors: list[float], seeds: list[int]
) -> None:
    study = AblationStudy.model_validate(
        {
            "study": "drawn",
            "trial": {},
            "conditions": {
                "data.noise.kind": kinds,
                "data.noise.rate": rates,
                "data.imbalance_factor": factors,
            },
            "ablation": {"components": ["corrector", "margin"]},
            "seeds": seeds,
        }
    )
    trials = make_plan(study, _DIGESTS).trials
    assert len({t.key for t in trials}) == len(trials)
    assert len({t.name for t in trials}) == len(trials)


@pytest.mark.parametrize(
    ("finetune", "ablation", "warns"),
    [
        (False, "{components: [corrector, margin]}", True),
        (True, "{components: [corrector, margin]}", False),
        (False, "{components: [corrector, margin, finetune]}", False),
        (False, "{components: [sampling, per_class_corrector]}", False),
        (False, "{components: [margin], baselines: [cross_entropy]}", False),
        (False, "{one_factor: {loss.corrector.ranks: [5, 10]}, baselines: [gce]}", False),
    ],
)
def test_a_plan_names_what_comes_along_with_a_component(
    finetune: bool, ablation: str, warns: bool, load_text: LoadText
) -> None:
    """In the last but one, the corrector, which is no factor, draws metadata in every arm."""
    study = load_text(f"""
        trial: {{loss: {{name: dynamic, finetune: {str(finetune).lower()}}}}}
        ablation: {ablation}
        seeds: [0]
        """)
    warnings = make_plan(study, _DIGESTS).warnings
    assert bool(warnings) is warns
    if warns:
        having = "'corrector-only', 'margin-only' and 'full' .*metadata.* leave the training split"
        assert re.search(rf"{having}.*not 'none'.*\[loss\.finetune\] true", warnings[0])


def test_arms_of_the_bundled_designs_differ_in_what_they_switch_alone() -> None:
    for name in bundled_studies():
        if name.partition("/")[0] != "search_spaces":
            study = load_any(name)
            if isinstance(study, AblationStudy):
                assert make_plan(study, lambda data: data.source).warnings == (), name


def test_trials_that_end_within_warmup_and_ramp_are_warned_of() -> None:
    study = {
        "study": "short",
        "trial": {"schedule": {"epochs": 6, "warmup_epochs": 3, "ramp_epochs": 3}},
        "arms": {"plain": {"loss.name": "cross_entropy"}, "full": {}},
        "seeds": [0, 1],
    }
    (warning,) = make_plan(load_study(study), {"digits": "d"}).warnings
    assert warning.startswith("full: schedule.epochs is 6, within the 6 epochs of ")
    study["trial"]["schedule"]["epochs"] = 7
    assert make_plan(load_study(study), {"digits": "d"}).warnings == ()
