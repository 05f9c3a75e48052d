"""Pooled ASHA, as Ray Tune has it, against one ASHA per condition, on curves of real trials.

    python benchmarks/fair_pruning.py record    # trains every trial to the end, keeps the curves
    python benchmarks/fair_pruning.py           # replays them under each scheduler, many orders

Every curve was recorded from a trial that trained; none comes from a formula. The replay runs
two trials at a time, an epoch each in turn, and asks the scheduler after every epoch, as Ray
does. The winner of a condition is its best full-length trial on validation; its test accuracy
is shown, beside that of the best trial of all, which no scheduler can beat.
"""

from __future__ import annotations

import json
import math
import statistics
import sys
import tempfile
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
from rich.console import Console

from dynaloss.design.search_study import SchedulerConfig, SearchStudy
from dynaloss.execution.pruning import Candidate, Verdict, make_pruner

RESULTS = Path(__file__).parent / "results"
CURVES = RESULTS / "fair_pruning_curves.json"
TABLE = RESULTS / "fair_pruning.json"
METRIC, TEST = "val/balanced_accuracy", "test/accuracy"
GRACE, FACTOR, EPOCHS = 2, 3, 18
CONFIGURATIONS, SLOTS, REPEATS = 12, 2, 200

STUDY = {
    "study": "fair-pruning",
    "trial": {
        "data": {
            "source": "digits",
            "noise": {"kind": "symmetric", "rate": 0.4},
            "imbalance_factor": 1,
            "validation": {"fraction": 0.2},
        },
        "model": {"name": "mlp"},
        "loss": {"corrector": {"ranks": 10, "per_class": False, "warm_start": False}},
        "schedule": {"epochs": EPOCHS, "warmup_epochs": 2, "ramp_epochs": 1, "batch_size": 64},
    },
    "conditions": {"data.noise.rate": [0.2, 0.6], "data.imbalance_factor": [1, 10]},
    "space": {
        "optimizer.lr": {"loguniform": [3e-3, 3e-1]},
        "meta.lr": {"loguniform": [1e-3, 1e-1]},
        "loss.corrector.ranks": {"choice": [5, 10, 20]},
    },
    "search": {"sampler": "random", "trials": CONFIGURATIONS},
    "scheduler": {"name": "none"},
}

Ask = Callable[["Recorded", int, float], bool]
"""Whether a trial goes on after an epoch."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorded:
    """A trial that was trained to the end: its curves, one value per epoch."""

    key: str
    number: int
    condition: str
    validation: tuple[float, ...]
    test: tuple[float, ...]


@dataclass(slots=True)
class Tally:
    """What one replay came to."""

    epochs: int = 0
    finished: dict[str, list[Recorded]] = field(default_factory=lambda: defaultdict(list))


def record() -> None:
    """Trains every trial, unpruned, and writes the curves."""
    from dynaloss.execution.launch import Workplace
    from dynaloss.execution.search_launch import launch_search

    study = SearchStudy.model_validate(STUDY)
    with tempfile.TemporaryDirectory() as folder:
        workplace = Workplace(storage=Path(folder), tracking_uri=f"sqlite:///{folder}/mlflow.db")
        summary = launch_search(study, workplace, Console(stderr=True), sequential=True)
    trials = [
        {
            "key": trial.key,
            "number": trial.number,
            "condition": trial.group.condition,
            "settings": dict(trial.chosen),
            "validation": list(trial.curve(METRIC).values()),
            "test": list(trial.curve(TEST).values()),
        }
        for trial in summary.trials
    ]
    RESULTS.mkdir(exist_ok=True)
    CURVES.write_text(json.dumps({"study": STUDY, "trials": trials}, indent=1) + "\n")


def ray_pooled() -> Ask:
    """Ray's own ASHA over all trials at once."""
    return _ray(lambda trial: "all")


def ray_per_condition() -> Ask:
    """Ray's own ASHA, one scheduler per condition."""
    return _ray(lambda trial: trial.condition)


def _ray(pool_of: Callable[[Recorded], str]) -> Ask:
    from ray.tune.schedulers import ASHAScheduler

    schedulers: dict[str, Any] = {}

    def ask(trial: Recorded, epoch: int, value: float) -> bool:
        pool, stand_in = pool_of(trial), SimpleNamespace(trial_id=trial.key)
        if pool not in schedulers:
            schedulers[pool] = ASHAScheduler(
                time_attr="epoch",
                metric=METRIC,
                mode="max",
                max_t=EPOCHS,
                grace_period=GRACE,
                reduction_factor=FACTOR,
            )
        if epoch == 1:
            schedulers[pool].on_trial_add(None, stand_in)
        told = schedulers[pool].on_trial_result(None, stand_in, {"epoch": epoch, METRIC: value})
        return bool(epoch == EPOCHS or told == "CONTINUE")

    return ask


def ours() -> Ask:
    """The pruner of `dynaloss search`, a pool per condition."""
    return _ours("asha")


