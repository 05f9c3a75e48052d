"""Ray as an executor without memory: every launch gives it the trials that are left."""

from __future__ import annotations

import logging
import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

# Ray reads these when it is imported.
os.environ.setdefault("RAY_AIR_NEW_OUTPUT", "0")
os.environ.setdefault("TUNE_DISABLE_AUTO_CALLBACK_LOGGERS", "1")
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")

import ray
from ray import tune
from ray.tune.experiment import Trial as RayTrial

from dynaloss.data.sources import Source
from dynaloss.design.record import Outcome
from dynaloss.design.study import ResourcesConfig
from dynaloss.errors import InputError
from dynaloss.execution.interrupts import sigterm_as_sigint
from dynaloss.execution.recorder import Recorder
from dynaloss.execution.runner import TrialOrder
from dynaloss.execution.trainable import RESULT_KEY, TrialTrainable

__all__ = ["cluster", "quiet_ray_tune", "run_trials", "trial_error"]


@contextmanager
def cluster(resources: ResourcesConfig) -> Iterator[int]:
    """Connects to the cluster at RAY_ADDRESS, or starts Ray on this machine.

    Yields:
        How many trials fit at the same time.

    Raises:
        InputError: If not even one trial fits.
    """
    started = not ray.is_initialized()
    if started:
        _start_ray()
    try:
        yield _slots(resources, ray.cluster_resources())
    finally:
        if started:
            ray.shutdown()


def _start_ray() -> None:
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    if os.environ.get("RAY_ADDRESS"):
        ray.init(**quiet)
    else:
        cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None
        ray.init(address="local", num_cpus=cpus, include_dashboard=False, **quiet)


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


def run_trials(
    orders: Sequence[tuple[TrialOrder, str]],
    sources: Mapping[str, Source],
    resources: ResourcesConfig,
    recorder: Recorder,
) -> None:
    """Runs trials until all have ended, or SIGINT or SIGTERM comes.

    Args:
        orders: Each trial with the name of its data source.
        sources: Data by that name; goes into the object store, hence to each node, once.
        resources: What a trial occupies.
        recorder: Is told of everything.
    """
    references = {name: ray.put(source) for name, source in sources.items()}
    share = {"cpu": resources.cpu, "gpu": resources.gpu}
    # Plain values: Ray Tune swaps anything else for a placeholder while it names the trials.
    configs = [{"order": asdict(order), "source": source, **share} for order, source in orders]
    with tempfile.TemporaryDirectory(prefix="dynaloss-ray-") as folder, sigterm_as_sigint():
        tuner = tune.Tuner(
            tune.with_resources(
                tune.with_parameters(TrialTrainable, sources=references), resources=share
            ),
            param_space={"trial": tune.grid_search(configs)},
            tune_config=tune.TuneConfig(
                reuse_actors=True,
                trial_name_creator=_ray_name,
                trial_dirname_creator=_ray_name,
            ),
            run_config=tune.RunConfig(
                storage_path=folder,
                callbacks=[_RecorderCallback(recorder)],
                # A failed save would end the actor, and with it the reuse of its process.
                checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
                verbose=0,
            ),
        )
        quiet_ray_tune()
        tuner.fit()


class _RecorderCallback(tune.Callback):  # type: ignore[misc] # Ray has no types
    """Tells a recorder what Ray sees of the trials."""

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder

    def __getstate__(self) -> dict[str, Any]:
        # Ray Tune pickles the run for a restore that is never made.
        return {}

    def on_trial_start(
        self, iteration: int, trials: list[RayTrial], trial: RayTrial, **info: object
    ) -> None:
        self._recorder.begin(_key(trial))

    def on_trial_result(
        self,
        iteration: int,
        trials: list[RayTrial],
        trial: RayTrial,
        result: dict[str, Any],
        **info: object,
    ) -> None:
        self._recorder.take(_key(trial), result[RESULT_KEY])

    def on_trial_error(
        self, iteration: int, trials: list[RayTrial], trial: RayTrial, **info: object
    ) -> None:
        """The process of the trial is gone: an error inside it would have been reported."""
        self._recorder.end(_key(trial), Outcome.FAILED, trial_error(trial))


def _key(trial: RayTrial) -> str:
    return str(trial.config["trial"]["order"]["key"])


def _ray_name(trial: RayTrial) -> str:
    return _key(trial)


def trial_error(trial: RayTrial) -> str:
    """The error that ended the process of the trial, from the file that Ray Tune keeps it in."""
    try:
        return Path(trial.error_file).read_text()
    except (OSError, TypeError):
        return "the process of the trial ended without a word"


def quiet_ray_tune() -> None:
    """Keeps Ray's own log lines out of the progress."""
    for name in ("ray.tune", "ray.train", "ray.air"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
