from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from textwrap import dedent

import pytest

from dynaloss.errors import InputError
from dynaloss.studies.loading import load_any, load_search, load_study
from dynaloss.studies.plan import conditions_of
from dynaloss.studies.reading.bundled import find_study
from dynaloss.studies.reading.problems import listed
from dynaloss.studies.search.objectives import VALIDATION_METRICS
from dynaloss.studies.study import SearchStudy

WriteStudy = Callable[[str], Path]
AssertFacts = Callable[..., None]

_PARTS = {
    "study": "tiny",
    "trial": "{data: {validation: {fraction: 0.2}}, schedule: {epochs: 10, warmup_epochs: 1, "
    "ramp_epochs: 1}}",
    "space": "{meta.lr: {loguniform: [1e-4, 1e-2]}}",
}


@pytest.fixture
def load_text(write_study: WriteStudy) -> Callable[[str], SearchStudy]:
    """Loads a search from text; what `_PARTS` holds may be left out."""

    def load(text: str) -> SearchStudy:
        text = dedent(text).lstrip("\n")
        for key, default in _PARTS.items():
            if f"\n{key}:" not in f"\n{text}":
                text += f"\n{key}: {default}"
        return load_search(write_study(text))

    return load


def test_a_search_is_read_from_its_file(load_text: Callable[[str], SearchStudy]) -> None:
    study = load_text("""
        conditions: {data.noise.rate: [0.2, 0.4], data.imbalance_factor: [1, 10]}
        arms: {full: {}, none: {loss.margin.enabled: false}}
        search: {metrics: [{val/balanced_accuracy: max}, {time/trial_seconds: min}]}
        """)
    assert len(conditions_of(study)) == 4
    assert list(study.arm_overrides()) == ["full", "none"]
    assert study.search.objectives() == (
        ("val/balanced_accuracy", "max"),
        ("time/trial_seconds", "min"),
    )
    assert study.scheduler.group_by == ("condition", "arm")


