"""What tests of several layers share."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from dynaloss.config import families, outside
from dynaloss.config.registry import Registry
from dynaloss.studies.components import COMPONENTS


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Keeps what starts Ray in one file on one worker, where it shares what is slow to make.

    Other files in which tests share such things name a group of their own.
    """
    for item in items:
        if item.get_closest_marker("ray") and not item.get_closest_marker("xdist_group"):
            item.add_marker(pytest.mark.xdist_group(f"ray in {item.path.name}"))


@pytest.fixture(autouse=True)
def _hears_ctrl_c() -> None:
    """Lets SIGINT interrupt in every test, which shells let their background jobs ignore."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def empty_storage(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A storage folder with an empty database, which takes MLflow seconds to make."""
    from dynaloss.tracking import Workspace

    storage = tmp_path_factory.mktemp("empty")
    Workspace(storage, f"sqlite:///{storage / 'mlflow.db'}").open_store()
    return storage


SERVE = """
import functools, sys
from dynaloss.tracking import serve_ui
serve_ui(sys.argv[1], port=int(sys.argv[2]), announce=functools.partial(print, flush=True))
"""


@pytest.fixture
def serve_store() -> Iterator[Callable[..., tuple[str, subprocess.Popen[bytes]]]]:
    """Starts MLflow's server on a store, at the same address each time; returns once it answers.

    Takes the address of the store and the working folder; returns the address and the process.
    """
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    started: list[subprocess.Popen[bytes]] = []

    def start(uri: str, folder: Path) -> tuple[str, subprocess.Popen[bytes]]:
        command = [sys.executable, "-P", "-c", SERVE, uri, str(port)]
        started.append(subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE))
        assert started[-1].stdout is not None
        page = f"http://127.0.0.1:{port}/#/experiments?workflowType=machine_learning"
        assert page in (line.decode().strip() for line in started[-1].stdout)
        socket.create_connection(("127.0.0.1", port)).close()
        return f"http://127.0.0.1:{port}", started[-1]

    yield start
    for process in started:
        process.terminate()
        process.communicate(timeout=30)


WriteModules = Callable[..., Path]


@pytest.fixture
def write_modules(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> Iterator[WriteModules]:
    """Writes modules of another package, and declares entry points, for one test.

    Takes the text of each file by path, and entry points by group, each a name and an address;
    returns the folder, which is importable.
    """
    folder = tmp_path_factory.mktemp("modules")
    monkeypatch.setattr(sys, "path", [str(folder), *sys.path])
    for name in ("_FOLDERS", "_IMPORTED"):
        monkeypatch.setattr(outside, name, {})
    for registry in (*vars(families).values(), COMPONENTS):
        if isinstance(registry, Registry):
            monkeypatch.setattr(registry, "_outside", {})
    before = {*sys.modules}

    def write(
        files: Mapping[str, str], entries: Mapping[str, Mapping[str, str]] | None = None
    ) -> Path:
        for name, text in files.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(textwrap.dedent(text), "utf-8")
        if entries:
            info = folder / "own_parts-1.dist-info"
            info.mkdir()
            (info / "METADATA").write_text("Metadata-Version: 2.1\nName: own-parts\nVersion: 1\n")
            lines = (
                f"[{group}]\n"
                + "".join(f"{name} = {address}\n" for name, address in named.items())
                for group, named in entries.items()
            )
            (info / "entry_points.txt").write_text("\n".join(lines), "utf-8")
        outside.installed.cache_clear()
        return folder

    yield write
    outside.installed.cache_clear()
    outside.source_digest.cache_clear()
    for name in {*sys.modules} - before:
        if str(getattr(sys.modules[name], "__file__", "")).startswith(str(folder.parent)):
            del sys.modules[name]
