"""Launches that are killed at random: what is lost, what runs twice, what is left behind.

    python benchmarks/chaos.py [--kills 100] [--seed 0] [--output FILE]

An ablation under Ray, and a search with promotion and a race in one process, are each run whole,
then again and again with a fault at a random moment and as many relaunches as it takes. A fault is
a signal to the launch, to its group, to all its processes, or to one of Ray. After each the stored
results are compared with those of the undisturbed run, bit for bit; lost and duplicate runs,
unfinished ones, repeated epochs, tracebacks and files left behind are counted.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

OUTPUT = Path(__file__).parent / "results" / "tables" / "chaos.json"
FAULTS = {
    "SIGKILL to the launch": ("launch", signal.SIGKILL, 1),
    "SIGTERM to the launch": ("launch", signal.SIGTERM, 1),
    "SIGINT to the launch": ("launch", signal.SIGINT, 1),
    "SIGINT to the launch, twice": ("launch", signal.SIGINT, 2),
    "SIGTERM to its group": ("group", signal.SIGTERM, 1),
    "SIGTERM to all its processes": ("all", signal.SIGTERM, 1),
    "SIGKILL to Ray's own process": ("import serve", signal.SIGKILL, 1),
    "SIGKILL to the raylet": ("raylet/raylet", signal.SIGKILL, 1),
    "SIGKILL to the GCS": ("gcs_server", signal.SIGKILL, 1),
    "SIGKILL to a worker": ("Trainable", signal.SIGKILL, 1),
}
TRIAL = """
trial:
  data: {source: digits, n_max: 60, noise: {rate: 0.4}, validation: {fraction: 0.25}}
  model: {name: mlp}
  loss: {corrector: {ranks: 10, per_class: false, warm_start: false}}
  schedule: {epochs: 40, warmup_epochs: 0, ramp_epochs: 0, batch_size: 64}
"""
STUDIES = {
    "ablate": TRIAL + "ablation: {components: [corrector, margin]}\nseeds: [0, 1]\n",
    "search": TRIAL
    + "conditions: {data.noise.rate: [0.2, 0.6]}\n"
    + "space: {optimizer.lr: {loguniform: [1e-3, 1]}}\n"
    + "search: {trials: 5, race: {top: 2, seeds: [100]}}\n"
    + "scheduler: {name: promotion, grace_epochs: 5}\n",
}
_COSTS = ("time/", "memory/", "disk/")
_MOST_LAUNCHES = 4
_WITHOUT_RAY = 6
"""The first faults need no process of Ray."""


@dataclass(frozen=True, slots=True)
class Place:
    """A folder with one study.

    Attributes:
        folder: Where it lies; the results are below.
        command: `ablate` or `search`.
    """

    folder: Path
    command: str

    def start(self, *options: str) -> subprocess.Popen[bytes]:
        """Launches the study in a session of its own."""
        path = self.folder / "study.yaml"
        path.write_text(f"study: chaos{STUDIES[self.command]}", "utf-8")
        arguments = [self.command, str(path), "--storage", str(self.folder / "results"), *options]
        if self.command == "search":
            arguments += ["--no-confirm", "--sequential"]
        with (self.folder / "errors.txt").open("a") as errors:
            return subprocess.Popen(
                [sys.executable, "-P", "-m", "dynaloss", *arguments],
                cwd=self.folder,
                env=os.environ
                | {"OMP_NUM_THREADS": "1", "TMPDIR": str(self.folder.parent / "tmp")},
                stdout=subprocess.DEVNULL,
                stderr=errors,
                start_new_session=True,
            )

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        """Rows of the tracking store."""
        database = sqlite3.connect(
            f"file:{self.folder / 'results' / 'mlflow.db'}?mode=ro", uri=True
        )
        with closing(database):
            return database.execute(query).fetchall()

    def values(self) -> dict[tuple[str, str], float]:
        """Last value of every metric of every trial, without the costs, which no seed gives."""
        found = self.rows(
            "select t.value, m.key, m.value from latest_metrics m join tags t "
            "on t.run_uuid = m.run_uuid and t.key = 'dynaloss.key'"
        )
        return {(key, name): v for key, name, v in found if not name.startswith(_COSTS)}

    def trials(self) -> list[str]:
        """The key of every trial's run."""
        query = "select t.value from tags t join runs r on r.run_uuid = t.run_uuid "
        query += "where t.key = 'dynaloss.key' and r.lifecycle_stage = 'active'"
        return [key for (key,) in self.rows(query)]

    def unfinished(self) -> int:
        """Runs that the store takes for running."""
        return len(self.rows("select 1 from runs where status = 'RUNNING'"))

    def repeated(self) -> int:
        """Epochs that a run holds twice."""
        query = (
            "select 1 from metrics where key = 'epoch' group by run_uuid, step having count(*) > 1"
        )
        return len(self.rows(query))


def below(pid: int) -> dict[int, str]:
    """Command line of every process that one has started, and of those below."""
    parents, commands = {}, {}
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            parents[int(folder.name)] = int(
                (folder / "stat").read_text().rpartition(")")[2].split()[1]
            )
            commands[int(folder.name)] = (folder / "cmdline").read_text().replace("\0", " ")
    found = {pid}
    while more := {child for child, parent in parents.items() if parent in found} - found:
        found |= more
    return {pid: commands[pid] for pid in found & commands.keys()}


