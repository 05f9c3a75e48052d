"""What a launch does, in a file that other processes can read."""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict

from dynaloss.studies.metric_names import with_value

if TYPE_CHECKING:
    from dynaloss.tracking import Workspace

_MOST_FAILURES = 10


class ProgressFile(BaseModel):
    """What the display of a launch shows, as it is kept on disk.

    Attributes:
        pid: Process of the launch.
        host: Its machine.
        begun: When it began, in seconds since 1970.
        written: When this was written.
        total: Number of trials of the plan.
        outcomes: Number of trials that this launch has ended, by outcome.
        done: Number of trials that have ended, in earlier launches too.
        running: Last epoch and number of epochs of each running trial, by name.
        seconds_left: Estimate of the time left; None where unknown.
        metric: The metric of `best`.
        best: Its best value in each condition so far, and the trial that has it.
        failures: Names of trials that failed or diverged, with the reason.
    """

    model_config = ConfigDict(extra="ignore")

    pid: int
    host: str
    begun: float
    written: float
    total: int
    outcomes: dict[str, int] = {}
    done: int = 0
    running: dict[str, tuple[int, int]] = {}
    seconds_left: float | None = None
    metric: str = ""
    best: dict[str, tuple[float, str]] = {}
    failures: dict[str, str] = {}

    @classmethod
    def read(cls, path: Path) -> ProgressFile | None:
        """The content of a file; None where there is none that can be read."""
        try:
            return cls.model_validate_json(path.read_text("utf-8"))
        except (OSError, ValueError):
            return None

    def lines(self, *, is_running: bool) -> Iterator[str]:
        """The state in words; of a launch that has ended, that of its end."""
        seconds = (time.time() if is_running else self.written) - self.begun
        state = f"running for {clock(seconds)}, process {self.pid} on {self.host}"
        if not is_running:
            state = f"not running; the trials of the last launch took {clock(seconds)}"
        elif self.seconds_left:
            state += f", about {clock(self.seconds_left)} left"
        yield state
        ended = ", ".join(f"{count} {outcome}" for outcome, count in sorted(self.outcomes.items()))
        left = self.total - self.done - len(self.running)
        yield (
            f"{self.done} of {self.total} trials done{f' (this launch: {ended})' if ended else ''}"
            f", {len(self.running)} running, {left} left"
        )
        for name, (epoch, epochs) in self.running.items():
            yield f"running: {name} (epoch {epoch}/{epochs})"
        for condition, (value, name) in self.best.items():
            yield f"best of {condition}: {with_value(self.metric, value)}, {name}"
        for name, reason in [*self.failures.items()][:_MOST_FAILURES]:
            yield f"failed: {name}: {reason}"
        if len(self.failures) > _MOST_FAILURES:
            yield f"failed: {len(self.failures) - _MOST_FAILURES} more"


def progress_path(workspace: Workspace, study: str) -> Path:
    """File in which the launches of a study say what they do."""
    return workspace.folder(study) / "progress.json"


def write_progress(path: Path, **values: Any) -> None:  # noqa: ANN401 - those of ProgressFile
    """Writes what a launch does, whole or not at all."""
    values |= {"pid": os.getpid(), "host": socket.gethostname(), "written": time.time()}
    part = path.with_suffix(".part")
    part.write_text(json.dumps(values), "utf-8")
    part.replace(path)


def clock(seconds: float) -> str:
    """Writes a duration as `0:42`, `12:05` or `3:07:00`."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
