"""Suggestions by Optuna: one study per group, all in one SQLite file.

Every trial gets a new sampler, seeded by (search seed, group, trial number). Suggestions then
follow from the trials in storage alone: after a kill they are those of an uninterrupted search.
"""

from __future__ import annotations

import hashlib
import math
import sqlite3
import warnings
from collections.abc import Mapping, Sequence
from contextlib import closing
from itertools import islice
from pathlib import Path
from typing import Any

import optuna
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.trial import TrialState

from dynaloss.config.families import OPTUNA_SAMPLERS
from dynaloss.config.parameters import Distribution
from dynaloss.config.settings import Scalar
from dynaloss.errors import InputError
from dynaloss.studies.search.groups import Group
from dynaloss.studies.search.points import grid_points, is_active
from dynaloss.studies.study import SearchStudy
from dynaloss.studies.trial_record import Outcome

_FILE = "optuna.db"

_RACE = "race"
"""Attribute of a study of Optuna: numbers of the trials that raced, best first."""

_MOST_WARM_STARTS = 3
"""Configurations of an earlier search that a group starts with."""

optuna.logging.set_verbosity(optuna.logging.ERROR)


class DamagedStorageError(InputError):
    """Optuna's file is not as it was written."""


def open_storage(folder: Path) -> optuna.storages.RDBStorage:
    """The SQLite file in the folder of a search; optuna-dashboard opens it too.

    Raises:
        DamagedStorageError: If the file is damaged.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / _FILE
    if path.exists() and not _is_whole(path):
        raise DamagedStorageError(f"{path} is damaged")
    wait = {"connect_args": {"timeout": 60}}
    return optuna.storages.RDBStorage(f"sqlite:///{path}", engine_kwargs=wait)


def has_storage(folder: Path) -> bool:
    """Whether a search has begun in this folder."""
    return (folder / _FILE).is_file()


def set_storage_aside(folder: Path) -> Path:
    """Makes way for a new file in the folder of a search; returns where the former one is now."""
    path = folder / _FILE
    path.with_name(f"{_FILE}-journal").unlink(missing_ok=True)  # SQLite would apply it to the new
    return path.replace(path.with_name(f"{_FILE}.damaged"))


def _is_whole(path: Path) -> bool:
    database = sqlite3.connect(path, timeout=60)
    with closing(database):
        try:
            return database.execute("pragma integrity_check").fetchall() == [("ok",)]
        except sqlite3.OperationalError:  # locked, or not to be read: no damage
            raise
        except sqlite3.DatabaseError:
            return False


class Suggester:
    """Suggests the configurations of one group, and learns their results.

    Args:
        storage: As `open_storage` gives it.
        study: The search.
        group: The group.
        parallel: Whether several trials run at a time.
        groups: Those of the search, from which a sampler that shares learns; by default the group.
    """

    def __init__(
        self,
        storage: optuna.storages.BaseStorage,
        study: SearchStudy,
        group: Group,
        *,
        parallel: bool,
        groups: Sequence[Group] = (),
    ) -> None:
        self._storage = storage
        self._group = group
        self._search = study.search
        self._kind = OPTUNA_SAMPLERS[study.search.sampler]
        self._space = {key: study.space[key] for key in group.parameters}
        self._parallel = parallel
        name = _study_name(study, group)
        alike = [one for one in groups or [group] if one.parameters == group.parameters]
        self._shared = [_study_name(study, one) for one in alike]
        self.optuna_study = optuna.create_study(
            storage=storage,
            study_name=name,
            directions=[f"{mode}imize" for _, mode in study.search.objectives()],
            load_if_exists=True,
        )
        self._study_id = storage.get_study_id_from_name(name)
        if group.untuned is not None and not self.optuna_study.trials:
            self.begin_with([group.untuned])

    @property
    def has_begun(self) -> bool:
        """Whether a trial has been asked for."""
        return any(t.state is not TrialState.WAITING for t in self.optuna_study.trials)

    def begin_with(self, parameters: Sequence[Mapping[str, Scalar]]) -> None:
        """Queues configurations to begin with, as far as the space has their values."""
        usable = [
            {key: value for key, value in chosen.items() if self._has(key, value)}
            for chosen in parameters
        ]
        for chosen in [*filter(None, usable)][: self._group.trials]:
            self.optuna_study.enqueue_trial(chosen, skip_if_exists=True)

    def keep_race(self, numbers: Sequence[int]) -> None:
        """Keeps the order of a race, best first, for searches that start from this one."""
        self.optuna_study.set_user_attr(_RACE, list(numbers))

    def _has(self, key: str, value: Scalar) -> bool:
        """Whether the value can be suggested."""
        if key not in self._space:
            return False
        known = {key: _optuna_distribution(self._space[key].distribution())}
        try:
            optuna.create_trial(value=0.0, params={key: value}, distributions=known)
        except (ValueError, TypeError):
            return False
        return True

    def ask(self, number: int) -> dict[str, Scalar]:
        """The configuration of the trial with that number, new or the same as before.

        Each number, from 0, is asked for in order.
        """
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # experimental samplers warn at every use
            self._renew_sampler(number)
            return self._choose(self._trial(number))

    def _renew_sampler(self, number: int) -> None:
        seed, name = self._search.seed, self._group.name
        self.optuna_study.sampler = self._kind.build(
            self._search,
            seed=_seed(seed, name, number),
            group_seed=_seed(seed, name, -1),
            parallel=self._parallel,
        )

    def _choose(self, trial: optuna.trial.Trial) -> dict[str, Scalar]:
        """The trial's value of every parameter that exists, each given those before it."""
        chosen: dict[str, Scalar] = {}
        for key, parameter in self._space.items():
            if is_active(parameter, self._group.config, chosen):
                chosen[key] = _suggest(trial, key, parameter.distribution())
        return chosen

    def restore(
        self, number: int, chosen: Mapping[str, Scalar], values: Sequence[float] | None
    ) -> None:
        """Makes a trial that the journal holds anew, where the storage does not have it.

        Args:
            number: Position in the group; each is restored in order.
            chosen: Its parameters.
            values: The objectives at the end; None where it has not completed.

        Raises:
            DamagedStorageError: If the stored trial has other parameters or objectives.
        """
        trials = self.optuna_study.get_trials(deepcopy=False)
        if number < len(trials) and trials[number].state is not TrialState.WAITING:
            stored = trials[number]
            if stored.params.keys() != chosen.keys():
                raise DamagedStorageError(f"{_FILE} does not agree with the journal")
            pairs = [(stored.params[key], value) for key, value in chosen.items()]
            pairs += zip(stored.values or (), values or (), strict=False)
            if not all(_is_same(*pair) for pair in pairs):
                raise DamagedStorageError(f"{_FILE} does not agree with the journal")
            return
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            if number >= len(trials):
                self.optuna_study.enqueue_trial(dict(chosen))
            self._renew_sampler(number)
            self._choose(self.optuna_study.ask())

    def tell(
        self, number: int, outcome: Outcome, values: Sequence[float], curve: Mapping[int, float]
    ) -> None:
        """Stores how a trial ended, once; a diverged one counts as the worst of the pruned.

        Args:
            number: Position in the group.
            outcome: How the trial ended.
            values: The objectives at the end.
            curve: First objective by epoch, stored where it is the only one.
        """
        known = self.optuna_study.get_trials(deepcopy=False)[number]
        if known.state.is_finished():
            return
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            self._renew_sampler(number)
            trial = self._asked(number)
            trial.set_user_attr("outcome", str(outcome))
            finite = {e: v for e, v in curve.items() if math.isfinite(v)}
            # Optuna knows curves, and what was pruned by them, for a single objective alone.
            if outcome is not Outcome.DIVERGED and len(values) == 1:
                for epoch in sorted(set(finite) - set(known.intermediate_values)):
                    trial.report(finite[epoch], epoch)
            if outcome is Outcome.COMPLETED and all(map(math.isfinite, values)):
                self.optuna_study.tell(number, list(values))
            else:
                self.optuna_study.tell(number, state=TrialState.PRUNED)

    @property
    def evaluator(self) -> optuna.importance.FanovaImportanceEvaluator:
        """Works out the importance of parameters, with the same draws every time."""
        return optuna.importance.FanovaImportanceEvaluator(seed=self._search.seed)

    def importances(self) -> dict[str, float]:
        """Share of each parameter in the variance of the result (fANOVA); empty if unknown."""
        done = self.optuna_study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
        if len(done) < 4 or len({tuple(t.values) for t in done}) < 2:
            return {}
        try:
            found = optuna.importance.get_param_importances(
                self.optuna_study, evaluator=self.evaluator, target=lambda trial: trial.values[0]
            )
        except (RuntimeError, ValueError):  # no parameter varies, or none is in every trial
            return {}
        return dict(found)

    def _trial(self, number: int) -> optuna.trial.Trial:
        trials = self.optuna_study.get_trials(deepcopy=False)
        if number < len(trials) and trials[number].state is not TrialState.WAITING:
            return self._asked(number)
        if number >= len(trials) and self._kind.enumerates:
            points = grid_points(self._space, self._group.config)
            self.optuna_study.enqueue_trial(next(islice(points, number, None)))
        if number >= len(trials) and (self._kind.needs_complete or self._kind.shares):
            seen = self._seen_by_all() if self._kind.shares else _with_pruned(self.optuna_study)
            seen.sampler = self.optuna_study.sampler
            self.optuna_study.enqueue_trial(self._choose(seen.ask()))
        return self.optuna_study.ask()

    def _seen_by_all(self) -> optuna.Study:
        """A study in memory of the trials of all groups, with ranks within the group as values.

        The value is the share of the group's trials that one beats: further is better, then the
        objective where it ended. So an easy condition does not give all the good ones.
        """
        seen = optuna.create_study(direction="maximize")
        sign = self._search.objectives()[0].sign
        for name in self._shared:
            if name not in optuna.get_all_study_names(self._storage):
                continue
            study = optuna.load_study(study_name=name, storage=self._storage)
            ended = study.get_trials(states=(TrialState.COMPLETE, TrialState.PRUNED))
            keys = [_how_far(trial, sign) for trial in ended]
            for trial, key in zip(ended, keys, strict=True):
                beaten = sum(other < key for other in keys) + sum(o == key for o in keys) / 2
                seen.add_trial(
                    optuna.create_trial(
                        value=beaten / len(keys),
                        params=trial.params,
                        distributions=trial.distributions,
                    )
                )
        return seen

    def _asked(self, number: int) -> optuna.trial.Trial:
        """A trial that has been asked for, perhaps by an earlier launch."""
        found = self._storage.get_trial_id_from_study_id_trial_number(self._study_id, number)
        return optuna.trial.Trial(self.optuna_study, found)


