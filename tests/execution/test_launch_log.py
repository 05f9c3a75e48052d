"""What a launch leaves in its log file, and what `-v` shows of it."""

from __future__ import annotations

import logging
import os
import pty
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import dynaloss
from dynaloss.execution.launch_log import LOG, launch_log
from dynaloss.execution.progress import details_shown

_STUDY = {
    "study": "logged",
    "trial": {
        "data": {"source": "digits"},
        "model": {"name": "mlp"},
        "loss": {"name": "cross_entropy"},
        "schedule": {"epochs": 2, "warmup_epochs": 0, "ramp_epochs": 0},
    },
    "arms": {"plain": {}, "wild": {"optimizer.lr": 1e30}},
    "seeds": [0],
}


def test_a_launch_tells_starts_epochs_ends_and_reasons(
    tmp_path: Path, empty_storage: Path
) -> None:
    shutil.copytree(empty_storage, tmp_path / "results")
    study = dynaloss.Study.load(_STUDY)
    assert study.run(tmp_path / "results", in_process=True, progress=False).exit_status == 1
    (log,) = (tmp_path / "results" / "logged" / "logs").iterdir()
    first, *lines = log.read_text("utf-8").splitlines()
    assert first.startswith(f"dynaloss {dynaloss.__version__}, process ")
    plain = [line for line in lines if "plain · " in line]
    told = ("started", "epoch 1,", "epoch 2,", "completed")
    assert all(word in line for word, line in zip(told, plain, strict=True))
    assert "test/accuracy" in plain[1]
    assert any("wild" in line and "diverged" in line for line in lines)
    assert any("is not finite" in line for line in lines)
    assert LOG.handlers == []
    study.run(tmp_path / "results", in_process=True, progress=False)
    assert len([*log.parent.iterdir()]) == 1  # there was nothing to do, or to say


def test_the_last_twenty_files_stay(tmp_path: Path) -> None:
    logs = tmp_path / "logs"
    logs.mkdir()
    for number in range(30):
        (logs / f"2000-01-{number:02d}.log").write_text("old")
    with launch_log(tmp_path):
        LOG.info("new")
    names = sorted(path.name for path in logs.iterdir())
    assert len(names) == 20
    assert names[0] == "2000-01-11.log"
    assert "new" in (logs / names[-1]).read_text("utf-8")


def test_a_log_that_cannot_be_written_is_no_failure(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "logs").write_text("a file in its place")
    with launch_log(tmp_path):
        LOG.info("unheard")
    assert capsys.readouterr().err == ""


def test_verbose_shows_what_the_terminal_does_not(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with details_shown(), launch_log(tmp_path):
        LOG.debug("an epoch")
        LOG.info("shown anyway")
    assert (LOG.level, LOG.handlers) == (logging.NOTSET, [])
    assert capsys.readouterr() == ("", "an epoch\n")


_ON_A_TERMINAL = """
from pathlib import Path
from rich.live import Live
from dynaloss.execution.launch_log import LOG, launch_log
from dynaloss.execution.progress import details_shown, progress_console
console = progress_console(quiet=False)
with details_shown(), launch_log(Path()), Live("row", console=console) as live:
    LOG.debug("an epoch")
    live.refresh()
"""


def test_verbose_prints_above_the_live_display(tmp_path: Path) -> None:
    reader, terminal = pty.openpty()
    environment = os.environ | {"TERM": "xterm"}
    command = [sys.executable, "-c", _ON_A_TERMINAL]
    subprocess.run(command, cwd=tmp_path, stderr=terminal, env=environment, check=True)
    shown = os.read(reader, 10_000).decode()
    os.close(reader)
    os.close(terminal)
    # At the beginning of a line that was cleared, and below it the display anew.
    assert re.search(r"\x1b\[2Kan epoch\s*\r\nrow", shown)
