"""What the tracking store is given of a launch, in order."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from dynaloss.config.limits import LimitsConfig
from dynaloss.config.search import Objective
from dynaloss.errors import InputError
from dynaloss.execution.delivery import Delivery
from dynaloss.execution.progress import Progress, cost_of
from dynaloss.execution.recording import MODEL, Recorder
from dynaloss.execution.trial.live import LiveTrial
from dynaloss.execution.trial.runner import model_file
from dynaloss.studies import load_study
from dynaloss.studies.plan import make_plan
from dynaloss.studies.trial_record import Outcome, TrialRecord
from dynaloss.tracking import Outbox, TrialState


class Run:
    """Stands in for the study's run in the store, and notes what is written."""

    def __init__(self) -> None:
        self.calls: list[tuple[Any, ...]] = []

    def begin_trial(self, key: str, **rest: Any) -> None:
        self.calls.append(("begin", key))

    def log_data(self, key: str, record: dict[str, Any]) -> None:
        self.calls.append(("data", key, record))

    def tag_environment(self, key: str, environment: dict[str, str]) -> None:
        self.calls.append(("environment", key, environment))

    def log_report(self, key: str, epoch: int, metrics: dict[str, float]) -> None:
        if "disk/artifacts_mib" not in metrics:
            self.calls.append(("report", key, epoch, metrics))

    def log_artifacts(self, key: str, folder: Path) -> None:
        self.calls.append(("files", key, sorted(path.name for path in folder.iterdir())))

    def tag_trial(self, key: str, tags: dict[str, Any]) -> None:
        pass

    def flush(self) -> None:
        pass

    def __contains__(self, key: str) -> bool:
        return any(key == begun for _, begun, *_ in self.calls)

    def end_trial(self, key: str, outcome: Outcome, message: str = "") -> None:
        self.calls.append(("end", key, outcome, message))

    def of(self, live: LiveTrial) -> list[tuple[Any, ...]]:
        return [(name, *rest) for name, key, *rest in self.calls if key == live.key]


@pytest.fixture
def run() -> Run:
    return Run()


@pytest.fixture
def trials() -> list[LiveTrial]:
    plan = make_plan(load_study("quickstart"), {"digits": "digest"})
    return [LiveTrial(trial=trial) for trial in plan.trials[:3]]


@pytest.fixture
def progress(trials: list[LiveTrial]) -> Progress:
    return Progress(
        Console(file=io.StringIO()),
        Objective("test/accuracy", "max"),
        waiting=[cost_of(live.trial) for live in trials],
        done=0,
        slots=1,
    )


@pytest.fixture
def outbox(run: Run, tmp_path: Path) -> Iterator[Outbox]:
    delivery = Delivery(run, None, tmp_path, tmp_path)
    with Outbox(tmp_path / "waiting.jsonl", delivery) as outbox:
        yield outbox


@pytest.fixture
def recorder(
    outbox: Outbox, trials: list[LiveTrial], progress: Progress, tmp_path: Path
) -> Recorder:
    return Recorder(outbox, tmp_path, progress, trials, checkpoints=tmp_path)


def test_a_trial_is_written_from_its_start_to_its_end(
    recorder: Recorder, run: Run, trials: list[LiveTrial], tmp_path: Path
) -> None:
    live = trials[0]
    checkpoint = tmp_path / f"{live.key}.pt"
    checkpoint.touch()
    with recorder:
        recorder.begun(live)
        live.reports[1] = {"test/accuracy": 0.5}
        recorder.reported(live)
        live.outcome = Outcome.COMPLETED
        recorder.ended(live)
    assert run.of(live) == [
        ("begin",),
        ("report", 1, {"test/accuracy": 0.5}),
        ("files", ["config.json"]),
        ("end", Outcome.COMPLETED, ""),
    ]
    assert not checkpoint.exists()


def test_trials_without_an_end_are_interrupted_and_keep_their_checkpoint(
    recorder: Recorder, run: Run, trials: list[LiveTrial], tmp_path: Path
) -> None:
    begun, waiting, _ = trials
    checkpoint = tmp_path / f"{begun.key}.pt"
    checkpoint.touch()
    with recorder:
        recorder.begun(begun)
    assert {live.outcome for live in trials} == {Outcome.INTERRUPTED}
    assert run.of(begun)[-1] == ("end", Outcome.INTERRUPTED, "")
    assert run.of(waiting) == []
    assert checkpoint.exists()


def test_a_failure_before_the_start_is_written(
    recorder: Recorder, run: Run, trials: list[LiveTrial]
) -> None:
    live = trials[0]
    with recorder:
        live.outcome, live.message = Outcome.FAILED, "lost"
        recorder.ended(live)
    assert run.of(live)[0] == ("begin",)
    assert run.of(live)[-2:] == [
        ("files", ["config.json", "error.txt"]),
        ("end", Outcome.FAILED, "lost"),
    ]


def test_ends_that_a_kill_kept_from_the_store_are_written_with_all_that_is_known(
    recorder: Recorder, run: Run, trials: list[LiveTrial]
) -> None:
    stored, lost, unfinished = trials
    for live in (stored, lost):
        live.outcome = Outcome.PRUNED
    lost.data, lost.reports = {"source": "digits"}, {1: {"loss": 2.0}, 2: {"loss": 1.0}}
    lost.environment = {"threads": "1"}
    with recorder:
        recorder.catch_up({stored.key: TrialState("r", Outcome.PRUNED, 2)})
    assert run.of(stored) == run.of(unfinished) == []
    assert run.of(lost)[0] == ("begin",)
    assert run.of(lost)[-1] == ("end", Outcome.PRUNED, "")
    written = [call for call in run.of(lost) if call[0] in ("data", "environment", "report")]
    assert sorted(written, key=str) == [
        ("data", {"source": "digits"}),
        ("environment", {"threads": "1"}),
        ("report", 1, {"loss": 2.0}),
        ("report", 2, {"loss": 1.0}),
    ]


