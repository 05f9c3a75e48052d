"""The samplers of Optuna that a search may use; Optuna is imported when one is made."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dynaloss.config.families import OPTUNA_SAMPLERS
from dynaloss.config.search import SearchConfig

if TYPE_CHECKING:
    from optuna.samplers import BaseSampler


def _tpe(search: SearchConfig, *, seed: int, group_seed: int, parallel: bool) -> BaseSampler:
    from optuna.samplers import TPESampler

    return TPESampler(seed=seed, n_startup_trials=search.startup_trials, constant_liar=parallel)


def _shared_tpe(
    search: SearchConfig, *, seed: int, group_seed: int, parallel: bool
) -> BaseSampler:
    from optuna.samplers import TPESampler

    return TPESampler(seed=seed, n_startup_trials=search.startup_trials)


def _random(search: SearchConfig, *, seed: int, group_seed: int, parallel: bool) -> BaseSampler:
    from optuna.samplers import RandomSampler

    return RandomSampler(seed=seed)


def _qmc(search: SearchConfig, *, seed: int, group_seed: int, parallel: bool) -> BaseSampler:
    from optuna.samplers import QMCSampler

    # One scrambling for the whole group: the points fill the space together.
    return QMCSampler(seed=group_seed, scramble=True, warn_independent_sampling=False)


def _cmaes(search: SearchConfig, *, seed: int, group_seed: int, parallel: bool) -> BaseSampler:
    from optuna.samplers import CmaEsSampler

    return CmaEsSampler(
        seed=seed,
        n_startup_trials=search.startup_trials,
        warn_independent_sampling=False,
        # Most trials are pruned: without them no generation would ever be full.
        consider_pruned_trials=True,
    )


def _gp(search: SearchConfig, *, seed: int, group_seed: int, parallel: bool) -> BaseSampler:
    from optuna.samplers import GPSampler

    return GPSampler(seed=seed, n_startup_trials=search.startup_trials)


def _nsgaii(search: SearchConfig, *, seed: int, group_seed: int, parallel: bool) -> BaseSampler:
    from optuna.samplers import NSGAIISampler

    return NSGAIISampler(seed=seed, population_size=max(2, search.startup_trials))


OPTUNA_SAMPLERS.add(
    name="tpe",
    description="models which regions give good results",
    source="Bergstra et al., NeurIPS 2011",
    build=_tpe,
)
OPTUNA_SAMPLERS.add(
    name="shared_tpe",
    description="as tpe, over the trials of all groups, by their ranks within the group",
    build=_shared_tpe,
    shares=True,
    is_multi_objective=False,
)
OPTUNA_SAMPLERS.add(name="random", description="draws at random", build=_random)
OPTUNA_SAMPLERS.add(name="qmc", description="spreads evenly over the space", build=_qmc)
OPTUNA_SAMPLERS.add(
    name="cmaes",
    description="evolution of a cloud of points, for two or more numbers; one objective",
    source="Hansen and Ostermeier, Evolutionary Computation 2001",
    build=_cmaes,
    is_multi_objective=False,
    takes_any_space=False,
    least_parameters=2,
)
OPTUNA_SAMPLERS.add(
    name="gp",
    description="a Gaussian process, good for few trials; one objective",
    build=_gp,
    needs_complete=True,
    is_multi_objective=False,
)
OPTUNA_SAMPLERS.add(
    name="nsgaii",
    description="genetic algorithm, for several objectives",
    source="Deb et al., IEEE TEC 2002",
    build=_nsgaii,
)
# Optuna's own grid knows no conditional parameters: the points are put in its queue.
OPTUNA_SAMPLERS.add(
    name="grid",
    description="every combination once; parameters that are switched off make no new ones",
    build=_random,
    enumerates=True,
)
