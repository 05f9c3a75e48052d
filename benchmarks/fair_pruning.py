"""Pooled ASHA, as Ray Tune has it, against one ASHA per condition, on real trials.

    python benchmarks/fair_pruning.py record    # trains every trial to the end, keeps the curves
    python benchmarks/fair_pruning.py           # both of the following
    python benchmarks/fair_pruning.py replay    # the recorded curves in many orders
    python benchmarks/fair_pruning.py live      # trains under each scheduler, with Ray

Live, `dynaloss search` and Ray's own scheduler train the same configurations of the quickstart's
kind (three draws of them), with the same budget, two at a time. The replay repeats this in many
orders: every curve was recorded from a trial that trained, none comes from a formula; two trials
run at a time, an epoch each in turn, and the scheduler is asked after every epoch, as Ray does.
The winner of a condition is its best full-length trial on validation; its test accuracy is shown,
as a mean over the runs where the condition has one.
"""

from __future__ import annotations

import json
import math
import statistics
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
from machine import describe
from rich.console import Console

from dynaloss.config.search import SchedulerConfig
from dynaloss.execution.search.pruning import Candidate, Verdict, make_pruner
from dynaloss.execution.search.searched import SearchTrial
from dynaloss.studies.study import SearchStudy
from dynaloss.studies.trial_record import Outcome

RESULTS = Path(__file__).parent / "results"
CURVES = RESULTS / "fair_pruning_curves.json"
TABLE = RESULTS / "fair_pruning.json"
METRIC, TEST = "val/balanced_accuracy", "test/accuracy"
GRACE, FACTOR, EPOCHS = 2, 3, 18
CONFIGURATIONS, SLOTS, REPEATS = 12, 2, 200
LIVE_SEEDS = (0, 1, 2)

