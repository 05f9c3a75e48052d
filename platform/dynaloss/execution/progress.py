"""Progress with the time left: a live display on a terminal, plain lines elsewhere."""

from __future__ import annotations

import logging
import math
import time
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from statistics import fmean
from typing import NamedTuple

from rich.console import Console
from rich.live import Live
from rich.text import Text

from dynaloss.config.search import Objective
from dynaloss.execution.launch_log import LOG
from dynaloss.execution.progress_file import clock, write_progress
from dynaloss.execution.trial.live import LiveTrial
from dynaloss.studies.cost_groups import warmup_length
from dynaloss.studies.metric_names import with_value
from dynaloss.studies.plan import Trial
from dynaloss.studies.trial_record import Outcome

_PLAIN_LINE_SECONDS = 15.0
_MOST_CONDITIONS = 6

_AFTER_WARMUP = 3.0
"""An epoch after warm-up by one of it, before one was seen: that of the meta step, see
`benchmarks/meta_step.py`."""


class Cost(NamedTuple):
    """What trials of about equal cost share; `warmup` of the epochs cost less than the others."""

    condition: str
    arm: str
    epochs: int
    warmup: int


def progress_console(*, quiet: bool = False) -> Console:
    """The console on standard error, which leaves standard output to the results."""
    return _console(quiet)


@cache
def _console(quiet: bool) -> Console:
    return Console(stderr=True, highlight=False, quiet=quiet)


@contextmanager
def details_shown() -> Iterator[None]:
    """Prints what is logged at DEBUG, too, in this block: above a live display."""
    handler = _OnConsole(logging.DEBUG)
    handler.addFilter(lambda record: record.levelno == logging.DEBUG)  # the rest is shown anyway
    LOG.addHandler(handler)
    try:
        yield
    finally:
        LOG.removeHandler(handler)


