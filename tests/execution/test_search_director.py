from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from dynaloss.config.search import RaceConfig
from dynaloss.config.settings import Scalar
from dynaloss.errors import InputError
from dynaloss.execution.recording import Recorder
from dynaloss.execution.search.director import Director
from dynaloss.execution.search.launching import claim
from dynaloss.execution.search.outcome import group_outcome
from dynaloss.execution.search.searched import SearchTrial
from dynaloss.execution.trial.runner import StepResult
from dynaloss.journal import Journal
from dynaloss.studies.search.groups import SearchPlan, make_search_plan
from dynaloss.studies.study import SearchStudy
from dynaloss.studies.trial_record import Outcome

EPOCHS = 9


class Suggestions:
    """Suggests 0.01, 0.02, ... and keeps what it is told, once per trial as Optuna does."""

    def __init__(self) -> None:
        self.told: dict[int, Outcome] = {}

    def ask(self, number: int) -> dict[str, Scalar]:
        return {"meta.lr": 0.01 * (number + 1)}

    def tell(
        self, number: int, outcome: Outcome, values: list[float], curve: Mapping[int, float]
    ) -> None:
        self.told.setdefault(number, outcome)


def metrics_at(trial: SearchTrial, epoch: int) -> dict[str, float]:
    """A curve per trial: number 2 gives NaN at epoch 4, the hard condition is far below."""
    hard = trial.trial.config.data.noise.rate > 0.5
    luck = 0.002 * (((trial.race_seed or 0) * 5 + trial.number * 3) % 7)
    value = (0.2 if hard else 0.7) + 0.01 * ((trial.number * 7) % 5) + 0.001 * epoch + luck
    return {"val/balanced_accuracy": math.nan if trial.number == 2 and epoch == 4 else value}


WHOLE = {"trials": 6, "race": None}
RACE = {"top": 3, "seeds": [100, 101, 102]}
PLANS: dict[str, dict[str, Any]] = {
    "halving": {"search": WHOLE, "scheduler": {"grace_epochs": 1, "audit_fraction": 0.2}},
    "promotion": {"search": WHOLE, "scheduler": {"name": "promotion", "grace_epochs": 1}},
    "pasha": {"search": WHOLE, "scheduler": {"name": "pasha", "grace_epochs": 1}},
    "race": {"search": {**WHOLE, "race": RACE}, "scheduler": {"grace_epochs": 1}},
    "short promotion and race": {
        "search": {"trials": 6, "race": RACE},
        "scheduler": {"name": "promotion", "grace_epochs": 1},
    },
}
every_plan = pytest.mark.parametrize("plan", PLANS, indirect=True)


@pytest.fixture
def plan(request: pytest.FixtureRequest) -> SearchPlan:
    study = {
        "study": "s",
        "trial": {
            "data": {"validation": {"fraction": 0.2}},
            "schedule": {"epochs": EPOCHS, "warmup_epochs": 0, "ramp_epochs": 0},
        },
        "conditions": {"data.noise.rate": [0.2, 0.6]},
        "space": {"meta.lr": {"uniform": [0.001, 1.0]}},
        **PLANS[getattr(request, "param", "halving")],
    }
    return make_search_plan(SearchStudy.model_validate(study), {"digits": "d"})


@pytest.fixture
def conduct(
    plan: SearchPlan, tmp_path: Path, drive: Callable[..., Director]
) -> Callable[..., Director]:
    """Runs a search one trial at a time, to be killed after so many steps."""

    def run(name: str, kill_after: int | None = None) -> Director:
        suggestions = {group.name: Suggestions() for group in plan.groups}
        director = drive(plan, tmp_path / name, suggestions, metrics_at, kill_after)
        for group in plan.groups:
            assert len(suggestions[group.name].told) == group.trials
        return director

    return run


def outline(director: Director) -> list[tuple[str, Any, Any, Any, Any]]:
    return [
        (t.name, t.outcome, t.last_epoch, t.audited_at, t.rungs) for t in director.trials.values()
    ]