def _is_same(stored: object, value: object) -> bool:
    if isinstance(stored, float) and isinstance(value, (int, float)):
        return math.isclose(stored, value, rel_tol=1e-9)  # steps are rounded
    return stored == value


def _study_name(study: SearchStudy, group: Group) -> str:
    return f"{study.study} · {group.name}"


def _how_far(trial: optuna.trial.FrozenTrial, sign: int) -> tuple[float, float]:
    """How far an ended trial came, and how well it did there."""
    steps = trial.intermediate_values
    reached = math.inf if trial.state is TrialState.COMPLETE else max(steps, default=0)
    value = trial.values[0] if trial.values else math.nan
    return reached, sign * value if math.isfinite(value) else -math.inf


def earlier_best(folder: Path, group: Group) -> list[dict[str, Scalar]]:
    """Best configurations of the earlier search in a folder: of the same group, or else of all.

    Those that raced come first, in the order of the race; the others follow by the seed of the
    search. Over several groups they are ranked within each, since an easy condition has higher
    values.

    Raises:
        InputError: If there is no such search.
    """
    if not has_storage(folder):
        raise InputError(
            f"search.start_from: there is no search '{folder.name}' in {folder.parent}"
        )
    storage = open_storage(folder)
    everything = sorted(optuna.get_all_study_names(storage))
    same = f"{folder.name} · {group.name}"
    names = [same] if same in everything else everything
    found: list[tuple[int, dict[str, Scalar]]] = []
    for one in names:
        study = optuna.load_study(study_name=one, storage=storage)
        found += [(rank, dict(trial.params)) for rank, trial in enumerate(_ranked(study))]
    found.sort(key=lambda entry: entry[0])
    return [chosen for _, chosen in found[:_MOST_WARM_STARTS]]


