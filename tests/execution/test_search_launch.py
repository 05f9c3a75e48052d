from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from dynaloss.design.plan import make_plan
from dynaloss.design.record import Outcome
from dynaloss.design.search_study import load_search
from dynaloss.design.study import load_study
from dynaloss.errors import InputError
from dynaloss.execution.launch import Workplace
from dynaloss.execution.search_launch import SearchSummary, launch_search
from dynaloss.tracking import open_store, read_records

pytestmark = pytest.mark.slow

_STUDY = """
study: tiny-search
trial:
  data: {source: digits, noise: {rate: 0.4}, n_max: 20, validation: {fraction: 0.25}}
  model: {name: mlp}
  loss: {corrector: {ranks: 10, per_class: false, warm_start: false}}
  schedule: {epochs: 4, warmup_epochs: 1, batch_size: 64, ramp_epochs: 1}
conditions: {data.noise.rate: [0.2, 0.6]}
space:
  optimizer.lr: {loguniform: [1e-3, 1]}
  loss.corrector.enabled: {choice: [true, false]}
  loss.corrector.ranks: {choice: [5, 10], when: {loss.corrector.enabled: true}}
search: {sampler: SAMPLER, trials: 4, startup_trials: 2}
scheduler: {name: asha, grace_epochs: 1, reduction_factor: 2, audit_fraction: 0.3}
confirm: {top: 1, seeds: [0]}
"""


@pytest.fixture
def study_file(tmp_path: Path) -> Callable[..., Path]:
    def write(sampler: str = "tpe", **replaced: str) -> Path:
        text = _STUDY.replace("SAMPLER", sampler)
        for old, new in replaced.items():
            text = text.replace(old, new)
        path = tmp_path / "study.yaml"
        path.write_text(text, encoding="utf-8")
        return path

    return write


def run_here(path: Path, storage: Path, *, sequential: bool = True) -> SearchSummary:
    study = load_search(path)
    workplace = Workplace(storage=storage, tracking_uri=f"sqlite:///{storage}/mlflow.db")
    return launch_search(
        study, workplace, Console(quiet=True), sequential=sequential, confirm=False
    )


