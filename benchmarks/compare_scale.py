"""Time and memory of `dynaloss compare` on thousands of runs in SQLite.

    python benchmarks/compare_scale.py [--sizes 1000 3000 10000] [--metrics 60] [--output FILE]

Makes a store of made-up runs (formulas, no training) of each size and runs the command on it, each
time in a process of its own, three times. It must answer in under 5 s and 1 GiB, in time linear in
the runs. Times include starting Python and all imports, with bytecode compiled beforehand, as
after any first run of the command.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median

import numpy as np
from bulk_store import write_records
from machine import describe

from dynaloss.studies.trial_record import Outcome, TrialRecord

NUM_PARAMETERS = 40
ARMS = 10
SEEDS = 10
REPEATS = 3
QUESTION = ("compare", "scale", "--baseline", "arm-0", "--format", "json")
# The command, which tells at its end what it took: a parent would count its own memory in.
PROBED = """
import atexit, re, runpy, sys, time
from pathlib import Path
def tell():
    peak = re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1]
    print(time.process_time(), peak, file=sys.stderr)
atexit.register(tell)
sys.argv[0] = "dynaloss"
runpy.run_module("dynaloss", run_name="__main__", alter_sys=True)
"""


@dataclass(frozen=True, slots=True)
class Measured:
    """The command on one store: medians over its repeats, peak of its process."""

    runs: int
    cells: int
    seconds: float
    cpu_seconds: float
    peak_mib: float


def records(runs: int, metrics: int) -> Iterator[TrialRecord]:
    """Made-up trials of `metrics` last values each."""
    rng = np.random.default_rng(0)
    names = ["test/accuracy", *(f"more/metric_{i}" for i in range(metrics - 1))]
    parameters = {f"setting.{i}": str(i) for i in range(NUM_PARAMETERS)}
    for index in range(runs):
        seed, arm, condition = index % SEEDS, index // SEEDS % ARMS, index // (SEEDS * ARMS)
        values = 0.5 + 0.01 * arm + 0.02 * rng.standard_normal(metrics)
        yield TrialRecord(
            study="scale",
            key=f"{index:016x}",
            run_id="",
            condition=f"condition {condition}",
            arm=f"arm-{arm}",
            seed=seed,
            outcome=Outcome.COMPLETED,
            parameters=parameters,
            metrics=dict(zip(names, values.tolist(), strict=True)),
        )


def run_once(folder: Path) -> tuple[float, float, float, int]:
    """Seconds, CPU seconds, peak MiB and number of cells of one run of the command."""
    command = [sys.executable, "-c", PROBED, *QUESTION, "--storage", str(folder)]
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    environment["PYTHONPYCACHEPREFIX"] = str(folder.parent / "bytecode")
    started = time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=True)
    seconds = time.perf_counter() - started
    cpu, peak_kib = map(float, done.stderr.split()[-2:])
    return seconds, cpu, peak_kib / 1024, len(json.loads(done.stdout)["cells"])


def measure(folder: Path, runs: int) -> Measured:
    """The command on the store in the folder, after one run that compiles bytecode."""
    run_once(folder)
    seconds, cpu, peaks, cells = zip(*(run_once(folder) for _ in range(REPEATS)), strict=True)
    return Measured(
        runs=runs,
        cells=cells[0],
        seconds=round(median(seconds), 3),
        cpu_seconds=round(median(cpu), 3),
        peak_mib=round(max(peaks), 1),
    )


def main() -> None:
    """Prints one line per size, and writes all as JSON where asked to."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", type=int, nargs="+", default=[1_000, 3_000, 10_000])
    parser.add_argument("--metrics", type=int, default=60)
    parser.add_argument("--output", type=Path, help="write the results there, as JSON")
    given = parser.parse_args()
    measured, load = [], round(os.getloadavg()[0], 2)
    with tempfile.TemporaryDirectory() as scratch:
        for runs in given.sizes:
            folder = Path(scratch) / str(runs)
            folder.mkdir()
            write_records(folder, "scale", records(runs, given.metrics))
            measured.append(measure(folder, runs))
            print(measured[-1], flush=True)
    if given.output:
        content = {
            "what": f"dynaloss {' '.join(QUESTION)}",
            "repeats": REPEATS,
            "metrics_per_run": given.metrics,
            "parameters_per_run": NUM_PARAMETERS,
            **describe(),
            "load_average_before": load,
            "results": [asdict(one) for one in measured],
        }
        given.output.write_text(json.dumps(content, indent=2) + "\n", "utf-8")


if __name__ == "__main__":
    main()
