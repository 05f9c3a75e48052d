"""Trials an hour on one device, by the number of trials that are stacked.

    python benchmarks/gpu_throughput.py [--model resnet32] [--stacks 1 2 4 8 16 32]
                                        [--device cpu|cuda] [--loss NAME] [--batch N]
                                        [--images N] [--side N] [--epochs N] [--json FILE]

Every stack of N runs N trials of the same settings and different seeds, on synthetic images, by
the code of a launch with `resources.stack: N` but without its recording. `trials an hour` scales
the time of an epoch to `--full-epochs` epochs; the first epoch, in which CUDA chooses its
algorithms, is left out. `limit` is the trials an hour that ordinary training steps of the same
network would allow, one forward and backward pass a batch without data, loss parameters and
evaluation, at the present batch size and at batches as large as the stack's. Tiny numbers for a
try on a CPU: `--device cpu --model mlp --stacks 1 2 --images 256 --side 8 --epochs 2`.
"""

from __future__ import annotations

import argparse
import itertools
import json
import statistics
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from machine import describe
from torch.nn import functional as F

from dynaloss.config import ModelConfig, TrialConfig
from dynaloss.data.sources.source import ImageArrays, Source
from dynaloss.execution.backends import Work, open_backend
from dynaloss.execution.trial.runner import StepResult, TrialOrder
from dynaloss.learning.models.building import build_model
from dynaloss.studies import ResourcesConfig

NUM_CLASSES = 10


class Clock:
    """A listener that notes when epochs end."""

    def __init__(self) -> None:
        self.times: dict[str, list[float]] = {}
        self.peak_mib = 0.0

    def take(self, key: str, result: StepResult) -> bool:
        """Notes the time; raises what a trial has failed with."""
        for _, metrics in result.reports:
            self.times.setdefault(key, []).append(time.perf_counter())
            self.peak_mib = max(self.peak_mib, metrics["memory/peak_mib"])
        if result.message:
            raise RuntimeError(result.message)
        return result.outcome is None

    def end(self, key: str, outcome: object, message: str) -> None:
        """Raises: no process of a trial is to be lost here."""
        raise RuntimeError(f"{key} {outcome}: {message}")

    def note(self, key: str | None, text: str) -> None:
        """Prints what would make the result another one."""
        print(f"note on {key or 'the stack'}: {text}")

    def epoch_seconds(self) -> float:
        """Median time from one epoch of a trial to its next one."""
        return statistics.median(
            after - before
            for times in self.times.values()
            for before, after in itertools.pairwise(times)
        )


def source_of(images: int, side: int) -> Source:
    """Random grey values, a tenth of them for tests."""
    rng = np.random.default_rng(0)

    def arrays(count: int) -> ImageArrays:
        labels = np.arange(count, dtype=np.int64) % NUM_CLASSES
        pixels = rng.integers(0, 256, (count, 3, side, side), dtype=np.uint8)
        return ImageArrays(images=pixels, labels=labels)

    return Source(
        name="noise",
        class_names=tuple(map(str, range(NUM_CLASSES))),
        pool=arrays(images),
        test=arrays(max(NUM_CLASSES, images // 10)),
        mean=(0.5, 0.5, 0.5),
        std=(0.25, 0.25, 0.25),
        crop_padding=4,
        flip=True,
    )


def stacked(arguments: argparse.Namespace, stack: int, source: Source) -> dict[str, Any]:
    """Trains a stack, and returns its speed and memory."""
    config = TrialConfig.model_validate(
        {
            "model": {"name": arguments.model},
            "loss": {"name": arguments.loss},
            "schedule": {
                "epochs": arguments.epochs,
                "warmup_epochs": 0,
                "batch_size": arguments.batch,
            },
        }
    ).model_dump()
    resources = ResourcesConfig(stack=stack, gpu=float(arguments.device == "cuda"))
    clock = Clock()
    with tempfile.TemporaryDirectory() as folder:

        def orders() -> Iterator[TrialOrder]:
            for seed in range(stack):
                yield TrialOrder(
                    key=f"trial-{seed}",
                    config=config,
                    source="noise",
                    seed=seed,
                    base_seed=0,
                    checkpoints=folder,
                )

        with open_backend(resources, in_process=True) as backend:
            backend.run(Work(orders=orders(), sources={"noise": source}), clock)
    seconds = clock.epoch_seconds()
    return {
        "stack": stack,
        "epoch_seconds": seconds,
        "trials_an_hour": 3600 * stack / (seconds * arguments.full_epochs),
        "peak_mib": clock.peak_mib,
    }


def limit(arguments: argparse.Namespace, batch: int) -> float:
    """Trials an hour if a trial were its plain forward and backward passes."""
    device = torch.device(arguments.device)
    shape = (3, arguments.side, arguments.side)
    settings = ModelConfig(name=arguments.model)
    model = build_model(settings, input_shape=shape, num_classes=NUM_CLASSES, seed=0).to(device)
    images = torch.randn(batch, *shape, device=device)
    labels = torch.arange(batch, device=device) % NUM_CLASSES
    times = []
    for _ in range(arguments.repeats + 3):
        started = time.perf_counter()
        model.zero_grad(set_to_none=True)
        F.cross_entropy(model(images), labels).backward()
        if device.type == "cuda":
            torch.cuda.synchronize()
        times.append(time.perf_counter() - started)
    seconds = statistics.median(times[3:]) * arguments.images / batch
    return 3600 / (seconds * arguments.full_epochs)


def main() -> None:
    """Prints a row per stack, and writes all of it as JSON if asked to."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="resnet32")
    parser.add_argument("--loss", default="dynamic")
    parser.add_argument("--stacks", type=int, nargs="+", default=[1, 2, 4, 8, 16, 32])
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--images", type=int, default=10_000)
    parser.add_argument("--side", type=int, default=32)
    parser.add_argument("--epochs", type=int, default=4, help="at least 2; the first is left out")
    parser.add_argument("--full-epochs", type=int, default=200, help="epochs of a whole trial")
    parser.add_argument("--repeats", type=int, default=20, help="of the plain step")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    source = source_of(arguments.images, arguments.side)
    rows = []
    for stack in arguments.stacks:
        row = stacked(arguments, stack, source)
        row["limit"] = limit(arguments, arguments.batch)
        row["limit_large_batch"] = limit(arguments, arguments.batch * stack)
        rows.append(row)
        print("  ".join(f"{name} {value:,.4g}" for name, value in row.items()), flush=True)
    result = {"machine": describe(arguments.device), "rows": rows}
    result["settings"] = {k: str(v) for k, v in vars(arguments).items()}
    print(json.dumps(result["machine"], indent=1))
    if arguments.json:
        arguments.json.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