class _OnConsole(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        progress_console().print(Text(record.getMessage()), soft_wrap=True)


def cost_of(trial: Trial) -> Cost:
    """What trials of the cost of this one share."""
    epochs = trial.config.schedule.epochs
    return Cost(trial.condition, trial.arm, epochs, min(epochs, warmup_length(trial.config)))


class TimeLeft:
    """Estimates the time left from the seconds that epochs of each condition and arm have taken.

    Trials `waiting` are expected to be as long as those that ended: pruning makes them shorter.
    `slots` of them run at the same time. What passes besides epochs, such as the start of a
    trial, is expected to go on as before: the estimate corrects itself.

    Attributes:
        passed: Seconds from the start of the first epoch to the last end of a trial.
        beside_epochs: That time in all slots, by that of the epochs in it; at least 1.
    """

    def __init__(self, waiting: Iterable[Cost], slots: int) -> None:
        self._waiting = Counter(waiting)
        self._slots = slots
        self._most = 1
        self._running: dict[str, tuple[Cost, int]] = {}
        self._seconds: defaultdict[tuple[str, str, bool], float] = defaultdict(float)
        self._epochs: Counter[tuple[str, str, bool]] = Counter()
        self._shares: list[float] = []
        self._begun: float | None = None
        self.passed, self.beside_epochs = 0.0, 1.0

    def started(self, trial: Trial, epoch: int = 0) -> None:
        """Counts a trial as running, with `epoch` epochs done."""
        cost = cost_of(trial)
        if trial.key not in self._running:
            self._waiting[cost] -= 1
        self._running[trial.key] = cost, epoch
        self._most = max(self._most, len(self._running))

    def observe(self, trial: Trial, epoch: int, seconds: float | None) -> None:
        """Adds that `epoch`, counted from 1, of a trial is done, and its duration."""
        self.started(trial, epoch)
        if seconds is not None:
            group = trial.condition, trial.arm, epoch > cost_of(trial).warmup
            self._seconds[group] += seconds
            self._epochs[group] += 1
            self._begun = self._begun or time.monotonic() - seconds

    def ended(self, trial: Trial, *, is_typical: bool = True) -> None:
        """Counts a trial as ended; a typical one has the length to expect of others."""
        if trial.key not in self._running:
            self.started(trial)
        cost, done = self._running.pop(trial.key)
        if is_typical:
            self._shares.append(done / cost.epochs)
        if is_typical and self._begun is not None:
            self.passed = time.monotonic() - self._begun
            in_slots = self.passed * self._most
            self.beside_epochs = max(1.0, in_slots / sum(self._seconds.values()))

    def seconds(self) -> float | None:
        """Seconds left, or None before the first epoch.

        A condition and arm without an epoch so far is expected to cost the mean of the others.
        """
        if not self._seconds:
            return None
        means = {group: total / self._epochs[group] for group, total in self._seconds.items()}
        share = fmean(self._shares) if self._shares else 1.0
        waiting = +self._waiting  # without those that have started
        spans = [(cost, 0, cost.epochs * share, n) for cost, n in waiting.items()]
        spans += [(cost, done, cost.epochs, 1) for cost, done in self._running.values()]
        work = sum(n * _span_seconds(cost, done, end, means) for cost, done, end, n in spans)
        at_once = min(self._slots, len(self._running) + waiting.total())
        return self.beside_epochs * work / max(1, at_once)


def _span_seconds(
    cost: Cost, done: float, end: float, means: Mapping[tuple[str, str, bool], float]
) -> float:
    """Seconds of the epochs of a trial from `done` to `end`."""
    early = max(0.0, min(cost.warmup, end) - done)
    parts = (early, False), (end - done - early, True)
    return sum(n * _epoch_seconds(cost, is_late, means) for n, is_late in parts if n)


def _epoch_seconds(
    cost: Cost, is_late: bool, means: Mapping[tuple[str, str, bool], float]
) -> float:
    """Mean of the epochs of this kind: of the condition and arm, else of all, else by a ratio."""
    if (own := means.get((cost.condition, cost.arm, is_late))) is not None:
        return own
    if alike := [seconds for (_, _, late), seconds in means.items() if late is is_late]:
        return fmean(alike)
    return fmean(means.values()) * (_AFTER_WARMUP if is_late else 1 / _AFTER_WARMUP)


class Progress:
    """Shows trials done, running and left, the best so far and the time left.

    Use as a context manager around the run. It shows no metric but the objective, so a search
    shows nothing of the test set.

    Args:
        console: Where to show it.
        objective: The metric to show, and which of its values are better.
        waiting: Each trial still to run.
        done: Trials of the plan that had ended before.
        slots: Trials that run at the same time.
        path: File that says the same to other processes; see `ProgressFile`.

    Attributes:
        objective: That metric.
        time_left: The estimate of the time left.
    """

    def __init__(
        self,
        console: Console,
        objective: Objective,
        *,
        waiting: Collection[Cost],
        done: int,
        slots: int,
        path: Path | None = None,
    ) -> None:
        self._path = path
        self._begun, self._written = time.time(), 0.0
        self._outcomes: Counter[str] = Counter()
        self._failures: dict[str, str] = {}
        self._console = console
        self.objective = objective
        self._total = len(waiting) + done
        self._done = done
        self._running: dict[str, LiveTrial] = {}
        self.time_left = TimeLeft(waiting, slots)
        self._best: dict[str, tuple[float, str]] = {}
        self._last_line = time.monotonic()
        self._live = (
            Live(console=console, get_renderable=self._renderable, refresh_per_second=2)
            if console.is_terminal
            else None
        )

    def __enter__(self) -> Progress:
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(self, *error: object) -> None:
        if self._live is not None:
            self._live.stop()
        self._running.clear()
        self._tell(is_last=True)

    def started(self, live: LiveTrial) -> None:
        """Shows that a trial runs."""
        LOG.debug("%s (%s): started", live.name, live.key)
        self._running[live.key] = live
        self._tell()
        self.time_left.started(live.trial, live.last_epoch)

    def reported(self, live: LiveTrial) -> None:
        """Updates the display by the last epoch's report."""
        value = live.metrics.get(self.objective.name)
        shown = "" if value is None else f", {with_value(self.objective.name, value)}"
        LOG.debug("%s: epoch %d%s", live.name, live.last_epoch, shown)
        seconds = live.metrics.get("time/epoch_seconds")
        self.time_left.observe(live.trial, live.last_epoch, seconds)
        is_new = live.last_epoch > live.resumed_from
        self._tell()
        is_due = time.monotonic() - self._last_line > _PLAIN_LINE_SECONDS
        if self._live is None and is_new and is_due:
            self._line(self._status())

    def resumed(self, live: LiveTrial) -> None:
        """Prints where a trial goes on, once its earlier epochs have been reported."""
        epochs = live.trial.config.schedule.epochs
        self._line(f"{live.name}: resumed from epoch {live.resumed_from}/{epochs}")

    def noted(self, live: LiveTrial | None, text: str) -> None:
        """Prints a sentence on a trial, or on the launch."""
        self._line(f"{live.name}: {text}" if live else text)

    def paused(self, live: LiveTrial) -> None:
        """Shows that a trial runs no longer; it may start again."""
        self._running.pop(live.key, None)
        self.time_left.ended(live.trial)

    def ended(self, live: LiveTrial) -> None:
        """Prints a line on the end of a trial."""
        self._running.pop(live.key, None)
        self.time_left.ended(live.trial, is_typical=live.outcome.is_final)
        self._done += 1
        self._outcomes[str(live.outcome)] += 1
        if live.outcome in (Outcome.FAILED, Outcome.DIVERGED):
            LOG.debug("%s: %s", live.name, live.message)
            self._failures[live.name] = (live.message.strip().splitlines() or [""])[-1]
        name, sign = self.objective.name, self.objective.sign
        value = live.metrics.get(name)
        is_completed = live.outcome is Outcome.COMPLETED
        condition = live.trial.condition
        best = sign * self._best[condition][0] if condition in self._best else -math.inf
        if is_completed and value is not None and sign * value > best:
            self._best[condition] = value, live.name
        self._tell()
        is_early = not is_completed and live.last_epoch
        parts = [
            f"{live.name}: {live.outcome}" + (f" at epoch {live.last_epoch}" if is_early else ""),
            live.note,
            "" if value is None else with_value(name, value),
        ]
        self._line(", ".join(filter(None, parts)))

    def _line(self, text: str) -> None:
        if self._live is None:
            text = f"[{self._done}/{self._total}] {text}{self._left()}"
        LOG.info(text)
        self._console.print(Text(text), soft_wrap=True)
        self._last_line = time.monotonic()

    def _status(self) -> str:
        running = ", ".join(
            f"{live.name} (epoch {live.last_epoch}/{live.trial.config.schedule.epochs})"
            for live in self._running.values()
        )
        return f"running: {running or 'nothing yet'}"

    def _left(self) -> str:
        seconds = self.time_left.seconds()
        return f" · about {clock(seconds)} left" if seconds else ""

    def _renderable(self) -> Text:
        left = self._total - self._done - len(self._running)
        text = (
            f"{self._done} of {self._total} trials done, {len(self._running)} running, {left} left"
        )
        text += self._left()
        if left or self._running:
            text += f"\n{self._status()}"
        for value, trial in [*self._best.values()][:_MOST_CONDITIONS]:
            text += f"\nbest so far: {with_value(self.objective.name, value)}, {trial}"
        return Text(text)

    def _tell(self, *, is_last: bool = False) -> None:
        """Writes the file for other processes, at most once a second but for the last time."""
        now = time.monotonic()
        if self._path is None or (now - self._written < 1 and not is_last):
            return
        self._written = now
        epochs = {
            live.name: (live.last_epoch, live.trial.config.schedule.epochs)
            for live in self._running.values()
        }
        with suppress(OSError):  # a full disk, say: the launch itself will tell
            write_progress(
                self._path,
                begun=self._begun,
                total=self._total,
                done=self._done,
                outcomes=self._outcomes,
                running=epochs,
                seconds_left=self.time_left.seconds(),
                metric=self.objective.name,
                best=self._best,
                failures=self._failures,
            )
