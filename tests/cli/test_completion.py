"""What a shell is offered on Tab, asked as bash asks."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from dynaloss.studies.loading import load_study
from dynaloss.studies.plan import make_plan
from dynaloss.studies.stored_plan import stored_plan
from dynaloss.studies.trial_record import Outcome
from dynaloss.tracking import Workspace

_COMMAND = Path(sys.executable).with_name("dynaloss")


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory, empty_storage: Path) -> Path:
    """A working folder with a store of one study, with one trial, whose file is elsewhere."""
    folder = tmp_path_factory.mktemp("folder")
    (folder / "results").mkdir()
    (folder / "results" / "mlflow.db").write_bytes((empty_storage / "mlflow.db").read_bytes())
    plan = make_plan(load_study("quickstart"), lambda data: data.source)
    store = Workspace(folder / "results").open_store()
    with store.start_study("quick-look") as run:
        run.log_dict(None, "plan.json", stored_plan(plan).model_dump(mode="json"))
        run.begin_trial("abc123", name="one", parameters={}, tags={"dynaloss.arm": "full"})
        run.end_trial("abc123", Outcome.COMPLETED)
        run.finish(Outcome.COMPLETED)
    return folder


def _offered(folder: Path, *words: str) -> list[str]:
    environment = {k: v for k, v in os.environ.items() if k != "DYNALOSS_STORAGE"} | {
        "_DYNALOSS_COMPLETE": "bash_complete",
        "COMP_WORDS": " ".join(["dynaloss", *words]),
        "COMP_CWORD": str(len(words)),
    }
    done = subprocess.run(
        [_COMMAND], env=environment, cwd=folder, capture_output=True, text=True, check=False
    )
    assert done.stderr == ""
    return [line.removeprefix("plain,") for line in done.stdout.split()]


def test_commands_and_bundled_studies_are_offered(results: Path) -> None:
    assert _offered(results, "ab") == ["ablate"]
    assert _offered(results, "ablate", "cifar10n") == [
        "cifar10n",
        "cifar10n-short",
        "file,cifar10n",
    ]
    assert "sampler" in _offered(results, "search", "s")


def test_studies_arms_and_runs_of_the_store_are_offered(results: Path) -> None:
    assert _offered(results, "compare", "q") == ["quick-look", "file,q"]
    assert _offered(results, "compare", "quick-look", "--baseline", "c") == [
        "corrector-only", "cross_entropy", "class_balanced",
    ]  # fmt: skip
    assert _offered(results, "show", "ab") == ["abc123"]


def test_arms_of_a_file_and_metrics_are_offered(results: Path) -> None:
    assert _offered(results, "ablate", "quickstart", "--where", "arm=m") == ["arm=margin-only"]
    assert _offered(results, "train", "quickstart", "--arm", "fu") == ["full"]
    assert _offered(results, "train", "quickstart", "--arm=fu") == ["full"]
    metrics = _offered(results, "compare", "quick-look", "--metric", "test/b")
    assert metrics == ["test/balanced_accuracy"]


def test_nothing_is_offered_where_that_fails(results: Path) -> None:
    (results / "broken.yaml").write_text("study: [", "utf-8")
    assert _offered(results, "ablate", "broken.yaml", "--where", "") == []
    assert _offered(results, "show", "--storage", "elsewhere", "a") == []


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_each_shell_has_a_script(shell: str) -> None:
    done = subprocess.run(
        [_COMMAND],
        env=os.environ | {"_DYNALOSS_COMPLETE": f"{shell}_source"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert f"{shell}_complete" in done.stdout
