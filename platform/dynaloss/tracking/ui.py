"""MLflow's own user interface on a store, reachable from this machine only."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from ipaddress import ip_address
from types import FrameType
from typing import Final

from dynaloss.errors import DynalossError, InputError
from dynaloss.tracking.client import connect, prepare_environment
from dynaloss.tracking.location import is_server, redacted

__all__ = ["serve_ui"]

_PATIENCE: Final = 10.0
# MLflow 3 begins with its views for language models, which show none of a study's runs.
_FIRST_PAGE: Final = "#/experiments?workflowType=machine_learning"


def serve_ui(
    tracking_uri: str,
    artifact_root: str | None = None,
    *,
    host: str = "127.0.0.1",
    port: int = 5000,
    announce: Callable[[str], object],
) -> None:
    """Serve the interface until Ctrl-C or SIGTERM.

    Args:
        tracking_uri: The store; one that is a server already has its interface.
        artifact_root: Folder of the artifacts of experiments that are made in the interface.
        host: A loopback address.
        port: A free port.
        announce: Is told the address of the page that lists the studies, once it answers.

    Raises:
        InputError: If the store, the address or the port does not serve.
        DynalossError: If MLflow's server ends on its own.
    """
    if is_server(tracking_uri):
        raise InputError(f"{redacted(tracking_uri)} is a server already: open it in a browser.")
    _check_address(host, port)
    connect(tracking_uri, must_exist=True).open()
    command = _command(artifact_root, host, port)
    with (
        _stoppable(),
        subprocess.Popen(
            command, env=_environment(tracking_uri), start_new_session=True
        ) as server,
    ):
        try:
            if _answers(server, host, port):
                announce(f"http://{f'[{host}]' if ':' in host else host}:{port}/{_FIRST_PAGE}")
            status = server.wait()
        except KeyboardInterrupt:
            return
        finally:
            _stop(server)
    raise DynalossError(f"MLflow's server ended on its own with status {status}.")


def _command(artifact_root: str | None, host: str, port: int) -> list[str]:
    command = [sys.executable, "-m", "mlflow", "server", "--host", host, "--port", str(port)]
    command += ["--workers", "1", "--uvicorn-opts", "--log-level warning"]
    return command + (["--default-artifact-root", artifact_root] if artifact_root else [])


def _environment(tracking_uri: str) -> dict[str, str]:
    """The store goes through the environment: a command line shows its password to everyone."""
    prepare_environment()
    own = {
        "MLFLOW_BACKEND_STORE_URI": tracking_uri,
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        "PYTHONWARNINGS": "ignore",
    }
    return os.environ | own


def _check_address(host: str, port: int) -> None:
    if host != "localhost" and not _is_loopback(host):
        raise InputError(
            f"`host` must be a loopback address, but got {host!r}: the interface has no log-in. "
            "Run `mlflow server` behind one of your own to open it to others."
        )
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except (OSError, OverflowError) as error:
            raise InputError(
                f"The port {port} of {host} is not free: {error}. Choose another with `--port`."
            ) from error


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def _answers(server: subprocess.Popen[bytes], host: str, port: int) -> bool:
    """Wait until the server takes connections; False if it ends before."""
    while server.poll() is None:
        try:
            socket.create_connection((host, port), timeout=1).close()
        except OSError:
            time.sleep(0.1)
        else:
            return True
    return False


@contextmanager
def _stoppable() -> Iterator[None]:
    """Let SIGTERM end the wait as Ctrl-C does, so that the server never outlives it."""

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _stop(server: subprocess.Popen[bytes]) -> None:
    """End the server with all the processes that it started."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(server.pid, number)
            server.wait(_PATIENCE)
        except ProcessLookupError:
            return
        except subprocess.TimeoutExpired:
            continue
