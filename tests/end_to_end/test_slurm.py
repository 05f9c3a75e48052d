"""A launch as a job of Slurm, on two nodes that are processes of this machine."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from dynaloss.cli.main import main
from dynaloss.errors import InputError
from dynaloss.execution.slurm import job_script, parse_options
from dynaloss.tracking import Workspace

CommandLine = Any  # the fixtures' class; importlib mode keeps conftest off the path

CONFIGURATION = """
ClusterName=local
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[0]}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
CredType=cred/munge
StateSaveLocation={folder}
SlurmdSpoolDir={folder}/%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/%n.pid
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SwitchType=switch/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
NodeName=node1 NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[1]} CPUs=1
NodeName=node2 NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[2]} CPUs=1
PartitionName=main Nodes=ALL Default=YES State=UP
"""


def test_options_are_those_of_sbatch() -> None:
    found = parse_options("partition=gpu,nodes=4,time=8:00:00,gres=gpu:2;shard:1,exclusive")
    assert found == {
        "partition": "gpu",
        "nodes": "4",
        "time": "8:00:00",
        "gres": "gpu:2,shard:1",
        "exclusive": "",
    }
    with pytest.raises(InputError) as refused:
        parse_options("Partition=gpu,nodes=,time=1 && reboot,requeue")
    assert [problem.partition("'")[2].split("'")[0] for problem in refused.value.problems] == [
        "Partition=gpu",
        "nodes=",
        "time",
        "requeue",
    ]


def script(folder: Path) -> str:
    command = ["ablate", "my study.yaml", "--fresh"]
    return job_script(command, {"nodes": "4"}, study="study", folder=folder)


def test_the_script_holds_options_and_command(tmp_path: Path) -> None:
    text = script(tmp_path)
    lines = text.splitlines()
    assert lines.count("#SBATCH --nodes=4") == sum("--nodes" in line for line in lines[:12]) == 1
    assert "\"$bin/python\" -m dynaloss ablate 'my study.yaml' --fresh &" in lines
    subprocess.run(["bash", "-n"], input=text, text=True, check=True)


@pytest.mark.skipif(shutil.which("shellcheck") is None, reason="shellcheck is not installed")
def test_shellcheck_accepts_the_script(tmp_path: Path) -> None:
    subprocess.run(["shellcheck", "-"], input=script(tmp_path), text=True, check=True)


def test_without_slurm_the_script_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    command = ["ablate", "quickstart", "--slurm", "nodes=2", "--storage", str(tmp_path)]
    done = CliRunner().invoke(main, command)
    assert done.exit_code == 2
    assert f"no `sbatch` on this machine; the script is {tmp_path}" in done.stderr
    assert (tmp_path / "quickstart" / "slurm.sh").is_file()


@pytest.fixture
def slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A cluster of two nodes with a core each."""
    programs = [shutil.which(name, path="/usr/sbin:/usr/bin") for name in
                ("munged", "slurmctld", "slurmd", "sbatch")]  # fmt: skip
    if None in programs:
        pytest.skip("Slurm is not installed")
    if os.getuid():
        pytest.skip("Slurm's own processes need root here")
    folder = tmp_path / "slurm"
    folder.mkdir(mode=0o700)
    with ExitStack() as stack:
        free = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(3)]
        ports = [one.getsockname()[1] for one in free]
    host = socket.gethostname().partition(".")[0]
    text = CONFIGURATION.format(host=host, ports=ports, folder=folder)
    (folder / "slurm.conf").write_text(text)
    key = folder / "munge.key"
    key.write_bytes(os.urandom(128))
    key.chmod(0o600)
    munged, slurmctld, slurmd, _ = programs
    files = {"socket": "socket", "key-file": "key", "pid-file": "pid", "log-file": "log"}
    files |= {"seed-file": "seed"}
    options = [f"--{name}={folder}/munge.{end}" for name, end in files.items()]
    monkeypatch.setenv("SLURM_CONF", str(folder / "slurm.conf"))
    monkeypatch.setenv("PATH", f"{os.environ['PATH']}:/usr/bin:/usr/sbin")
    quiet: dict[str, Any] = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    processes = [subprocess.Popen([munged, "-F", "--force", *options], **quiet)]
    wait_for(lambda: (folder / "munge.socket").exists())
    processes.append(subprocess.Popen([slurmctld, "-D"], **quiet))
    for node in ("node1", "node2"):
        (folder / node).mkdir()
        processes.append(subprocess.Popen([slurmd, "-D", "-N", node], **quiet))
    try:
        wait_for(lambda: said("sinfo", "--noheader", "--format=%D %T") == "2 idle")
        yield
    finally:
        said("scancel", "--user=root")
        with suppress(AssertionError):
            wait_for(lambda: not said("squeue", "--noheader"))
        for process in reversed(processes):
            process.terminate()
            process.wait(30)


def said(*command: str) -> str:
    """What a program prints."""
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()


def wait_for(condition: Callable[[], bool], seconds: float = 90) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.2)


@pytest.mark.slow
@pytest.mark.ray
def test_a_job_on_two_nodes_goes_on_where_its_time_limit_has_ended_it(
    slurm: None, command_line: CommandLine
) -> None:
    study = command_line.write_study(seeds=[0], epochs=30)
    submitted = command_line.run("ablate", study, "--slurm", "nodes=2,time=10")
    assert submitted.returncode == 0, submitted.stderr
    (job,) = [word for word in submitted.stdout.split() if word.isdigit()]
    output = command_line.folder / "results" / "tiny" / f"slurm-{job}.txt"

    def printed(text: str) -> bool:
        return output.exists() and text in output.read_text()

    wait_for(lambda: printed(": completed"))
    said("scancel", "--batch", "--signal=USR1", job)  # as Slurm does before the limit
    wait_for(lambda: printed("interrupted"))
    state = ["squeue", "--noheader", "--format=%T", f"--jobs={job}"]
    wait_for(lambda: said(*state) == "PENDING")
    said("scontrol", "update", f"jobid={job}", "StartTime=now")  # else in two minutes
    wait_for(lambda: printed("finished before"))
    last = output.read_text().splitlines()[-1]
    assert last.startswith("study tiny: ")
    wait_for(lambda: "COMPLETED" in said("scontrol", "show", "job", job))
    store = Workspace(command_line.folder / "results").open_store(must_exist=True)
    assert [str(record.outcome) for record in store.records("tiny")] == ["completed"] * 4
