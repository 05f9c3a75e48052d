"""Search methods side by side on recorded curves: regret against epochs and wall time.

    python benchmarks/search.py [--repeats 300] [--processes 2] [--output FILE] [METHOD ...]

Every method runs on the table of `search_curves.py` through the director, the suggestions and the
pruning of `dynaloss search`; the rules of Ray and of Optuna take the place of the pruner. A
suggestion stands for the recorded configuration that is nearest in the space. For each number of
trials per condition and each repeat (its own order of the seeds and its own suggestions) a method
runs to its end; its score is the test accuracy of the configuration that it names, as a mean over
the seeds that it has not seen, or that of the defaults where it names none. Regret is the distance
from the best configuration of the condition, by the mean over all seeds.
"""

from __future__ import annotations

import argparse
import heapq
import json
import math
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from functools import cache
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from search_curves import METRICS, Curves, load

from dynaloss.config.settings import Scalar
from dynaloss.execution.search.pruning import Candidate, Decision, Pruner, Verdict
from dynaloss.studies.search.groups import make_search_plan
from dynaloss.studies.study import SearchStudy

OUTPUT = Path(__file__).parent / "results" / "search.json"
OBJECTIVE, TEST = "val/balanced_accuracy", "test/accuracy"
TRIALS = (2, 4, 8, 16, 24)
SLOTS = (2, 8, 32)
RACE_SEEDS = (100, 101)

