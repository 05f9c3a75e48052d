"""Every sampler through the director: real suggestions and storage, results from a formula."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from optuna.storages import InMemoryStorage

from dynaloss.config.settings import Scalar
from dynaloss.execution.search.director import Director
from dynaloss.execution.search.outcome import pareto_front
from dynaloss.execution.search.searched import SearchTrial
from dynaloss.execution.search.suggestions import Suggester, earlier_best, open_storage
from dynaloss.studies.search.groups import make_search_plan
from dynaloss.studies.study import SearchStudy
from dynaloss.studies.trial_record import Outcome

EPOCHS, TRIALS = 4, 10
NUMBERS = {
    "meta.lr": {"loguniform": [1e-4, 1e-1]},
    "optimizer.lr": {"loguniform": [1e-3, 1.0]},
}
CONDITIONAL = NUMBERS | {
    "loss.corrector.enabled": {"choice": [True, False]},
    "loss.corrector.ranks": {"choice": [5, 10], "when": {"loss.corrector.enabled": True}},
}
GRID = {
    "meta.every": {"integer": [1, 3]},
    "loss.corrector.enabled": {"choice": [True, False]},
    "loss.corrector.ranks": {"choice": [5, 10], "when": {"loss.corrector.enabled": True}},
}
SPACES = {"cmaes": NUMBERS, "grid": GRID}


def _study(sampler: str, **search: Any) -> SearchStudy:
    return SearchStudy.model_validate(
        {
            "study": "samplers",
            "trial": {
                "data": {"validation": {"fraction": 0.2}},
                "schedule": {"epochs": EPOCHS, "warmup_epochs": 1},
            },
            "space": SPACES.get(sampler, CONDITIONAL),
            "search": {
                "sampler": sampler,
                "trials": TRIALS,
                "startup_trials": 4,
                "race": None,
            }
            | search,
            "scheduler": {"grace_epochs": 1, "reduction_factor": 2},
        }
    )


def distance(chosen: Mapping[str, Scalar]) -> float:
    """How far the rates are from the best ones, 1e-3 and 1e-1, in magnitudes."""
    return math.dist(
        (math.log10(float(chosen["meta.lr"])), math.log10(float(chosen["optimizer.lr"]))),
        (-3, -1),
    )


def metrics_at(trial: SearchTrial, epoch: int) -> dict[str, float]:
    chosen = trial.chosen
    value = 1 - distance(chosen) / 4 if "meta.lr" in chosen else 0.5
    seconds = 1.0 + 1.0 * bool(chosen.get("loss.corrector.enabled"))
    return {
        "val/balanced_accuracy": value * epoch / EPOCHS,
        "time/trial_seconds": seconds * epoch,
    }


@pytest.fixture
def conduct(tmp_path: Path, drive: Callable[..., Director]) -> Callable[..., list[SearchTrial]]:
    def run(
        study: SearchStudy, name: str, *, kill_after: int | None = None, in_memory: bool = False
    ) -> list[SearchTrial]:
        plan = make_search_plan(study, {"digits": "d"})
        storage = InMemoryStorage() if in_memory else open_storage(tmp_path / name)
        suggesters = {
            group.name: Suggester(storage, study, group, parallel=False) for group in plan.groups
        }
        director = drive(plan, tmp_path / name, suggesters, metrics_at, kill_after)
        return list(director.trials.values())

    return run


@pytest.mark.parametrize(
    "sampler", ["tpe", "shared_tpe", "random", "qmc", "cmaes", "gp", "nsgaii", "grid"]
)
def test_a_sampler_suggests_the_same_after_a_kill(
    conduct: Callable[..., list[SearchTrial]], sampler: str
) -> None:
    study = _study(sampler)
    whole = conduct(study, "whole")
    with pytest.raises(KeyboardInterrupt):
        conduct(study, "cut", kill_after=sum(trial.last_epoch for trial in whole) // 2)
    cut = conduct(study, "cut")
    assert [(t.chosen, t.outcome) for t in cut] == [(t.chosen, t.outcome) for t in whole]
    assert {t.outcome for t in whole} == {Outcome.COMPLETED, Outcome.PRUNED} or sampler == "grid"
    for trial in whole:
        has_ranks = "loss.corrector.ranks" in trial.chosen
        assert has_ranks == bool(trial.chosen.get("loss.corrector.enabled"))


def test_a_grid_runs_each_combination_once(conduct: Callable[..., list[SearchTrial]]) -> None:
    trials = conduct(_study("grid"), "grid", in_memory=True)
    found = {tuple(sorted(trial.chosen.items())) for trial in trials}
    # Three periods, with the corrector off, or on with either number of ranks.
    assert len(trials) == len(found) == 3 * (1 + 2)


@pytest.mark.parametrize("sampler", ["tpe", "cmaes", "gp"])
def test_a_learning_sampler_approaches_the_best(
    conduct: Callable[..., list[SearchTrial]], sampler: str
) -> None:
    trials = conduct(_study(sampler, trials=30), "learn", in_memory=True)
    distances = [distance(trial.chosen) for trial in trials]
    assert statistics.fmean(distances[-10:]) < 0.75 * statistics.fmean(distances[:10])
    assert len({str(trial.chosen) for trial in trials}) == len(trials)


@pytest.mark.parametrize(("sampler", "learns"), [("shared_tpe", True), ("tpe", False)])
def test_a_sampler_that_shares_learns_from_other_conditions(sampler: str, learns: bool) -> None:
    """Nine of thirty lie within half a magnitude of the best in both rates; most that are near."""
    values = _study(sampler, untuned_first=False).model_dump(mode="json", exclude_unset=True)
    study = SearchStudy.model_validate({
        **values, "space": NUMBERS, "conditions": {"data.noise.rate": [0.2, 0.6]},
    })  # fmt: skip
    plan, storage = make_search_plan(study, {"digits": "d"}), InMemoryStorage()
    easy, hard = (
        Suggester(storage, study, group, parallel=False, groups=plan.groups)
        for group in plan.groups
    )
    for number in range(30):
        value = 1 - distance(easy.ask(number)) / 4
        easy.tell(number, Outcome.COMPLETED, [value], {})
    distances = []
    for number in range(8):
        distances.append(distance(hard.ask(number)))
        hard.tell(number, Outcome.COMPLETED, [0.1 - distances[-1] / 40], {})
    at_random = [distance(easy.ask(number)) for number in range(4)]
    assert (statistics.fmean(distances) < 0.75 * statistics.fmean(at_random)) is learns


def test_the_first_trial_of_a_group_has_the_values_of_the_study() -> None:
    study = _study("cmaes")
    (group,) = make_search_plan(study, {"digits": "d"}).groups
    assert group.untuned == {"meta.lr": 0.003, "optimizer.lr": 0.1}
    suggester = Suggester(InMemoryStorage(), study, group, parallel=False)
    assert suggester.ask(0) == group.untuned
    assert suggester.ask(1) != group.untuned


def test_a_later_search_begins_with_those_that_raced_and_then_the_best_by_one_seed(
    tmp_path: Path,
) -> None:
    study = _study("random")
    (group,) = make_search_plan(study, {"digits": "d"}).groups
    suggester = Suggester(open_storage(tmp_path), study, group, parallel=False)
    asked = []
    for number, value in enumerate([0.7, 0.6, 0.9, 0.8]):
        asked.append(suggester.ask(number))
        suggester.tell(number, Outcome.COMPLETED, [value], {})
    assert earlier_best(tmp_path, group) == [asked[2], asked[3], asked[0]]
    suggester.keep_race([0, 2])
    assert earlier_best(tmp_path, group) == [asked[0], asked[2], asked[3]]


@pytest.mark.parametrize("sampler", ["nsgaii", "tpe"])
def test_several_objectives_give_a_front(
    conduct: Callable[..., list[SearchTrial]], sampler: str
) -> None:
    metrics = [{"val/balanced_accuracy": "max"}, {"time/trial_seconds": "min"}]
    study = _study(sampler, metrics=metrics, trials=24)
    trials = conduct(study, "several", in_memory=True)
    front = pareto_front(trials, study.search.objectives())
    done = [t for t in trials if t.outcome is Outcome.COMPLETED]
    # Cost depends on the corrector alone: the best without it, and with it only if it is better.
    best: dict[object, SearchTrial] = {}
    for trial in sorted(done, key=lambda trial: trial.last("val/balanced_accuracy")):
        best[trial.chosen["loss.corrector.enabled"]] = trial
    dear, cheap = best[True], best[False]
    better = dear.last("val/balanced_accuracy") > cheap.last("val/balanced_accuracy")
    assert {t.key for t in front} == {cheap.key} | ({dear.key} if better else set())
    assert {t.outcome for t in trials} == {Outcome.COMPLETED, Outcome.PRUNED}
