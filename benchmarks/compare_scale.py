"""Time and memory of `dynaloss compare` on thousands of runs in SQLite.

    python benchmarks/compare_scale.py [--runs 10000] [--metrics 60] [--folder DIR]

Makes a store of made-up runs (formulas, no training), half and whole as many, and runs the command
on each in a process of its own. It must answer in under 5 s and 1 GiB, in time linear in the runs.
Command time includes starting Python and importing MLflow.
"""

from __future__ import annotations

import argparse
import json
import platform
import resource
import sqlite3
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from dynaloss.tracking import open_store

NUM_PARAMETERS = 40
ARMS = 10
SEEDS = 10


def make_store(folder: Path, runs: int, metrics: int) -> None:
    """A study of `runs` trials with `metrics` last values each, written past MLflow's API."""
    store = open_store(None, folder)
    with store.start_study("scale", tags={}) as study:
        experiment, parent = study.experiment_id, study.run_id
    rng = np.random.default_rng(0)
    with sqlite3.connect(folder / "mlflow.db") as database:
        template = dict(
            zip(
                [column[1] for column in database.execute("PRAGMA table_info(runs)")],
                database.execute("SELECT * FROM runs WHERE run_uuid = ?", (parent,)).fetchone(),
                strict=True,
            )
        )
        for index in range(runs):
            _add_run(database, template, index, metrics, rng, experiment)


def _add_run(
    database: sqlite3.Connection,
    template: dict[str, object],
    index: int,
    metrics: int,
    rng: np.random.Generator,
    experiment: str,
) -> None:
    run_id = f"{index:032x}"
    seed, arm, condition = index % SEEDS, index // SEEDS % ARMS, index // (SEEDS * ARMS)
    row = {
        **template,
        "run_uuid": run_id,
        "name": run_id,
        "status": "FINISHED",
        "start_time": index,
        "experiment_id": int(experiment),
    }
    _insert(database, "runs", [row])
    tags = {
        "dynaloss.study": "scale",
        "dynaloss.role": "trial",
        "dynaloss.key": f"{index:016x}",
        "dynaloss.condition": f"condition {condition}",
        "dynaloss.arm": f"arm-{arm}",
        "dynaloss.seed": seed,
        "dynaloss.outcome": "completed",
    }
    _insert(
        database,
        "tags",
        [{"key": k, "value": str(v), "run_uuid": run_id} for k, v in tags.items()],
    )
    _insert(
        database,
        "params",
        [
            {"key": f"setting.{i}", "value": str(i), "run_uuid": run_id}
            for i in range(NUM_PARAMETERS)
        ],
    )
    names = ["test/accuracy", *(f"more/metric_{i}" for i in range(metrics - 1))]
    values = 0.5 + 0.01 * arm + 0.02 * rng.standard_normal(metrics)
    _insert(
        database,
        "latest_metrics",
        [
            {
                "key": name,
                "value": float(value),
                "timestamp": 0,
                "step": 40,
                "is_nan": 0,
                "run_uuid": run_id,
            }
            for name, value in zip(names, values, strict=True)
        ],
    )


def _insert(database: sqlite3.Connection, table: str, rows: list[dict[str, object]]) -> None:
    columns = ", ".join(rows[0])
    marks = ", ".join("?" for _ in rows[0])
    database.executemany(
        f"INSERT INTO {table} ({columns}) VALUES ({marks})", [tuple(r.values()) for r in rows]
    )


def measure(folder: Path) -> tuple[float, int]:
    """Seconds of the command, and the number of cells that it answered with."""
    command = [
        sys.executable,
        "-m",
        "dynaloss",
        "compare",
        "scale",
        "--storage",
        str(folder),
        "--baseline",
        "arm-0",
        "--format",
        "json",
    ]
    started = time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return time.perf_counter() - started, len(json.loads(done.stdout)["cells"])


def main() -> None:
    """Prints one line per size."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=10_000)
    parser.add_argument("--metrics", type=int, default=60)
    parser.add_argument("--folder", type=Path, help="keep the stores here")
    given = parser.parse_args()
    print(f"Python {platform.python_version()}, {platform.machine()}")
    with tempfile.TemporaryDirectory() as scratch:
        for runs in (given.runs // 100, given.runs // 2, given.runs):
            folder = (given.folder or Path(scratch)) / str(runs)
            make_store(folder, runs, given.metrics)
            best = min(measure(folder) for _ in range(3))
            peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
            print(
                f"{runs:6d} runs x {given.metrics} metrics: {best[0]:5.2f} s, "
                f"{best[1]} cells, peak so far {peak:.0f} MiB"
            )


if __name__ == "__main__":
    main()