STUDY: dict[str, Any] = {
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
    trials = [
        {
            "key": trial.key,
            "number": trial.number,
            "condition": trial.group.condition,
            "settings": dict(trial.chosen),
            "validation": list(trial.curve(METRIC).values()),
            "test": list(trial.curve(TEST).values()),
        }
        for trial in _search("none", in_process=True)
    ]
    RESULTS.mkdir(exist_ok=True)
    CURVES.write_text(json.dumps({"study": STUDY, "trials": trials}, indent=1) + "\n")


def _search(scheduler: str, *, seed: int = 0, in_process: bool) -> tuple[SearchTrial, ...]:
    """Every trial of `dynaloss search` on the study, under one of its schedulers."""
    from dynaloss.execution.search.launching import launch_search
    from dynaloss.tracking import Workspace

    rungs = {"name": scheduler, "grace_epochs": GRACE, "reduction_factor": FACTOR}
    search = {**STUDY["search"], "seed": seed}
    study = SearchStudy.model_validate({**STUDY, "scheduler": rungs, "search": search})
    with tempfile.TemporaryDirectory() as folder:
        workspace = Workspace(storage=Path(folder), tracking_uri=f"sqlite:///{folder}/mlflow.db")
        console = Console(stderr=True)
        return launch_search(study, workspace, console, in_process=in_process).trials


def ray_pooled() -> Ask:
    """Ray's own ASHA over all trials at once."""
    return _ray(lambda trial: "all")


def ray_per_condition() -> Ask:
    """Ray's own ASHA, one scheduler per condition."""
    return _ray(lambda trial: trial.condition)


def _ray(pool_of: Callable[[Recorded], str]) -> Ask:
    schedulers: dict[str, Any] = {}

    def ask(trial: Recorded, epoch: int, value: float) -> bool:
        pool, stand_in = pool_of(trial), SimpleNamespace(trial_id=trial.key)
        if pool not in schedulers:
            schedulers[pool] = _asha()
        if epoch == 1:
            schedulers[pool].on_trial_add(None, stand_in)
        told = schedulers[pool].on_trial_result(None, stand_in, {"epoch": epoch, METRIC: value})
        return bool(epoch == EPOCHS or told == "CONTINUE")

    return ask


def _asha() -> Any:  # noqa: ANN401 - Ray has no types
    from ray.tune.schedulers import ASHAScheduler

    return ASHAScheduler(
        time_attr="epoch",
        metric=METRIC,
        mode="max",
        max_t=EPOCHS,
        grace_period=GRACE,
        reduction_factor=FACTOR,
    )


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
    return [
        _row(order, name, [replay(sequence, make()) for sequence in sequences], conditions)
        for order, sequences in orders(trials).items()
        for name, make in SCHEDULERS.items()
    ]


def _row(
    order: str, scheduler: str, tallies: Sequence[Tally], conditions: Sequence[str]
) -> dict[str, Any]:
    empty = [sum(not tally.finished[c] for c in conditions) for tally in tallies]
    return {
        "order": order,
        "scheduler": scheduler,
        "repeats": len(tallies),
        "epochs": statistics.fmean(tally.epochs for tally in tallies),
        "empty_conditions": statistics.fmean(empty),
        "conditions": {condition: _condition_row(tallies, condition) for condition in conditions},
    }


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


def live() -> list[dict[str, Any]]:
    """One row per order and scheduler of the runs that trained, means over `LIVE_SEEDS`."""
    from dynaloss.config.trial import ResourcesConfig
    from dynaloss.execution.backends.ray_cluster import ray_backend

    tallies: dict[tuple[str, str], list[Tally]] = defaultdict(list)
    with ray_backend(ResourcesConfig()):
        for seed in LIVE_SEEDS:
            trials = _search("asha", seed=seed, in_process=False)
            conditions = list(dict.fromkeys(trial.group.condition for trial in trials))
            turns = sorted(trials, key=lambda trial: trial.number)
            grid = sorted(trials, key=lambda trial: conditions.index(trial.group.condition))
            tallies["conditions in turn", "dynaloss, per condition"].append(_tally(trials))
            tallies["conditions in turn", "Ray ASHA, pooled"].append(ray_live(turns))
            tallies["grid order", "Ray ASHA, pooled"].append(ray_live(grid))
    return [_row(*names, found, conditions) for names, found in tallies.items()]


def _tally(trials: Sequence[SearchTrial]) -> Tally:
    tally = Tally(epochs=sum(trial.last_epoch for trial in trials))
    for trial in trials:
        if trial.outcome is Outcome.COMPLETED:
            _finish(tally, trial, trial.curve(METRIC).values(), trial.curve(TEST).values())
    return tally


def _finish(
    tally: Tally, trial: SearchTrial, validation: Iterable[float], test: Iterable[float]
) -> None:
    """Counts a trial that trained to the end."""
    finished = Recorded(
        key=trial.key,
        number=trial.number,
        condition=trial.group.condition,
        validation=tuple(validation),
        test=tuple(test),
    )
    tally.finished[finished.condition].append(finished)


def ray_live(trials: Sequence[SearchTrial]) -> Tally:
    """Trains the same trials afresh under Ray's own scheduler, one pool, `SLOTS` at a time."""
    import ray
    from ray import tune

    from dynaloss.data.sources import load_source
    from dynaloss.execution.backends.ray_trainable import RESULT_KEY, TrialTrainable
    from dynaloss.execution.trial.runner import TrialOrder

    class Reporting(TrialTrainable):
        """Reports the metrics where Ray's scheduler looks for them."""

        def step(self) -> dict[str, Any]:
            result = super().step()
            reports = result[RESULT_KEY].reports
            epoch, metrics = reports[-1] if reports else (self.iteration + 1, {})
            told = {name: metrics.get(name, math.nan) for name in (METRIC, TEST)}
            return {**result, "epoch": epoch, **told}

    class Collector(tune.Callback):
        """Keeps the curves of each trial."""

        def __init__(self) -> None:
            self.curves: dict[str, list[tuple[float, float]]] = defaultdict(list)

        def __getstate__(self) -> dict[str, Any]:
            return {}

        def on_trial_result(self, iteration, trials, trial, result, **info) -> None:  # noqa: ANN001, ANN003
            key = trial.config["trial"]["order"]["key"]
            self.curves[key].append((result[METRIC], result[TEST]))

    data = trials[0].trial.config.data
    sources = {data.source_key: ray.put(load_source(data))}
    with tempfile.TemporaryDirectory() as folder:
        configs = [
            {
                "order": asdict(TrialOrder.of(trial.trial, Path(folder))),
                "cpu": 1,
                "gpu": 0,
            }
            for trial in trials
        ]
        collector = Collector()
        trainable = tune.with_parameters(Reporting, sources=sources)
        tune.Tuner(
            tune.with_resources(trainable, resources={"cpu": 1}),
            param_space={"trial": tune.grid_search(configs)},
            tune_config=tune.TuneConfig(
                scheduler=_asha(), max_concurrent_trials=SLOTS, reuse_actors=True
            ),
            run_config=tune.RunConfig(
                storage_path=f"{folder}/ray",
                callbacks=[collector],
                checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
                verbose=0,
            ),
        ).fit()
    tally = Tally(epochs=sum(map(len, collector.curves.values())))
    for trial in trials:
        curve = collector.curves[trial.key]
        if len(curve) == EPOCHS:
            _finish(tally, trial, *zip(*curve, strict=True))
    return tally


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


def _curves() -> list[Recorded]:
    """The recorded trials that ran to the end."""
    stored = json.loads(CURVES.read_text())["trials"]
    return [
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


PARTS: dict[str, Callable[[], list[dict[str, Any]]]] = {
    "replay": lambda: compare(_curves()),
    "live": live,
}


def main() -> None:
    """Records where asked to, or else measures the parts asked for and keeps their tables."""
    if sys.argv[1:] == ["record"]:
        record()
        return
    found = json.loads(TABLE.read_text()) if TABLE.exists() else {}
    for part in sys.argv[1:] or PARTS:
        started = time.perf_counter()
        rows = PARTS[part]()
        show(rows)
        seconds = round(time.perf_counter() - started, 1)
        found[part] = {"surroundings": describe(), "seconds": seconds, "rows": rows}
    TABLE.write_text(
        json.dumps({part: found[part] for part in PARTS if part in found}, indent=1) + "\n"
    )


if __name__ == "__main__":
    main()