MakePruner = Callable[[SearchStudy], Pruner | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Method:
    """A way to search.

    Attributes:
        search: Settings of `search`, beside the number of trials; to the end and without a race
            unless they say so.
        scheduler: Settings of `scheduler`.
        pruner: Makes a rule of another library; None for that of the scheduler.
    """

    search: Mapping[str, Any] = field(default_factory=dict)
    scheduler: Mapping[str, Any] = field(default_factory=lambda: {"name": "none"})
    pruner: MakePruner | None = None


class _Foreign:
    """A rule of another library in the place of the pruner."""

    def __init__(self, goes_on: Callable[[Candidate, int, float], bool]) -> None:
        self._goes_on = goes_on

    def report(self, trial: Candidate, epoch: int, value: float) -> Decision:
        if not math.isfinite(value):
            return Decision(verdict=Verdict.DIVERGED)
        if epoch >= trial.epochs or self._goes_on(trial, epoch, value):
            return Decision()
        return Decision(verdict=Verdict.PRUNE, rung=epoch)

    def promotable(self) -> None:
        return None


def _ray(study: SearchStudy, *, pooled: bool) -> Any:  # noqa: ANN401 - stands for a pruner
    from ray.tune.schedulers import ASHAScheduler

    epochs = study.trial.schedule.epochs
    schedulers: dict[str, Any] = {}

    def goes_on(trial: Candidate, epoch: int, value: float) -> bool:
        pool, stand_in = "all" if pooled else trial.pool, SimpleNamespace(trial_id=trial.key)
        if pool not in schedulers:
            schedulers[pool] = ASHAScheduler(
                time_attr="epoch",
                metric=OBJECTIVE,
                mode="max",
                max_t=epochs,
                grace_period=trial.rungs[0],
                reduction_factor=study.scheduler.reduction_factor,
            )
        if epoch == 1:
            schedulers[pool].on_trial_add(None, stand_in)
        told = schedulers[pool].on_trial_result(None, stand_in, {"epoch": epoch, OBJECTIVE: value})
        return bool(told == "CONTINUE")

    return _Foreign(goes_on)


def _optuna(study: SearchStudy, *, name: str) -> Any:  # noqa: ANN401 - stands for a pruner
    import optuna

    factor, epochs = study.scheduler.reduction_factor, study.trial.schedule.epochs
    studies: dict[str, Any] = {}
    trials: dict[str, Any] = {}

    def goes_on(trial: Candidate, epoch: int, value: float) -> bool:
        if trial.pool not in studies:
            grace = trial.rungs[0]
            pruner: Any = (
                optuna.pruners.SuccessiveHalvingPruner(grace, factor)
                if name == "halving"
                else optuna.pruners.HyperbandPruner(grace, epochs, factor)
            )
            studies[trial.pool] = optuna.create_study(direction="maximize", pruner=pruner)
        if trial.key not in trials:
            trials[trial.key] = studies[trial.pool].ask()
        trials[trial.key].report(value, epoch)
        return not trials[trial.key].should_prune()

    return _Foreign(goes_on)


_WHOLE = {"metric": OBJECTIVE, "sampler": "random", "length": 1.0, "race": None}
_RACE = {"top": 4, "seeds": RACE_SEEDS}
_SHORT = {"length": 0.375, "race": _RACE}
_ASHA, _PROMOTION = {"name": "asha"}, {"name": "promotion"}
METHODS: dict[str, Method] = {
    "random": Method(),
    "random, ASHA": Method(scheduler=_ASHA),
    "random, promotion": Method(scheduler=_PROMOTION),
    "random, median": Method(scheduler={"name": "median"}),
    "random, Ray ASHA pooled": Method(
        scheduler=_ASHA, pruner=lambda study: _ray(study, pooled=True)
    ),
    "random, Ray ASHA by condition": Method(
        scheduler=_ASHA, pruner=lambda study: _ray(study, pooled=False)
    ),
    "random, Optuna halving": Method(
        scheduler=_ASHA, pruner=lambda study: _optuna(study, name="halving")
    ),
    "random, Optuna Hyperband": Method(
        scheduler=_ASHA, pruner=lambda study: _optuna(study, name="hyperband")
    ),
    "TPE": Method(search={"sampler": "tpe"}),
    "TPE, ASHA": Method(search={"sampler": "tpe"}, scheduler=_ASHA),
    "TPE, Optuna halving": Method(
        search={"sampler": "tpe"},
        scheduler=_ASHA,
        pruner=lambda study: _optuna(study, name="halving"),
    ),
    "random, race": Method(search={"race": _RACE}),
    "random, ASHA, race": Method(search={"race": _RACE}, scheduler=_ASHA),
    "random, short": Method(search={"length": 0.375}),
    "random, short, race": Method(search=_SHORT),
    "random, short, ASHA, race": Method(search=_SHORT, scheduler=_ASHA),
    "random, short, promotion, race": Method(search=_SHORT, scheduler=_PROMOTION),
    "TPE, short, ASHA, race": Method(search={**_SHORT, "sampler": "tpe"}, scheduler=_ASHA),
    "TPE, short, promotion, race": Method(
        search={**_SHORT, "sampler": "tpe"}, scheduler=_PROMOTION
    ),
}


class _Nowhere:
    """A journal and a recorder that keep nothing."""

    def read(self) -> Iterator[dict[str, Any]]:
        return iter(())

    def __getattr__(self, name: str) -> Callable[..., None]:
        return lambda *arguments, **content: None


@cache
def table() -> Curves:
    """The recorded curves."""
    return load()


@cache
def _unit(study_json: str) -> Callable[[Mapping[str, Scalar]], NDArray[np.float64]]:
    """Maps a configuration to the unit cube of its space."""
    space = SearchStudy.model_validate_json(study_json).space
    known = {key: parameter.distribution() for key, parameter in space.items()}

    def place(chosen: Mapping[str, Scalar]) -> NDArray[np.float64]:
        found = []
        for key, one in known.items():
            value, low, high = float(chosen[key]), one.low, one.high  # type: ignore[arg-type]
            if one.log:
                value, low, high = math.log(value), math.log(low), math.log(high)
            found.append((value - low) / (high - low))
        return np.array(found)

    return place


def run(method: str, trials: int, repeat: int, slots: int) -> dict[str, Any]:
    """One search to its end: regret by condition, epochs, seconds, conditions without a winner."""
    import optuna

    from dynaloss.execution.search.director import Director
    from dynaloss.execution.search.outcome import group_outcome
    from dynaloss.execution.search.suggestions import Suggester

    how, curves = METHODS[method], table()
    roles = np.random.default_rng(repeat).permutation(len(curves.seeds))
    study = SearchStudy.model_validate(
        {
            **curves.study,
            "search": {**_WHOLE, **how.search, "trials": trials, "seed": repeat},
            "scheduler": how.scheduler,
        }
    )
    plan = make_search_plan(study, lambda data: "digits")
    storage = optuna.storages.InMemoryStorage()
    suggesters = {
        group.name: Suggester(storage, study, group, parallel=slots > 1) for group in plan.groups
    }
    pruner = how.pruner(study) if how.pruner else None
    nowhere: Any = _Nowhere()
    director = Director(plan, nowhere, suggesters, pruner)
    director.start(nowhere)
    played = _Played(curves, plan.groups, roles)
    seconds = played.play(director, slots)
    found = [group_outcome(study, group, director.trials.values()) for group in plan.groups]
    chosen = [
        played.configuration(one.winners[0].chosen)
        if one.winners
        else len(curves.configurations) - 1
        for one in found
    ]
    seen = 1 + len(study.search.race.seeds if study.search.race else ())
    test = curves.values[TEST][..., -1]
    unseen = test[:, :, roles[max(seen, 3) :]].mean(axis=2)
    best = np.nanmax(test.mean(axis=2), axis=1)
    return {
        "regret": [float(best[k] - unseen[k, c]) for k, c in enumerate(chosen)],
        "epochs": played.epochs,
        "seconds": seconds,
        "empty": sum(not one.winners for one in found),
    }


class _Played:
    """Plays recorded trials on slots.

    Args:
        curves: The table.
        groups: Groups of the search, in the table's order of conditions.
        roles: Positions of the seeds: of the search, then of the race.
    """

    def __init__(self, curves: Curves, groups: Sequence[Any], roles: NDArray[np.int64]) -> None:
        self._curves = curves
        self._place = _unit(SearchStudy.model_validate(curves.study).model_dump_json())
        self._places = np.array([self._place(chosen) for chosen in curves.configurations[:-1]])
        self._conditions = {group.name: k for k, group in enumerate(groups)}
        self._roles = roles
        self.epochs = 0

    def configuration(self, chosen: Mapping[str, Scalar]) -> int:
        """The recorded configuration nearest to a suggestion."""
        return int(((self._places - self._place(chosen)) ** 2).sum(axis=1).argmin())

    def play(self, director: Any, slots: int) -> float:  # noqa: ANN401 - stands in as a backend
        """Runs a search to its end; returns its wall time in seconds."""
        from dynaloss.execution.trial.runner import StepResult

        upcoming, running, now = director.upcoming(), [], 0.0
        while True:
            while len(running) < slots and (trial := next(upcoming, None)) is not None:
                cell = self._cell(trial)
                step = float(self._curves.seconds[cell])
                heapq.heappush(running, (now + step, trial.key, trial.last_epoch + 1, cell, step))
            if not running:
                return now
            now, key, epoch, cell, step = heapq.heappop(running)
            self.epochs += 1
            metrics = {name: float(self._curves.values[name][cell][epoch - 1]) for name in METRICS}
            if director.take(key, StepResult(reports=((epoch, metrics),))):
                heapq.heappush(running, (now + step, key, epoch + 1, cell, step))

    def _cell(self, trial: Any) -> tuple[int, int, int]:  # noqa: ANN401 - a `SearchTrial`
        role = 0 if trial.race_seed is None else 1 + RACE_SEEDS.index(trial.race_seed)
        configuration = self.configuration(trial.chosen)
        return self._conditions[trial.group.name], configuration, int(self._roles[role])


def _many(work: tuple[str, int, int, int, int]) -> list[dict[str, Any]]:
    method, trials, slots, start, stop = work
    return [run(method, trials, repeat, slots) for repeat in range(start, stop)]


def measure(methods: Sequence[str], repeats: int, processes: int) -> list[dict[str, Any]]:
    """A row per method and number of trials, over all repeats, on two slots."""
    rows = []
    with ProcessPoolExecutor(processes) as pool:
        for method in methods:
            for trials in TRIALS:
                parts = np.linspace(0, repeats, processes * 4 + 1).astype(int).tolist()
                work = [(method, trials, 2, a, b) for a, b in pairwise(parts)]
                found = [one for part in pool.map(_many, work) for one in part]
                rows.append(_row(method, trials, found))
                print(_shown(rows[-1]), flush=True)
    return rows


def _row(method: str, trials: int, found: Sequence[dict[str, Any]]) -> dict[str, Any]:
    regret = np.array([one["regret"] for one in found])
    return {
        "method": method,
        "trials": trials,
        "epochs": float(np.mean([one["epochs"] for one in found])),
        "seconds": float(np.mean([one["seconds"] for one in found])),
        "regret": float(regret.mean()),
        "regret_sem": float(regret.mean(axis=1).std(ddof=1) / math.sqrt(len(regret))),
        "worst": float(regret.max(axis=1).mean()),
        "by_condition": regret.mean(axis=0).tolist(),
        "empty": float(np.mean([one["empty"] for one in found])),
    }


def _shown(row: Mapping[str, Any]) -> str:
    return (
        f"{row['method']:32} {row['trials']:3} trials {row['epochs']:7.0f} epochs  "
        f"regret {100 * row['regret']:5.2f} ± {100 * row['regret_sem']:.2f}, worst "
        f"{100 * row['worst']:5.2f}, empty {row['empty']:.2f}"
    )


def main() -> None:
    """Runs the methods that are named, or all, and keeps the rows."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("methods", nargs="*", metavar="METHOD", help="Methods, by default all.")
    parser.add_argument("--repeats", type=int, default=300, help="Searches for each row.")
    parser.add_argument(
        "--processes", type=int, default=os.cpu_count(), help="Searches at a time."
    )
    parser.add_argument("--output", type=Path, default=OUTPUT, help="File of the rows.")
    options = parser.parse_args()
    rows = measure(options.methods or [*METHODS], options.repeats, options.processes)
    from machine import describe

    options.output.write_text(json.dumps(describe() | {"rows": rows}, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
