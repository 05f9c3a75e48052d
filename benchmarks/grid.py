"""The overhead of a launch beside that of other ways to run the same grid, in one run.

    python benchmarks/grid.py [--case tiny] [--trials 200] [--repeats 3] [--output FILE]

The ways: `dynaloss ablate`; Ray Tune with its own MLflowLoggerCallback on a trainable that trains
the same trials; joblib; a shell that starts a process for each trial (measured on a few trials).
The last two record nothing but a line per epoch. Every way trains by the platform's own runner, so
that all differ in what is around the training only.

Of each way: wall time x slots / the seconds of training that its own trials report; processor
time of the driver (the launch, and for Ray the process that holds the controller) per trial and
per epoch; time until the first epoch is reported; largest memory of the driver and of a worker.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from contextlib import closing, suppress
from pathlib import Path
from statistics import median
from typing import Any

OUTPUT = Path(__file__).parent / "results" / "tables" / "grid.json"
SLOTS = 2
TINY = """
study: grid
trial:
  data: {source: digits, n_max: 60, noise: {rate: 0.4}}
  model: {name: mlp}
  loss: {corrector: {ranks: 10, per_class: false, warm_start: false}}
  schedule: {epochs: 2, warmup_epochs: 0, ramp_epochs: 0, batch_size: 64}
ablation: {components: [corrector, margin], baselines: [cross_entropy]}
"""
WAYS = ("dynaloss", "ray", "joblib", "shell")
_ALONE_MOST = 12
"""Trials that the shell is measured on: a process of its own takes seconds."""


def study_text(case: str, trials: int) -> str:
    """The study file of a case; of about so many trials."""
    if case == "tiny":
        return TINY + f"seeds: [{', '.join(map(str, range(trials // 5)))}]\n"
    return (Path(__file__).parents[1] / "ablations" / f"{case}.yaml").read_text("utf-8")


def orders(path: Path) -> tuple[list[Any], dict[str, Any]]:
    """The orders of a study's trials, and the data sources by name."""
    from dynaloss.execution.trial.inputs import Sources
    from dynaloss.execution.trial.runner import TrialOrder
    from dynaloss.studies import load_study
    from dynaloss.studies.plan import make_plan

    sources = Sources()
    plan = make_plan(load_study(path), sources.digest)
    named = sources.named(trial.config.data for trial in plan.trials)
    return [TrialOrder.of(trial, path.parent / "checkpoints") for trial in plan.trials], named


def train(order: Any, sources: dict[str, Any], lines: Path) -> None:  # noqa: ANN401
    """Trains a trial, and appends each epoch's metrics to a file."""
    import torch

    from dynaloss.execution.trial.runner import TrialRunner

    torch.set_num_threads(1)
    runner = TrialRunner(order, sources[order.source], 0)
    while True:
        result = runner.step()
        for _, metrics in result.reports:
            with lines.open("a") as file:
                file.write(json.dumps({"key": order.key} | metrics) + "\n")
        if result.outcome is not None:
            return


def run_joblib(path: Path) -> None:
    """Trains the trials of a study in two processes of joblib."""
    from joblib import Parallel, delayed

    found, sources = orders(path)
    lines = path.parent / "lines.jsonl"
    Parallel(n_jobs=SLOTS)(delayed(train)(order, sources, lines) for order in found)


def run_one(path: Path, index: int) -> None:
    """Trains one trial of a study, in this process."""
    found, sources = orders(path)
    train(found[index], sources, path.parent / "lines.jsonl")


def run_shell(path: Path, trials: int) -> None:
    """Starts a process for each of the first trials, two at a time."""
    numbers = "\n".join(map(str, range(trials)))
    one = [sys.executable, __file__, "--study", str(path), "--run", "one", "--trial"]
    subprocess.run(
        ["xargs", "-n", "1", "-P", str(SLOTS), *one], input=numbers, text=True, check=True
    )


