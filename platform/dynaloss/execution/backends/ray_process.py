"""Ray as a backend, in a process of its own: what ends Ray does not end the launch.

The launch answers the calls of that process, which asks for the next order and passes on each
result. If it ends too early, it is started anew, once, with the trials that it had.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from enum import Enum
from pathlib import Path
from types import FrameType
from typing import Any

from dynaloss.config.trial import ResourcesConfig
from dynaloss.errors import DynalossError, InputError
from dynaloss.execution.backends.contract import Listener, Work, note_on_retry
from dynaloss.execution.launch_log import LOG
from dynaloss.execution.trial.runner import StepResult, TrialOrder
from dynaloss.left_folders import own_folder
from dynaloss.studies.trial_record import Outcome


class Answer(Enum):
    """What is answered instead of an order."""

    WAIT = "wait"
    FINISHED = "finished"


WAIT = Answer.WAIT
"""The next order follows from a running trial."""


class RayLostError(DynalossError):
    """Ray has ended while it started."""


_SECONDS_TO_END = 30.0
_MOST_STARTS = 2


@contextmanager
def ray_backend(resources: ResourcesConfig, slots: int | None = None) -> Iterator[RayBackend]:
    """The cluster at RAY_ADDRESS, or Ray on this machine, started for this."""
    with RayBackend(resources, slots) as backend:
        yield backend


class RayBackend:
    """Runs trials with Ray Tune; a context manager. Ray starts while the caller goes on.

    Args:
        resources: What a trial occupies.
        most: Most trials at a time; None for as many as fit.
    """

    def __init__(self, resources: ResourcesConfig, most: int | None = None) -> None:
        self._wanted = resources, most
        self._process = _RayProcess(*self._wanted)

    def __enter__(self) -> RayBackend:
        return self

    def __exit__(self, *error: object) -> None:
        self._process.close()

    @property
    def slots(self) -> int:
        """See `Backend.slots`.

        Raises:
            InputError: If Ray cannot be reached, or not even one trial fits.
            RayLostError: If Ray ends while it starts, twice.
        """
        return self._started().slots

    def run(self, work: Work, listener: Listener) -> None:
        """See `Backend.run`."""
        run = _Run(work, listener)
        with _signals_to(run):
            for start in range(1, _MOST_STARTS + 1):
                try:
                    process = self._started()
                except DynalossError as error:  # the head of the cluster is gone, say
                    if start == 1:
                        raise
                    listener.note(None, f"{error}; the trials left are interrupted")
                    break
                if run.is_done_by(process):
                    break
                self._process.kill()
                if run.is_stopped:
                    break
                if start == _MOST_STARTS:
                    listener.note(None, "Ray has ended too early: the trials left are interrupted")
                    break
                listener.note(None, "Ray has ended too early: it is started again")
                self._process = _RayProcess(*self._wanted)
        run.raise_error()

    def _started(self) -> _RayProcess:
        """Ray's process once it answers, tried twice: something may end it while it starts."""
        try:
            self._process.wait()
        except RayLostError:
            self._process = _RayProcess(*self._wanted)
            self._process.wait()
        return self._process


class _RayProcess:
    """A process that serves one launch after another; see `ray_cluster.serve`.

    Attributes:
        slots: Number of trials that run at the same time; 0 before `wait`.
        most_share: Times the resources of a trial that one of its nodes has.
    """

    def __init__(self, resources: ResourcesConfig, most: int | None) -> None:
        self.slots = 0
        self.most_share = 1.0
        self._open = ExitStack()
        # An own folder: Ray looks for modules in the working one, where anything may lie.
        folder = self._open.enter_context(own_folder("dynaloss-ray-"))
        # Ray tells of a loss in pages of its log; a launch says it in a sentence.
        self._output = self._open.enter_context((Path(folder) / "output.txt").open("w+"))
        here = {"", str(Path.cwd())}
        path = [str(Path(entry).absolute()) for entry in sys.path if entry not in here]
        self.connection, there = multiprocessing.Pipe()
        code = (
            "import signal, sys; signal.signal(signal.SIGINT, signal.SIG_IGN); "
            f"sys.path[:] = {path!r}; "
            "from dynaloss.execution.backends.ray_cluster import serve; "
            f"serve({there.fileno()})"
        )
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-c", code],
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=self._output,
            stderr=subprocess.STDOUT,
            pass_fds=[there.fileno()],
            start_new_session=True,  # away from the signals of a terminal and of a group
        )
        there.close()
        with suppress(OSError):  # it has ended, as `wait` will find
            self.connection.send((resources, most))

    def wait(self) -> None:
        """Returns once Ray has started.

        Raises:
            InputError: If it cannot be reached, or not even one trial fits.
            RayLostError: If it has ended.
        """
        if self.slots:
            return
        try:
            answer: tuple[int, float] | list[str] = self.connection.recv()
        except (EOFError, OSError):
            self._output.seek(0)
            reason = (self._output.read().strip().splitlines() or ["its process has ended"])[-1]
            self.kill()
            raise RayLostError(f"Ray could not start: {reason}") from None
        except BaseException:
            self.kill()
            raise
        if isinstance(answer, list):
            self.close()
            raise InputError(answer)
        self.slots, self.most_share = answer

    def interrupt(self) -> None:
        """Asks for the end of a run, with the state of its trials kept."""
        with suppress(ProcessLookupError):
            self._process.send_signal(signal.SIGINT)

    def close(self) -> None:
        """Ends the process, by force if it takes too long, or has not even started."""
        if self.slots:
            with suppress(OSError):
                self.connection.send(None)
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(_SECONDS_TO_END)
        self.kill()

    def kill(self) -> None:
        """Ends the process at once, with those of Ray that it has started."""
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        for pid in _processes_of(self._process.pid):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self._process.wait()
        self.connection.close()
        if not self._output.closed:
            self._output.seek(0)
            if lines := self._output.read().strip():
                LOG.debug("Ray's own lines:\n%s", lines)
        self._open.close()


