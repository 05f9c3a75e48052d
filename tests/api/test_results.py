"""What a run and a comparison hold, against MLflow's own search and the command line."""

from __future__ import annotations

import signal
from html.parser import HTMLParser
from itertools import chain
from pathlib import Path
from typing import Any

import mlflow
import pytest
from click.testing import CliRunner

import dynaloss
from dynaloss import AblationSummary, InputError, Study
from dynaloss.cli.main import main
from dynaloss.execution.trial.runner import StepResult, TrialRunner

pytestmark = pytest.mark.xdist_group("api")

_SUFFIX_OF = {
    "table": ".txt",
    "markdown": ".md",
    "latex": ".tex",
    "csv": ".csv",
    "json": ".json",
}


def command_line(*arguments: str) -> str:
    done = CliRunner().invoke(main, arguments, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.stdout


@pytest.fixture
def stored(run: AblationSummary, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The trials as MLflow's own search finds them, by key."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", run.workspace.store_uri)
    runs = mlflow.search_runs(experiment_names=["small"])
    return runs[runs["tags.dynaloss.role"] == "trial"].set_index("tags.dynaloss.key")


def test_a_frame_holds_what_mlflow_holds(run: AblationSummary, stored: Any) -> None:
    frame = run.to_frame().set_index("key")
    assert {*frame.index} == {*stored.index} == {trial.key for trial in run.plan.trials}
    for key, row in frame.iterrows():
        same = stored.loc[key]
        assert row["test/accuracy"] == same["metrics.test/accuracy"]
        assert row["data.noise.rate"] == float(same["params.data.noise.rate"])
        assert row["loss.margin.enabled"] == (same["params.loss.margin.enabled"] == "True")
        assert (row["arm"], str(row["seed"])) == (same["tags.dynaloss.arm"], same["params.seed"])
    of_trials = stored.dropna(axis=1, how="all")  # without the means of the study's own run
    metrics = {name.removeprefix("metrics.") for name in of_trials if name.startswith("metrics.")}
    settings = {name.removeprefix("params.") for name in stored if name.startswith("params.")}
    place = {"study", "condition", "arm", "outcome", "environment"}
    assert {*frame.columns} == metrics | settings | place
    assert {*frame["environment"]} == {*stored["tags.dynaloss.environment"]}


def test_curves_are_the_history_of_mlflow(run: AblationSummary, stored: Any) -> None:
    curves = run.curves("train/loss", "test/accuracy")
    assert len(curves) == 8 * 3
    client = mlflow.MlflowClient(run.workspace.store_uri)
    for key, points in curves.groupby("key"):
        history = client.get_metric_history(stored.loc[key]["run_id"], "train/loss")
        assert points["train/loss"].tolist() == [m.value for m in history]
        assert points["epoch"].tolist() == [m.step for m in history] == [1, 2, 3]


@pytest.mark.usefixtures("folder")
def test_a_comparison_has_the_frames_of_its_run(run: AblationSummary) -> None:
    result = dynaloss.compare("small")
    assert result.to_frame().equals(run.to_frame())
    assert result.curves().equals(run.curves())
    means = result.to_frame().groupby(["condition", "arm"])["test/accuracy"].mean()
    for cell in result.comparisons[0].cells:
        assert cell.mean == pytest.approx(means[cell.condition, cell.arm], abs=1e-12)


@pytest.mark.usefixtures("folder")
def test_a_frame_follows_the_rows_the_columns_and_the_choice_of_the_table() -> None:
    result = dynaloss.compare(
        "small", rows=["arm", "noise.rate"], columns="seed", where={"seed": 1, "arm": ["full"]}
    )
    frame = result.to_frame()
    assert frame["arm"].tolist() == ["full · rate=0.2", "full · rate=0.4"]
    assert frame["condition"].tolist() == ["1", "1"]


@pytest.mark.parametrize("format_", _SUFFIX_OF)
def test_a_saved_table_is_what_the_command_line_prints(folder: Path, format_: str) -> None:
    options = ["--metric", "test/accuracy", "--metric", "train/loss", "--with", "effects"]
    printed = command_line("compare", "small", *options, "--format", format_)
    result = dynaloss.compare("small", metric=["test/accuracy", "train/loss"], extras=["effects"])
    path = result.save(folder / f"new/table{_SUFFIX_OF[format_]}")
    assert path.read_bytes() == printed.encode()


def test_report_and_figures_are_those_of_the_command_line(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.argv", ["dynaloss", "compare", "small"])
    command_line("compare", "small", "--report", "theirs.html", "--figures", "theirs")
    result = dynaloss.compare("small")
    result.save_report("ours.html", command="dynaloss compare small")
    assert Path("ours.html").read_bytes() == Path("theirs.html").read_bytes()
    paths = result.save_figures("ours")
    assert {path.name for path in paths} == {path.name for path in Path("theirs").iterdir()}
    assert result.save(folder / "report.html").read_text("utf-8").startswith("<!doctype html>")


@pytest.mark.usefixtures("folder")
def test_what_no_comparison_knows_is_refused() -> None:
    with pytest.raises(InputError, match=r"`extras`.*'effects'.*'effect'.*did you mean"):
        dynaloss.compare("small", extras=["effect"])
    with pytest.raises(InputError, match=r"\.html.*`table.xlsx`"):
        dynaloss.compare("small").save("table.xlsx")
    with pytest.raises(InputError, match=r"small.*did you mean.*'small'|There is no study 'smal'"):
        dynaloss.compare("smal")


@pytest.mark.usefixtures("folder")
def test_trials_of_earlier_plans_are_a_warning(small: dict[str, Any]) -> None:
    study = Study.load(small | {"study": "twice", "conditions": {}})
    study.run(in_process=True, progress=False)
    study.with_(seeds=[1]).run(in_process=True, progress=False)
    with pytest.warns(UserWarning, match="without 2 trials of earlier plans"):
        result = dynaloss.compare(study)
    assert result.to_frame()["seed"].tolist() == [1, 1]


class _Text(HTMLParser):
    """Texts of the cells of tables, and all tags."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.texts: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.tags.append(tag)

    def handle_data(self, data: str) -> None:
        self.texts.append(data.strip())


def test_notebooks_show_the_numbers_of_the_table(run: AblationSummary) -> None:
    shown = _Text(run._repr_html_())
    assert repr(run.compare()) == run.compare().as_text()
    assert repr(run) == run.as_text()
    (table,) = chain.from_iterable(run.compare().tables())
    assert shown.tags.count("table") == 1
    for entry in chain.from_iterable(table.rows):
        assert entry.text in shown.texts
    assert "script" not in shown.tags
    assert any(text.startswith("study small: 8 completed (of 8 trials") for text in shown.texts)


def test_an_interrupt_ends_a_run_that_the_next_one_completes(
    folder: Path,
    small: dict[str, Any],
    run: AblationSummary,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    study = Study.load(small | {"study": "stopped"})
    steps, step = iter(range(100)), TrialRunner.step

    def interrupted_step(runner: TrialRunner) -> StepResult:
        if next(steps) == 5:
            signal.raise_signal(signal.SIGINT)
        return step(runner)

    with monkeypatch.context() as patch:
        patch.setattr(TrialRunner, "step", interrupted_step)
        stopped = study.run(in_process=True, progress=False)
    assert (stopped.interrupted, stopped.exit_status) == (True, 130)
    assert {*stopped.to_frame()["outcome"]} == {"completed", "interrupted"}
    assert "Interrupted" in stopped._repr_html_()
    finished = study.run(in_process=True, progress=False)
    assert (finished.interrupted, finished.exit_status) == (False, 0)
    columns = ["key", "test/accuracy"]
    assert finished.to_frame()[columns].equals(run.to_frame()[columns])


@pytest.mark.usefixtures("folder")
def test_progress_goes_to_standard_error_or_nowhere(
    small: dict[str, Any], capfd: pytest.CaptureFixture[str]
) -> None:
    study = Study.load(small | {"study": "shown", "conditions": {}, "seeds": [0]})
    study.run(in_process=True)
    out, err = capfd.readouterr()
    assert (out, err.count("completed, test/accuracy")) == ("", 2)
    study.run(in_process=True, fresh=True, progress=False)
    assert "completed" not in "".join(capfd.readouterr())


def test_a_run_without_a_completed_trial_still_shows_what_it_knows(
    folder: Path, small: dict[str, Any]
) -> None:
    study = Study.load(small | {"study": "broken", "seeds": [0], "conditions": {}})
    broken = study.with_({"optimizer.lr": 1e30}).run(in_process=True, progress=False)
    assert broken.exit_status == 1
    assert broken.to_frame()["outcome"].tolist() == ["diverged", "diverged"]
    assert "2 diverged" in broken._repr_html_()
    with pytest.raises(InputError, match="no completed trial"):
        broken.compare()


@pytest.mark.slow
@pytest.mark.ray
def test_under_ray_the_trials_compute_the_same(
    folder: Path, small: dict[str, Any], run: AblationSummary
) -> None:
    study = Study.load(small | {"study": "parallel"})
    parallel = study.run(progress=False)
    assert parallel.exit_status == 0
    columns = ["condition", "arm", "seed", "test/accuracy"]
    both = (one.to_frame()[columns].sort_values(columns) for one in (parallel, run))
    ours, theirs = (frame.reset_index(drop=True) for frame in both)
    assert ours.equals(theirs)