def run_and_kill(path: Path, storage: Path, lines: int, *options: str) -> None:
    """Starts the command and kills it hard once the journal has so many lines."""
    command = [sys.executable, "-m", "dynaloss", "search", str(path), "--no-confirm", *options]
    command += ["--storage", str(storage), "--tracking-uri", f"sqlite:///{storage}/mlflow.db"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    journal = storage / "tiny-search" / "journal.jsonl"
    process = subprocess.Popen(
        command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        deadline = time.monotonic() + 200
        while not journal.exists() or journal.read_bytes().count(b"\n") < lines:
            assert process.poll() is None, "the search ended before it was killed"
            assert time.monotonic() < deadline
            time.sleep(0.005)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()


def outline(summary: SearchSummary) -> dict[str, Any]:
    values = summary.as_json()
    for name in ("seconds", "best"):
        values.pop(name)
    return json.loads(json.dumps(values))


def outcomes_by_key(storage: Path) -> list[tuple[str, Outcome]]:
    store = open_store(f"sqlite:///{storage}/mlflow.db", storage)
    return [(record.key, record.outcome) for record in read_records(store, "tiny-search")]


def test_killed_at_three_moments_a_search_ends_as_if_never_killed(
    study_file: Callable[..., Path], tmp_path: Path
) -> None:
    path = study_file()
    whole = run_here(path, tmp_path / "whole")
    for lines in (2, 9, 16):
        run_and_kill(path, tmp_path / "cut", lines, "--sequential")
    cut = run_here(path, tmp_path / "cut")
    assert outline(cut) == outline(whole)
    stored = outcomes_by_key(tmp_path / "cut")
    assert Counter(key for key, _ in stored) == Counter(trial.key for trial in whole.trials)
    assert dict(stored) == {trial.key: trial.outcome for trial in whole.trials}
    assert {trial.outcome for trial in whole.trials} == {Outcome.COMPLETED, Outcome.PRUNED}


@pytest.mark.ray
def test_killed_with_ray_no_trial_is_lost_or_run_twice(
    study_file: Callable[..., Path], tmp_path: Path
) -> None:
    path, storage = study_file(), tmp_path / "ray"
    run_and_kill(path, storage, 12)
    before = {
        json.loads(line)["key"]
        for line in (storage / "tiny-search" / "journal.jsonl").read_text().splitlines()
        if '"event": "end"' in line
    }
    summary = run_here(path, storage, sequential=False)
    assert len(summary.trials) == 8
    stored = outcomes_by_key(storage)
    assert dict(stored) == {trial.key: trial.outcome for trial in summary.trials}
    assert len(stored) == 8
    ends = [
        json.loads(line)["key"]
        for line in (storage / "tiny-search" / "journal.jsonl").read_text().splitlines()
        if '"event": "end"' in line
    ]
    assert before
    assert sorted(ends) == sorted(trial.key for trial in summary.trials)


def test_pruned_trials_are_killed_with_epoch_and_rung(
    study_file: Callable[..., Path], tmp_path: Path
) -> None:
    summary = run_here(study_file(), tmp_path)
    store = open_store(f"sqlite:///{tmp_path}/mlflow.db", tmp_path)
    records = {record.key: record for record in read_records(store, "tiny-search")}
    pruned = [trial for trial in summary.trials if trial.outcome is Outcome.PRUNED]
    assert pruned
    for trial in pruned:
        tags = records[trial.key].tags
        run = store.client.get_run(records[trial.key].run_id)
        assert run.info.status == "KILLED"
        assert f"epoch {trial.last_epoch}, rung {trial.last_epoch}" in tags["dynaloss.message"]
        assert tags["dynaloss.rung"] == str(trial.last_epoch)
        assert tags["dynaloss.group"] == trial.group.name
        assert json.loads(tags["dynaloss.suggested"]) == dict(trial.chosen)


def test_the_winners_make_a_study_that_plans(
    study_file: Callable[..., Path], tmp_path: Path
) -> None:
    summary = run_here(study_file(), tmp_path)
    assert summary.best is not None
    study = load_study(summary.best)
    plan = make_plan(study, {"digits": "d"})
    assert study.study == "tiny-search-best"
    assert len(plan.trials) == 2
    for trial, group in zip(plan.trials, summary.as_json()["groups"], strict=True):
        (winner,) = group["winners"]
        assert trial.config.optimizer.lr == winner["settings"]["optimizer.lr"]
        assert trial.config.data.validation.fraction == 0


def test_more_trials_extend_a_search_and_other_settings_are_refused(
    study_file: Callable[..., Path], tmp_path: Path
) -> None:
    first = run_here(study_file(), tmp_path)
    longer = run_here(study_file(**{"trials: 4": "trials: 5"}), tmp_path)
    assert [t.key for t in longer.trials][:8] == [t.key for t in first.trials]
    assert len(longer.trials) == 10
    with pytest.raises(InputError, match="begun with another scheduler"):
        run_here(study_file(**{"reduction_factor: 2": "reduction_factor: 3"}), tmp_path)


@pytest.mark.parametrize("sampler", ["random", "qmc", "gp", "nsgaii", "tpe"])
def test_samplers_repeat_themselves(
    study_file: Callable[..., Path], tmp_path: Path, sampler: str
) -> None:
    path = study_file(sampler, **{"[0.2, 0.6]": "[0.2]", "epochs: 4": "epochs: 2"})
    once, again = (run_here(path, tmp_path / name) for name in ("one", "two"))
    assert [t.chosen for t in once.trials] == [t.chosen for t in again.trials]
    assert len({str(t.chosen) for t in once.trials}) > 1


def test_an_earlier_search_gives_the_first_suggestions(
    study_file: Callable[..., Path], tmp_path: Path
) -> None:
    earlier = run_here(study_file(), tmp_path)
    best = {g["group"]: g["winners"][0]["settings"] for g in earlier.as_json()["groups"]}
    started = study_file(
        **{"study: tiny-search": "study: later", "search: {": "search: {start_from: tiny-search, "}
    )
    later = run_here(started, tmp_path)
    for group, settings in best.items():
        first = next(t for t in later.trials if t.group.name == group and t.number == 0)
        assert dict(first.chosen) == settings
