"""A tabular benchmark of searches under label noise and imbalance: curves of real trials.

    python benchmarks/search_curves.py [--processes 2] [--pieces curves]

trains the table, `benchmarks/results/search_curves.npz`: the full method on digits under four
conditions (symmetric noise 0.2 and 0.6, imbalance 1 and 10), 96 configurations that fill a space
of six parameters evenly, the defaults, six seeds with one test split, 27 epochs each.
Ended trials are kept in the folder of pieces, so that the command goes on where it stopped.

`load()` reads the table. It is for everyone who compares search methods, under the licence of this
project; the images are those of "Optical Recognition of Handwritten Digits" (Alpaydin and Kaynak,
1998, UCI Machine Learning Repository, CC BY 4.0), as scikit-learn has them.
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Mapping
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dynaloss.config.settings import Scalar
from dynaloss.studies.search.groups import Group, make_search_plan
from dynaloss.studies.study import SearchStudy

TABLE = Path(__file__).parent / "results" / "search_curves.npz"
METRICS = (
    "val/accuracy",
    "val/balanced_accuracy",
    "val_clean/accuracy",
    "val_clean/balanced_accuracy",
    "test/accuracy",
    "test/balanced_accuracy",
)
CONFIGURATIONS, SEEDS = 96, (0, 1, 2, 3, 4, 5)
STUDY: dict[str, Any] = {
    "study": "search-curves",
    "trial": {
        "data": {
            "source": "digits",
            "noise": {"kind": "symmetric", "rate": 0.2},
            "validation": {"fraction": 0.2},
            "test_seed": 0,
        },
        "model": {"name": "mlp"},
        "loss": {"corrector": {"ranks": 10, "per_class": False, "warm_start": False}},
        "schedule": {"epochs": 27, "warmup_epochs": 2, "ramp_epochs": 1, "batch_size": 64},
    },
    "conditions": {"data.noise.rate": [0.2, 0.6], "data.imbalance_factor": [1, 10]},
    "space": {
        "loss.corrector.ranks": {"loginteger": [2, 50]},
        "meta.lr": {"loguniform": [1e-4, 1e-1]},
        "sampler.random_ratio": {"uniform": [0.1, 1.0]},
        "sampler.low_loss_ratio": {"uniform": [0.1, 1.0]},
        "optimizer.lr": {"loguniform": [1e-2, 1.0]},
        "optimizer.weight_decay": {"loguniform": [1e-5, 1e-2]},
    },
    "search": {"sampler": "qmc", "trials": CONFIGURATIONS},
    "scheduler": {"name": "none"},
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Curves:
    """The table.

    Attributes:
        study: The search that the trials are of, as its file would have it.
        conditions: Label of each condition.
        configurations: Values of each configuration by dotted key; the last one is empty, the
            trial as it is written.
        seeds: Seed of each replicate.
        values: The metrics by name, in [0, 1] and rounded to 1e-4, shape (conditions,
            configurations, seeds, epochs); NaN where a trial had diverged.
        seconds: Seconds per epoch, mean of a trial, shape (conditions, configurations, seeds).
        made: Machine, versions, commit and command.
    """

    study: Mapping[str, Any]
    conditions: tuple[str, ...]
    configurations: tuple[Mapping[str, Scalar], ...]
    seeds: tuple[int, ...]
    values: Mapping[str, NDArray[np.float64]]
    seconds: NDArray[np.float64]
    made: Mapping[str, Any]


def load(path: Path = TABLE) -> Curves:
    """The recorded table."""
    with np.load(path, allow_pickle=False) as stored:
        facts = json.loads(str(stored["facts"]))
        values = {name: stored[name].astype(float) for name in METRICS}
        seconds = stored["seconds"].astype(float)
    return Curves(
        study=facts["study"],
        conditions=tuple(facts["conditions"]),
        configurations=tuple(facts["configurations"]),
        seeds=tuple(facts["seeds"]),
        values={name: np.where(found < 0, np.nan, found / 1e4) for name, found in values.items()},
        seconds=seconds,
        made=facts["made"],
    )


def groups() -> tuple[Group, ...]:
    """A group per condition, in the order of the table."""
    return make_search_plan(SearchStudy.model_validate(STUDY), lambda data: "digits").groups


def configurations() -> list[dict[str, Scalar]]:
    """What the table's search suggests under its first condition, used under all of them."""
    import optuna

    from dynaloss.execution.search.suggestions import Suggester

    study = SearchStudy.model_validate(STUDY)
    storage = optuna.storages.InMemoryStorage()
    suggester = Suggester(storage, study, groups()[0], parallel=False)
    return [suggester.ask(number) for number in range(CONFIGURATIONS)] + [{}]


