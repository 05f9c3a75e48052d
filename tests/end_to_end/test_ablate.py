"""A whole study through Ray Tune and MLflow, as a user runs it."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import sqlite3
import subprocess
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

CommandLine = Any  # the fixtures' class; importlib mode keeps conftest off the path

pytestmark = pytest.mark.ray


def trial_runs(folder: Path) -> list[tuple[str, str]]:
    """(key, run id) of every trial's run, read from the database behind MLflow."""
    with sqlite3.connect(folder / "results" / "mlflow.db") as connection:
        return connection.execute(
            "select value, run_uuid from tags where key = 'dynaloss.key' order by value"
        ).fetchall()


def parent_artifacts(folder: Path) -> tuple[Path, list[Path]]:
    """The report and the figures of the study's own run."""
    (report,) = (folder / "results" / "artifacts" / "tiny").glob("*/artifacts/report.html")
    return report, list((report.parent / "figures").iterdir())


@pytest.mark.slow
def test_second_launch_runs_nothing_and_a_new_seed_runs_alone(
    command_line: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = command_line.write_study(seeds=[0])
    first = command_line.run("ablate", study)
    assert first.returncode == 0, first.stderr
    assert "4 completed" in first.stdout
    before = trial_runs(command_line.folder)
    assert len(before) == 4
    report, figures = parent_artifacts(command_line.folder)
    assert "<html" in report.read_text("utf-8")
    assert {path.suffix for path in figures} == {".png"}
    assert {"curves.png", "effects.png"} <= {path.name for path in figures}

    with monkeypatch.context() as patched:
        patched.setenv("PYTHONPROFILEIMPORTTIME", "1")
        again = command_line.run("ablate", study)
    assert again.returncode == 0, again.stderr
    assert "4 finished before" in again.stdout
    assert not re.findall(
        r"\| +(torch|torchvision|sklearn|scipy|mlflow|ray)$", again.stderr, re.MULTILINE
    )
    assert trial_runs(command_line.folder) == before

    more = command_line.run("ablate", command_line.write_study(seeds=[0, 1]))
    assert "4 completed, 4 finished before (of 8 trials" in more.stdout
    assert "seeds added: 1." in more.stdout
    assert "seeds added: 1." in report.read_text("utf-8")
    assert set(before) < set(trial_runs(command_line.folder))

    table = json.loads(command_line.run("compare", "tiny", "--format", "json").stdout)
    cells = {cell["arm"]: cell for cell in table["cells"]}
    assert list(cells) == ["none", "corrector-only", "margin-only", "full"]
    assert set(cells["full"]["seeds"]) == {"0", "1"}
    stored = command_line.last_values()
    planned = json.loads(command_line.run("ablate", study, "--plan", "--format", "json").stdout)
    key = {(t["arm"], t["seed"]): t["key"] for t in planned["trials"]}["full", 1]
    assert cells["full"]["seeds"]["1"] == stored[key, "test/accuracy"]


def stop_after_first_trial(process: subprocess.Popen[str], how: signal.Signals) -> str:
    """Stops a launch once a further trial has ended; returns its remaining messages."""
    assert process.stderr is not None
    for line in process.stderr:
        if ": completed" in line:
            os.killpg(process.pid, how)  # as `timeout`, `scancel` and a terminal do
            break
    return process.communicate(timeout=120)[1]


@pytest.mark.slow
def test_a_stopped_and_killed_launch_ends_with_the_same_result(
    command_line: CommandLine,
    end_after: Callable[[subprocess.Popen[str]], subprocess.Popen[str]],
    uninterrupted: dict[tuple[str, str], float],
) -> None:
    study = command_line.write_study(seeds=[0], epochs=40)
    # SIGTERM ends it as Ctrl-C does.
    stopped = end_after(command_line.start("ablate", study))
    errors = stop_after_first_trial(stopped, signal.SIGTERM)
    assert stopped.returncode == 130, errors
    assert "Traceback" not in errors
    runs = trial_runs(command_line.folder)

    killed = end_after(command_line.start("ablate", study))
    stop_after_first_trial(killed, signal.SIGKILL)

    rest = command_line.run("ablate", study)
    assert rest.returncode == 0, rest.stderr
    assert "finished before" in rest.stdout
    assert set(runs) <= set(trial_runs(command_line.folder))
    assert len(trial_runs(command_line.folder)) == 4
    assert command_line.last_values() == uninterrupted


@pytest.fixture(scope="session")
def uninterrupted(
    tmp_path_factory: pytest.TempPathFactory, command_line_in: Callable[[Path], CommandLine]
) -> dict[tuple[str, str], float]:
    whole = command_line_in(tmp_path_factory.mktemp("whole"))
    done = whole.run("ablate", whole.write_study(seeds=[0], epochs=40))
    assert done.returncode == 0, done.stderr
    return whole.last_values()


@pytest.fixture
def mount(tmp_path: Path) -> Iterator[Callable[[str], Path]]:
    """Mounts a file system in memory with options, or gives it other ones."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted: list[str] = []

    def mounted_with(options: str) -> Path:
        kind = ["-o", f"remount,{options}"] if mounted else ["-t", "tmpfs", "-o", options]
        command = ["mount", *kind, "tmpfs", str(folder)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode and not mounted:
            pytest.skip(f"no file system can be mounted: {done.stderr.strip()}")
        assert done.returncode == 0, done.stderr
        mounted.append(options)
        return folder

    yield mounted_with
    if mounted:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


@pytest.mark.slow
def test_a_full_disk_and_a_read_only_one_give_one_error_and_lose_nothing(
    command_line: CommandLine,
    mount: Callable[[str], Path],
    uninterrupted: dict[tuple[str, str], float],
) -> None:
    study, disk = command_line.write_study(seeds=[0], epochs=40), mount("size=64m")
    storage = disk / "results"
    launch = partial(command_line.run, "ablate", study, "--storage", str(storage))
    assert launch("--where", "arm=full").returncode == 0
    used = shutil.disk_usage(disk).used

    mount(f"size={used + 200_000}")
    full = launch()
    assert full.returncode == 1
    (error,) = [line for line in full.stderr.splitlines() if line.startswith("error: ")]
    assert "No space left" in error or "disk is full" in error
    assert "Traceback" not in full.stderr

    mount("size=64m")
    again = launch()
    assert again.returncode == 0, again.stderr
    assert "finished before" in again.stdout
    assert command_line.last_values(storage) == uninterrupted

    mount("ro")
    assert launch().returncode == 0  # nothing is left to run, so nothing to write
    command_line.write_study(seeds=[0, 1], epochs=40)
    refused = launch()
    assert refused.returncode == 1
    (error,) = refused.stderr.splitlines()
    assert "Read-only" in error
    assert command_line.run("compare", "tiny", "--storage", str(storage)).returncode == 0


@pytest.fixture
def cluster() -> Iterator[Any]:
    """Ray's head without a core, and two nodes of unequal size, each a process of its own."""
    from ray.cluster_utils import Cluster

    found = Cluster(initialize_head=True, head_node_args={"num_cpus": 0})
    yield found
    found.shutdown()


@pytest.mark.slow
def test_a_launch_outlives_a_node_and_goes_on_after_the_head_of_its_cluster(
    command_line: CommandLine,
    end_after: Callable[[subprocess.Popen[str]], subprocess.Popen[str]],
    uninterrupted: dict[tuple[str, str], float],
    cluster: Any,
) -> None:
    large, _ = (cluster.add_node(num_cpus=cpus) for cpus in (2, 1))
    cluster.wait_for_nodes()
    study = command_line.write_study(seeds=[0], epochs=40)
    launch = end_after(command_line.start("ablate", study, "--address", cluster.address))
    assert launch.stderr is not None
    lines = iter(launch.stderr.readline, "")
    assert any("running:" in line or ": completed" in line for line in lines)
    cluster.remove_node(large, allow_graceful=False)
    assert any("it goes on from its last checkpoint" in line for line in lines)
    assert any(": completed" in line for line in lines)
    cluster.remove_node(cluster.head_node, allow_graceful=False)
    out, errors = launch.communicate(timeout=200)
    assert "Traceback" not in errors
    assert (launch.returncode, "interrupted" in out) == (130, True), errors

    rest = command_line.run("ablate", study)
    assert rest.returncode == 0, rest.stderr
    assert "finished before" in rest.stdout
    assert command_line.last_values() == uninterrupted


GREEDY = """
import math
from pathlib import Path
import ray
from torch import nn
from dynaloss.config import ModelConfig
from dynaloss.config.families import ModelKind

HERE = Path(__file__).parent

class Greedy(nn.Linear):
    def forward(self, images):
        if images.device.type != "meta":  # as in the check of its shapes, without Ray
            cpus = ray.get_runtime_context().get_assigned_resources()["CPU"]
            if cpus == 1:
                raise MemoryError("no room beside another trial")
            (HERE / "cpus.txt").write_text(str(cpus))
        return super().forward(images.flatten(1))

def build(settings, *, input_shape, num_classes):
    return Greedy(math.prod(input_shape), num_classes)

GREEDY = ModelKind(name="greedy", description="wants memory", settings=ModelConfig, build=build)
"""


@pytest.mark.slow
def test_a_trial_without_memory_is_tried_again_with_a_larger_share(
    command_line: CommandLine,
) -> None:
    """The model refuses to run with one core, as one that needs the memory of both slots."""
    (command_line.folder / "greedy.py").write_text(GREEDY)
    study = command_line.write_study(seeds=[0], epochs=2)
    path = command_line.folder / study
    path.write_text(path.read_text().replace("name: mlp", "name: 'greedy:GREEDY'"))
    done = command_line.run("ablate", study)
    assert done.returncode == 0, done.stderr
    notes = [line for line in done.stderr.splitlines() if "tried again" in line or "times" in line]
    assert len(notes) == 4
    assert all("MemoryError" in note and "with 2 times its resources" in note for note in notes)
    assert (command_line.folder / "cpus.txt").read_text() == "2.0"


@pytest.mark.slow
def test_a_launch_is_seen_and_stopped_from_another_terminal(
    command_line: CommandLine,
    end_after: Callable[[subprocess.Popen[str]], subprocess.Popen[str]],
) -> None:
    study = command_line.write_study(seeds=[0], epochs=400)
    nothing = command_line.run("status", "tiny")
    assert (nothing.returncode, "no launch of 'tiny'" in nothing.stderr) == (2, True)
    launch = end_after(command_line.start("ablate", study))
    assert launch.stderr is not None
    assert any("running:" in line or ": completed" in line for line in launch.stderr)
    seen = command_line.run("status", "tiny")
    assert seen.returncode == 0, seen.stderr
    assert re.match(rf"running for 0:\d\d, process {launch.pid} on .*, about \d", seen.stdout)
    assert re.search(r"^[01] of 4 trials done.*, 2 running, [12] left$", seen.stdout, re.MULTILINE)
    assert re.search(r"^running: .* · seed 0 \(epoch \d+/400\)$", seen.stdout, re.MULTILINE)

    stopped = command_line.run("stop", "tiny")
    assert stopped.returncode == 0, stopped.stderr
    assert (launch.wait(10), "Traceback" in launch.stderr.read()) == (130, False)
    after = command_line.run("status", "tiny").stdout
    assert after.startswith("not running; the trials of the last launch took 0:")
    again = command_line.run("stop", "tiny")
    assert (again.returncode, "'tiny' is not running" in again.stderr) == (2, True)


@pytest.mark.slow
def test_parts_of_a_study_run_alone_and_the_rest_later(command_line: CommandLine) -> None:
    study = command_line.write_study(seeds=[0, 1])
    part = ["--where", "seed=1", "--where", "arm=full", "--where", "arm=none", "--slots", "1"]
    some = command_line.run("ablate", study, *part)
    assert some.returncode == 0, some.stderr
    assert "2 completed, 6 left out by --where (of 8 trials" in some.stdout
    running = [line for line in some.stderr.splitlines() if line.count("(epoch") > 1]
    assert running == []
    again = command_line.run("ablate", study, *part[:6])
    assert "2 finished before, 6 left out by --where" in again.stdout
    wrong = command_line.run("ablate", study, "--where", "arm=ful")
    assert (wrong.returncode, "No trial has arm = ful" in wrong.stderr) == (2, True)
    rest = command_line.run("ablate", study)
    assert "6 completed, 2 finished before (of 8 trials" in rest.stdout
    assert len(trial_runs(command_line.folder)) == 8