def test_a_write_that_fails_is_raised_at_the_end(
    recorder: Recorder, run: Run, trials: list[LiveTrial], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(**arguments: Any) -> None:
        raise OSError("no store")

    monkeypatch.setattr(run, "end_trial", refuse)
    recorder.begun(trials[0])
    trials[0].outcome = Outcome.COMPLETED
    recorder.ended(trials[0])
    with pytest.raises(OSError, match="no store"):
        recorder.__exit__(None, None, None)


@pytest.mark.parametrize(
    ("artifacts", "kept"),
    [("all", [True, True, True]), ("best", [True, False, True]), ("none", [False] * 3)],
)
def test_what_was_learned_is_kept_of_the_trials_that_the_limit_names(
    outbox: Outbox, run: Run, progress: Progress, tmp_path: Path, artifacts: Any, kept: list[bool]
) -> None:
    study = load_study({"study": "s", "trial": {}, "arms": {"a": {}}, "seeds": [0, 1, 2]})
    trials = [LiveTrial(trial=trial) for trial in make_plan(study, {"digits": "digest"}).trials]
    with Recorder(
        outbox,
        tmp_path,
        progress,
        trials,
        checkpoints=tmp_path,
        limits=LimitsConfig(artifacts=artifacts),
    ) as recorder:
        for live, accuracy in zip(trials, (0.5, 0.4, 0.6), strict=True):
            recorder.begun(live)
            live.reports[1] = {"test/accuracy": accuracy}
            live.outcome = Outcome.COMPLETED
            live.diagnostics = {"confusion": {"matrix": [[1, 0], [0, 1]]}}
            recorder.ended(live)
    files = [names for name, _, names in (c for c in run.calls if c[0] == "files")]
    assert ["confusion.json" in names for names in files] == kept
    drawn = [artifacts != "none" and is_best for is_best in (True, False, True)]
    assert ["confusion.png" in names for names in files] == drawn
    assert all("config.json" in names for names in files)


@pytest.mark.parametrize(("models", "kept"), [("best", [1]), ("all", [1, 2])])
def test_classifiers_of_completed_trials_alone_are_kept(
    outbox: Outbox, run: Run, progress: Progress, tmp_path: Path, models: Any, kept: list[int]
) -> None:
    """A trial that was stopped early had a higher accuracy, and left a file."""
    study = load_study({"study": "s", "trial": {}, "arms": {"a": {}}, "seeds": [0, 1, 2]})
    trials = [LiveTrial(trial=trial) for trial in make_plan(study, {"digits": "digest"}).trials]
    limits = LimitsConfig(models=models)
    with Recorder(
        outbox, tmp_path, progress, trials, checkpoints=tmp_path, limits=limits
    ) as recorder:
        ends = (Outcome.PRUNED, 0.7), (Outcome.COMPLETED, 0.6), (Outcome.COMPLETED, 0.5)
        for live, (outcome, accuracy) in zip(trials, ends, strict=True):
            recorder.begun(live)
            live.reports[1], live.outcome = {"test/accuracy": accuracy}, outcome
            model_file(tmp_path, live.key).write_bytes(b"weights")
            recorder.ended(live)
    files = [names for name, _, names in (c for c in run.calls if c[0] == "files")]
    assert [place for place, names in enumerate(files) if MODEL in names] == kept
    assert not [*tmp_path.glob("*.safetensors")]


def test_figures_are_drawn_of_what_is_better_than_earlier_launches(
    outbox: Outbox, run: Run, progress: Progress, tmp_path: Path
) -> None:
    study = load_study({"study": "s", "trial": {}, "arms": {"a": {}}, "seeds": [0, 1, 2]})
    trials = [LiveTrial(trial=trial) for trial in make_plan(study, {"digits": "digest"}).trials]
    first = trials[0].trial
    stored = [
        TrialRecord(
            study="quickstart",
            key="k",
            run_id="r",
            condition=condition,
            arm=arm,
            seed=0,
            outcome=outcome,
            metrics={"test/accuracy": value},
        )
        for condition, arm, outcome, value in [
            (first.condition, first.arm, Outcome.COMPLETED, 0.5),
            (first.condition, first.arm, Outcome.FAILED, 0.9),
            ("another", first.arm, Outcome.COMPLETED, 0.9),
            (first.condition, "another", Outcome.COMPLETED, 0.9),
        ]
    ]
    for live, accuracy in zip(trials, (0.5, 0.6, 0.55), strict=True):
        live.reports[1] = {"test/accuracy": accuracy}
        live.outcome = Outcome.COMPLETED
        live.diagnostics = {"confusion": {"matrix": [[1, 0], [0, 1]]}}
    with Recorder(
        outbox, tmp_path, progress, trials, checkpoints=tmp_path, earlier=stored
    ) as recorder:
        for live in trials:
            recorder.ended(live)
    files = [names for name, _, names in (c for c in run.calls if c[0] == "files")]
    assert ["confusion.png" in names for names in files] == [False, True, False]


def test_a_record_touches_nothing_outside_its_folder(run: Run, tmp_path: Path) -> None:
    inside, outside = tmp_path / "files", tmp_path / "outside"
    inside.mkdir()
    outside.mkdir()
    delivery = Delivery(run, None, inside, tmp_path)
    delivery.deliver("log_artifacts", {"key": None, "folder": "../outside"})
    assert outside.is_dir()
    with pytest.raises(InputError, match="record must be one of"):
        delivery.deliver("leave_open", {})