def train(group: int, chosen: Mapping[str, Scalar], seed: int) -> dict[str, list[float]]:
    """Curves of the metrics of one trial, one value an epoch, and the seconds of each epoch."""
    import torch

    from dynaloss.data.sources import load_source
    from dynaloss.execution.trial.assembly import assemble_trial
    from dynaloss.learning.reports import Diverged
    from dynaloss.studies.overrides import override

    torch.set_num_threads(1)
    config = override(groups()[group].config, chosen)
    trial = assemble_trial(
        config,
        seed=seed,
        base_seed=0,
        source=load_source(config.data),
        device=torch.device("cpu"),
    )
    found: dict[str, list[float]] = {name: [] for name in (*METRICS, "time/epoch_seconds")}
    try:
        for report in trial.trainer.epochs():
            for name, curve in found.items():
                curve.append(float(report.metrics[name]))
    except Diverged:
        pass
    return found


def _record(pieces: Path, processes: int) -> None:
    pieces.mkdir(parents=True, exist_ok=True)
    chosen = configurations()
    cells = [*np.ndindex(len(groups()), len(chosen), len(SEEDS))]
    left = [cell for cell in cells if not _piece(pieces, cell).exists()]
    with ProcessPoolExecutor(processes) as pool:
        cell_of = {pool.submit(train, g, chosen[c], SEEDS[s]): (g, c, s) for g, c, s in left}
        for done, trained in enumerate(as_completed(cell_of), start=1):
            path = _piece(pieces, cell_of[trained])
            path.with_suffix(".new").write_text(json.dumps(trained.result()), "utf-8")
            path.with_suffix(".new").replace(path)
            if done % 50 == 0:
                print(f"{done} of {len(left)} trials", flush=True)
    _write(pieces, chosen, (len(groups()), len(chosen), len(SEEDS)))


def _piece(pieces: Path, cell: tuple[int, ...]) -> Path:
    return pieces / ("-".join(map(str, cell)) + ".json")


def _write(pieces: Path, chosen: list[dict[str, Scalar]], shape: tuple[int, ...]) -> None:
    from machine import describe

    epochs = STUDY["trial"]["schedule"]["epochs"]
    values = {name: np.full((*shape, epochs), -1, dtype=np.int16) for name in METRICS}
    seconds = np.zeros(shape, dtype=np.float16)
    for cell in np.ndindex(shape):
        found = json.loads(_piece(pieces, cell).read_text("utf-8"))
        seconds[cell] = np.mean(found["time/epoch_seconds"])
        for name, curve in found.items():
            if name in values:
                values[name][cell][: len(curve)] = np.rint(np.array(curve) * 1e4)
    facts = {
        "study": STUDY,
        "conditions": [group.condition for group in groups()],
        "configurations": chosen,
        "seeds": SEEDS,
        "made": describe() | {"threads": 1},
    }
    np.savez_compressed(TABLE, facts=json.dumps(facts), seconds=seconds, **values)


def main() -> None:
    """Trains what is left of the table, and writes it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--processes", type=int, default=os.cpu_count(), help="Trials at a time.")
    parser.add_argument("--pieces", type=Path, default=Path("curves"), help="Ended trials.")
    options = parser.parse_args()
    _record(options.pieces, options.processes)


if __name__ == "__main__":
    main()
