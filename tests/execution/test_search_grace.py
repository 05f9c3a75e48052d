"""The grace period of a search that starts from an earlier one, by that one's journal."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from scipy.stats import spearmanr

from dynaloss.config.search import SchedulerConfig
from dynaloss.config.settings import Scalar
from dynaloss.errors import InputError
from dynaloss.execution.search.director import Director
from dynaloss.execution.search.grace import grace_period
from dynaloss.execution.search.launching import claim
from dynaloss.execution.search.searched import SearchTrial
from dynaloss.journal import Journal, read_journal
from dynaloss.studies.search.groups import SearchPlan, make_search_plan, with_grace
from dynaloss.studies.search.rungs import GracePeriod
from dynaloss.studies.study import SearchStudy

EPOCHS, TRIALS = 9, 8
DIGESTS = {"digits": "d"}


class Suggestions:
    """Suggests 0.01, 0.02, ..."""

    def ask(self, number: int) -> dict[str, Scalar]:
        return {"meta.lr": 0.01 * (number + 1)}

    def tell(self, *ended: object) -> None: ...


def make_plan(
    *,
    search: Mapping[str, Any] | None = None,
    scheduler: Mapping[str, Any] | None = None,
    schedule: Mapping[str, int] | None = None,
    rates: tuple[float, ...] = (0.2, 0.6),
) -> SearchPlan:
    length = {"epochs": EPOCHS, "warmup_epochs": 1, "ramp_epochs": 1}
    study = {
        "study": "s",
        "trial": {
            "data": {"validation": {"fraction": 0.2}},
            "schedule": {**length, **(schedule or {})},
        },
        "conditions": {"data.noise.rate": list(rates)},
        "space": {"meta.lr": {"uniform": [0.001, 1.0]}},
        "search": {"trials": TRIALS, "race": None, **(search or {})},
        "scheduler": scheduler or {},
    }
    return make_search_plan(SearchStudy.model_validate(study), DIGESTS)


def later(**parts: Any) -> SearchPlan:
    """A search that starts from one of the name `first`."""
    return make_plan(search={"start_from": "first"}, **parts)


def metrics_at(trial: SearchTrial, epoch: int) -> dict[str, float]:
    """The order of the trials is reversed up to epoch 4, and that of the end from epoch 5 on."""
    sign = 1 if epoch >= 5 else -1
    return {"val/balanced_accuracy": 0.5 + 0.01 * sign * trial.number + 0.001 * epoch}


@pytest.fixture
def record(tmp_path: Path, drive: Callable[..., Director]) -> Callable[..., Path]:
    """Runs a search by made-up results, by default to the end of each trial; gives its journal."""

    def run(
        plan: SearchPlan | None = None,
        metrics: Callable[[SearchTrial, int], dict[str, float]] = metrics_at,
    ) -> Path:
        plan = plan or make_plan(scheduler={"name": "none"})
        drive(plan, tmp_path / "first", {g.name: Suggestions() for g in plan.groups}, metrics)
        return tmp_path / "first" / "journal.jsonl"

    return run


NOWHERE = Path("nowhere") / "journal.jsonl"


def test_it_is_the_first_epoch_from_which_recorded_trials_rank_as_at_the_end(
    record: Callable[..., Path],
) -> None:
    plan = later()
    assert plan.groups[0].rungs[0] == 2 + 1  # an eighth of what follows warm-up and ramp
    found = grace_period(plan, NOWHERE, record())
    assert found is not None
    assert found.epochs == 5
    assert found.note == (
        "grace_epochs: 5, by 16 trials recorded in 'first' (rank correlation of "
        "val/balanced_accuracy with the end 1.00 at epoch 5)"
    )
    decided = with_grace(plan, found, DIGESTS)
    assert [group.rungs for group in decided.groups] == [(5,), (5,)]
    assert decided.notes == (found.note,)


def test_groups_count_by_the_mean_of_their_correlations(record: Callable[..., Path]) -> None:
    order = [0, 3, 1, 4, 2, 7, 5, 6]
    half = spearmanr(order, range(TRIALS)).statistic
    assert 0.5 <= (1 + half) / 2 < 1

    def metrics(trial: SearchTrial, epoch: int) -> dict[str, float]:
        hard = trial.trial.config.data.noise.rate > 0.5
        place = order[trial.number] if hard and epoch == 3 else trial.number
        return {"val/balanced_accuracy": 0.01 * place}

    found = grace_period(later(), NOWHERE, record(metrics=metrics))
    assert found is not None
    assert found.epochs == 3  # not before warm-up and ramp are over
    assert f"with the end {(1 + half) / 2:.2f} at epoch 3" in found.note


@pytest.mark.parametrize(
    ("plan", "most"),
    [
        (later(schedule={"epochs": 8}), 0),
        (later(schedule={"warmup_epochs": 0}), 0),
        (later(rates=(0.3,)), 0),
        (make_plan(search={"start_from": "first", "trial_seed": 7}), 0),
        (later(), 7),
    ],
    ids=["another length", "another warm-up", "another condition", "another seed", "too few"],
)
def test_where_too_few_recorded_trials_fit_the_rule_decides(
    record: Callable[..., Path], plan: SearchPlan, most: int
) -> None:
    fewer = make_plan(scheduler={"name": "none"}, search={"trials": 7})
    found = grace_period(plan, NOWHERE, record(fewer if most else None))
    assert found is not None
    assert found.epochs is None
    assert found.note.startswith(f"grace_epochs: {plan.groups[0].rungs[0]}, warm-up, ramp and ")
    assert f"at most {most} completed trials of these settings, and 8 are needed" in found.note
    assert with_grace(plan, found, DIGESTS).groups == plan.groups


def test_stopped_trials_and_those_of_a_race_do_not_count(record: Callable[..., Path]) -> None:
    race = {"top": 4, "seeds": [100, 101]}
    pruned = make_plan(scheduler={"grace_epochs": 3}, search={"trials": 12, "race": race})
    found = grace_period(later(), NOWHERE, record(pruned))
    assert found is not None
    assert found.epochs is None
    assert "at most" in found.note


def test_where_no_epoch_ranks_as_the_end_the_rule_decides(record: Callable[..., Path]) -> None:
    def metrics(trial: SearchTrial, epoch: int) -> dict[str, float]:
        return {"val/balanced_accuracy": 0.01 * trial.number * (1 if epoch == EPOCHS else -1)}

    found = grace_period(later(), NOWHERE, record(metrics=metrics))
    assert found is not None
    assert found.epochs is None
    assert "no epoch of 'first' ranks trials as the last one" in found.note


@pytest.mark.parametrize(
    "plan",
    [
        make_plan(),
        later(scheduler={"grace_epochs": 4}),
        later(scheduler={"name": "none"}),
    ],
    ids=["no earlier search", "a number of its own", "no rungs"],
)
def test_nothing_is_decided_where_nothing_is_open(
    record: Callable[..., Path], plan: SearchPlan
) -> None:
    assert grace_period(plan, NOWHERE, record()) is None


def test_a_search_that_has_begun_keeps_what_was_decided(
    record: Callable[..., Path], tmp_path: Path
) -> None:
    decided = GracePeriod(epochs=4, note="as it was")
    with Journal(tmp_path / "journal.jsonl") as journal:
        claim(journal, {"space": "a", "grace period": "4"}, decided)
    earlier = record()
    assert grace_period(later(), journal.path, earlier) == decided
    assert grace_period(later(), journal.path, NOWHERE) == decided
    with Journal(journal.path) as journal, pytest.raises(InputError, match="another grace period"):
        claim(journal, {"space": "a", "grace period": "5"}, GracePeriod(epochs=5, note="later"))


def test_a_search_that_began_without_a_decision_stays_without(
    record: Callable[..., Path], tmp_path: Path
) -> None:
    with Journal(tmp_path / "journal.jsonl") as journal:
        claim(journal, {"space": "a"})
    assert grace_period(later(), journal.path, record()) is None


def test_a_journal_that_is_being_written_counts_and_a_damaged_one_does_not(
    record: Callable[..., Path],
) -> None:
    path = record()
    whole = path.read_bytes()
    path.write_bytes(whole + b'{"event": "end", "ke')
    found = grace_period(later(), NOWHERE, path)
    assert found is not None
    assert found.epochs == 5
    assert path.read_bytes().startswith(whole + b'{"event": "end"')  # it is another's to mend
    path.write_bytes(whole.replace(b'"epoch": 3', b'"epoch": 2', 1))
    damaged = grace_period(later(), NOWHERE, path)
    assert damaged is not None
    assert damaged.epochs is None
    assert "the journal of 'first' cannot be read" in damaged.note


def test_trials_whose_settings_are_not_known_here_do_not_count(
    record: Callable[..., Path], tmp_path: Path
) -> None:
    path = tmp_path / "other" / "journal.jsonl"
    with Journal(path) as journal:
        for event in read_journal(record()):
            if event["event"] == "begin":
                event["chosen"] = {"meta.former_name": 0.1}
            journal.write(**event)
    found = grace_period(later(), NOWHERE, path)
    assert found is not None
    assert found.epochs is None


def test_no_rung_is_within_the_warm_up_of_an_arm_that_comes_later() -> None:
    arms = {"full": {}, "later": {"schedule.warmup_epochs": 4}}
    scheduler = SchedulerConfig(reduction_factor=2)
    changed = {"arms": arms, "scheduler": scheduler}
    plan = make_search_plan(later().study.model_copy(update=changed), DIGESTS)
    decided = with_grace(plan, GracePeriod(epochs=4, note="before `later` was added"), DIGESTS)
    assert {group.arm: group.rungs for group in decided.groups} == {
        "full": (4, 8),
        "later": (8,),
    }