def unpruned() -> Ask:
    """Every trial to the end."""
    return _ours("none")


def _ours(name: str) -> Ask:
    config = SchedulerConfig.model_validate(
        {"name": name, "grace_epochs": GRACE, "reduction_factor": FACTOR}
    )
    pruner = make_pruner(config, seed=0, mode="max")

    def ask(trial: Recorded, epoch: int, value: float) -> bool:
        candidate = Candidate(
            key=trial.key, number=trial.number, pool=trial.condition, epochs=EPOCHS
        )
        verdict = pruner.report(candidate, epoch, value).verdict
        return verdict in (Verdict.CONTINUE, Verdict.AUDIT)

    return ask


SCHEDULERS: dict[str, Callable[[], Ask]] = {
    "unpruned": unpruned,
    "Ray ASHA, pooled": ray_pooled,
    "Ray ASHA, per condition": ray_per_condition,
    "dynaloss, per condition": ours,
}


def replay(trials: Sequence[Recorded], ask: Ask) -> Tally:
    """Runs the trials in order, `SLOTS` at a time, an epoch each in turn."""
    tally, waiting = Tally(), list(trials)
    running: list[tuple[Recorded, int]] = []
    while waiting or running:
        while waiting and len(running) < SLOTS:
            running.append((waiting.pop(0), 0))
        still = []
        for trial, done in running:
            epoch = done + 1
            tally.epochs += 1
            goes_on = ask(trial, epoch, trial.validation[epoch - 1])
            if goes_on and epoch == EPOCHS:
                tally.finished[trial.condition].append(trial)
            elif goes_on:
                still.append((trial, epoch))
        running = still
    return tally


def orders(trials: Sequence[Recorded]) -> dict[str, list[list[Recorded]]]:
    """Orders in which the trials start: as a grid lists them, in turn, and at random."""
    rng = np.random.default_rng(0)
    grid = sorted(trials, key=lambda trial: (trial.condition, trial.number))
    turns = sorted(trials, key=lambda trial: (trial.number, trial.condition))
    shuffled = [[trials[i] for i in rng.permutation(len(trials))] for _ in range(REPEATS)]
    return {"grid order": [grid], "conditions in turn": [turns], "random order": shuffled}


def compare(trials: Sequence[Recorded]) -> list[dict[str, Any]]:
    """One row per order and scheduler: means over the repeats."""
    conditions = list(dict.fromkeys(trial.condition for trial in trials))
    rows = []
    for order, sequences in orders(trials).items():
        for name, make in SCHEDULERS.items():
            tallies = [replay(sequence, make()) for sequence in sequences]
            by_condition = {
                condition: _condition_row(tallies, condition) for condition in conditions
            }
            rows.append(
                {
                    "order": order,
                    "scheduler": name,
                    "repeats": len(tallies),
                    "epochs": statistics.fmean(tally.epochs for tally in tallies),
                    "empty_conditions": statistics.fmean(
                        sum(not tally.finished[condition] for condition in conditions)
                        for tally in tallies
                    ),
                    "conditions": by_condition,
                }
            )
    return rows


def _condition_row(tallies: Sequence[Tally], condition: str) -> dict[str, float | None]:
    finished = [tally.finished[condition] for tally in tallies]
    accuracies = [
        max(own, key=lambda trial: trial.validation[-1]).test[-1] for own in finished if own
    ]
    return {
        "full_length": statistics.fmean(map(len, finished)),
        "empty_share": statistics.fmean(not own for own in finished),
        "winner_test_accuracy": statistics.fmean(accuracies) if accuracies else None,
    }


def show(rows: Sequence[dict[str, Any]]) -> None:
    """Prints the rows as a Markdown table."""
    conditions = list(rows[0]["conditions"])
    head = ["order", "scheduler", "epochs", "empty conditions", *conditions]
    print("| " + " | ".join(head) + " |")
    print("|" + " --- |" * len(head))
    for row in rows:
        cells = [row["order"], row["scheduler"], f"{row['epochs']:.0f}"]
        cells.append(f"{row['empty_conditions']:.2f}")
        for condition in conditions:
            own = row["conditions"][condition]
            accuracy = own["winner_test_accuracy"]
            told = "none" if accuracy is None else f"{100 * accuracy:.1f} %"
            cells.append(f"{own['full_length']:.1f} full, winner {told}")
        print("| " + " | ".join(cells) + " |")


def main() -> None:
    """Records where asked to, or else replays and writes the table."""
    if sys.argv[1:] == ["record"]:
        record()
        return
    stored = json.loads(CURVES.read_text())["trials"]
    trials = [
        Recorded(
            key=it["key"],
            number=it["number"],
            condition=it["condition"],
            validation=tuple(math.nan if v is None else v for v in it["validation"]),
            test=tuple(it["test"]),
        )
        for it in stored
        if len(it["validation"]) == EPOCHS
    ]
    rows = compare(trials)
    show(rows)
    TABLE.write_text(json.dumps({"trials": len(trials), "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
