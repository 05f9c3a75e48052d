"""Progress with the time left: a live display on a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from collections.abc import Iterable
from types import TracebackType
from typing import TYPE_CHECKING

from rich.console import Console
from rich.live import Live
from rich.text import Text

from dynaloss.analysis.metric_names import higher_is_better
from dynaloss.studies.plan import Trial
from dynaloss.studies.trial_record import Outcome

if TYPE_CHECKING:
    from dynaloss.execution.recording import Ending

__all__ = ["Progress", "TimeLeft", "clock"]

PLAIN_LINE_SECONDS = 15.0


class TimeLeft:
    """Estimates the time left from the seconds that epochs of each condition and arm have taken.

    Args:
        trials: The trials still to run.
        slots: Trials that run at the same time.
    """

    def __init__(self, trials: Iterable[Trial], slots: int) -> None:
        self._slots = max(1, slots)
        self._trials = {trial.key: trial for trial in trials}
        self._epochs_left = {key: t.config.schedule.epochs for key, t in self._trials.items()}
        self._seconds: dict[tuple[str, str], list[float]] = defaultdict(list)

    def observe(self, trial: Trial, epoch: int, seconds: float | None) -> None:
        """Takes in that `epoch` of `trial`, counted from 1, is done and how long it took."""
        self._epochs_left[trial.key] = trial.config.schedule.epochs - epoch
        if seconds is not None:
            self._seconds[trial.condition, trial.arm].append(seconds)

    def ended(self, trial: Trial) -> None:
        """Takes in that nothing of `trial` is left."""
        self._epochs_left[trial.key] = 0

    def seconds(self) -> float | None:
        """Seconds left, or None before the first epoch.

        One without an epoch so far is taken to cost the mean of those that have one.
        """
        if not self._seconds:
            return None
        means = {group: sum(times) / len(times) for group, times in self._seconds.items()}
        overall = sum(means.values()) / len(means)
        work = sum(
            epochs * means.get((self._trials[key].condition, self._trials[key].arm), overall)
            for key, epochs in self._epochs_left.items()
        )
        busy = sum(1 for epochs in self._epochs_left.values() if epochs)
        return work / max(1, min(self._slots, busy))


class Progress:
    """Shows trials done, running and left, the best so far and the time left.

    Use as a context manager around the run.

    Args:
        console: Where to show it.
        trials: The trials still to run.
        done: Trials of the plan that had ended before.
        slots: Trials that run at the same time.
        metric: The metric of the study's report.
    """

    def __init__(
        self,
        console: Console,
        trials: Iterable[Trial],
        *,
        done: int,
        slots: int,
        metric: str,
    ) -> None:
        trials = tuple(trials)
        self._console = console
        self._total = len(trials) + done
        self._done = done
        self._running: dict[str, tuple[Trial, int]] = {}
        self._outcomes: Counter[Outcome] = Counter()
        self._time_left = TimeLeft(trials, slots)
        self._metric = metric
        self._sign = 1 if higher_is_better(metric) else -1
        self._best: tuple[float, str] | None = None
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

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._live is not None:
            self._live.stop()

    def started(self, trial: Trial) -> None:
        """Takes in that a trial runs."""
        self._running[trial.key] = (trial, 0)

    def reported(self, trial: Trial, epoch: int, metrics: dict[str, float]) -> None:
        """Takes in an epoch's report."""
        self._running[trial.key] = (trial, epoch)
        self._time_left.observe(trial, epoch, metrics.get("time/epoch_seconds"))
        if self._live is None and time.monotonic() - self._last_line > PLAIN_LINE_SECONDS:
            self._line(self._status())

    def ended(self, trial: Trial, ending: Ending) -> None:
        """Takes in the end of a trial and says so in a line."""
        self._running.pop(trial.key, None)
        self._time_left.ended(trial)
        if ending.outcome is Outcome.INTERRUPTED:
            return
        self._done += 1
        self._outcomes[ending.outcome] += 1
        value = ending.metrics.get(self._metric)
        if ending.outcome is Outcome.COMPLETED and value is not None:
            self._keep_best(value, trial)
        shown = "" if value is None else f", {self._metric} {value:.4g}"
        self._line(f"{trial.name}: {ending.outcome}{shown}")

    def _keep_best(self, value: float, trial: Trial) -> None:
        if self._best is None or self._sign * value > self._sign * self._best[0]:
            self._best = (value, trial.name)

    def _line(self, text: str) -> None:
        prefix = "" if self._live else f"[{self._done}/{self._total}] "
        suffix = "" if self._live else self._left()
        self._console.print(Text(prefix + text + suffix), soft_wrap=True)
        self._last_line = time.monotonic()

    def _status(self) -> str:
        running = ", ".join(
            f"{trial.name} (epoch {epoch}/{trial.config.schedule.epochs})"
            for trial, epoch in self._running.values()
        )
        return f"running: {running or 'nothing yet'}"

    def _left(self) -> str:
        seconds = self._time_left.seconds()
        return "" if seconds is None else f" · about {clock(seconds)} left"

    def _renderable(self) -> Text:
        left = self._total - self._done - len(self._running)
        text = (
            f"{self._done} of {self._total} trials done, {len(self._running)} running, {left} left"
        )
        text += self._left() + f"\n{self._status()}"
        if self._best is not None:
            text += f"\nbest so far: {self._metric} {self._best[0]:.4g}, {self._best[1]}"
        return Text(text)


def clock(seconds: float) -> str:
    """Writes a duration as `0:42`, `12:05` or `3:07:00`."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
