"""What waits for the store: in order, on disk, once."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dynaloss.tracking import Outbox, StoreError
from dynaloss.tracking.client import StoreAwayError


class Receiver:
    """A store that keeps what it is given, and fails while `error` is set."""

    def __init__(self) -> None:
        self.error: Exception | None = None
        self.given: list[tuple[str, dict[str, Any]]] = []
        self.settled = 0

    def deliver(self, what: str, content: dict[str, Any]) -> None:
        self.require()
        self.given.append((what, content))

    def settle(self) -> None:
        self.settled = len(self.given)

    def require(self) -> None:
        if self.error is not None:
            raise self.error

    @property
    def epochs(self) -> list[int]:
        return [content["epoch"] for _, content in self.given]


@pytest.fixture
def receiver() -> Receiver:
    return Receiver()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "study" / "waiting.jsonl"


def eventually(condition: Callable[[], Any]) -> bool:
    deadline = time.monotonic() + 10
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.01)
    return bool(condition())


def lines(path: Path) -> list[int]:
    return [json.loads(line)["epoch"] for line in path.read_text().splitlines()]


def test_records_are_delivered_in_order_and_leave_the_disk(path: Path, receiver: Receiver) -> None:
    with Outbox(path, receiver) as outbox:
        for epoch in range(100):
            outbox.add("report", epoch=epoch, metrics={"loss": 0.5})
        assert outbox.flush() == 0
        assert receiver.given[99] == ("report", {"epoch": 99, "metrics": {"loss": 0.5}})
        assert receiver.epochs == [*range(100)]
        assert receiver.settled == 100
        assert path.read_text() == ""
    assert not path.exists()


def test_records_are_delivered_after_the_interval(path: Path, receiver: Receiver) -> None:
    with Outbox(path, receiver, interval=0.05) as outbox:
        for epoch in (1, 2):
            outbox.add("report", epoch=epoch)
            assert eventually(lambda: outbox.waiting == 0)
            assert receiver.epochs[-1] == epoch


def test_records_wait_on_disk_while_the_store_is_away(path: Path, receiver: Receiver) -> None:
    receiver.error = StoreAwayError("away")
    with Outbox(path, receiver, interval=0.02) as outbox:
        for epoch in (1, 2):
            outbox.add("report", epoch=epoch)
        assert eventually(lambda: outbox.is_away)
        outbox.add("report", epoch=3)
        assert lines(path) == [1, 2, 3]
        assert outbox.flush(patience=0.05) == outbox.waiting == 3
        receiver.error = None
        assert outbox.flush() == 0
        assert not outbox.is_away
    assert receiver.epochs == [1, 2, 3]


def test_the_next_launch_delivers_what_an_earlier_one_has_left(
    path: Path, receiver: Receiver
) -> None:
    receiver.error = StoreAwayError("away")
    with Outbox(path, receiver, interval=0.02) as outbox:
        outbox.add("report", epoch=1, metrics={"loss": float("inf")})
        outbox.flush(patience=0.01)
    assert lines(path) == [1]
    receiver.error = None
    with Outbox(path, receiver) as outbox:
        assert outbox.waiting == outbox.deliver_left() == 1
        assert receiver.given == [("report", {"epoch": 1, "metrics": {"loss": float("inf")}})]
        assert outbox.deliver_left() == 0
        outbox.add("report", epoch=2)
        outbox.flush()
    assert receiver.epochs == [1, 2]
    assert not path.exists()


def test_an_error_is_raised_by_the_next_calls_and_nothing_is_lost(
    path: Path, receiver: Receiver
) -> None:
    receiver.error = StoreError("the disk is full")
    outbox = Outbox(path, receiver, interval=0.02)
    outbox.add("report", epoch=1)
    assert eventually(lambda: outbox._error)
    for call in (lambda: outbox.add("report", epoch=2), outbox.flush):
        with pytest.raises(StoreError, match="the disk is full"):
            call()
    outbox.close()
    receiver.error = None
    with Outbox(path, receiver) as again:
        assert again.deliver_left() == 2
    assert receiver.epochs == [1, 2]


def test_what_is_delivered_but_not_settled_stays_on_disk(path: Path, receiver: Receiver) -> None:
    def fail() -> None:
        raise StoreAwayError("away")

    settle, receiver.settle = receiver.settle, fail  # type: ignore[method-assign]
    with Outbox(path, receiver, interval=0.02) as outbox:
        outbox.add("report", epoch=1)
        assert outbox.flush(patience=0.05) == 1
        assert lines(path) == [1]
        receiver.settle = settle  # type: ignore[method-assign]
        assert outbox.flush() == 0
    assert receiver.epochs == [1]


def test_of_a_damaged_file_the_whole_lines_are_delivered_and_the_rest_is_kept(
    path: Path, receiver: Receiver
) -> None:
    receiver.error = StoreAwayError("away")
    with Outbox(path, receiver) as outbox:
        for epoch in (1, 2, 3):
            outbox.add("report", epoch=epoch)
    content = path.read_bytes()
    path.write_bytes(content.replace(b'"epoch": 2', b'"epoch": 7'))
    receiver.error = None
    with Outbox(path, receiver) as outbox:
        assert f"{path}:2:" in outbox.damage
        outbox.deliver_left()
    assert receiver.epochs == [1]
    (aside,) = path.parent.iterdir()
    assert str(aside) in outbox.damage
    assert aside.read_bytes() == content.replace(b'"epoch": 2', b'"epoch": 7')


WRITE = """
import sys, time
from dynaloss.tracking import Outbox
from dynaloss.tracking.client import StoreAwayError

class Away:
    def deliver(self, what, content): raise StoreAwayError("away")
    settle = require = lambda self: None

outbox = Outbox(sys.argv[1], Away(), interval=0.01)
for epoch in range(10**6):
    outbox.add("report", epoch=epoch)
    print(epoch, flush=True)
"""


def test_a_killed_launch_loses_no_record(path: Path, receiver: Receiver) -> None:
    code = f"from pathlib import Path; {WRITE.strip()}".replace("sys.argv[1]", "Path(sys.argv[1])")
    command = [sys.executable, "-c", code, str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for _ in range(50):
            told = int(process.stdout.readline())
        os.kill(process.pid, signal.SIGKILL)
        told = int((process.stdout.read().split() or [told])[-1])
    with Outbox(path, receiver) as outbox:
        outbox.deliver_left()
    assert receiver.epochs[: told + 1] == [*range(told + 1)]
    assert len(receiver.epochs) - told <= 2  # the one that was under way


def test_a_closed_outbox_refuses_records(path: Path, receiver: Receiver) -> None:
    outbox = Outbox(path, receiver)
    outbox.close()
    with pytest.raises(RuntimeError, match=r"outbox .*closed"):
        outbox.add("report", epoch=1)
