from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest

TINY = """
study: tiny
trial:
  data: {{source: digits, noise: {{kind: symmetric, rate: 0.4}}, imbalance_factor: 10}}
  model: {{name: mlp}}
  loss:
    corrector: {{ranks: 10, per_class: false, warm_start: false}}
  schedule: {{epochs: {epochs}, warmup_epochs: 1, batch_size: 64, ramp_epochs: 1}}
ablation: {{components: [corrector, margin], design: factorial, baseline: none}}
seeds: {seeds}
"""


@dataclass(frozen=True)
class CommandLine:
    """Runs `dynaloss` as a user does: in a process and a folder of its own."""

    folder: Path

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        clean = {k: v for k, v in os.environ.items() if not k.startswith(("MLFLOW", "DYNALOSS"))}
        return subprocess.Popen(
            [sys.executable, "-m", "dynaloss", *arguments],
            cwd=self.folder,
            env=clean,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,  # a group of its own, to be signalled as a whole
        )

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        process = self.start(*arguments)
        out, err = process.communicate(timeout=280)
        return subprocess.CompletedProcess(arguments, process.returncode, out, err)

    def write_study(self, seeds: list[int], epochs: int = 3, name: str = "tiny.yaml") -> str:
        (self.folder / name).write_text(TINY.format(seeds=seeds, epochs=epochs))
        return name

    def last_values(self, storage: Path | None = None) -> dict[tuple[str, str], float]:
        """(trial key, metric) to last value, without the costs, which no seed determines."""
        query = (
            "select t.value, m.key, m.value from latest_metrics m "
            "join tags t on t.run_uuid = m.run_uuid and t.key = 'dynaloss.key'"
        )
        database = (storage or self.folder / "results") / "mlflow.db"
        with closing(sqlite3.connect(database)) as connection:
            rows = connection.execute(query).fetchall()
        costs = ("time/", "memory/", "disk/")
        return {(key, name): value for key, name, value in rows if not name.startswith(costs)}


@pytest.fixture(scope="session")
def command_line_in() -> Callable[[Path], CommandLine]:
    return CommandLine


@pytest.fixture
def command_line(tmp_path: Path) -> CommandLine:
    return CommandLine(tmp_path)


@pytest.fixture
def end_after() -> Iterator[Callable[[subprocess.Popen[str]], subprocess.Popen[str]]]:
    """Registers processes that must not outlive the test."""
    processes: list[subprocess.Popen[str]] = []

    def register(process: subprocess.Popen[str]) -> subprocess.Popen[str]:
        processes.append(process)
        return process

    yield register
    for process in processes:
        if process.poll() is None:
            process.kill()
        process.communicate()
