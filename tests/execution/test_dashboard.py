"""Optuna's dashboard of a search, asked over HTTP as a browser would."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

from dynaloss.execution.search.suggestions import Suggester, open_storage
from dynaloss.studies.loading import load_search
from dynaloss.studies.search.groups import make_search_plan
from dynaloss.studies.trial_record import Outcome

_STUDY = """
study: shown
trial: {data: {source: digits, validation: {fraction: 0.2}}, model: {name: mlp}}
conditions: {data.noise.rate: [0.2, 0.4]}
space: {optimizer.lr: {loguniform: [1e-3, 1]}}
search: {trials: 2}
"""


@pytest.fixture
def begun(tmp_path: Path) -> Path:
    """The storage folder of a search with a trial told in each of two groups."""
    (tmp_path / "study.yaml").write_text(_STUDY, "utf-8")
    study = load_search(tmp_path / "study.yaml")
    storage = open_storage(tmp_path / "results" / "shown")
    for group in make_search_plan(study, lambda data: data.source).groups:
        suggester = Suggester(storage, study, group, parallel=False)
        suggester.ask(0)
        suggester.tell(0, Outcome.COMPLETED, [0.5], {1: 0.5})
    return tmp_path / "results"


def _dashboard(storage: Path, search: str, port: int) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "dynaloss", "ui", search, "--search", "--port", str(port)]
    return subprocess.Popen(
        [*command, "--storage", storage], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def test_it_shows_every_group_until_ctrl_c(begun: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with _dashboard(begun, "shown", port) as server:
        assert server.stdout is not None
        assert server.stdout.readline() == f"Open http://127.0.0.1:{port}/dashboard\n"
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/api/studies") as answer:
            studies = json.load(answer)["study_summaries"]
        server.send_signal(signal.SIGINT)
        _, errors = server.communicate(timeout=30)
    assert (server.returncode, errors) == (0, "")
    assert {study["study_name"] for study in studies} == {
        f"shown · full · symmetric {rate} · IR 1" for rate in (0.2, 0.4)
    }


def test_a_search_that_is_not_there_and_a_port_in_use_are_bad_input(begun: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        for search, told in (("other", "no search 'other'"), ("shown", f"port {port}")):
            with _dashboard(begun, search, port) as server:
                _, errors = server.communicate(timeout=60)
            assert server.returncode == 2
            assert told in errors
            assert errors.count("\n") == 1
