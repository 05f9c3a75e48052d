"""The same study on every kind of store, on a server that goes away, and from two machines."""

from __future__ import annotations

import io
import json
import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import psycopg
import pytest
from rich.console import Console

from dynaloss.errors import InputError
from dynaloss.execution import delivery, doctor
from dynaloss.execution.ablation import LaunchSummary, launch_ablation
from dynaloss.execution.search.launching import launch_search
from dynaloss.execution.sync import studies_that_wait, sync
from dynaloss.studies import load_search, load_study
from dynaloss.tracking import Workspace, outbox

Address = Callable[[], str]

TRIAL = {
    "data": {"source": "digits", "n_max": 40, "noise": {"kind": "symmetric", "rate": 0.4}},
    "model": {"name": "mlp"},
    "loss": {"corrector": {"ranks": 10, "per_class": False, "warm_start": False}},
    "schedule": {"epochs": 4, "warmup_epochs": 1, "batch_size": 64, "ramp_epochs": 1},
}
STUDY = {
    "study": "every-store",
    "trial": TRIAL,
    "ablation": {"components": ["corrector"], "design": "factorial", "baseline": "none"},
}
SEARCH = {
    "study": "search",
    "trial": TRIAL | {"data": TRIAL["data"] | {"validation": {"fraction": 0.2}}},
    "space": {"optimizer.lr": {"loguniform": [0.01, 0.3]}},
    "search": {"trials": 3, "race": None},
    "scheduler": {"name": "none"},
    "confirm": None,
}
SECRET = "canary-7f3a"
# What no seed determines.
COSTS = ("time/", "memory/", "disk/", "git")


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[str]:
    """The address of a server of PostgreSQL."""
    folders = [*map(str, Path("/usr/lib/postgresql").glob("*/bin")), os.environ["PATH"]]
    initdb = shutil.which("initdb", path=os.pathsep.join(folders))
    if initdb is None:
        pytest.skip("PostgreSQL is not installed")
    user: dict[str, Any] = {}
    if os.getuid() == 0:  # as which PostgreSQL does not run
        try:
            user = {"user": pwd.getpwnam("postgres").pw_uid}
        except KeyError:
            pytest.skip("PostgreSQL does not run as root, and there is no user `postgres`")
    folder = Path(tempfile.mkdtemp(prefix="dynaloss-postgres-"))
    if user:
        os.chown(folder, user["user"], -1)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    data = folder / "data"
    quiet: dict[str, Any] = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    make = [initdb, "-D", data, "-A", "trust", "-U", "tester", "--no-sync"]
    subprocess.run(make, check=True, cwd=folder, **quiet, **user)
    options = ["listen_addresses=127.0.0.1", f"unix_socket_directories={folder}", "fsync=off"]
    serve = [Path(initdb).with_name("postgres"), "-D", data, "-p", str(port)]
    serve += [part for option in options for part in ("-c", option)]
    with subprocess.Popen(serve, cwd=folder, **quiet, **user) as server:
        try:
            uri = f"postgresql://tester@127.0.0.1:{port}"
            for _ in range(100):
                time.sleep(0.1)
                with suppress(psycopg.OperationalError):
                    psycopg.connect(f"{uri}/postgres").close()
                    break
            yield uri
        finally:
            server.send_signal(signal.SIGINT)
            server.wait(30)
            shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def postgres(postgres_server: str, tmp_path: Path) -> str:
    """The address of an empty database."""
    name = f"d{abs(hash(tmp_path))}"
    with psycopg.connect(f"{postgres_server}/postgres", autocommit=True) as connection:
        connection.execute(f"create database {name}".encode())
    return f"{postgres_server}/{name}".replace("postgresql:", "postgresql+psycopg:")


@pytest.fixture
def sqlite(empty_storage: Path, tmp_path: Path) -> str:
    shutil.copy(empty_storage / "mlflow.db", tmp_path)
    return f"sqlite:///{tmp_path / 'mlflow.db'}"


