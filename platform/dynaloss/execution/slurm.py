"""A launch as a job of Slurm: Ray on all nodes of an allocation, and the launch on the first."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from dynaloss.errors import InputError

_DEFAULTS = {
    "nodes": "1",
    "ntasks-per-node": "1",
    "open-mode": "append",
    "signal": "B:USR1@60",
}
_FIXED = ("requeue", "job-name", "output")
_BODY = """
set -euo pipefail
bin={bin}
head=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)
address=$(srun --nodes=1 --ntasks=1 --nodelist="$head" hostname --ip-address)
address=${{address%% *}}
port=$((20000 + SLURM_JOB_ID % 10000))
export RAY_ADDRESS="$address:$port" RAY_USAGE_STATS_ENABLED=0
# Nobody else on the network may give work to these processes.
RAY_AUTH_TOKEN=$(od -An -N32 -tx1 /dev/urandom | tr -d ' \\n')
export RAY_AUTH_MODE=token RAY_AUTH_TOKEN

start_ray() {{ # on the nodes that the first arguments of srun name
  local where=("${{@:1:3}}") options="${{*:4}}"
  # shellcheck disable=SC2016 # the node's own number of cores
  srun "${{where[@]}}" bash -c 'exec "$0" start --block --num-cpus="$SLURM_CPUS_ON_NODE" $1' \\
    "$bin/ray" "$options" > /dev/null &
}}
start_ray --nodes=1 --ntasks=1 --nodelist="$head" --head --include-dashboard=false \\
  --node-ip-address="$address" --port="$port"
for _ in $(seq 60); do
  if (: < "/dev/tcp/$address/$port") 2> /dev/null; then break; fi
  sleep 1
done
others=$((SLURM_JOB_NUM_NODES - 1))
if ((others)); then
  start_ray --nodes="$others" --ntasks="$others" --exclude="$head" --address="$RAY_ADDRESS"
fi

"$bin/python" -m dynaloss {command} &
launch=$!
# Before the time limit: the trials save their state, and the job is queued again.
again=""
trap 'again=yes; kill -TERM "$launch"' USR1
status=130
while kill -0 "$launch" 2> /dev/null; do
  wait "$launch" && status=0 || status=$?
done
if [[ $again && $status == 130 ]]; then scontrol requeue "$SLURM_JOB_ID"; fi
exit "$status"
"""


def parse_options(text: str) -> dict[str, str]:
    """Options of sbatch from `partition=gpu,nodes=4`; a comma within a value is written as `;`.

    Raises:
        InputError: With all problems.
    """
    found: dict[str, str] = {}
    problems = []
    for part in filter(None, text.split(",")):
        name, equals, value = part.partition("=")
        if not re.fullmatch(r"[a-z][a-z-]*", name) or (equals and not value):
            problems.append(f"--slurm: each part must be like `partition=gpu`, but got '{part}'")
        elif name in _FIXED:
            problems.append(f"--slurm: '{name}' is set by dynaloss, leave it out")
        elif not re.fullmatch(r"[\w.:;/@%+=\[\]-]*", value):
            problems.append(f"--slurm: '{name}' has characters that no option needs: '{value}'")
        else:
            found[name] = value.replace(";", ",")
    if problems:
        raise InputError(problems)
    return found


def job_script(
    command: Sequence[str], options: Mapping[str, str], *, study: str, folder: Path
) -> str:
    """The script of a job.

    Args:
        command: What follows `dynaloss`.
        options: Options of sbatch by name, without dashes; empty values for those without any.
        study: Name of the study.
        folder: Where the output of the job goes.
    """
    wanted = {"job-name": f"dynaloss-{study}", "requeue": "", **_DEFAULTS, **options}
    wanted["output"] = str(folder / "slurm-%j.txt")
    lines = [f"#SBATCH --{name}{f'={value}' * bool(value)}" for name, value in wanted.items()]
    where = shlex.quote(str(Path(sys.executable).parent))
    body = _BODY.format(bin=where, command=shlex.join(command))
    return "\n".join(["#!/bin/bash", *lines]) + "\n" + body


def submit(
    command: Sequence[str],
    options: Mapping[str, str],
    *,
    study: str,
    folder: Path,
    environment: Mapping[str, str],
) -> str:
    """Submits a job that launches a study; returns what sbatch says.

    Args:
        command: See `job_script`.
        options: Likewise.
        study: Name of the study.
        folder: Folder of the study, where the script is kept, as `slurm.sh`.
        environment: Variables of the job besides those of this process.

    Raises:
        InputError: If there is no Slurm here, or it refuses the job.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "slurm.sh"
    path.write_text(job_script(command, options, study=study, folder=folder), "utf-8")
    try:
        done = subprocess.run(
            ["sbatch", str(path)],
            env=os.environ | environment,
            capture_output=True,
            text=True,
            check=False,
        )
    except FileNotFoundError:
        raise InputError(
            f"--slurm: there is no `sbatch` on this machine; the script is {path}"
        ) from None
    if done.returncode:
        raise InputError(f"--slurm: sbatch refuses {path}: {done.stderr.strip()}")
    return done.stdout.strip()
