"""Folders of processes that are gone are removed, and no others."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

from dynaloss.left_folders import own_folder


def test_the_folders_of_dead_processes_are_removed(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as dead:
        dead.wait()
    here = socket.gethostname()
    names = [
        f"x-{here}-{dead.pid}-a",
        f"x-{here}-{os.getppid()}-a",  # alive
        f"x-elsewhere-{dead.pid}-a",
        f"y-{here}-{dead.pid}-a",
        f"x-{here}-text",
    ]
    for name in names:
        (tmp_path / name / "inside").mkdir(parents=True)
    with own_folder("x-", tmp_path) as folder:
        left = {path.name for path in tmp_path.iterdir()}
        assert left == {*names[1:], Path(folder).name}
        assert Path(folder).name.startswith(f"x-{here}-{os.getpid()}-")
    assert {path.name for path in tmp_path.iterdir()} == {*names[1:]}
