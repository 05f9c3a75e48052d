"""A launch, seen and ended from another process."""

from __future__ import annotations

import os
import signal
import socket
import time
from typing import TYPE_CHECKING

from dynaloss.errors import InputError
from dynaloss.execution.progress_file import ProgressFile, clock, progress_path

if TYPE_CHECKING:
    from dynaloss.tracking import Workspace

_SECONDS_TO_STOP = 120.0


def status(workspace: Workspace, study: str) -> tuple[list[str], bool]:
    """The state of a study in words, and whether it runs.

    Raises:
        InputError: If the study was never launched from this storage folder.
    """
    launcher = workspace.launcher(study)
    found = ProgressFile.read(progress_path(workspace, study))
    if launcher is not None and (found is None or found.pid != launcher[0]):
        return [f"starting, process {launcher[0]} on {launcher[1]}"], True
    if found is None:
        raise InputError(f"no launch of '{study}' has begun in {workspace.storage}")
    return [*found.lines(is_running=launcher is not None)], launcher is not None


def stop(workspace: Workspace, study: str) -> str:
    """Ends the launch of a study as Ctrl-C there would; returns what was done, once it has ended.

    Raises:
        InputError: If the study does not run, or runs on another machine.
    """
    launcher = workspace.launcher(study)
    if launcher is None:
        raise InputError(f"'{study}' is not running in {workspace.storage}")
    pid, host = launcher
    if host != socket.gethostname():
        raise InputError(f"'{study}' runs on {host}: stop it there")
    os.kill(pid, signal.SIGTERM)
    end = time.monotonic() + _SECONDS_TO_STOP
    while workspace.launcher(study) is not None:
        if time.monotonic() > end:
            raise InputError(f"'{study}' still runs after {clock(_SECONDS_TO_STOP)}")
        time.sleep(0.2)
    return f"'{study}' has stopped; its trials keep their state, and the next launch continues"
