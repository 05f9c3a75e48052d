"""The loop of examples/own_loop.py against the platform's trainer: accuracy and time.

    python benchmarks/own_loop.py [--seeds N] [--epochs N] [--output FILE]

Both train on the images and observed labels that the platform's splits give for a seed, in the
quickstart's condition with imbalance 10, and are tested on the same clean images. They share the
settings, but neither initial weights nor random numbers, and not every detail: the loop scales
images otherwise, and leaves out a last batch of few samples, where the trainer's batches are all
of nearly equal size.

They train in one process with one thread, an epoch each in turn; times are processor times of
the epochs after warm-up. Those of the loop are of the whole epoch, with the pass that ranks the
samples. `training` of the trainer is the same part: its steps, and such a pass; `epoch` is all,
with evaluation and what it reports.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

import torch
from machine import describe
from torch.utils.data import TensorDataset

from dynaloss.analysis.statistics.intervals import mean, paired_difference, std
from dynaloss.config import TrialConfig
from dynaloss.data.sources import Source, load_source
from dynaloss.data.splits import LabelledImages, make_splits
from dynaloss.execution.trial.assembly import assemble_trial
from dynaloss.learning.diagnostics import weak_logits
from dynaloss.learning.streams import Streams
from dynaloss.studies import load_study

sys.path.insert(0, str(Path(__file__).parents[1] / "examples"))
import own_loop

OUTPUT = Path(__file__).parent / "results" / "tables" / "own_loop.json"
CPU = torch.device("cpu")
SIDES = ("loop", "trainer")


def dataset(samples: LabelledImages) -> TensorDataset:
    """The same samples as the loop reads them."""
    return own_loop.as_dataset(samples.images[:] / 255, samples.observed)


def race(config: TrialConfig, source: Source, seed: int) -> dict[str, Any]:
    """Trains both sides on the data of a seed; accuracies in percent, and seconds by part."""
    splits = make_splits(source, config.data, Streams(base_seed=0, seed=seed))
    data, test = dataset(splits.train), dataset(splits.tests["test"])
    trial = assemble_trial(config, seed=seed, base_seed=0, source=source, device=CPU)
    models = own_loop.train(data, seed=seed, epochs=config.schedule.epochs)
    reports = trial.trainer.epochs()
    seconds: dict[str, list[float]] = {"loop": [], "training": [], "epoch": []}
    for epoch in range(config.schedule.epochs):
        started = time.process_time()
        model = next(models)
        after_loop = time.process_time()
        report = next(reports)
        after_trainer = time.process_time()
        reached = own_loop.accuracy(model, test), report.metrics["test/accuracy"]
        if epoch < config.schedule.warmup_epochs:
            continue
        seconds["loop"].append(after_loop - started)
        seconds["epoch"].append(after_trainer - after_loop)
        seconds["training"].append(
            share_of_training(report.metrics, len(data)) * seconds["epoch"][-1]
            + seconds_of_ranking(trial.trainer)
        )
    accuracy = {side: round(100 * share, 2) for side, share in zip(SIDES, reached, strict=True)}
    return {"seed": seed, "accuracy": accuracy, "seconds": seconds}


def share_of_training(metrics: dict[str, float], num_samples: int) -> float:
    """Share of the training steps in the time of one of the trainer's epochs."""
    return num_samples / metrics["time/images_per_second"] / metrics["time/epoch_seconds"]


def seconds_of_ranking(trainer: Any) -> float:  # noqa: ANN401 - the trainer
    """Processor time of one pass over the training set, which the trainer does in evaluation."""
    started = time.process_time()
    weak_logits(trainer.model, trainer.train)
    return time.process_time() - started


def summary(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Accuracies with the paired difference, and median times with their ratios."""
    accuracy = {side: [row["accuracy"][side] for row in rows] for side in SIDES}
    by_seed = [dict(enumerate(accuracy[side])) for side in SIDES]
    difference = paired_difference(*by_seed)
    parts = {p: [s for row in rows for s in row["seconds"][p]] for p in rows[0]["seconds"]}
    medians = {part: median(times) for part, times in parts.items()}
    return {
        "accuracy": {
            side: {"mean": round(mean(values), 2), "std": round(std(values), 2)}
            for side, values in accuracy.items()
        },
        "loop_minus_trainer": {
            "mean": round(difference.mean, 2),
            "ci95": [round(end, 2) for end in difference.ci95 or ()],
        }
        if difference
        else None,
        "median_seconds_of_an_epoch": {p: round(value, 4) for p, value in medians.items()},
        "loop_over": {p: round(medians["loop"] / medians[p], 3) for p in ("training", "epoch")},
    }


def table(found: dict[str, Any], seeds: int) -> list[str]:
    """The summary as a table in Markdown."""
    accuracy, seconds = found["accuracy"], found["median_seconds_of_an_epoch"]
    cells = {side: f"{accuracy[side]['mean']:.1f} ± {accuracy[side]['std']:.1f}" for side in SIDES}
    ms = {part: f"{1e3 * value:.0f} ms" for part, value in seconds.items()}
    ratio, difference = found["loop_over"], found["loop_minus_trainer"]
    apart = "–"
    if difference:
        low, high = difference["ci95"]
        apart = f"{difference['mean']:+.1f} \\[{low:.1f}, {high:.1f}\\]"
    return [
        f"| | test accuracy (%), n = {seeds} | time of an epoch |",
        "|---|---|---|",
        f"| example's loop | {cells['loop']} | {ms['loop']} |",
        f"| trainer | {cells['trainer']} | {ms['training']}; {ms['epoch']} with evaluation |",
        f"| difference, ratio | {apart} | {ratio['training']:.2f}; {ratio['epoch']:.2f} |",
        "",
        "Mean ± standard deviation; difference paired by seed, with its 95 % t interval. Medians "
        "of the epochs after warm-up in processor time, on one thread, an epoch each in turn; "
        "both with the pass that ranks the samples.<br>",
    ]


def main() -> None:
    """Prints a line a seed and the summary, and writes all as JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=6)
    parser.add_argument("--epochs", type=int, default=40)
    parser.add_argument("--output", type=Path, default=OUTPUT, help="write the results there")
    options = parser.parse_args()
    torch.set_num_threads(1)
    trial = load_study("quickstart").trial
    config = trial.model_copy(
        update={"schedule": trial.schedule.model_copy(update={"epochs": options.epochs})}
    )
    source, surroundings = load_source(config.data), describe()
    print(json.dumps(surroundings))
    rows = []
    for seed in range(options.seeds):
        rows.append(race(config, source, seed))
        print(json.dumps({"seed": seed, **rows[-1]["accuracy"]}), flush=True)
    found = summary(rows)
    print(json.dumps(found, indent=1))
    seeds = [{"seed": row["seed"], **row["accuracy"]} for row in rows]
    shown = table(found, len(seeds))
    content = {"table": shown, "epochs": options.epochs, **surroundings, **found, "seeds": seeds}
    options.output.write_text(json.dumps(content, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