def run_ray(path: Path) -> None:
    """Trains the trials of a study with Ray Tune and its own callback for MLflow."""
    import ray
    from ray import tune
    from ray.air.integrations.mlflow import MLflowLoggerCallback

    from dynaloss.execution.trial.runner import TrialRunner

    class Trainable(tune.Trainable):
        def setup(self, config: dict[str, Any], sources: Any = None, found: Any = None) -> None:  # noqa: ANN401
            import torch

            torch.set_num_threads(1)
            self._sources, self._orders = sources, found
            self.reset_config(config)

        def reset_config(self, new_config: dict[str, Any]) -> bool:
            order = self._orders[new_config["trial"]]
            self._runner = TrialRunner(order, self._sources[order.source], 0)
            return True

        def step(self) -> dict[str, Any]:
            result = self._runner.step()
            metrics = dict(result.reports[-1][1]) if result.reports else {}
            if metrics:
                (path.parent / "first").touch()
            return metrics | {"done": result.outcome is not None}

    found, sources = orders(path)
    ray.init(num_cpus=SLOTS, include_dashboard=False, log_to_driver=False)
    store = f"sqlite:///{path.parent / 'mlflow.db'}"
    callback = MLflowLoggerCallback(store, experiment_name="grid", save_artifact=True)
    trainable = tune.with_parameters(Trainable, sources=sources, found=found)
    tune.Tuner(
        tune.with_resources(trainable, {"cpu": 1}),
        param_space={"trial": tune.grid_search([*range(len(found))])},
        tune_config=tune.TuneConfig(reuse_actors=True, max_concurrent_trials=SLOTS),
        run_config=tune.RunConfig(
            storage_path=str(path.parent / "tune"),
            callbacks=[callback],
            # A trainable without checkpoints: the failing save would cost each trial its process.
            checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
            verbose=0,
        ),
    ).fit()


class Watch:
    """Follows a process and all below it: processor time and memory, by what they do."""

    def __init__(self) -> None:
        self._kinds: dict[int, str] = {}
        self._ticks: dict[int, int] = {}
        self._mib: dict[int, float] = {}

    def look(self, root: int) -> None:
        """Reads the counters of the processes that live now."""
        parents = {}
        for folder in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):
                fields = (folder / "stat").read_text().rpartition(")")[2].split()
                parents[int(folder.name)] = int(fields[1]), int(fields[11]) + int(fields[12])
        known = {root}
        while more := {pid for pid, (parent, _) in parents.items() if parent in known} - known:
            known |= more
        for pid in known & parents.keys():
            with suppress(OSError, ValueError, IndexError):
                folder = Path(f"/proc/{pid}")
                status = (folder / "status").read_text()
                if command := (folder / "cmdline").read_text():  # none of one that has ended
                    self._kinds[pid] = _kind(command, is_root=pid == root)
                self._ticks[pid] = parents[pid][1]
                self._mib[pid] = int(status.split("VmHWM:")[1].split()[0]) / 1024

    def found(self) -> dict[str, dict[str, float]]:
        """Seconds of processor time and largest resident memory of a process, by kind."""
        seconds: dict[str, float] = defaultdict(float)
        for pid, kind in self._kinds.items():
            seconds[kind] += self._ticks[pid] / os.sysconf("SC_CLK_TCK")
        most = {
            kind: max(mib for pid, mib in self._mib.items() if self._kinds[pid] == kind)
            for kind in seconds
        }
        return {"cpu_seconds": dict(seconds), "peak_mib": most}


def _kind(command: str, *, is_root: bool) -> str:
    if is_root or "import serve" in command or "git\0" in command:
        return "driver"
    if (
        "ray::" in command
        or "default_worker" in command
        or "loky" in command
        or "--run\0one" in command
    ):
        return "worker"
    return "ray"


