"""One condition of the paper on CIFAR-10, in resumable pieces: accuracy, speed and memory.

    PYTHONPATH=platform python benchmarks/paper.py --data FOLDER [--rate 0.1] [--imbalance 10]
        [--loss dynamic|cross_entropy] [--minutes 9] [--out FOLDER]

The setting is that of arXiv 2211.12506: ResNet-32, batch 512, 325 epochs of which 5 warm up, SGD
0.1, Adam 3e-3, AutoAugment and Cutout 16, symmetric noise on an exponential long tail, tested on
the clean test set. `--data` holds cifar-10-batches-py/ as torchvision unpacks it, or train.parquet
and test.parquet. A piece ends before `--minutes` are over, at least one epoch later; the same
command continues from its checkpoint, bit for bit on a CPU and with `--deterministic` on a GPU.
Needs only torch, torchvision, numpy, scipy and pydantic (and pyarrow for parquet).
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from machine import describe

from dynaloss.config import TrialConfig
from dynaloss.config.families import MODELS
from dynaloss.data.sources import load_source
from dynaloss.errors import DynalossError
from dynaloss.execution.trial.assembly import assemble_trial

# What a piece must leave of its time, in epochs: to write its state, and for a slower epoch.
RESERVE_EPOCHS = 1.5
SAVE_SECONDS = 60.0
# What names a condition: the same command goes on, and any other starts anew.
SETTING = (
    "loss", "rate", "imbalance", "model", "epochs", "warmup_epochs", "batch_size", "n_max",
    "seed", "precision", "compile", "deterministic",
)  # fmt: skip


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The options of the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="Folder of CIFAR-10.")
    parser.add_argument("--out", type=Path, default=Path("paper"), help="Folder of the results.")
    parser.add_argument("--minutes", type=float, default=9.0, help="Length of a piece, at most.")
    parser.add_argument("--device", default="auto", help="auto, cpu or cuda.")
    parser.add_argument("--commit", default=None, help="Commit to record, where git is not there.")
    parser.add_argument("--loss", choices=["dynamic", "cross_entropy"], default="dynamic")
    parser.add_argument("--rate", type=float, default=0.1, help="Rate of symmetric noise.")
    parser.add_argument("--imbalance", type=float, default=10.0, help="n_max / n_min.")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--precision", choices=["float32", "bfloat16"], default="float32")
    parser.add_argument("--compile", action="store_true", help="Compile the training passes.")
    parser.add_argument("--deterministic", action="store_true")
    parser.add_argument("--model", choices=sorted(MODELS), default="resnet32")
    parser.add_argument("--epochs", type=int, default=325)
    parser.add_argument("--warmup-epochs", type=int, default=5)
    parser.add_argument("--batch-size", type=int, default=512)
    parser.add_argument("--n-max", type=int, default=None, help="Images of the largest class.")
    options = parser.parse_args(arguments)
    if not 0 <= options.rate <= 1:
        parser.error(f"--rate must lie in [0, 1], but got {options.rate}")
    if options.imbalance < 1:
        parser.error(f"--imbalance must be at least 1: n_max / n_min, but got {options.imbalance}")
    if options.device == "auto":
        options.device = "cuda" if torch.cuda.is_available() else "cpu"
    return options


def trial_of(options: argparse.Namespace) -> TrialConfig:
    """The settings of the condition; what is not named here is the paper's by default."""
    name = "parquet" if (options.data / "train.parquet").exists() else "cifar10"
    return TrialConfig.model_validate(
        {
            "data": {
                "source": name,
                "root": str(options.data),
                "noise": {"kind": "symmetric", "rate": options.rate},
                "imbalance_factor": options.imbalance,
                "n_max": options.n_max,
                "views": {"augment": "autoaugment", "cutout": 16, "statistics": "images"},
            },
            "model": {"name": options.model},
            "loss": {"name": options.loss},
            "schedule": {
                "epochs": options.epochs,
                "warmup_epochs": options.warmup_epochs,
                "batch_size": options.batch_size,
                "precision": options.precision,
                "deterministic": options.deterministic,
                "compile": options.compile,
            },
        }
    )


