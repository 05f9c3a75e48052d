"""From a search to its groups: what each may spend, and where its rungs are."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from dynaloss.config.families import OPTUNA_SAMPLERS, PRUNERS
from dynaloss.config.settings import Scalar
from dynaloss.config.trial import TrialConfig
from dynaloss.studies.identity import KEY_VERSION, digest_of, effective_config, trial_key
from dynaloss.studies.notebook import notebook_html
from dynaloss.studies.overrides import override
from dynaloss.studies.plan import Condition, DataDigests, Trial, conditions_of, digest_of_data
from dynaloss.studies.search.points import grid_points, is_active, untuned_point
from dynaloss.studies.search.rungs import GracePeriod, first_rung
from dynaloss.studies.stored_plan import StoredPlan
from dynaloss.studies.study import SearchStudy

if TYPE_CHECKING:
    import pandas

_COLUMNS = ("condition", "arm", "trials", "epochs", "rungs", "parameters")


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """One condition x arm: it has an Optuna study and a budget of its own.

    Attributes:
        name: `arm · condition`, unique in the study.
        condition: Label of the condition.
        condition_values: Value of each varied key, those of the first of equal conditions.
        arm: Name of the arm.
        config: The trial with condition and arm applied; suggestions come on top.
        trials: Number of trials to run.
        rungs: Epochs at which trials are compared.
        pool: Trials compete with those of an equal pool.
        parameters: Keys of the space that can exist here.
        data_digest: Digest of the content of the data source.
        untuned: The values of the first trial where they are those of the study; else None.
    """

    name: str
    condition: str
    condition_values: Mapping[str, Scalar]
    arm: str
    config: TrialConfig
    trials: int
    rungs: tuple[int, ...]
    pool: str
    parameters: tuple[str, ...]
    data_digest: str
    untuned: Mapping[str, Scalar] | None = None

    @property
    def epochs(self) -> int:
        """Length of a trial that is not stopped."""
        return self.config.schedule.epochs


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchPlan:
    """What a search runs: its groups by condition, and notes on them, one sentence each.

    `grace` is what was decided where the study leaves the grace period open and starts from an
    earlier search.

    Examples:
        >>> plan = search.plan()
        >>> [(group.name, group.trials) for group in plan.groups]
        [('full · symmetric 0.4 · IR 10', 4)]
    """

    study: SearchStudy
    groups: tuple[Group, ...]
    notes: tuple[str, ...] = ()
    grace: GracePeriod | None = None

    @property
    def hash(self) -> str:
        """Hash of what was planned: groups, space, search and scheduler, threads or GPU.

        Examples:
            >>> search.plan().hash == plan.hash
            True
        """
        study = self.study.model_dump(
            mode="json", exclude={"resources", "limits", "confirm", "study"}
        )
        groups = [[g.name, effective_config(g.config), g.data_digest] for g in self.groups]
        resources = self.study.resources.effective()
        return digest_of({"study": study, "groups": groups, **resources})

    @property
    def num_trials(self) -> int:
        """Trials of all groups.

        Examples:
            >>> plan.num_trials
            4
        """
        return sum(group.trials for group in self.groups)

    @property
    def most_epochs(self) -> int:
        """Epochs of the whole search if nothing were stopped, those of the races included.

        Examples:
            >>> plan.most_epochs
            8
        """
        race = self.study.search.race
        return sum(
            (group.trials + (min(race.top, group.trials) * len(race.seeds) if race else 0))
            * group.epochs
            for group in self.groups
        )

    def to_frame(self) -> pandas.DataFrame:
        """One row a group: condition, arm, trials, epochs, rungs, parameters.

        Examples:
            >>> plan.to_frame()[["arm", "trials", "epochs"]]
                arm  trials  epochs
            0  full       4       2
        """
        import pandas

        rows = [{name: getattr(group, name) for name in _COLUMNS} for group in self.groups]
        return pandas.DataFrame(rows)

    def __repr__(self) -> str:
        size = f"{self.num_trials} trials, at most {self.most_epochs} epochs"
        return f"<plan {self.hash} of search {self.study.study}: {size}>"

    def _repr_html_(self) -> str:
        notes = (f"note: {note}" for note in self.notes)
        return notebook_html([repr(self)[1:-1], *notes], self.to_frame())


def make_search_plan(study: SearchStudy, data_digests: DataDigests) -> SearchPlan:
    """Groups of a loaded search; conditions that are equal in effect have one group an arm."""
    conditions = conditions_of(study)
    first = {condition.label: condition for condition in reversed(conditions)}
    counts = Counter(condition.label for condition in conditions)
    groups = tuple(
        _group(study, first[label], arm, digest_of_data(data_digests, config.data))
        for label in counts
        for arm, config in first[label].configs.items()
    )
    return SearchPlan(study=study, groups=groups, notes=tuple(_notes(study, groups, counts)))


def with_grace(plan: SearchPlan, grace: GracePeriod, data_digests: DataDigests) -> SearchPlan:
    """The plan with its rungs as they were decided."""
    scheduler = plan.study.scheduler.model_copy(update={"grace_epochs": grace.epochs})
    study = plan.study.model_copy(update={"scheduler": scheduler})
    decided = make_search_plan(study, data_digests)
    # An arm that was added later may have a longer warm-up, in which a rung says nothing.
    groups = tuple(
        replace(
            group, rungs=tuple(rung for rung in group.rungs if rung > group.config.idle_epochs)
        )
        for group in decided.groups
    )
    return replace(decided, groups=groups, notes=(*decided.notes, grace.note), grace=grace)


def search_trial(
    study: SearchStudy,
    group: Group,
    number: int,
    chosen: Mapping[str, Scalar],
    race_seed: int | None = None,
) -> Trial:
    """The trial of suggested values, at a position in its group that is counted from 0.

    Equal suggestions are trials of their own. That of a race has another seed, and the test split
    of the study.
    """
    config, seed = override(group.config, chosen), study.search.trial_seed
    if race_seed is not None:
        config, seed = override(config, study.test_split), race_seed
    content = trial_key(config, seed, study.base_seed, group.data_digest, study.resources)
    return Trial(
        key=digest_of({"content": content, "group": group.name, "number": number}),
        condition=group.condition,
        condition_values=group.condition_values,
        arm=group.arm,
        seed=seed,
        base_seed=study.base_seed,
        config=config,
    )


def search_plan_as_json(plan: SearchPlan) -> dict[str, Any]:
    """The plan as values for JSON."""
    study = plan.study
    return {
        "study": study.study,
        "kind": "search",
        "hash": plan.hash,
        "sampler": study.search.sampler,
        "objectives": study.search.objectives(),
        "scheduler": study.scheduler.name,
        "race": study.search.race and study.search.race.model_dump(mode="json"),
        "trials": plan.num_trials,
        "most_epochs": plan.most_epochs,
        "groups": [
            {"group": group.name, **{name: getattr(group, name) for name in _COLUMNS}}
            for group in plan.groups
        ],
        "notes": plan.notes,
    }


def stored_search_plan(plan: SearchPlan) -> StoredPlan:
    """What is stored of the plan of a search."""
    study = plan.study
    return StoredPlan(
        study=study.study,
        kind="search",
        hash=plan.hash,
        metric=study.search.objectives()[0][0],
        arms=tuple(dict.fromkeys(group.arm for group in plan.groups)),
        conditions=tuple(dict.fromkeys(group.condition for group in plan.groups)),
        seeds=(study.search.trial_seed,),
        key_version=KEY_VERSION,
    )


def _group(study: SearchStudy, condition: Condition, arm: str, digest: str) -> Group:
    scheduler, trials = study.scheduler, study.search.trials
    label, config = condition.label, condition.configs[arm]
    enumerates = OPTUNA_SAMPLERS[study.search.sampler].enumerates
    if enumerates:
        trials = min(trials, sum(1 for _ in grid_points(study.space, config)))
    pool = [label] * ("condition" in scheduler.group_by) + [arm] * ("arm" in scheduler.group_by)
    return Group(
        name=f"{arm} · {label}",
        condition=label,
        condition_values=condition.values,
        arm=arm,
        config=config,
        trials=trials,
        rungs=tuple(
            PRUNERS[scheduler.name].rungs(
                scheduler, first_rung(scheduler, config), config.schedule.epochs
            )
        ),
        pool=" · ".join(pool) or "all",
        parameters=tuple(_possible(study, config)),
        data_digest=digest,
        untuned=None if enumerates else _untuned(study, config),
    )


def _untuned(study: SearchStudy, config: TrialConfig) -> dict[str, Scalar] | None:
    return untuned_point(study.space, config) if study.search.untuned_first else None


def _possible(study: SearchStudy, config: TrialConfig) -> list[str]:
    """Keys that exist in this group, whatever the parameters that they depend on become."""
    found: list[str] = []
    for key, parameter in study.space.items():
        outer = {k: v for k, v in parameter.when.items() if k not in study.space}
        alone = parameter.model_copy(update={"when": outer})
        if parameter.when.keys() - outer <= {*found} and is_active(alone, config, {}):
            found.append(key)
    return found


def _notes(
    study: SearchStudy, groups: Sequence[Group], counts: Mapping[str, int]
) -> Iterator[str]:
    for label, count in counts.items():
        if count > 1:
            yield f"'{label}' is {count} conditions, searched as one"
    for group in groups:
        if not group.parameters:
            yield f"'{group.name}' has no parameter to search: its trials are equal"
        if group.trials < study.search.trials:
            yield f"'{group.name}' has {group.trials} combinations, and runs each once"
    name = study.scheduler.name
    if PRUNERS[name].has_brackets:
        most = 1 + max(len(group.rungs) for group in groups)
        first = min(group.rungs[0] for group in groups)
        yield f"{name}: {most} brackets, from a grace period of {first} epochs to no pruning"
    if len({group.pool for group in groups}) < len(groups):
        yield "different conditions or arms compete: all trials of a hard one may be pruned"