def test_groups_take_turns_and_compete_apart(conduct: Callable[..., Director]) -> None:
    director = conduct("whole")
    names = [trial.group.condition for trial in director.trials.values()]
    assert names == ["symmetric 0.2 · IR 1", "symmetric 0.6 · IR 1"] * 6
    by_group: dict[str, list[Outcome]] = {}
    for trial in director.trials.values():
        by_group.setdefault(trial.group.name, []).append(trial.outcome)
    for outcomes in by_group.values():
        assert Outcome.COMPLETED in outcomes
        assert Outcome.PRUNED in outcomes


def test_a_metric_that_is_not_finite_ends_a_trial_as_diverged(
    conduct: Callable[..., Director],
) -> None:
    thirds = [t for t in conduct("whole").trials.values() if t.number == 2 and t.last_epoch >= 4]
    assert all(t.outcome is Outcome.DIVERGED and t.last_epoch == 4 for t in thirds)


@every_plan
@pytest.mark.parametrize("kill_after", [0, 1, 5, 9, 10, 17, 25, 31])
def test_a_killed_search_ends_as_if_never_killed(
    conduct: Callable[..., Director], kill_after: int
) -> None:
    with pytest.raises(KeyboardInterrupt):
        conduct("cut", kill_after)
    assert outline(conduct("cut")) == outline(conduct("whole"))


@every_plan
def test_finished_trials_are_not_rerun(conduct: Callable[..., Director]) -> None:
    conduct("whole")
    conduct("whole", kill_after=0)


@pytest.mark.parametrize("cut", [1, 20, 200])
def test_an_unfinished_line_is_dropped(
    conduct: Callable[..., Director], tmp_path: Path, cut: int
) -> None:
    expected = outline(conduct("whole"))
    journal = tmp_path / "whole" / "journal.jsonl"
    journal.write_bytes(journal.read_bytes()[:-cut])
    assert outline(conduct("whole")) == expected


@pytest.mark.parametrize("plan", ["promotion"], indirect=True)
def test_promotion_lets_the_best_of_three_go_on(conduct: Callable[..., Director]) -> None:
    """By hand: values fall in the order 2, 4, 1, 3, 0 = 5 of the numbers; 2 diverges at 4."""
    director = conduct("whole")
    for condition in {trial.group.condition for trial in director.trials.values()}:
        own = [t for t in director.trials.values() if t.group.condition == condition]
        reached = {t.number: t.last_epoch for t in own}
        assert reached == {0: 1, 1: 1, 2: 4, 3: 1, 4: 9, 5: 1}
        assert {t.number for t in own if t.outcome is Outcome.COMPLETED} == {4}
        assert "rung 1" in next(t.message for t in own if t.number == 0)


@pytest.mark.parametrize("plan", ["promotion"], indirect=True)
def test_a_longer_search_by_promotion_leaves_what_has_ended(
    plan: SearchPlan, tmp_path: Path, drive: Callable[..., Director]
) -> None:
    def falling(trial: SearchTrial, epoch: int) -> dict[str, float]:
        return {"val/balanced_accuracy": 0.9 - 0.01 * trial.number}

    suggestions = {group.name: Suggestions() for group in plan.groups}
    before = outline(drive(plan, tmp_path, suggestions, falling))
    longer = replace(plan, groups=tuple(replace(group, trials=12) for group in plan.groups))
    director = drive(longer, tmp_path, suggestions, falling)
    assert len(director.trials) == 2 * 12
    assert outline(director)[: len(before)] == before
    assert director.is_done


