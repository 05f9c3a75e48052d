from __future__ import annotations

import io
import json
import multiprocessing
import os
import re
import runpy
import shutil
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from dynaloss.api.search import Search
from dynaloss.data.sources import load_source
from dynaloss.data.splits import make_splits
from dynaloss.errors import InputError
from dynaloss.execution.doctor import relocate
from dynaloss.execution.search.conclusion import SearchSummary
from dynaloss.execution.search.launching import launch_search
from dynaloss.learning.streams import Streams
from dynaloss.studies.loading import load_search, load_study
from dynaloss.studies.plan import make_plan
from dynaloss.studies.trial_record import Outcome
from dynaloss.tracking import Workspace

pytestmark = pytest.mark.xdist_group("search_launch")

_STUDY = """
study: tiny-search
trial:
  data: {source: digits, noise: {rate: 0.4}, n_max: 20, validation: {fraction: 0.25}}
  model: {name: mlp}
  loss: {corrector: {ranks: 10, per_class: false, warm_start: false}}
  schedule: {epochs: 6, warmup_epochs: 0, batch_size: 64, ramp_epochs: 0}
conditions: {data.noise.rate: [0.2, 0.6]}
space:
  optimizer.lr: {loguniform: [1e-3, 1]}
  loss.corrector.enabled: {choice: [true, false]}
  loss.corrector.ranks: {choice: [5, 10], when: {loss.corrector.enabled: true}}
search: {sampler: tpe, trials: 4, startup_trials: 2, race: {top: 2, seeds: [100]}}
scheduler: {name: asha, grace_epochs: 1, reduction_factor: 2, audit_fraction: 0.3}
confirm: {top: 1, seeds: [1]}
"""


