"""MLflow's own user interface on a store, reachable from this machine only."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Final

from dynaloss.errors import DynalossError, InputError
from dynaloss.tracking.client import Client, is_server, prepare_environment, redacted
from dynaloss.tracking.mlflow_views import FIRST_VIEWS, VIEW_TAG, page

_HOST: Final = "127.0.0.1"  # MLflow's server has no log-in: never open it to the network
_STOP_SECONDS: Final = 10.0
# MLflow 3 begins with its views for language models, which show none of a study's runs.
_FIRST_PAGE: Final = "#/experiments?workflowType=machine_learning"


def serve_ui(
    tracking_uri: str,
    artifact_root: str | None = None,
    *,
    port: int = 5000,
    study: str | None = None,
    announce: Callable[[str], object],
) -> None:
    """Serve the interface on the loopback address until Ctrl-C or SIGTERM.

    Args:
        tracking_uri: Address of the store; one that is a server has its own interface.
        artifact_root: Folder of the artifacts of experiments that are made in the interface.
        port: A free port.
        study: Name of the study whose page is announced; None for the list of studies.
        announce: Receives the address of that page, once it responds.

    Raises:
        InputError: If the store is absent, damaged or a server, or the port is in use.
        DynalossError: If MLflow's server exits.
    """
    if is_server(tracking_uri):
        raise InputError(f"{redacted(tracking_uri)} is a server already: open it in a browser.")
    _check_port(port)
    first = _first_page(Client(tracking_uri, must_exist=True), study)
    with (
        _sigterm_as_interrupt(),
        subprocess.Popen(
            _command(artifact_root, port), env=_environment(tracking_uri), start_new_session=True
        ) as server,
    ):
        try:
            if _responds(server, port):
                announce(f"http://{_HOST}:{port}/{first}")
            status = server.wait()
        except KeyboardInterrupt:
            return
        finally:
            _stop(server)
    raise DynalossError(f"MLflow's server exited with status {status}.")


def _first_page(client: Client, study: str | None) -> str:
    """The page to open: of a study that has saved views, the first one."""
    if study is None:
        _ = client.raw
        return _FIRST_PAGE
    found = client.get_experiment_by_name(study)
    if found is None:
        raise InputError(f"There is no study {study!r} in {redacted(client.tracking_uri)}.")
    saved = (view for view in FIRST_VIEWS if f"{VIEW_TAG}{view}" in found.tags)
    return page(found.experiment_id, next(saved, None))


def _command(artifact_root: str | None, port: int) -> list[str]:
    command = [sys.executable, "-m", "mlflow", "server", "--host", _HOST, "--port", str(port)]
    command += ["--workers", "1", "--uvicorn-opts", "--log-level warning"]
    return command + (["--default-artifact-root", artifact_root] if artifact_root else [])


def _environment(tracking_uri: str) -> dict[str, str]:
    """The store goes through the environment: a command line shows its password to everyone."""
    prepare_environment()
    return os.environ | {
        "MLFLOW_BACKEND_STORE_URI": tracking_uri,
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        # Nothing is imported from the working folder, where a `random.py` may lie.
        "PYTHONSAFEPATH": "1",
        "PYTHONWARNINGS": "ignore",
    }


def _check_port(port: int) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((_HOST, port))
        except (OSError, OverflowError) as error:
            raise InputError(
                f"The port {port} of {_HOST} cannot be opened: {error}. Choose another with "
                "`--port`."
            ) from error


def _responds(server: subprocess.Popen[bytes], port: int) -> bool:
    """Wait until the server accepts connections; False if it exits before."""
    while server.poll() is None:
        with suppress(OSError), socket.create_connection((_HOST, port), timeout=1):
            return True
        time.sleep(0.1)
    return False


@contextmanager
def _sigterm_as_interrupt() -> Iterator[None]:
    """Let SIGTERM end the wait as Ctrl-C does, so that the server never outlives this process."""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _stop(server: subprocess.Popen[bytes]) -> None:
    """End the server with all the processes that it started."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        with suppress(ProcessLookupError, subprocess.TimeoutExpired):
            os.killpg(server.pid, number)
            server.wait(_STOP_SECONDS)