@pytest.mark.parametrize(
    ("text", "facts"),
    [
        pytest.param(
            "space: {meta.lr: {uniform: [1, 0.1]}}",
            ("1: [space.meta.lr.uniform]", "[low, high]", "low below high", "got [1, 0.1]"),
            id="bounds",
        ),
        pytest.param(
            "space: {meta.lr: {loguniform: [0, 1]}}",
            ("1: [space.meta.lr.loguniform]", "above 0", "logarithm", "got [0, 1]"),
            id="log of zero",
        ),
        pytest.param(
            "space: {meta.rl: {uniform: [0.1, 1]}}",
            ("1: [space.meta.rl]", "not a setting", "trial", "'meta.lr'"),
            id="unknown key",
        ),
        pytest.param(
            "space: {meta.lr: {unifrom: [0.1, 1], choice: [1]}}",
            ("1: [space.meta.lr.unifrom]", "not a known key", "'uniform'"),
            id="unknown distribution",
        ),
        pytest.param(
            "space: {meta.lr: {uniform: [0.1, 1], choice: [1]}}",
            ("1: [space.meta.lr]", "exactly one",
             "uniform, loguniform, integer, loginteger, choice"),
            id="two distributions",
        ),
        pytest.param(
            "space:\n  loss.corrector.ranks:\n    choice:\n    - 5\n    - 1",
            ("5: [space.loss.corrector.ranks.choice]", "at least 2", "got 1"),
            id="invalid choice",
        ),
        pytest.param(
            "space: {sampler.random_ratio: {uniform: [0.1, 2]}}",
            ("1: [space.sampler.random_ratio.uniform]", "at most 1", "got 2"),
            id="range beyond the setting's",
        ),
        pytest.param(
            "arms: {ce: {loss.name: cross_entropy}}\n"
            "space: {loss.margin.enabled: {choice: [true]}}",
            ("2: [space.loss.margin.enabled]", "leads to loss.margin", "not a setting",
             "'cross_entropy'", "arm 'ce'", "`when`"),
            id="setting of another loss",
        ),
        pytest.param(
            "space: {loss.corrector.ranks: {choice: [5], when: {loss.corector.enabled: true}}}",
            ("1: [space.loss.corrector.ranks.when.loss.corector.enabled]", "not a setting",
             "trial", "'loss.corrector.enabled'"),
            id="unknown key in when",
        ),
        pytest.param(
            "space:\n  meta.lr: {uniform: [1, 2], when: {meta.every: 1}}\n"
            "  meta.every: {choice: [1, 2]}",
            ("2: [space.meta.lr.when.meta.every]", "before", "parameter", "depends"),
            id="when further down",
        ),
        pytest.param(
            "conditions: {meta.lr: [1, 2]}\nspace: {meta.lr: {uniform: [1, 2]}}",
            ("2: [space.meta.lr]", "also", "`conditions`"),
            id="space and condition",
        ),
        pytest.param(
            "arms: {a: {meta.lr: 1}}\nspace: {meta.lr: {uniform: [1, 2]}}",
            ("2: [space.meta.lr]", "also", "arm 'a'"),
            id="space and arm",
        ),
        pytest.param(
            "space: {data.noise.rate: {uniform: [0.1, 0.2]}}",
            ("1: [space.data.noise.rate]", "data", "not comparable", "`conditions`"),
            id="data in the space",
        ),
        pytest.param(
            "space:\n  meta.every: {choice: [1, 2]}\n"
            "  meta.lr: {uniform: [1, 2], when: {meta.every: {one: 1}}}",
            ("3: [space.meta.lr.when.meta.every]", "single value", "list"),
            id="when of a mapping",
        ),
        pytest.param(
            "space: {meta.lr: {uniform: {low: 1, high: 2}}}",
            ("1: [space.meta.lr.uniform]", "a list", "got a mapping"),
            id="range of a mapping",
        ),
        pytest.param("space: {}", ("1: [space]", "at least one setting"), id="none"),
        pytest.param(
            "search: {trials: 0}", ("1: [search.trials]", "at least 1", "got 0"), id="trials"
        ),
        pytest.param(
            "search: {metric: test/balanced_accuracy}",
            ("1: [search.metric]", "validation", "test set", "got 'test/balanced_accuracy'",
             "'val/balanced_accuracy'"),
            id="test metric",
        ),
        pytest.param(
            "search: {metric: val/balanced_acuracy}",
            ("1: [search.metric]", "every trial", "got 'val/balanced_acuracy'",
             "'val/balanced_accuracy'"),
            id="unknown metric",
        ),
        pytest.param(
            "search: {metrics: [{time/trial_seconds: min}]}",
            ("1: [search.metrics]", "validation metric", "pruning", "winners",
             "got 'time/trial_seconds'", listed(VALIDATION_METRICS)),
            id="cost first",
        ),
        pytest.param(
            "search: {metrics: [{val/accuracy: max, time/trial_seconds: min}]}",
            ("1: [search.metrics]", "one {name: max} or {name: min}", "entry"),
            id="two objectives in one entry",
        ),
        pytest.param(
            "scheduler: {grace_epochs: 10}",
            ("1: [scheduler.grace_epochs]", "below schedule.epochs (10)", "got 10"),
            id="grace beyond epochs",
        ),
        pytest.param(
            "scheduler: {grace_epochs: 3, rungs: 4}",
            ("1: [scheduler.rungs]", "at most 2", "10 epochs", "[3, 9]", "got 4"),
            id="more rungs than epochs",
        ),
        pytest.param(
            "scheduler: {grace_epochs: 2}",
            ("1: [scheduler.grace_epochs]", "above 2", "loss", "got 2"),
            id="a grace period before the loss matters",
        ),
        pytest.param(
            "trial: {data: {validation: {fraction: 0.2}}, schedule: {epochs: 10}}",
            ("1: [trial.schedule.epochs]", "above 10", "got 10"),
            id="warm-up and ramp up to the end",
        ),
        pytest.param(
            "scheduler: {name: promotion, audit_fraction: 0.1}",
            ("1: [scheduler.audit_fraction]", "0", "promotion"),
            id="an audit of promotion",
        ),
        pytest.param(
            "arms: {gce: {}}\nconfirm: {baselines: [gce]}",
            ("2: [confirm.baselines]", "'gce'", "arm"),
            id="a baseline called like an arm",
        ),
        pytest.param(
            "search:\n  race: {seeds: [0, 7]}",
            ("2: [search.race.seeds]", "0", "search.trial_seed"),
            id="a race with the seed of the search",
        ),
        pytest.param(
            "scheduler: {grace_epochs: soon}",
            ("1: [scheduler.grace_epochs]", "whole number", "'soon'"),
            id="a grace period that is a word",
        ),
        pytest.param(
            "search: {sampler: grid}",
            ("4: [space.meta.lr]", "`step`", "`choice`", "grid"),
            id="grid without steps",
        ),
        pytest.param(
            "search: {metric: val_clean/accuracy}",
            ("1: [search.metric]", "validation split", "data.validation.labels", "clean",
             "`val/...`", "got 'val_clean/accuracy'", "'val/accuracy'"),
            id="clean labels unasked",
        ),
        pytest.param(
            "search: {sampler: cmaes}",
            ("1: [search.sampler]", "cmaes", "at least 2 parameters", "arm 'full' has 1", "'tpe'"),
            id="cmaes in one dimension",
        ),
        pytest.param(
            "space:\n  meta.lr: {uniform: [0.1, 1]}\n  meta.every: {choice: [1, 2]}\n"
            "  optimizer.lr: {uniform: [0.1, 1]}\nsearch: {sampler: cmaes}",
            ("3: [space.meta.every]", "a choice", "cmaes cannot", "'tpe'"),
            id="cmaes with a choice",
        ),
        pytest.param(
            "space:\n  meta.every: {integer: [1, 2]}\n  optimizer.lr: {uniform: [0.1, 1]}\n"
            "  meta.lr: {uniform: [0.1, 1], when: {meta.every: 1}}\nsearch: {sampler: cmaes}",
            ("4: [space.meta.lr]", "depends on another parameter", "cmaes cannot", "'tpe'"),
            id="cmaes with a condition",
        ),
        pytest.param(
            "space:\n  meta.lr: {uniform: [0.1, 1]}\narms:\n  a: {}\n  a-2: {meta.every: 2}\n"
            "confirm: {top: 2}",
            ("5: [arms.a-2]", "name", "retrained 'a'", "confirmation"),
            id="an arm called like a second winner",
        ),
        pytest.param(
            "space:\n  meta.lr: {uniform: [0.1, 1]}\narms:\n  full: {}\n  untuned: "
            "{meta.every: 2}\nconfirm: {untuned: true}",
            ("5: [arms.untuned]", "name", "retrained 'full'", "confirmation"),
            id="an arm called like an untuned one",
        ),
        pytest.param(
            "search: {trial_seed: 2}\nconfirm:\n  seeds: [1, 2]",
            ("3: [confirm.seeds]", "2", "search.trial_seed"),
            id="a confirmation with the seed of the search",
        ),
    ],
)  # fmt: skip
def test_what_cannot_be_searched_is_refused(
    load_text: Callable[[str], SearchStudy],
    assert_facts: AssertFacts,
    text: str,
    facts: tuple[str, ...],
) -> None:
    with pytest.raises(InputError, match=r"^study.yaml:") as caught:
        load_text(text)
    assert_facts([p.removeprefix("study.yaml:") for p in caught.value.problems], [facts])


