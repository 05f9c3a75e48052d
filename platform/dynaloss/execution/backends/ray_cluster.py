"""Ray in a process of its own, without memory: every launch gives it the trials that are left.

Ray's own searchers and schedulers lose their state in a restore, so nothing is kept in Ray: its
searcher asks for the next order, its scheduler asks whether a trial continues after a result.
"""

from __future__ import annotations

import logging
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

# Ray reads these when it is imported.
os.environ.setdefault("RAY_AIR_NEW_OUTPUT", "0")
os.environ.setdefault("TUNE_DISABLE_AUTO_CALLBACK_LOGGERS", "1")
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
if not os.environ.get("RAY_ADDRESS"):
    # Off, Ray's processes listen on loopback only, on every system despite the name.
    os.environ.setdefault("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")
    # How long a lost control process is waited for in silence, instead of a minute.
    os.environ.setdefault("RAY_gcs_rpc_server_reconnect_timeout_s", "15")

import ray
from ray import tune
from ray.tune.experiment import Trial as RayTrial
from ray.tune.schedulers import FIFOScheduler
from ray.tune.search import Searcher

from dynaloss.config.trial import ResourcesConfig
from dynaloss.errors import InputError
from dynaloss.execution.backends.ray_process import WAIT
from dynaloss.execution.backends.ray_trainable import RESULT_KEY, TrialTrainable
from dynaloss.execution.trial.runner import TrialOrder

if TYPE_CHECKING:
    from dynaloss.data.sources import Source

_LONGEST_FOLDER = 40
"""Characters of a folder whose sockets have addresses that fit the system's limit of 107."""


def serve(descriptor: int) -> None:
    """Runs trials for the process that holds the other end of a connection, until it closes it.

    `RayBackend` starts this in a process of its own: what ends Ray's own processes may end the one
    that has called them, too.
    """
    _end_with_parent()
    with suppress(EOFError, ConnectionError, KeyboardInterrupt):
        _serve(Connection(descriptor))
    _end()


def _end() -> None:
    """Ends this process with those of Ray, seconds before an orderly end of theirs would."""
    if os.environ.get("RAY_ADDRESS"):
        ray.shutdown()
    os.killpg(0, signal.SIGKILL)


def _serve(connection: Connection[Any, Any]) -> None:
    resources, most = connection.recv()
    try:
        _start_ray()
        slots = _slots(resources, ray.cluster_resources(), most)
    except InputError as error:
        connection.send(list(error.problems))
        return
    # A batch system may send it to every process; the parent passes on what is meant for a run.
    # Here and not before, as Ray sets a handler when it starts.
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    connection.send((slots, _most_share(resources)))
    while (sources := connection.recv()) is not None:
        # Ray Tune takes the first one; the second ends it at once.
        signal.signal(signal.SIGINT, signal.default_int_handler)
        grows = most is None and bool(os.environ.get("RAY_ADDRESS"))
        _run(resources, None if grows else slots, sources, _Parent(connection))
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        connection.send(None)


def _end_with_parent() -> None:
    """Ends this process, and with it Ray, soon after its parent was killed."""
    parent = os.getppid()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.2)
        _end()

    threading.Thread(target=watch, daemon=True).start()


def _start_ray() -> None:
    address = os.environ.get("RAY_ADDRESS")
    options: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    if not address:
        cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None
        options |= {"address": "local", "num_cpus": cpus, "include_dashboard": False}
        if len(str(Path.cwd())) < _LONGEST_FOLDER:
            options["_temp_dir"] = str(Path.cwd())
    # Ray's processes inherit this: they outlive a signal to all, until this process ends them.
    former = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGHUP})
    try:
        if address:
            _require_answer(address)
        else:
            _require_loopback()
        ray.init(**options)
    except (OSError, RuntimeError, ValueError) as error:
        if not address:  # something has ended one of its processes, say: worth another try
            sys.exit(_reason(error))
        what = f"connect to the cluster at RAY_ADDRESS='{address}'"
        raise InputError(f"Ray could not {what}: {_reason(error)}") from error
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, former)


def _require_loopback() -> None:
    """Raises OSError where this machine does not reach itself: Ray would wait without an end."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        socket.create_connection(server.getsockname(), timeout=5.0).close()


def _reason(error: Exception) -> str:
    """The first line of Ray's message, and the last line of that of its cause."""
    lines = str(error).splitlines()[:1] + str(error.__cause__ or "").splitlines()[-1:]
    return ": ".join(lines)


def _require_answer(address: str) -> None:
    """Raises OSError if nothing answers at `host:port`: Ray itself would retry for minutes.

    Other addresses, such as `auto`, are left to Ray. A loopback name means this machine's own
    address, as in Ray.
    """
    server = urlsplit(f"//{address}")
    if "://" in address or server.hostname is None or server.port is None:
        return
    is_here = server.hostname in ("localhost", "127.0.0.1", "::1")
    host = ray.util.get_node_ip_address() if is_here else server.hostname
    socket.create_connection((host, server.port), timeout=10.0).close()


