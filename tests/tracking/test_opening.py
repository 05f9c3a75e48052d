from __future__ import annotations

import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from ipaddress import ip_address
from pathlib import Path

import pytest

from dynaloss.errors import InputError
from dynaloss.tracking import Store, StoreError, Workspace, serve_ui
from dynaloss.tracking.ui_server import _command


def test_file_that_is_no_database_gives_one_clear_error(tmp_path: Path) -> None:
    (tmp_path / "mlflow.db").write_text("not a database " * 100)
    with pytest.raises(InputError, match=r"/mlflow\.db .*opened.*not a database"):
        Workspace(tmp_path, f"sqlite:///{tmp_path / 'mlflow.db'}").open_store()


def test_damaged_database_gives_one_clear_error(storage: Path) -> None:
    database = storage / "mlflow.db"
    content = bytearray(database.read_bytes())
    content[4096 : len(content) // 2] = b"\xff" * (len(content) // 2 - 4096)
    database.write_bytes(content)
    with pytest.raises(InputError, match=r"/mlflow\.db .*opened.*malformed"):
        Workspace(storage).open_store()


def test_a_malformed_address_gives_one_error_without_its_password(tmp_path: Path) -> None:
    uri = "mssql://me:see/cret@secret@[::1]:1/db?token=secret"
    with pytest.raises(InputError, match="no valid address") as error:
        Workspace(tmp_path, uri).open_store()
    assert "cret" not in str(error.value)


def test_emptied_database_gives_one_clear_error(storage: Path) -> None:
    (storage / "mlflow.db").write_bytes(b"")
    with pytest.raises(InputError, match=r"/mlflow\.db .*opened.*empty.*lost"):
        Workspace(storage).open_store()


@pytest.fixture
def open_in_a_process(tmp_path: Path) -> Callable[[], subprocess.Popen[bytes]]:
    """Opens the store of the test's folder in a process of its own."""
    code = (
        "import sys; from dynaloss.tracking import Workspace; Workspace(sys.argv[1]).open_store()"
    )
    return lambda: subprocess.Popen([sys.executable, "-c", code, str(tmp_path)])


def test_a_store_can_be_made_by_two_processes_at_once(
    tmp_path: Path, open_in_a_process: Callable[[], subprocess.Popen[bytes]]
) -> None:
    processes = [open_in_a_process() for _ in range(2)]
    assert [process.wait(120) for process in processes] == [0, 0]
    assert [path.name for path in tmp_path.iterdir()] == ["mlflow.db"]


def test_a_kill_while_the_store_is_made_leaves_none(
    tmp_path: Path, open_in_a_process: Callable[[], subprocess.Popen[bytes]]
) -> None:
    process = open_in_a_process()
    while process.poll() is None and not any(tmp_path.glob(".new-store-*/mlflow.db")):
        time.sleep(0.01)
    process.kill()
    process.wait()
    assert not (tmp_path / "mlflow.db").exists()
    assert Workspace(tmp_path).open_store().studies() == ()


def test_outdated_database_names_the_upgrade(storage: Path) -> None:
    with sqlite3.connect(storage / "mlflow.db") as database:
        database.execute("update alembic_version set version_num = '451aebb31d03'")
    database.close()
    with pytest.raises(InputError, match=r"`mlflow db upgrade sqlite:.*/mlflow\.db`"):
        Workspace(storage).open_store()


def test_unreachable_server_gives_a_clear_error_in_time(unused_port: int) -> None:
    start, uri = time.monotonic(), f"http://127.0.0.1:{unused_port}"
    with pytest.raises(InputError, match=rf"store {uri} .*opened.*Connection refused"):
        Store(uri)
    assert time.monotonic() - start < 30


def test_required_store_is_not_created(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no tracking store at .*/mlflow\.db "):
        Store(f"sqlite:///{tmp_path / 'mlflow.db'}", must_exist=True)
    assert not list(tmp_path.iterdir())


def test_folder_that_cannot_be_created_gives_one_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match=r"/file/mlflow\.db .*opened"):
        Store(f"sqlite:///{tmp_path / 'file' / 'mlflow.db'}")


def test_missing_driver_is_named() -> None:
    with pytest.raises(InputError, match=r"store oracle://\*\*\*@host/db .*opened.* driver"):
        Store("oracle://me:secret@host/db")


def test_failed_call_gives_one_line_without_sql(store: Store) -> None:
    with pytest.raises(StoreError, match=r"`get_run`: .*\b0{32}\b.*\.$") as caught:
        store.client.get_run("0" * 32)
    assert "\n" not in str(caught.value)
    assert caught.value.code == "RESOURCE_DOES_NOT_EXIST"


def test_busy_store_is_retried(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    from mlflow.exceptions import MlflowException
    from mlflow.protos.databricks_pb2 import TEMPORARILY_UNAVAILABLE

    answers = iter([MlflowException("locked", TEMPORARILY_UNAVAILABLE)] * 2)

    def search() -> str:
        for error in answers:
            raise error
        return "found"

    monkeypatch.setattr("dynaloss.tracking.client.time.sleep", lambda seconds: None)
    assert store.client.attempt("search", search) == "found"


def test_interface_refuses_a_port_in_use(store: Store) -> None:
    pages: list[str] = []
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        facts = rf"port {port} of 127\.0\.0\.1 .*in use.*`--port`"
        with pytest.raises(InputError, match=facts):
            serve_ui(store.tracking_uri, store.artifact_root, port=port, announce=pages.append)
    assert not pages


def test_interface_listens_on_loopback_only() -> None:
    command = _command(None, 5000)
    assert ip_address(command[command.index("--host") + 1]).is_loopback


def test_interface_refuses_a_tracking_server() -> None:
    with pytest.raises(InputError, match=r"^http://\*\*\*@127\.0\.0\.1:5000 .* server"):
        serve_ui("http://me:secret@127.0.0.1:5000", announce=print)


@pytest.fixture
def unused_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return int(free.getsockname()[1])


def test_an_error_that_names_the_address_hides_its_secret(store: Store) -> None:
    def fail() -> None:
        raise OSError("no route to http://me:secret@host")

    with pytest.raises(StoreError, match=r"no route to http://\*\*\*@host"):
        store.client.attempt("search", fail)