@pytest.mark.parametrize("plan", ["race"], indirect=True)
def test_a_race_trains_the_best_with_further_seeds(conduct: Callable[..., Director]) -> None:
    director = conduct("whole")
    raced = [t for t in director.trials.values() if t.race_seed is not None]
    assert raced
    assert all(t.trial.seed == t.race_seed for t in raced)
    assert all(t.trial.config.data.test_seed == 0 for t in raced)
    assert all(t.last_epoch == EPOCHS and not t.rungs for t in raced)
    searched = {t.key: t for t in director.trials.values() if t.race_seed is None}
    for t in raced:
        same = [s for s in searched.values() if (s.group, s.number) == (t.group, t.number)]
        assert [s.chosen for s in same] == [t.chosen]
    assert director.is_done
    assert not director.left


@pytest.fixture
def untuned_plan() -> SearchPlan:
    """A search whose first trial is the untuned one."""
    study = SearchStudy.model_validate(
        {
            "study": "s",
            "trial": {
                "data": {"validation": {"fraction": 0.2}},
                "schedule": {"epochs": EPOCHS, "warmup_epochs": 0, "ramp_epochs": 0},
                "meta": {"lr": 0.01},  # what `Suggestions` suggests first
            },
            "space": {"meta.lr": {"uniform": [0.001, 1.0]}},
            "search": {"trials": 6, "race": {"top": 2, "seeds": [100]}},
            "scheduler": {"grace_epochs": 1},
        }
    )
    return make_search_plan(study, {"digits": "d"})


def with_settings(plan: SearchPlan, **parts: Any) -> SearchPlan:
    """The plan with other settings of its search and scheduler; its groups stay."""
    study = plan.study
    changed = {name: getattr(study, name).model_copy(update=new) for name, new in parts.items()}
    return replace(plan, study=study.model_copy(update=changed))


def test_the_untuned_trial_is_never_stopped_and_races(
    untuned_plan: SearchPlan, tmp_path: Path, drive: Callable[..., Director]
) -> None:
    plan = untuned_plan

    def worst_first(trial: SearchTrial, epoch: int) -> dict[str, float]:
        return {"val/balanced_accuracy": 0.1 * trial.number + 0.001 * epoch}

    for name in ("asha", "promotion"):
        found = with_settings(plan, scheduler={"name": name})
        suggestions = {group.name: Suggestions() for group in plan.groups}
        director = drive(found, tmp_path / name, suggestions, worst_first)
        untuned = next(t for t in director.trials.values() if t.number == 0)
        assert untuned.is_untuned
        assert untuned.outcome is Outcome.COMPLETED
        raced = {t.number for t in director.trials.values() if t.race_seed is not None}
        assert 0 in raced
        assert 5 in raced


def in_turns(
    plan: SearchPlan, folder: Path, recorder: Recorder, slots: int, kill_after: int = -1
) -> Director:
    """Runs a search on several slots, which report an epoch each in turn."""
    running: list[tuple[SearchTrial, int]] = []
    suggestions = {group.name: Suggestions() for group in plan.groups}
    with directing(plan, folder, suggestions, recorder) as director:
        upcoming = director.upcoming()
        while kill_after != 0:
            kill_after -= 1
            while len(running) < slots and (trial := next(upcoming, None)) is not None:
                running.append((trial, 1))
            if not running:
                break
            trial, epoch = running.pop(0)
            outcome = Outcome.COMPLETED if epoch == EPOCHS else None
            reports = ((epoch, metrics_at(trial, epoch)),)
            if director.take(trial.key, StepResult(reports=reports, outcome=outcome)):
                running.append((trial, epoch + 1))
    return director


def result(director: Director, plan: SearchPlan) -> tuple[set[tuple[str, Outcome]], Any]:
    """The trials, in no order, and the race with its winner."""
    (group,) = plan.groups
    found = group_outcome(plan.study, group, director.trials.values())
    winners = [winner.number for winner in found.winners]
    return {(t.name, t.outcome) for t in director.trials.values()}, (winners, found.standings)


@pytest.fixture
def racing(untuned_plan: SearchPlan) -> SearchPlan:
    """A search that stops nothing, with three rounds: its order changes no result."""
    race = RaceConfig.model_validate(RACE)
    return with_settings(untuned_plan, scheduler={"name": "none"}, search={"race": race})