def _ranked(study: optuna.Study) -> list[optuna.trial.FrozenTrial]:
    """Completed trials, best first."""
    sign = -1 if study.directions[0] is optuna.study.StudyDirection.MAXIMIZE else 1
    places = {number: place for place, number in enumerate(study.user_attrs.get(_RACE, ()))}
    done = study.get_trials(states=(TrialState.COMPLETE,))
    return sorted(done, key=lambda t: (places.get(t.number, len(places)), sign * t.values[0]))


def _with_pruned(study: optuna.Study) -> optuna.Study:
    """A copy of a study in memory where a pruned trial counts with its last value.

    Optuna's Gaussian process knows completed trials alone: it would suggest what was pruned, or
    diverged, over and over. A diverged trial, which has no value, counts as the worst.
    """
    copy = optuna.create_study(direction=study.direction)
    trials = study.get_trials(states=(TrialState.COMPLETE, TrialState.PRUNED))
    worst = min if study.direction is optuna.study.StudyDirection.MAXIMIZE else max
    values = {trial.number: trial.value for trial in trials if trial.value is not None}
    for trial in trials if values else ():
        copy.add_trial(
            optuna.create_trial(
                value=values.get(trial.number, worst(values.values())),
                params=trial.params,
                distributions=trial.distributions,
            )
        )
    for trial in study.get_trials(states=(TrialState.RUNNING,)):
        copy.add_trial(trial)
    return copy


def _suggest(trial: optuna.trial.Trial, key: str, known: Distribution) -> Scalar:
    match _optuna_distribution(known):
        case IntDistribution() as whole:
            return int(
                trial.suggest_int(key, whole.low, whole.high, step=whole.step, log=whole.log)
            )
        case FloatDistribution() as real:
            value = trial.suggest_float(key, real.low, real.high, step=real.step, log=real.log)
            return known.rounded(value) if known.step else float(value)
    chosen: Scalar = trial.suggest_categorical(key, known.choices)
    return chosen


def _optuna_distribution(known: Distribution) -> BaseDistribution:
    if known.kind == "choice":
        return CategoricalDistribution(known.choices)
    points: Any = known.points()
    high = float(points[-1]) if points else known.high  # what steps from `low` reach
    if known.kind == "whole":
        step = 1 if known.log else int(known.step or 1)
        return IntDistribution(int(known.low), int(high), log=known.log, step=step)
    return FloatDistribution(known.low, high, log=known.log, step=known.step)


def _seed(seed: int, group: str, number: int) -> int:
    text = f"{seed}/{group}/{number}/suggestion"
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big")