def test_selection_needs_a_validation_part(load_text: Callable[[str], SearchStudy]) -> None:
    facts = r":1: \[trial.data.validation.fraction\].* greater than 0.* validation.* got 0$"
    with pytest.raises(InputError, match=facts):
        load_text("trial: {schedule: {epochs: 10, warmup_epochs: 1, ramp_epochs: 1}}")


def test_all_problems_are_reported_at_once(write_study: WriteStudy) -> None:
    path = write_study("""
        study: my search
        trial: {data: {validation: {fraction: 0.2}}}
        space:
          meta.lr: {uniform: [1, 0.1]}
          meta.rl: {choice: []}
        search: {trials: 0, metric: test/accuracy}
        """)
    with pytest.raises(InputError) as caught:
        load_search(path)
    lines = [int(problem.split(":")[1]) for problem in caught.value.problems]
    assert lines == [1, 4, 5, 5, 6, 6]


def test_unknown_keys_hide_no_other_problem(load_text: Callable[[str], SearchStudy]) -> None:
    with pytest.raises(InputError) as caught:
        load_text("scheduler: {grace_epochs: 10, graze: 1}")
    keys = {problem.partition("[")[2].partition("]")[0] for problem in caught.value.problems}
    assert keys == {"scheduler.grace_epochs", "scheduler.graze"}


def test_searches_and_ablations_are_distinguished(load_text: Callable[[str], SearchStudy]) -> None:
    assert isinstance(load_text(""), SearchStudy)
    assert isinstance(load_any("study.yaml"), SearchStudy)
    with pytest.raises(InputError, match=r"^study.yaml: .*a search.*`dynaloss search`"):
        load_study("study.yaml")
    with pytest.raises(
        InputError, match=r"quickstart.yaml: .*ablation.*`space`.*`dynaloss ablate`"
    ):
        load_search(find_study("quickstart"))