class Piece:
    """One run of the command: goes on from the last checkpoint, and leaves one.

    Args:
        options: The options of the command line.
        started: When the piece began, by `time.perf_counter`.
    """

    def __init__(self, options: argparse.Namespace, started: float) -> None:
        self._options = options
        self._deadline = started + 60 * options.minutes
        self._setting = {name: getattr(options, name) for name in SETTING}
        values = [str(value) for value in self._setting.values() if value not in (None, False)]
        self.path = options.out / ("-".join(values) + ".json")
        self._checkpoint = self.path.with_suffix(".pt")
        self._history: list[dict[str, float]] = []
        self._peak = 0.0
        config = trial_of(options)
        self._source = load_source(config.data)
        trial = assemble_trial(
            config,
            seed=options.seed,
            base_seed=0,
            source=self._source,
            device=torch.device(options.device),
        )
        self.trainer, self._record = trial.trainer, trial.data_record
        self._resume()

    def _resume(self) -> None:
        if not self._checkpoint.exists():
            return
        state = torch.load(self._checkpoint, weights_only=True, map_location="cpu")
        if state["digest"] != self._source.digest:
            raise SystemExit(f"{self._checkpoint} is of other data: choose another --out")
        self.trainer.load_state_dict(state["trainer"])
        self._history, self._peak = state["history"], state["peak"]

    def run(self) -> bool:
        """Trains as long as the time allows; returns whether the last epoch is done."""
        saved, longest = time.perf_counter(), 0.0
        for report in self.trainer.epochs():
            now = time.perf_counter()
            self._history.append(report.metrics)
            longest = max(longest, report.metrics["time/epoch_seconds"])
            accuracy = report.metrics["test/accuracy"]
            print(f"epoch {report.epoch}: test accuracy {100 * accuracy:.2f} %", flush=True)
            if now + RESERVE_EPOCHS * longest > self._deadline:
                break
            if now - saved > SAVE_SECONDS:
                self._save()
                saved = now
        self._save()
        return self.trainer.is_done

    def _save(self) -> None:
        self._peak = max(self._peak, peak_mib(torch.device(self._options.device)))
        self.path.parent.mkdir(parents=True, exist_ok=True)
        state = {
            "trainer": self.trainer.state_dict(),
            "history": self._history,
            "peak": self._peak,
            "digest": self._source.digest,
        }
        unfinished = self._checkpoint.with_suffix(".part")
        torch.save(state, unfinished)
        unfinished.replace(self._checkpoint)
        self.path.write_text(json.dumps(self.summary(), indent=1) + "\n")

    def summary(self) -> dict[str, Any]:
        """What the condition came to so far, as plain values."""
        last = self._history[-1]
        seconds = statistics.median(metrics["time/epoch_seconds"] for metrics in self._history)
        num_images = self._record["splits"]["train"]
        return {
            "finished": self.trainer.is_done,
            "epoch": self.trainer.epoch,
            "last_accuracy": last["test/accuracy"],
            "mean_of_last_10_accuracy": last["test/accuracy_last10"],
            "seconds_per_epoch": seconds,
            "images_per_second": num_images / seconds,
            "peak_memory_mib": self._peak,
            "setting": self._setting,
            "source": self._source.name,
            "train_images": num_images,
            "flip_rate": self._record["flip_rate"],
            "last_metrics": last,
            "accuracy_by_epoch": [metrics["test/accuracy"] for metrics in self._history],
            **describe(self._options.device),
            **({"commit": self._options.commit} if self._options.commit else {}),
        }


def peak_mib(device: torch.device) -> float:
    """Peak memory in MiB: of CUDA's allocator, or on a CPU of the process."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**20
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs a piece, and says whether another one is needed."""
    started = time.perf_counter()
    options = parse(arguments)
    try:
        piece = Piece(options, started)
        finished = piece.trainer.is_done or piece.run()
    except DynalossError as error:
        raise SystemExit(f"error: {error}") from error
    print(f"{'finished' if finished else 'continue with the same command'}: {piece.path}")


if __name__ == "__main__":
    main()
