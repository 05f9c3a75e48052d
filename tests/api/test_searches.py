"""Searches from Python, against what they write and what the command line compares."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

import dynaloss
from dynaloss import Search, SearchSummary, Study

pytestmark = pytest.mark.xdist_group("searches")


@pytest.fixture(scope="module")
def search(small: dict[str, Any]) -> Search:
    data = {**small["trial"]["data"], "validation": {"fraction": 0.25}}
    return Search.load(
        {
            "study": "small-search",
            "trial": small["trial"] | {"data": data},
            "conditions": small["conditions"],
            "space": {
                "optimizer.lr": {"loguniform": [1e-3, 1]},
                "loss.margin.enabled": {"choice": [True, False]},
            },
            "search": {"sampler": "random", "trials": 4, "race": None},
            "scheduler": {"name": "none"},
            "confirm": {"top": 1, "seeds": [1, 2]},
        }
    )


@pytest.fixture(scope="module")
def make_storage(
    empty_storage: Path, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[], Path]:
    def make() -> Path:
        return shutil.copytree(empty_storage, tmp_path_factory.mktemp("storage") / "results")

    return make


@pytest.fixture(scope="module")
def found(search: Search, make_storage: Callable[[], Path]) -> SearchSummary:
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        return dynaloss.search(search, make_storage(), in_process=True, progress=False)


def test_a_frame_has_the_trials_of_the_journal(found: SearchSummary) -> None:
    assert found.workspace is not None
    journal = found.workspace.folder("small-search") / "journal.jsonl"
    events = [json.loads(line) for line in journal.read_text().splitlines()]
    begun = [event for event in events if event.get("event") == "begin"]
    frame = found.to_frame()
    assert len(frame) == len(begun) == 8
    for event in begun:
        name = frame["arm"] + " · " + frame["condition"]
        (row,) = frame[(name == event["group"]) & (frame["number"] == event["number"])].iloc
        assert {key: row[key] for key in event["chosen"]} == event["chosen"]
        reports = [e for e in events if e.get("event") == "report" and e["key"] == row["key"]]
        assert row["epochs"] == len(reports)
        last = reports[-1]["metrics"]["val/balanced_accuracy"]
        assert row["val/balanced_accuracy"] == last
        curve = found.curves("train/loss")
        own = curve[curve["key"] == row["key"]]["train/loss"].tolist()
        assert own == [report["metrics"]["train/loss"] for report in reports]


def test_the_best_settings_are_those_of_its_file(found: SearchSummary) -> None:
    assert found.best is not None
    entries = yaml.safe_load(found.best.read_text())["tuned"]
    assert [*found.best_settings.values()] == [entry["settings"] for entry in entries]
    assert [arm for _, arm in found.best_settings] == ["full", "full"]


def test_the_confirmation_compares_the_winners(found: SearchSummary) -> None:
    confirmed = found.confirmation
    assert confirmed is not None
    assert (
        confirmed.comparisons
        == dynaloss.compare("small-search", workspace=found.workspace).comparisons
    )
    assert len(confirmed.to_frame()) == 2 * 2 * 2  # conditions, seeds; tuned and not
    assert found._repr_html_().count("<table") == 2


def test_the_winners_are_set_against_the_untuned_trial_and_the_best_baseline(
    found: SearchSummary,
) -> None:
    assert found.confirmation is not None
    frame = found.confirmation.to_frame()
    means = frame.groupby(["arm", "seed"])["test/accuracy"].mean().unstack("arm")
    gain = 100 * (means["full"] - means["untuned"]).mean()
    tuned, cost = found.worth
    assert tuned.startswith(f"full against untuned: all conditions {gain:+.1f} [")
    epochs = sum(trial.last_epoch for trial in found.trials)
    assert cost.startswith(f"cost: {epochs} epochs, ")


def test_without_a_confirmation_there_is_none(
    search: Search, make_storage: Callable[[], Path]
) -> None:
    only = search.with_(search={"sampler": "random", "trials": 1}, scheduler={"name": "none"})
    found = only.run(make_storage(), confirm=False, in_process=True, progress=False)
    assert (found.confirmation, found.exit_status) == (None, 0)
    assert len(found.to_frame()) == 2
    assert "2 of 2 trials completed" in found._repr_html_()


def test_the_plan_of_a_search_has_a_row_for_every_group(search: Search) -> None:
    frame = search.plan().to_frame()
    assert frame["condition"].tolist() == ["symmetric 0.2 · IR 1", "symmetric 0.4 · IR 1"]
    assert frame["trials"].tolist() == [4, 4]
    assert "at most 24 epochs" in search.plan()._repr_html_()


def test_arms_are_searched_before_a_study_tuned_per_arm_runs(
    small: dict[str, Any], make_storage: Callable[[], Path]
) -> None:
    study = Study.load(small).with_(
        conditions={},
        seeds=[0],
        ablation={"components": ["margin"], "tuning": "per_arm"},
        tuning={
            "space": {"optimizer.lr": {"choice": [0.01, 0.05]}},
            "search": {"sampler": "grid", "trials": 2, "race": None},
            "scheduler": {"name": "none"},
        },
    )
    storage = make_storage()
    untuned = {trial.key for trial in study.plan(storage).trials}
    run = study.run(storage, in_process=True, progress=False)
    assert run.exit_status == 0
    assert run.tuning is not None
    best = {
        arm: settings["optimizer.lr"] for (_, arm), settings in run.tuning.best_settings.items()
    }
    rates = run.to_frame().set_index("arm")["optimizer.lr"].to_dict()
    assert rates == best
    assert run.plan.trials == study.plan(storage).trials
    assert untuned.isdisjoint(trial.key for trial in run.plan.trials)
    assert run.as_text().startswith("search small-tuning: 4 of 4 trials completed")
