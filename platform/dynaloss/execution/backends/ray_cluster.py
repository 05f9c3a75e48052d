"""Ray as a backend without memory: every launch gives it the trials that are left.

Ray's own searchers and schedulers lose their state in a restore, so nothing is kept in Ray: its
searcher asks for the next order, its scheduler asks whether a trial continues after a result.
"""

from __future__ import annotations

import logging
import os
import socket
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

# Ray reads these when it is imported.
os.environ.setdefault("RAY_AIR_NEW_OUTPUT", "0")
os.environ.setdefault("TUNE_DISABLE_AUTO_CALLBACK_LOGGERS", "1")
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
if not os.environ.get("RAY_ADDRESS"):
    # Off, Ray's processes listen on loopback only, on every system despite the name.
    os.environ.setdefault("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")

import ray
from ray import tune
from ray.tune.experiment import Trial as RayTrial
from ray.tune.schedulers import FIFOScheduler
from ray.tune.search import Searcher

from dynaloss.config.trial import ResourcesConfig
from dynaloss.errors import InputError
from dynaloss.execution.backends.contract import Listener, Work, sigterm_as_sigint
from dynaloss.execution.backends.ray_trainable import RESULT_KEY, TrialTrainable
from dynaloss.execution.trial.runner import TrialOrder
from dynaloss.studies.trial_record import Outcome


@contextmanager
def ray_backend(resources: ResourcesConfig) -> Iterator[RayBackend]:
    """The cluster at RAY_ADDRESS, or Ray on this machine, started unless it runs already.

    Raises:
        InputError: If Ray does not start, or not even one trial fits.
    """
    started = not ray.is_initialized()
    if started:
        _start_ray()
    try:
        yield RayBackend(resources, _slots(resources, ray.cluster_resources()))
    finally:
        if started:
            ray.shutdown()


def _start_ray() -> None:
    address = os.environ.get("RAY_ADDRESS")
    options: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    if not address:
        cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None
        options |= {"address": "local", "num_cpus": cpus, "include_dashboard": False}
    try:
        if address:
            _require_answer(address)
        ray.init(**options)
    except (OSError, RuntimeError, ValueError) as error:
        what = f"connect to the cluster at RAY_ADDRESS='{address}'" if address else "start"
        raise InputError(f"Ray could not {what}: {_reason(error)}") from error


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


def _slots(resources: ResourcesConfig, available: Mapping[str, float]) -> int:
    wanted = {"CPU": resources.cpu, "GPU": resources.gpu}
    short = [
        f"resources.{name.lower()} must be at most the {available.get(name, 0):g} that this "
        f"{'cluster' if os.environ.get('RAY_ADDRESS') else 'machine'} has, but got {amount:g}"
        for name, amount in wanted.items()
        if amount > available.get(name, 0)
    ]
    if short:
        raise InputError(short)
    return int(min(available[name] / amount for name, amount in wanted.items() if amount))


@dataclass(frozen=True, slots=True)
class RayBackend:
    """Runs trials with Ray Tune.

    Args:
        resources: What a trial occupies.
        slots: Trials that fit at the same time.
    """

    resources: ResourcesConfig
    slots: int

    def run(self, work: Work, listener: Listener) -> None:
        """See `Backend.run`; each source goes into the object store, hence to each node, once."""
        references = {name: ray.put(source) for name, source in work.sources.items()}
        share = {"cpu": self.resources.cpu, "gpu": self.resources.gpu}
        trainable = tune.with_parameters(TrialTrainable, sources=references)
        with tempfile.TemporaryDirectory(prefix="dynaloss-ray-") as folder, sigterm_as_sigint():
            tuner = tune.Tuner(
                tune.with_resources(trainable, resources=share),
                tune_config=tune.TuneConfig(
                    search_alg=_Orders(work.orders, share),
                    scheduler=_Scheduler(listener),
                    num_samples=work.most,
                    # A cluster may grow: there Ray itself finds out what fits.
                    max_concurrent_trials=None if os.environ.get("RAY_ADDRESS") else self.slots,
                    reuse_actors=True,
                    trial_name_creator=_key,
                    trial_dirname_creator=_key,
                ),
                run_config=tune.RunConfig(
                    storage_path=folder,
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

    def __init__(self, orders: Iterator[TrialOrder | None], share: Mapping[str, float]) -> None:
        super().__init__()
        self._orders = orders
        self._share = share

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:
        """The next order as plain values: anything else Ray swaps for a placeholder.

        After None, Ray asks again once a running trial has reported.
        """
        try:
            order = next(self._orders)
        except StopIteration:
            return str(Searcher.FINISHED)
        if order is None:
            return None
        return {"trial": {"order": asdict(order), **self._share}}

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

    def __init__(self, listener: Listener) -> None:
        super().__init__()
        self._listener = listener

    def on_trial_result(
        self, tune_controller: object, trial: RayTrial, result: dict[str, Any]
    ) -> str:
        continues = self._listener.take(_key(trial), result[RESULT_KEY])
        return str(FIFOScheduler.CONTINUE if continues else FIFOScheduler.STOP)

    def on_trial_complete(
        self, tune_controller: object, trial: RayTrial, result: dict[str, Any]
    ) -> None:
        """The last result arrives only here; that of a stopped trial is not new."""
        if result.get(RESULT_KEY) is not None and result[RESULT_KEY].outcome is not None:
            self._listener.take(_key(trial), result[RESULT_KEY])

    def on_trial_error(self, tune_controller: object, trial: RayTrial) -> None:
        """The worker is gone: an error inside the trial would have been reported."""
        self._listener.end(_key(trial), Outcome.FAILED, _error_of(trial))


def _key(trial: RayTrial) -> str:
    return str(trial.config["trial"]["order"]["key"])


def _error_of(trial: RayTrial) -> str:
    """The error that ended the worker, from Ray Tune's file."""
    try:
        return Path(trial.error_file).read_text()
    except (OSError, TypeError):
        return "worker exited without an error message"