def measure(way: str, case: str, trials: int, folder: Path) -> dict[str, Any]:
    """Runs a grid in one way; what it took."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    path = folder / "study.yaml"
    path.write_text(study_text(case, trials), "utf-8")
    command = [sys.executable, __file__, "--study", str(path), "--run", way]
    if way == "dynaloss":
        command = [sys.executable, "-m", "dynaloss", "ablate", str(path)]
        command += ["--storage", str(folder / "results")]
    elif way == "shell":
        command += ["--trial", str(_ALONE_MOST)]
    watch, first, start = Watch(), None, time.monotonic()
    with (folder / "log.txt").open("w") as log:
        running = subprocess.Popen(command, stdout=log, stderr=log, cwd=folder)
    while running.poll() is None:
        watch.look(running.pid)
        if first is None and _has_reported(folder):
            first = time.monotonic() - start
        time.sleep(0.1)
    wall = time.monotonic() - start
    if running.returncode:
        raise SystemExit(f"{way} failed:\n{(folder / 'log.txt').read_text()[-2000:]}")
    done, epochs, training = _trained(way, folder)
    found = watch.found()
    return {
        "way": way,
        "trials": done,
        "epochs": epochs,
        "wall": wall,
        "training": training,
        "first_epoch": first,
        "driver_per_trial": found["cpu_seconds"]["driver"] / done,
        **found,
    }


def _has_reported(folder: Path) -> bool:
    if (folder / "first").exists() or (folder / "lines.jsonl").exists():
        return True
    waiting = folder.glob("results/*/undelivered/*/records.jsonl")
    return any(b"log_report" in file.read_bytes() for file in waiting)


def _trained(way: str, folder: Path) -> tuple[int, int, float]:
    """Trials, epochs and seconds of training that a way has recorded."""
    lines = folder / "lines.jsonl"
    if lines.exists():
        reports = [json.loads(line) for line in lines.read_text().splitlines()]
        done = len({report["key"] for report in reports})
        return done, len(reports), sum(report["time/epoch_seconds"] for report in reports)
    database = folder / ("results/mlflow.db" if way == "dynaloss" else "mlflow.db")
    query = "select count(distinct run_uuid), count(*), sum(value) from metrics where key = ?"
    with closing(sqlite3.connect(database)) as connection:
        return connection.execute(query, ("time/epoch_seconds",)).fetchone()


def summary(rows: list[dict[str, Any]]) -> dict[str, dict[str, float]]:
    """Medians over the repeats, by way."""
    found = {}
    for way in WAYS:
        own = [row for row in rows if row["way"] == way]
        if own:
            measures = {
                "overhead": [row["wall"] * SLOTS / row["training"] for row in own],
                "wall_per_trial": [row["wall"] / row["trials"] for row in own],
                "driver_cpu_per_trial": [row["driver_per_trial"] for row in own],
                "driver_cpu_per_epoch": [
                    row["cpu_seconds"]["driver"] / row["epochs"] for row in own
                ],
                "first_epoch": [row["first_epoch"] for row in own],
                "driver_mib": [row["peak_mib"]["driver"] for row in own],
                "worker_mib": [row["peak_mib"].get("worker", 0.0) for row in own],
            }
            found[way] = {name: round(median(values), 4) for name, values in measures.items()}
    return found


def main() -> None:
    """Runs each way in turn, so many times."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--case", default="tiny", help="`tiny`, or a bundled study.")
    parser.add_argument("--trials", type=int, default=200, help="Trials of the tiny case.")
    parser.add_argument("--repeats", type=int, default=3, help="Runs of each way.")
    parser.add_argument("--ways", nargs="+", default=WAYS, choices=WAYS, help="Ways to run.")
    parser.add_argument("--output", type=Path, default=OUTPUT, help="File of the results.")
    parser.add_argument("--study", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--run", help=argparse.SUPPRESS)
    parser.add_argument("--trial", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.run == "one":
        return run_one(options.study, options.trial)
    if options.run == "shell":
        return run_shell(options.study, options.trial)
    if options.run:
        return {"ray": run_ray, "joblib": run_joblib}[options.run](options.study)

    os.environ["OMP_NUM_THREADS"] = "1"
    from machine import describe

    rows = []
    name = options.case if options.case != "tiny" else f"tiny {options.trials}"
    with tempfile.TemporaryDirectory(prefix="grid-", ignore_cleanup_errors=True) as folder:
        for _ in range(options.repeats):
            for way in options.ways:
                rows.append(measure(way, options.case, options.trials, Path(folder) / way))
                print(json.dumps(rows[-1]), flush=True)
    cases = json.loads(options.output.read_text())["cases"] if options.output.exists() else {}
    cases[name] = {"summary": summary(rows), "rows": rows, **describe()}
    content = {"table": table(cases), "cases": cases, **describe()}
    options.output.write_text(json.dumps(content, indent=1) + "\n", "utf-8")
    print("\n".join(content["table"]))
    return None


def table(cases: dict[str, dict[str, Any]]) -> list[str]:
    """The medians of every case in Markdown."""
    lines = [
        "| grid | way | wall x slots / training | wall per trial (s) | driver CPU per trial (s) "
        "| first epoch (s) | driver (MiB) | worker (MiB) |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name, case in cases.items():
        for way, found in case["summary"].items():
            values = (
                f"{found['overhead']:.2f}",
                f"{found['wall_per_trial']:.3f}",
                f"{found['driver_cpu_per_trial']:.3f}",
                f"{found['first_epoch']:.1f}",
                f"{found['driver_mib']:.0f}",
                f"{found['worker_mib']:.0f}",
            )
            lines.append(f"| {name} | {way} | {' | '.join(values)} |")
    return lines


if __name__ == "__main__":
    main()