@pytest.fixture
def address(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The address of a store of the kind that the test names."""
    database, is_served, _ = request.param.partition(" behind a server")
    uri: str = request.getfixturevalue(database)
    if is_served:
        uri, _ = request.getfixturevalue("serve_store")(uri, tmp_path)
    name = "tester@" if "tester@" in uri else ""
    return uri.replace(f"://{name}", f"://tester:{SECRET}@")


def another(sqlite: str, storage: Path) -> Workspace:
    """A workspace with a copy of a store that is empty yet."""
    storage.mkdir()
    shutil.copy(sqlite.removeprefix("sqlite:///"), storage)
    return Workspace(storage)


def launch(
    workspace: Workspace,
    *,
    seeds: list[int],
    fresh: bool = False,
    screen: io.StringIO | None = None,
) -> LaunchSummary:
    study = load_study({**STUDY, "seeds": seeds})
    console = Console(file=screen or io.StringIO())
    return launch_ablation(study, workspace, console, fresh=fresh, in_process=True)


def outline(workspace: Workspace, study: str = STUDY["study"]) -> list[dict[str, Any]]:
    """What a store holds of a study, without what differs between two equal launches."""
    store = workspace.open_store(must_exist=True)
    found = []
    for record in store.records(study, history=True, diagnostics=True):
        history = {
            name: curve for name, curve in record.history.items() if not name.startswith(COSTS)
        }
        run = store.client.get_run(record.run_id)
        found.append(
            {
                "trial": (record.key, record.arm, record.seed, str(record.outcome)),
                "status": (run.info.status, run.info.run_name),
                "parameters": record.parameters,
                "history": repr(history),  # NaN is not equal to itself
                "diagnostics": repr(record.diagnostics),
                "inputs": sorted(it.dataset.digest for it in run.inputs.dataset_inputs),
                "artifacts": sorted(it.path for it in store.client.list_artifacts(record.run_id)),
                "tags": {name for name in record.tags if not name.startswith("mlflow")},
            }
        )
    return sorted(found, key=lambda one: one["trial"])


@pytest.fixture(scope="session")
def expected(
    empty_storage: Path, tmp_path_factory: pytest.TempPathFactory
) -> list[dict[str, Any]]:
    """The outline of one undisturbed launch on SQLite."""
    storage = tmp_path_factory.mktemp("expected")
    shutil.copy(empty_storage / "mlflow.db", storage)
    workspace = Workspace(storage, f"sqlite:///{storage / 'mlflow.db'}")
    assert launch(workspace, seeds=[0, 1]).exit_status == 0
    return outline(workspace)


@pytest.mark.slow
@pytest.mark.parametrize(
    "address",
    ["sqlite behind a server", "postgres", "postgres behind a server"],
    indirect=True,
)
def test_a_study_is_the_same_on_every_store(
    address: str,
    tmp_path: Path,
    expected: list[dict[str, Any]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("MLFLOW_TRACKING_TOKEN", "AWS_SECRET_ACCESS_KEY", "HF_TOKEN"):
        monkeypatch.setenv(name, SECRET)
    workspace, screen = Workspace(tmp_path, address), io.StringIO()
    assert len(launch(workspace, seeds=[0], screen=screen).endings) == 2
    assert launch(workspace, seeds=[0]).skipped == 2
    assert launch(workspace, seeds=[0, 1]).skipped == 2
    assert outline(workspace) == expected
    launch(workspace, seeds=[0, 1], fresh=True)  # a run each instead of another
    assert outline(workspace) == expected
    store = workspace.open_store(must_exist=True)
    assert store.tags(STUDY["study"])["mlflow.note.content"].count("| none |") == 1
    launch_search(load_search(SEARCH), workspace, Console(file=io.StringIO()), in_process=True)
    assert Counter(one["status"][0] for one in outline(workspace, "search")) == {"FINISHED": 3}
    assert not list(tmp_path.rglob("*.pt"))
    assert not list(tmp_path.glob("*/undelivered"))

    # The password of the address and the tokens of the environment are nowhere to be read.
    with pytest.raises(InputError) as refused:
        Workspace(tmp_path, address.replace("127.0.0.1", "127.0.0.2")).open_store()
    shown = [screen.getvalue(), str(refused.value), repr(store.records(STUDY["study"]))]
    assert not any(SECRET in text for text in shown)
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len(files) > 5
    assert not [path for path in files if SECRET.encode() in path.read_bytes()]


def end(server: subprocess.Popen[bytes]) -> None:
    server.send_signal(signal.SIGINT)
    server.wait(30)


class Watching(io.StringIO):
    """Does something once when a line with a text is printed."""

    def __init__(self, text: str, do: Callable[[], object]) -> None:
        super().__init__()
        self._waiting = [(text, do)]

    def write(self, text: str) -> int:
        for wanted, do in self._waiting:
            if wanted in text:
                self._waiting.clear()
                do()
        return super().write(text)


@pytest.mark.slow
def test_records_wait_for_a_server_that_stays_away(
    sqlite: str,
    serve_store: Callable[..., Any],
    tmp_path: Path,
    expected: list[dict[str, Any]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    monkeypatch.setattr(outbox, "_PATIENCE", 0.5)
    monkeypatch.setattr(delivery, "_SECONDS_FOR_A_SERVER_TO_COME_UP", 0.5)
    uri, server = serve_store(sqlite, tmp_path)
    workspace = Workspace(tmp_path, uri)

    screen = Watching(": completed", lambda: end(server))
    study = load_study({**STUDY, "seeds": [0, 1]})
    summary = launch_ablation(study, workspace, Console(file=screen), in_process=True)
    assert {str(ending.outcome) for ending in summary.endings.values()} == {"completed"}
    assert (summary.exit_status, summary.interrupted) == (1, False)
    assert f"{summary.waiting} records wait" in summary.as_text()
    assert "`dynaloss sync every-store`" in summary.as_text()
    assert "the tracking server is away" in screen.getvalue()
    with pytest.raises(InputError, match=r"opened"):
        sync(workspace, print)
    assert studies_that_wait(workspace) == ["every-store"]

    said: list[str] = []
    monkeypatch.setattr(delivery, "_SECONDS_FOR_A_SERVER_TO_COME_UP", 30)
    back = threading.Timer(1, serve_store, [sqlite, tmp_path])
    back.start()
    with pytest.raises(InputError, match=r"No records of 'other' wait .* every-store do"):
        sync(workspace, said.append, ["other"])
    sync(workspace, said.append)
    back.join()
    assert said[0].endswith("Asking again for 30 seconds.")
    assert any(f"{summary.waiting} records" in line for line in said)
    assert outline(workspace) == expected
    note = workspace.open_store().tags(STUDY["study"])
    assert note["mlflow.note.content"].count("| none |") == 1
    assert not list(tmp_path.rglob("*.pt"))
    assert studies_that_wait(workspace) == []
    assert launch(workspace, seeds=[0, 1]).skipped == 4


@pytest.mark.slow
def test_a_server_that_comes_back_is_given_all_by_the_same_launch(
    sqlite: str,
    serve_store: Callable[..., Any],
    tmp_path: Path,
    expected: list[dict[str, Any]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    uri, server = serve_store(sqlite, tmp_path)

    def stop() -> None:
        end(server)
        back.start()

    back = threading.Timer(3, serve_store, [sqlite, tmp_path])
    study, screen = load_study({**STUDY, "seeds": [0, 1]}), Watching(": completed", stop)
    workspace = Workspace(tmp_path, uri)
    summary = launch_ablation(study, workspace, Console(file=screen), in_process=True)
    back.join()
    assert (summary.exit_status, summary.waiting) == (0, 0)
    assert outline(workspace) == expected


@pytest.mark.slow
def test_a_search_goes_on_while_the_server_is_away(
    sqlite: str, serve_store: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    monkeypatch.setattr(outbox, "_PATIENCE", 0.5)
    search, undisturbed = load_search(SEARCH), another(sqlite, tmp_path / "undisturbed")
    launch_search(search, undisturbed, Console(file=io.StringIO()), in_process=True)

    uri, server = serve_store(sqlite, tmp_path)
    workspace, screen = Workspace(tmp_path, uri), Watching(": completed", lambda: end(server))
    summary = launch_search(search, workspace, Console(file=screen), in_process=True)
    assert summary.exit_status == 1
    assert "`dynaloss sync search`" in summary.as_text()
    serve_store(sqlite, tmp_path)
    sync(workspace, print)
    assert outline(workspace, "search") == outline(undisturbed, "search")


@pytest.mark.slow
def test_two_machines_share_a_storage_folder(
    sqlite: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other one has its own name, processes and network, and the same disk."""
    apart = ["unshare", "--uts", "--pid", "--net", "--ipc", "--fork", "--mount-proc"]
    apart += ["--kill-child", "sh", "-c", 'hostname another && exec "$@"', "sh"]
    if shutil.which("unshare") is None or subprocess.run([*apart, "true"], check=False).returncode:
        pytest.skip("no second machine can be made")
    script = (
        "import sys, yaml; from rich.console import Console; from pathlib import Path;"
        "from dynaloss.execution.ablation import launch_ablation;"
        "from dynaloss.studies import load_study; from dynaloss.tracking import Workspace;"
        "study = load_study(yaml.safe_load(sys.argv[1])); place = Workspace(Path(sys.argv[2]));"
        "launch_ablation(study, place, Console(width=200), in_process=True)"
    )
    schedule = TRIAL["schedule"] | {"epochs": 40}
    long = STUDY | {"trial": TRIAL | {"schedule": schedule}, "seeds": [0, 1, 2]}
    monkeypatch.setattr(doctor, "_machine", lambda: iter(()))
    workspace, undisturbed = Workspace(tmp_path, sqlite), another(sqlite, tmp_path / "undisturbed")
    command = [*apart, sys.executable, "-P", "-c", script, json.dumps(long), str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        assert any(b": completed" in line for line in other.stdout)
        with pytest.raises(InputError, match="Another process is running study 'every-store'"):
            launch(workspace, seeds=[0])
        said = [str(finding) for finding in doctor.examine(workspace, repair=True)]
        assert [line for line in said if "Another process is running" in line] == said[-1:]
        beside = load_study({**STUDY, "study": "beside", "seeds": [0]})
        summary = launch_ablation(beside, workspace, Console(file=io.StringIO()), in_process=True)
        assert summary.exit_status == 0
        assert other.poll() is None
        other.kill()
        other.stdout.read()  # until the last process has ended
    summaries = [
        launch_ablation(load_study(long), place, Console(file=io.StringIO()), in_process=True)
        for place in (workspace, undisturbed)
    ]
    assert 0 < summaries[0].skipped < 6
    assert outline(workspace) == outline(undisturbed)