def test_free_slots_race_early_without_another_result(
    racing: SearchPlan, tmp_path: Path, silent: Recorder
) -> None:
    alone = in_turns(racing, tmp_path / "alone", silent, slots=1)
    together = in_turns(racing, tmp_path / "together", silent, slots=4)
    assert result(together, racing) == result(alone, racing)
    order = [(t.number, t.race_seed) for t in together.trials.values()]
    with Journal(tmp_path / "together" / "journal.jsonl") as journal:
        events = [(e["event"], e.get("race_seed") or e.get("key")) for e in journal.read()]
    searched = {t.key for t in together.searched()}
    last = max(i for i, event in enumerate(events) if event[0] == "end" and event[1] in searched)
    early = [seed for name, seed in events[:last] if name == "begin" and seed]
    assert early == [100, 101]
    assert order[6:8] == [(0, 100), (0, 101)]  # of the untuned trial, which races anyway


@pytest.mark.parametrize("kill_after", [1, 30, 40, 55, 62, 75, 100])
def test_a_search_on_several_slots_ends_as_if_never_killed(
    racing: SearchPlan, tmp_path: Path, silent: Recorder, kill_after: int
) -> None:
    in_turns(racing, tmp_path / "cut", silent, slots=4, kill_after=kill_after)
    cut = in_turns(racing, tmp_path / "cut", silent, slots=4)
    whole = in_turns(racing, tmp_path / "whole", silent, slots=4)
    assert result(cut, racing) == result(whole, racing)
    assert cut.is_done
    assert not cut.left


def test_the_untuned_trial_does_not_race_early_once_it_has_diverged(
    racing: SearchPlan, tmp_path: Path, silent: Recorder
) -> None:
    suggestions = {group.name: Suggestions() for group in racing.groups}
    with directing(racing, tmp_path, suggestions, silent) as director:
        upcoming = director.upcoming()
        trials = [trial for _ in range(6) if (trial := next(upcoming)) is not None]
        director.end(trials[0].key, Outcome.DIVERGED)
        assert len(trials) == 6
        assert next(upcoming) is None


@contextmanager
def directing(
    plan: SearchPlan, folder: Path, suggestions: dict[str, Suggestions], recorder: Recorder
) -> Iterator[Director]:
    """A director that goes on from the journal in a folder."""
    with Journal(folder / "journal.jsonl") as journal:
        director = Director(plan, journal, suggestions)
        director.start(recorder)
        yield director


def test_a_failed_trial_is_retried(plan: SearchPlan, tmp_path: Path, silent: Recorder) -> None:
    suggestions = {group.name: Suggestions() for group in plan.groups}
    with directing(plan, tmp_path, suggestions, silent) as director:
        trial = next(director.upcoming())
        assert trial is not None
        director.end(trial.key, Outcome.FAILED, "lost")
    with directing(plan, tmp_path, suggestions, silent) as director:
        again = next(director.upcoming())
    assert again is not None
    assert again.key == trial.key
    assert not suggestions[trial.group.name].told


def test_the_data_record_survives_a_kill(
    plan: SearchPlan, tmp_path: Path, silent: Recorder
) -> None:
    suggestions = {group.name: Suggestions() for group in plan.groups}
    with directing(plan, tmp_path, suggestions, silent) as director:
        trial = next(director.upcoming())
        assert trial is not None
        director.take(trial.key, StepResult(data={"source": "digits"}))
    with directing(plan, tmp_path, suggestions, silent) as director:
        assert director.trials[trial.key].data == {"source": "digits"}


def test_a_search_that_began_with_other_settings_is_refused(tmp_path: Path) -> None:
    with Journal(tmp_path / "journal.jsonl") as journal:
        claim(journal, {"space": "a", "scheduler": "b"})
        claim(journal, {"space": "a", "scheduler": "b"})
        with pytest.raises(InputError, match=r"another scheduler\b.*`search\.trials`"):
            claim(journal, {"space": "a", "scheduler": "c"})