def strike(launch: subprocess.Popen[bytes], whom: str, what: signal.Signals, times: int) -> bool:
    """Sends signals; returns whether there was a process to receive them."""
    for _ in range(times):
        targets = {"launch": [launch.pid], "all": [*below(launch.pid)]}.get(whom)
        if whom == "group":
            os.killpg(launch.pid, what)
            return True
        if targets is None:
            targets = [pid for pid, command in below(launch.pid).items() if whom in command][:1]
        for pid in targets:
            with suppress(ProcessLookupError):
                os.kill(pid, what)
        if not targets:
            return False
        time.sleep(0.5 * (times > 1))
    return True


def undisturbed(folder: Path, command: str) -> tuple[Place, float]:
    """The study run whole, and the seconds that it took."""
    place = Place(folder / f"whole-{command}", command)
    place.folder.mkdir()
    start = time.monotonic()
    launch = place.start()
    if launch.wait():
        raise SystemExit(f"the undisturbed {command} failed: see {place.folder / 'errors.txt'}")
    return place, time.monotonic() - start


def disturbed(
    folder: Path, whole: Place, seconds: float, fault: str, after: float
) -> dict[str, Any]:
    """One launch with a fault, and what is left of it after the relaunches that it needs."""
    place = Place(folder / "place", whole.command)
    shutil.rmtree(place.folder, ignore_errors=True)
    place.folder.mkdir()
    whom, what, times = FAULTS[fault]
    launch = place.start()
    time.sleep(after)
    hit = launch.poll() is None and strike(launch, whom, what, times)
    codes = [launch.wait(timeout=20 * seconds)]
    while codes[-1] and len(codes) < _MOST_LAUNCHES:
        codes.append(place.start().wait(timeout=20 * seconds))
    time.sleep(1)  # for processes that end with their parents
    keys, expected = Counter(place.trials()), Counter(whole.trials())
    return {
        "command": whole.command,
        "fault": fault,
        "after": round(after, 1),
        "hit": hit,
        "codes": codes,
        "as undisturbed": place.values() == whole.values() and codes[-1] == 0,
        "lost": len(expected - keys),
        "duplicates": sum(count - 1 for count in keys.values()),
        "unfinished": place.unfinished(),
        "repeated epochs": place.repeated(),
        "tracebacks": (place.folder / "errors.txt").read_text().count("Traceback"),
        "left": sorted(path.name for path in left(place)),
    }


def strikes(folder: Path, kills: int, seed: int) -> Iterator[dict[str, Any]]:
    """Runs each study whole, then strikes so many launches in turn; a row for each."""
    (folder / "tmp").mkdir()
    draw = np.random.default_rng(seed)
    wholes = [undisturbed(folder, command) for command in STUDIES]
    for number in range(kills):
        whole, seconds = wholes[number % len(wholes)]
        faults = [*FAULTS] if whole.command == "ablate" else [*FAULTS][:_WITHOUT_RAY]
        fault = faults[int(draw.integers(len(faults)))]
        yield disturbed(folder, whole, seconds, fault, float(draw.uniform(0, seconds)))


def left(place: Place) -> Iterator[Path]:
    """Checkpoints, part files and temporary folders that nothing needs any more."""
    results = place.folder / "results"
    yield from results.rglob("*.pt")
    yield from results.rglob("*.part")
    yield from results.glob(".new-store-*")
    yield from results.glob("*/undelivered")
    yield from (place.folder.parent / "tmp").glob("dynaloss-ray-*")


def main() -> None:
    """Strikes so many launches, and keeps a row for each."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=100, help="Launches to strike.")
    parser.add_argument("--seed", type=int, default=0, help="Seed of faults and moments.")
    parser.add_argument("--output", type=Path, default=OUTPUT, help="File of the rows.")
    options = parser.parse_args()
    # Shells let their background jobs ignore it, and these pass that on to what they start.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    from machine import describe

    rows = []
    with tempfile.TemporaryDirectory(prefix="chaos-", ignore_cleanup_errors=True) as name:
        for row in strikes(Path(name), options.kills, options.seed):
            rows.append(row)
            print(json.dumps(rows[-1]), flush=True)
            content = {"table": shown(rows), "rows": rows, **describe()}
            content["command"] = f"python benchmarks/chaos.py --kills {len(rows)}"
            options.output.write_text(json.dumps(content, indent=1) + "\n", "utf-8")
    print("\n".join(shown(rows)))


def shown(rows: list[dict[str, Any]]) -> list[str]:
    """The counts as a table in Markdown, a line per fault."""
    names = ("lost", "duplicates", "unfinished", "repeated epochs", "tracebacks")
    lines = [
        f"| fault | launches | hit | as undisturbed | {' | '.join(names)} | left behind |",
        "|---|---|---|---|" + "---|" * (len(names) + 1),
    ]
    for fault in (*FAULTS, "all"):
        own = [row for row in rows if fault in (row["fault"], "all")]
        if own:
            counts = [sum(row["hit"] for row in own), sum(row["as undisturbed"] for row in own)]
            counts += [sum(row[name] for row in own) for name in names]
            counts.append(sum(len(row["left"]) for row in own))
            lines.append(f"| {fault} | {len(own)} | {' | '.join(map(str, counts))} |")
    return lines


if __name__ == "__main__":
    main()
