"""A search on Ray Tune: Ray runs the trials, and every decision is the director's.

Ray's own searchers and schedulers forget what they knew in a restore, so nothing of a search is
kept in Ray: its searcher asks the director what to run, its scheduler what a report leads to.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any

from dynaloss.data.sources import Source
from dynaloss.design.record import Outcome
from dynaloss.design.study import ResourcesConfig
from dynaloss.execution.assembly import source_key

# Sets the environment that Ray reads when it is imported.
from dynaloss.execution.cluster import quiet_ray_tune, trial_error
from dynaloss.execution.interrupts import sigterm_as_sigint
from dynaloss.execution.runner import TrialOrder
from dynaloss.execution.search_director import Director, SearchTrial
from dynaloss.execution.trainable import RESULT_KEY, TrialTrainable

# isort: split
import ray
from ray import tune
from ray.tune.experiment import Trial as RayTrial
from ray.tune.schedulers import FIFOScheduler
from ray.tune.search import Searcher

__all__ = ["run_search"]


def run_search(
    director: Director,
    sources: Mapping[str, Source],
    resources: ResourcesConfig,
    order_of: Callable[[SearchTrial], TrialOrder],
    slots: int,
) -> None:
    """Runs a search until no trial is left, or SIGINT or SIGTERM comes.

    Args:
        director: Says what to run and when to stop it.
        sources: Data by name of the source.
        resources: What a trial occupies.
        order_of: What a runner has to know of a trial.
        slots: Trials that run at a time.
    """
    references = {name: ray.put(source) for name, source in sources.items()}
    share = {"cpu": resources.cpu, "gpu": resources.gpu}

    def config_of(trial: SearchTrial) -> dict[str, Any]:
        source = source_key(trial.trial.config.data)
        return {"trial": {"order": asdict(order_of(trial)), "source": source, **share}}

    with tempfile.TemporaryDirectory(prefix="dynaloss-ray-") as folder, sigterm_as_sigint():
        tuner = tune.Tuner(
            tune.with_resources(
                tune.with_parameters(TrialTrainable, sources=references), resources=share
            ),
            tune_config=tune.TuneConfig(
                search_alg=_Searcher(director, config_of),
                scheduler=_Scheduler(director),
                num_samples=director.left,
                max_concurrent_trials=slots,
                reuse_actors=True,
                trial_name_creator=_key,
                trial_dirname_creator=_key,
            ),
            run_config=tune.RunConfig(
                storage_path=folder,
                callbacks=[_Callback(director)],
                # A failed save would end the actor, and with it the reuse of its process.
                checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
                verbose=0,
            ),
        )
        quiet_ray_tune()
        tuner.fit()


class _WithoutMemory:
    """Ray Tune pickles the run for a restore that is never made; nothing of it is kept."""

    def __getstate__(self) -> dict[str, Any]:
        return {}


class _Searcher(_WithoutMemory, Searcher):  # type: ignore[misc] # Ray has no types
    """Asks the director for the next trial."""

    def __init__(
        self, director: Director, config_of: Callable[[SearchTrial], dict[str, Any]]
    ) -> None:
        super().__init__()
        self._director = director
        self._config_of = config_of

    def suggest(self, trial_id: str) -> dict[str, Any] | str:
        trial = self._director.next()
        return Searcher.FINISHED if trial is None else self._config_of(trial)

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        """The director has heard of it from the scheduler or the callback."""

    def save(self, checkpoint_path: str) -> None:
        """Nothing is kept in Ray."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing is kept in Ray."""


class _Scheduler(_WithoutMemory, FIFOScheduler):  # type: ignore[misc] # Ray has no types
    """Asks the director whether a trial goes on."""

    def __init__(self, director: Director) -> None:
        super().__init__()
        self._director = director

    def on_trial_result(
        self, tune_controller: object, trial: RayTrial, result: dict[str, Any]
    ) -> str:
        goes_on = self._director.take(_key(trial), result[RESULT_KEY])
        return str(FIFOScheduler.CONTINUE if goes_on else FIFOScheduler.STOP)


class _Callback(_WithoutMemory, tune.Callback):  # type: ignore[misc] # Ray has no types
    """Tells the director what does not pass the scheduler: last results, and lost processes."""

    def __init__(self, director: Director) -> None:
        self._director = director

    def on_trial_result(
        self,
        iteration: int,
        trials: list[RayTrial],
        trial: RayTrial,
        result: dict[str, Any],
        **info: object,
    ) -> None:
        # What the scheduler has passed on already is passed over.
        self._director.take(_key(trial), result[RESULT_KEY])

    def on_trial_error(
        self, iteration: int, trials: list[RayTrial], trial: RayTrial, **info: object
    ) -> None:
        self._director.end(_key(trial), Outcome.FAILED, trial_error(trial))


def _key(trial: RayTrial) -> str:
    return str(trial.config["trial"]["order"]["key"])
