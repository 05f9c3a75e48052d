"""Optuna's own dashboard of a search, reachable from this machine only."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from threading import Thread
from typing import TYPE_CHECKING, Final
from wsgiref.simple_server import WSGIRequestHandler, make_server

from dynaloss.errors import InputError

if TYPE_CHECKING:
    from dynaloss.tracking import Workspace

_HOST: Final = "127.0.0.1"  # it has no log-in: never open it to the network


class _Silent(WSGIRequestHandler):
    def log_message(self, *_: object) -> None:
        """Keeps the terminal free of a line for each request."""


def serve_dashboard(
    workspace: Workspace, search: str, *, port: int, announce: Callable[[str], object]
) -> None:
    """Serves the dashboard of a search, running or ended, until Ctrl-C.

    What is changed there does not change the search, whose journal decides.

    Args:
        workspace: Where the search is kept.
        search: Its name.
        port: A free port.
        announce: Receives the address of the page, once it responds.

    Raises:
        InputError: If there is no such search, the package is missing, or the port cannot be
            opened.
    """
    from dynaloss.execution.search.suggestions import has_storage, open_storage

    folder = workspace.folder(search)
    if not has_storage(folder):
        raise InputError(f"There is no search {search!r} in {workspace.storage}.")
    try:
        from optuna_dashboard import wsgi
    except ModuleNotFoundError as error:
        raise InputError(
            f"The dashboard needs the package {error.name}: `pip install optuna-dashboard`."
        ) from error
    try:
        server = make_server(_HOST, port, wsgi(open_storage(folder)), handler_class=_Silent)
    except OSError as error:
        raise InputError(
            f"The port {port} of {_HOST} cannot be opened: {error}. Choose another with `--port`."
        ) from error
    # In a thread: what answers a request would swallow a Ctrl-C that comes then.
    serving = Thread(target=server.serve_forever, daemon=True)
    with server:
        serving.start()
        announce(f"http://{_HOST}:{port}/dashboard")
        with suppress(KeyboardInterrupt):
            serving.join()
        server.shutdown()