def _processes_of(session: int) -> Iterator[int]:
    """The processes of a session, where the system lists them.

    Ray gives each worker a group of its own. One that outlives Ray for a moment would write the
    checkpoint of a trial that goes on elsewhere.
    """
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if os.getsid(pid := int(folder.name)) == session:
                yield pid


class _Run:
    """What is left of a run, whichever process does it."""

    def __init__(self, work: Work, listener: Listener) -> None:
        self._work = work
        self._listener = listener
        self._again: list[TrialOrder] = []
        self._running: dict[str, TrialOrder] = {}
        self._losses: Counter[str] = Counter()
        self._process: _RayProcess | None = None
        self._error: BaseException | None = None
        self.is_stopped = False

    def is_done_by(self, process: _RayProcess) -> bool:
        """Answers the calls of a process; False if it has ended before the run has."""
        self._process = process
        self._again = [*self._running.values(), *self._again]
        self._running = {}
        try:
            process.connection.send(self._work.sources)
            while (call := process.connection.recv()) is not None:
                process.connection.send(self._answer(*call))
        except (EOFError, OSError):
            return False
        return True

    def stop(self) -> None:
        """Ends the run; trials keep their state in a checkpoint."""
        self.is_stopped = True
        if self._process is not None:
            self._process.interrupt()

    def raise_error(self) -> None:
        """Raises the error of the listener that has stopped the run, if any."""
        if self._error is not None:
            raise self._error

    def _answer(self, what: str, *arguments: object) -> object:
        """What is called is a method of this class; an error of the listener stops the run."""
        answers: Mapping[str, Callable[..., object]] = {
            "next": self._next, "take": self._take, "lost": self._lost,
        }  # fmt: skip
        if self._error is None:
            try:
                return answers[what](*arguments)
            except Exception as error:  # such as of a full disk: trials are to keep their state
                self._error = error
                self.stop()
        # A trial that is told to stop would not save its state: the signal makes it.
        return Answer.FINISHED if what == "next" else True

    def _next(self) -> TrialOrder | Answer:
        if self.is_stopped:
            return Answer.FINISHED
        if self._again:
            order: TrialOrder | None = self._again.pop(0)
        else:
            try:
                order = next(self._work.orders)
            except StopIteration:
                # A trial that is lost has to be asked for again.
                return Answer.WAIT if self._running else Answer.FINISHED
        if order is None:
            return Answer.WAIT
        self._running[order.key] = order
        return order

    def _take(self, key: str, result: StepResult) -> bool:
        if result.may_pass and key in self._running and self._losses[key] < self._work.retries:
            self._losses[key] += 1
            order, note = self._running.pop(key), note_on_retry(result.message)
            most = self._process.most_share if self._process else 1.0
            if result.needs_memory and order.share < most:
                order = replace(order, share=min(2 * order.share, most))
                note += f", with {order.share:g} times its resources, so that fewer run beside it"
            self._listener.note(key, note)
            self._again.append(order)
            return False
        continues = self._listener.take(key, result)
        if not continues:
            self._running.pop(key, None)
        return continues

    def _lost(self, key: str, message: str) -> None:
        order = self._running.pop(key, None)
        self._losses[key] += 1
        # Empty where the process was lost in the middle of an epoch that was in time.
        if order is not None and (where := _content(order.hang_file)):
            message = f"{where}\nan epoch took longer than limits.epoch_seconds"
        if order is None or self._losses[key] > self._work.retries:
            self._listener.end(key, Outcome.FAILED, message)
            return
        self._listener.note(key, "its process was lost; it goes on from its last checkpoint")
        self._again.append(order)


def _content(path: Path) -> str:
    return path.read_text("utf-8") if path.exists() else ""


@contextmanager
def _signals_to(run: _Run) -> Iterator[None]:
    """Makes SIGINT, and SIGTERM, which a batch system sends, end a run in order.

    Only the main thread can handle signals.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(number: int, frame: FrameType | None) -> None:
        run.stop()

    former: dict[signal.Signals, Any] = {signal.SIGTERM: signal.signal(signal.SIGTERM, stop)}
    if callable(signal.getsignal(signal.SIGINT)):  # else ignored, as in a background job
        former[signal.SIGINT] = signal.signal(signal.SIGINT, stop)
    try:
        yield
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)
