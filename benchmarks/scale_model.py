"""How many trials at a time one launch can drive: its own code, with trials that are replayed.

    python benchmarks/scale_model.py [--slots 8 32 128 512] [--epoch-seconds 0.1 1 10] [--output F]

A launch of a real study (its plan, recorder, outbox and SQLite store) runs on a backend that
trains nothing: it replays an epoch of a recorded duration on each slot, by a clock of its own. The
launch answers each result by its real code, whose time is measured; for what Ray's controller
takes besides, the seconds that `grid.py` has measured are added. As in Ray Tune, results queue for
one thread, and a trial waits for its answer.

Utilisation: time in epochs by time in slots. Answered: share of its time that the driver is busy.
Behind: seconds that the store needs after the last trial, as it takes records more slowly.
"""

from __future__ import annotations

import argparse
import heapq
import io
import json
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from machine import describe
from rich.console import Console

from dynaloss.execution.ablation import launch_ablation
from dynaloss.execution.backends import Backend, Listener, Work
from dynaloss.execution.trial.runner import StepResult, TrialOrder
from dynaloss.studies import load_study
from dynaloss.studies.trial_record import Outcome
from dynaloss.tracking import Workspace

OUTPUT = Path(__file__).parent / "results" / "tables" / "scale_model.json"
CONTROLLER_SECONDS = 0.002
"""Processor time of Ray's controller per result: that of its process over 1,600 epochs."""

EPOCHS = 20
METRICS = {f"{role}/{name}": 0.5 for role in ("train", "test") for name in "abcdefghijkl"}


class Replay:
    """A backend that replays epochs on a number of slots; see `Backend`."""

    def __init__(self, slots: int, epoch_seconds: float) -> None:
        self.slots = slots
        self._epoch_seconds = epoch_seconds
        self._free_at = 0.0
        self.busy = 0.0
        self.results = 0
        self.in_epochs = 0.0
        self.end = 0.0

    def run(self, work: Work, listener: Listener) -> None:
        """Hands out trials and their results in order of the clock."""
        orders = iter(work.orders)
        # Time of the next result, a number that breaks ties, the trial and its epoch.
        due: list[tuple[float, int, TrialOrder, int]] = []
        for _ in range(self.slots):
            self._begin(orders, 0.0, due)
        while due:
            now, _, order, epoch = heapq.heappop(due)
            self.in_epochs += self._epoch_seconds
            is_last = epoch == order.config["schedule"]["epochs"]
            result = StepResult(
                reports=((epoch, METRICS | {"time/epoch_seconds": self._epoch_seconds}),),
                outcome=Outcome.COMPLETED if is_last else None,
            )
            free = self._answer(now, lambda order=order, r=result: listener.take(order.key, r))
            if is_last:
                self._begin(orders, free, due)
            else:
                self._go_on(due, free, order, epoch + 1)
        self.end = max(self.end, self._free_at)

    def _begin(self, orders: Iterator[TrialOrder | None], now: float, due: list[Any]) -> None:
        started: list[TrialOrder] = []
        free = self._answer(now, lambda: started.extend(filter(None, [next(orders, None)])))
        if started:
            self._go_on(due, free, started[0], 1)

    def _go_on(self, due: list[Any], now: float, order: TrialOrder, epoch: int) -> None:
        self.results += 1
        heapq.heappush(due, (now + self._epoch_seconds, self.results, order, epoch))

    def _answer(self, now: float, do: Any) -> float:  # noqa: ANN401
        """Lets the launch answer, once it is free; returns when it has."""
        start = time.thread_time()
        do()
        seconds = time.thread_time() - start + CONTROLLER_SECONDS
        self._free_at = max(now, self._free_at) + seconds
        self.busy += seconds
        return self._free_at


def measure(slots: int, epoch_seconds: float, folder: Path) -> dict[str, Any]:
    """Drives twice as many trials as slots; what came of it."""
    study = load_study(
        {
            "study": "scale",
            "trial": {
                "data": {"source": "digits", "n_max": 60},
                "model": {"name": "mlp"},
                "schedule": {"epochs": EPOCHS, "warmup_epochs": 0, "ramp_epochs": 0},
            },
            "arms": {"a": {}, "b": {"loss.name": "cross_entropy"}},
            "seeds": [*range(slots)],
        }
    )
    replay = Replay(slots, epoch_seconds)

    @contextmanager
    def backend() -> Iterator[Backend]:
        yield replay

    start = time.process_time()
    launch_ablation(study, Workspace(folder), Console(file=io.StringIO()), backend=backend)
    seconds = time.process_time() - start
    trials = 2 * slots
    # The store takes records in a thread of its own: what is left of the processor time.
    store = (seconds - (replay.busy - CONTROLLER_SECONDS * replay.results)) / trials
    return {
        "slots": slots,
        "epoch_seconds": epoch_seconds,
        "trials": trials,
        "utilisation": replay.in_epochs / (slots * replay.end),
        "busy": replay.busy / replay.end,
        "answer_seconds": replay.busy / (replay.results + trials),
        "store_seconds_per_trial": store,
        "behind": max(0.0, store * trials - replay.end),
    }


def shown(rows: list[dict[str, Any]]) -> list[str]:
    """The rows as a table in Markdown."""
    lines = [
        "| slots | epoch (s) | utilisation | answered | answer (ms) "
        "| store per trial (s) | behind (s) |",
        "|---|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {row['slots']} | {row['epoch_seconds']:g} | {row['utilisation']:.2f} "
        f"| {row['busy']:.2f} | {1000 * row['answer_seconds']:.1f} "
        f"| {row['store_seconds_per_trial']:.3f} | {row['behind']:.0f} |"
        for row in rows
    ]
    return lines


def main() -> None:
    """Measures every number of slots with every duration."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--slots", type=int, nargs="+", default=[8, 32, 128, 512])
    parser.add_argument("--epoch-seconds", type=float, nargs="+", default=[0.1, 1, 10])
    parser.add_argument("--output", type=Path, default=OUTPUT, help="File of the rows.")
    options = parser.parse_args()
    rows = []
    for slots in options.slots:
        for seconds in options.epoch_seconds:
            with tempfile.TemporaryDirectory(prefix="scale-") as folder:
                rows.append(measure(slots, seconds, Path(folder)))
            print(json.dumps(rows[-1]), flush=True)
    content = {"table": shown(rows), "rows": rows, **describe()}
    options.output.write_text(json.dumps(content, indent=1) + "\n", "utf-8")
    print("\n".join(content["table"]))


if __name__ == "__main__":
    main()