def write_study(folder: Path, **replaced: str) -> Path:
    text = _STUDY
    for old, new in replaced.items():
        text = text.replace(old, new)
    path = folder / "study.yaml"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def make_storage(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Storage folders with an empty database, which takes MLflow seconds to make."""
    empty = tmp_path_factory.mktemp("empty")
    Workspace(empty, f"sqlite:///{empty}/mlflow.db").open_store()

    def make(name: str) -> Path:
        storage = tmp_path_factory.mktemp(name)
        shutil.copy(empty / "mlflow.db", storage)
        return storage

    return make


@pytest.fixture(scope="module")
def finished(
    make_storage: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory
) -> tuple[SearchSummary, Path]:
    """A search that ran to its end without interruption, and its storage."""
    storage = make_storage("finished")
    return run_here(write_study(tmp_path_factory.mktemp("file")), storage), storage


def run_here(
    path: Path, storage: Path, *, in_process: bool = True, console: Console | None = None
) -> SearchSummary:
    study = load_search(path)
    workspace = Workspace(storage, f"sqlite:///{storage}/mlflow.db")
    return launch_search(
        study, workspace, console or Console(quiet=True), in_process=in_process, confirm=False
    )


def start(*arguments: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "dynaloss", *arguments],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def fork(*arguments: str) -> multiprocessing.process.BaseProcess:
    """Starts the command in a process of its own that need not import everything anew."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["dynaloss.execution.search.launching", "mlflow"])
    process = context.Process(
        target=runpy.run_module, args=("dynaloss",), kwargs={"run_name": "__main__"}
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["dynaloss", *arguments])  # the child takes it over
        process.start()
    return process


def kill_once_begun(
    process: subprocess.Popen[bytes] | multiprocessing.process.BaseProcess,
    storage: Path,
    lines: int,
) -> None:
    """Kills a search hard once its journal has so many lines."""
    journal = storage / "tiny-search" / "journal.jsonl"
    deadline = time.monotonic() + 200
    try:
        while not journal.exists() or journal.read_bytes().count(b"\n") < lines:
            code = process.poll() if isinstance(process, subprocess.Popen) else process.exitcode
            assert code is None, "the search ended before it was killed"
            assert time.monotonic() < deadline
            time.sleep(0.005)
    finally:
        process.kill()
        process.wait() if isinstance(process, subprocess.Popen) else process.join()


def search_options(path: Path, storage: Path) -> list[str]:
    uri = f"sqlite:///{storage}/mlflow.db"
    return [str(path), "--no-confirm", "--storage", str(storage), "--tracking-uri", uri]


def outline(summary: SearchSummary) -> dict[str, Any]:
    values = summary.as_json()
    for name in ("seconds", "best"):
        values.pop(name)
    return json.loads(json.dumps(values))


def outcomes_by_key(storage: Path) -> list[tuple[str, Outcome]]:
    store = Workspace(storage, f"sqlite:///{storage}/mlflow.db").open_store()
    return [(record.key, record.outcome) for record in store.records("tiny-search")]


@pytest.mark.slow
def test_a_search_killed_three_times_ends_as_if_never_killed(
    finished: tuple[SearchSummary, Path], make_storage: Callable[[str], Path], tmp_path: Path
) -> None:
    whole, _ = finished
    path, storage = write_study(tmp_path), make_storage("cut")
    for lines in (2, 9, 16):
        process = fork("search", *search_options(path, storage), "--sequential")
        kill_once_begun(process, storage, lines)
    cut = run_here(path, storage)
    assert outline(cut) == outline(whole)
    stored = outcomes_by_key(storage)
    assert Counter(key for key, _ in stored) == Counter(trial.key for trial in whole.trials)
    assert dict(stored) == {trial.key: trial.outcome for trial in whole.trials}
    assert {trial.outcome for trial in whole.trials} == {Outcome.COMPLETED, Outcome.PRUNED}


def cut_in_half(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def change_a_value(path: Path) -> None:
    with closing(sqlite3.connect(path)) as database, database:
        database.execute("update trial_params set param_value = param_value * 1.01")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("damage", "is_told"),
    [(Path.unlink, False), (cut_in_half, True), (change_a_value, True)],
    ids=["deleted", "cut in half", "a value changed"],
)
def test_optunas_file_is_made_anew_from_the_journal(
    finished: tuple[SearchSummary, Path],
    make_storage: Callable[[str], Path],
    tmp_path: Path,
    damage: Callable[[Path], None],
    is_told: bool,
) -> None:
    path, storage = write_study(tmp_path), make_storage("damaged")
    kill_once_begun(fork("search", *search_options(path, storage), "--sequential"), storage, 16)
    file = storage / "tiny-search" / "optuna.db"
    damage(file)
    told = io.StringIO()
    whole = run_here(path, storage, console=Console(file=told))
    assert outline(whole) == outline(finished[0])
    assert (str(file) + ".damaged" in told.getvalue()) is is_told


@pytest.mark.slow
@pytest.mark.ray
def test_no_trial_is_lost_or_rerun_after_a_kill_with_ray(
    make_storage: Callable[[str], Path], tmp_path: Path
) -> None:
    promotion = {"name: asha": "name: promotion", ", audit_fraction: 0.3": ""}
    path, storage = write_study(tmp_path, **promotion), make_storage("ray")
    kill_once_begun(start("search", *search_options(path, storage)), storage, 20)
    summary = run_here(path, storage, in_process=False)
    assert len(summary.trials) == 2 * (4 + 2)  # a race of two with one seed
    stored = outcomes_by_key(storage)
    assert dict(stored) == {trial.key: trial.outcome for trial in summary.trials}
    assert len(stored) == len(summary.trials)
    ends = [
        json.loads(line)["key"]
        for line in (storage / "tiny-search" / "journal.jsonl").read_text().splitlines()
        if '"event": "end"' in line
    ]
    assert sorted(ends) == sorted(trial.key for trial in summary.trials)


def test_runs_of_pruned_trials_hold_epoch_and_rung(
    finished: tuple[SearchSummary, Path],
) -> None:
    summary, storage = finished
    store = Workspace(storage, f"sqlite:///{storage}/mlflow.db").open_store()
    records = {record.key: record for record in store.records("tiny-search")}
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


def test_a_trial_names_its_data_and_holds_its_files(
    finished: tuple[SearchSummary, Path],
) -> None:
    summary, storage = finished
    store = Workspace(storage, f"sqlite:///{storage}/mlflow.db").open_store()
    run_ids = {record.key: record.run_id for record in store.records("tiny-search")}
    digests: dict[tuple[str, int | None], set[str]] = {}
    drawn = 0
    for trial in summary.trials:
        run = store.client.get_run(run_ids[trial.key])
        inputs = {it.tags[0].value: it.dataset for it in run.inputs.dataset_inputs}
        assert inputs.keys() == {"train", "validation", "test"}
        seen = digests.setdefault((trial.group.condition, trial.race_seed), set())
        seen.add(inputs["train"].digest)
        files = {it.path for it in store.client.list_artifacts(run.info.run_id)}
        assert "config.json" in files
        assert ({"confusion.json", "data.json"} <= files) is (trial.outcome is Outcome.COMPLETED)
        drawn += "confusion.png" in files
        assert run.data.metrics["disk/artifacts_mib"] > 0
    assert len(summary.groups) <= drawn < len(summary.trials)
    # All trials of a condition see the same data, and those of a race their own.
    assert {len(found) for found in digests.values()} == {1}
    assert len(set.union(*digests.values())) == len(digests) > 2


def test_the_winners_make_a_valid_study(finished: tuple[SearchSummary, Path]) -> None:
    summary, _ = finished
    assert summary.best is not None
    study = load_study(summary.best)
    plan = make_plan(study, {"digits": "d"})
    assert study.study == "tiny-search-best"
    tuned = [trial for trial in plan.trials if trial.arm == "full"]
    for trial, group in zip(tuned, summary.as_json()["groups"], strict=True):
        (winner,) = group["winners"]
        assert trial.config.optimizer.lr == winner["settings"]["optimizer.lr"]
        assert trial.config.data.validation.fraction == 0


def test_the_confirmation_tests_on_what_the_search_kept_for_the_test(
    finished: tuple[SearchSummary, Path],
) -> None:
    summary, _ = finished
    confirmed = make_plan(load_study(summary.best or ""), {"digits": "d"}).trials[0]
    searched = summary.trials[0].trial
    assert confirmed.seed != searched.seed
    source = load_source(searched.config.data)
    tests, others = (
        make_splits(source, t.config.data, Streams(base_seed=t.base_seed, seed=t.seed)).positions
        for t in (confirmed, searched)
    )
    assert np.array_equal(tests["test"], others["test"])
    assert not np.isin(tests["test"], [*others["train"], *others["validation"]]).any()


def test_rules_are_shown_for_noisy_and_clean_validation(
    finished: tuple[SearchSummary, Path],
) -> None:
    for group in finished[0].as_json()["groups"]:
        used = {row["rule"]: row["clean_labels"] for row in group["selection"]}
        # 10 classes of 20 images, a quarter of each observed class held out.
        assert used.pop("noisy validation, last epoch") == 0
        assert used.pop("noisy validation, best epoch") == 0
        assert used.pop("clean validation, last epoch") == pytest.approx(50, abs=5)
        assert used.pop("clean validation, best epoch") == pytest.approx(50, abs=5)
        assert used == {"oracle on test (an upper bound, never a result)": 450}


def test_the_page_holds_rules_and_figures(finished: tuple[SearchSummary, Path]) -> None:
    summary, storage = finished
    page = (storage / "tiny-search" / "search.html").read_text()
    for group in summary.plan.groups:
        assert f"<h2>{group.name}</h2>" in page
    assert page.count("clean validation, best epoch") == 2
    assert page.count("data:image/png;base64,") >= 1
    assert not re.search(r'(src|href)="(?!data:)', page)


def test_mlflows_page_of_a_search_describes_it(finished: tuple[SearchSummary, Path]) -> None:
    summary, storage = finished
    client = Workspace(storage, f"sqlite:///{storage}/mlflow.db").open_store().client
    note = client.get_experiment_by_name("tiny-search").tags["mlflow.note.content"]
    lines = note.splitlines()[1:-3]  # before the winners were written, and the time was known
    assert lines[0] == summary.as_text().partition(" in 0:")[0]
    assert len(lines) > 8
    assert lines[1:] == summary.as_text().splitlines()[1 : len(lines)]


def test_more_trials_extend_a_search_and_other_settings_are_refused(
    finished: tuple[SearchSummary, Path], tmp_path: Path
) -> None:
    first, storage = finished
    copy = tmp_path / "copy"
    shutil.copytree(storage, copy)
    assert len(list(relocate(Workspace(copy)))) == 1
    longer = run_here(write_study(tmp_path, **{"trials: 4": "trials: 5"}), copy)
    before, after = (
        [t.key for t in found.trials if t.race_seed is None] for found in (first, longer)
    )
    assert after[:8] == before
    assert len(after) == 10
    with pytest.raises(InputError, match=r"another scheduler\b.*`search\.trials`"):
        run_here(write_study(tmp_path, **{"reduction_factor: 2": "reduction_factor: 3"}), copy)
    wide = write_study(tmp_path, **{"\nstudy:": "\nresources: {cpu: 2}\nstudy:"})
    with pytest.raises(InputError, match=r"another number of threads\b"):
        run_here(wide, copy)


def test_an_earlier_search_gives_the_first_suggestions(
    finished: tuple[SearchSummary, Path], tmp_path: Path
) -> None:
    earlier, storage = finished
    best = {found.group.name: dict(found.winners[0].chosen) for found in earlier.groups}
    started = write_study(
        tmp_path,
        **{
            "study: tiny-search": "study: later",
            "search: {": "search: {start_from: tiny-search, untuned_first: false, ",
            "trials: 4": "trials: 1",
        },
    )
    later = run_here(started, storage)
    assert {t.group.name: dict(t.chosen) for t in later.trials} == best


_SHORT = {
    "conditions: {data.noise.rate: [0.2, 0.6]}\n": "",
    "race: {top: 2, seeds: [100]}": "race: null",
    "trials: 4": "trials: 8",
}


def test_the_grace_period_by_an_earlier_search_is_decided_once(
    make_storage: Callable[[str], Path], tmp_path: Path
) -> None:
    storage = make_storage("grace")
    to_the_end = {
        "{name: asha, grace_epochs: 1, reduction_factor: 2, audit_fraction: 0.3}": "{name: none}"
    }
    auto = {
        "study: tiny-search": "study: later",
        "search: {": "search: {start_from: tiny-search, ",
        "grace_epochs: 1": "grace_epochs: auto",
    }
    later = write_study(tmp_path, **{**_SHORT, **auto})
    with pytest.raises(InputError, match="no search 'tiny-search'"):
        run_here(later, storage)
    earlier = run_here(write_study(tmp_path, **_SHORT, **to_the_end), storage)
    later = write_study(tmp_path, **{**_SHORT, **auto, "trials: 4": "trials: 2"})
    workspace = Workspace(storage, f"sqlite:///{storage}/mlflow.db")
    planned = Search(load_search(later)).plan(workspace)
    found = run_here(later, storage)
    grace = found.plan.groups[0].rungs[0]
    assert grace == earlier.telling_epoch
    assert planned.hash == found.plan.hash
    assert [note for note in planned.notes if note.startswith(f"grace_epochs: {grace}, by 8 ")]
    assert f"note: grace_epochs: {grace}, by 8 trials recorded in 'tiny-search'" in found.as_text()
    assert found.as_json()["notes"] == list(found.plan.notes)
    assert all(grace in trial.rungs for trial in found.trials)

    (storage / "tiny-search" / "journal.jsonl").unlink()
    longer = run_here(
        write_study(tmp_path, **{**_SHORT, **auto, "trials: 4": "trials: 3"}), storage
    )
    assert longer.plan.groups[0].rungs == found.plan.groups[0].rungs
    assert longer.plan.grace == found.plan.grace
    assert len(longer.trials) == 3