def _slots(
    resources: ResourcesConfig, available: Mapping[str, float], most: int | None = None
) -> int:
    wanted = {"CPU": resources.cpu, "GPU": resources.gpu}
    short = [
        f"resources.{name.lower()} must be at most the {available.get(name, 0):g} that this "
        f"{'cluster' if os.environ.get('RAY_ADDRESS') else 'machine'} has, but got {amount:g}"
        for name, amount in wanted.items()
        if amount > available.get(name, 0)
    ]
    if short:
        raise InputError(short)
    fit = int(min(available[name] / amount for name, amount in wanted.items() if amount))
    return min(fit, most or fit)


def _most_share(resources: ResourcesConfig) -> float:
    """Times the resources of a trial that the largest node has; a trial uses one GPU at most."""
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    most = max(node.get("CPU", 0.0) / resources.cpu for node in nodes)
    if resources.gpu:
        most = min(most, max(1.0, 1 / resources.gpu))
    return float(max(1.0, most))


class _Parent:
    """The calls that the other end of a connection answers; see `RayBackend`."""

    def __init__(self, connection: Connection[Any, Any]) -> None:
        self._connection = connection

    def call(self, what: str, *arguments: object) -> Any:  # noqa: ANN401 - by what is called
        """The answer to a call."""
        self._connection.send((what, *arguments))
        return self._connection.recv()


def _run(
    resources: ResourcesConfig,
    slots: int | None,
    sources: Mapping[str, Source],
    parent: _Parent,
) -> None:
    """Runs trials until none is left; a source goes into the object store, so to a node, once."""
    references = {name: ray.put(source) for name, source in sources.items()}
    share = {"cpu": resources.cpu, "gpu": resources.gpu}
    trainable = tune.with_parameters(TrialTrainable, sources=references)
    tuner = tune.Tuner(
        tune.with_resources(
            trainable,
            resources=lambda config: {
                name: config["trial"]["order"]["share"] * amount for name, amount in share.items()
            },
        ),
        tune_config=tune.TuneConfig(
            search_alg=_Orders(parent, share),
            scheduler=_Scheduler(parent),
            num_samples=-1,  # the searcher says when none is left
            # None where a cluster may grow: there Ray itself finds out what fits.
            max_concurrent_trials=slots,
            reuse_actors=True,
            trial_name_creator=_key,
            trial_dirname_creator=_key,
        ),
        run_config=tune.RunConfig(
            storage_path=str(Path.cwd()),
            # A failed save would end the actor, and with it the reuse of its process.
            checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
            verbose=0,
        ),
    )
    for name in ("ray.tune", "ray.train", "ray.air"):
        logging.getLogger(name).setLevel(logging.CRITICAL)  # would break up the progress
    tuner.fit()


class _WithoutMemory:
    """Pickled as nothing: Ray Tune saves the run for a restore that is never made."""

    def __getstate__(self) -> dict[str, Any]:
        return {}


class _Orders(_WithoutMemory, Searcher):  # type: ignore[misc] # Ray has no types
    """Hands out one order after the other."""

    def __init__(self, parent: _Parent, share: Mapping[str, float]) -> None:
        super().__init__()
        self._parent = parent
        self._share = share

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:
        """The next order as plain values: anything else Ray swaps for a placeholder.

        After None, Ray asks again once a running trial has reported.
        """
        order = self._parent.call("next")
        if isinstance(order, TrialOrder):
            return {"trial": {"order": asdict(order), **self._share}}
        return None if order is WAIT else str(Searcher.FINISHED)

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        """The scheduler has passed it on."""

    def save(self, checkpoint_path: str) -> None:
        """Nothing is kept in Ray."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing is kept in Ray."""


class _Scheduler(_WithoutMemory, FIFOScheduler):  # type: ignore[misc] # Ray has no types
    """Passes each result to the listener, which decides whether the trial continues."""

    def __init__(self, parent: _Parent) -> None:
        super().__init__()
        self._parent = parent

    def on_trial_result(
        self, tune_controller: object, trial: RayTrial, result: dict[str, Any]
    ) -> str:
        continues = self._parent.call("take", _key(trial), result[RESULT_KEY])
        return str(FIFOScheduler.CONTINUE if continues else FIFOScheduler.STOP)

    def on_trial_complete(
        self, tune_controller: object, trial: RayTrial, result: dict[str, Any]
    ) -> None:
        """The last result arrives only here; that of a stopped trial is not new."""
        if result.get(RESULT_KEY) is not None and result[RESULT_KEY].outcome is not None:
            self._parent.call("take", _key(trial), result[RESULT_KEY])

    def on_trial_error(self, tune_controller: object, trial: RayTrial) -> None:
        """The worker is gone: an error inside the trial would have been reported."""
        self._parent.call("lost", _key(trial), _error_of(trial))


def _key(trial: RayTrial) -> str:
    return str(trial.config["trial"]["order"]["key"])


def _error_of(trial: RayTrial) -> str:
    """The error that ended the worker, from Ray Tune's file."""
    try:
        return Path(trial.error_file).read_text()
    except (OSError, TypeError):
        return "worker exited without an error message"
