"""From a study to its trials: ordered, unique, each with its key."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dynaloss.config import DataConfig, TrialConfig
from dynaloss.config.settings import Scalar, show
from dynaloss.studies.identity import digest_of, effective_config, trial_key
from dynaloss.studies.overrides import setting_keys, value_at
from dynaloss.studies.study import AblationStudy, Study

DataDigests = Mapping[str, str] | Callable[[DataConfig], str]
"""Digest of the data: by the name of the source, or worked out from the settings."""

_IN_EVERY_LABEL = (
    "data.source",
    "data.noise.kind",
    "data.noise.rate",
    "data.noise.key",
    "data.imbalance",
    "data.imbalance_factor",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """One combination of the varied keys.

    Attributes:
        label: The data bias in words, such as `symmetric 0.4 · IR 10`; conditions of a study that
            share it are equal in effect.
        values: Value of each varied key.
        configs: Trial of every arm under it.
    """

    label: str
    values: Mapping[str, Scalar]
    configs: Mapping[str, TrialConfig]


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """One condition x arm x seed.

    Attributes:
        key: Identity: the hash of what determines the result.
        condition: Label of the condition.
        condition_values: Value of each key that the conditions vary.
        arm: Name of the arm.
        seed: Trial seed; the arms of one condition share their streams by it.
        base_seed: Study seed, the second part of every random stream.
        config: Settings, with condition and arm applied.
    """

    key: str
    condition: str
    condition_values: Mapping[str, Scalar]
    arm: str
    seed: int
    base_seed: int
    config: TrialConfig

    @property
    def name(self) -> str:
        """The trial in words, such as `full · symmetric 0.4 · IR 10 · seed 0`."""
        return f"{self.arm} · {self.condition} · seed {self.seed}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Repeat:
    """A cell that computes the same as an earlier trial, such as an arm that ignores a condition.

    Attributes:
        condition: Label of the condition that the cell stands in.
        arm: Name of the arm that the cell stands in.
        seed: Trial seed.
        key: Key of the trial whose result is the cell's.
    """

    condition: str
    arm: str
    seed: int
    key: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What a study runs.

    Attributes:
        study: Name of the study.
        trials: Every trial once: by condition, then seed, then arm, so that the first full
            pairing is complete early.
        baseline: Arm that the others are compared with.
        metric: Metric that arms are compared by.
        notes: What was merged because it would compute the same, and what else to know of the
            design, one sentence each.
        repeats: Cells that share the trial of another cell, for the comparison.
        components: Components that the arms of the design switch, in order.
    """

    study: str
    trials: tuple[Trial, ...]
    baseline: str
    metric: str
    notes: tuple[str, ...] = ()
    repeats: tuple[Repeat, ...] = ()
    components: tuple[str, ...] = ()

    @property
    def hash(self) -> str:
        """Hash of what was planned: the trials, the baseline and the metric."""
        trials = [[trial.key, trial.condition, trial.arm, trial.seed] for trial in self.trials]
        return digest_of({"trials": trials, "baseline": self.baseline, "metric": self.metric})


def make_plan(study: AblationStudy, data_digests: DataDigests) -> Plan:
    """Trials of `study`; those that would compute the same are merged and noted.

    Args:
        study: A study that was loaded, hence checked.
        data_digests: Digest of the content of each data source.
    """
    conditions = conditions_of(study)
    arms = conditions[0].configs
    configs = {arm: tuple(condition.configs[arm] for condition in conditions) for arm in arms}
    same_as = _equal_arms(configs)
    trials, repeats, merged = _unique(_trials(study, conditions, configs, same_as, data_digests))
    equal = [f"arm '{arm}' equals arm '{first}'" for arm, first in same_as.items()]
    return Plan(
        study=study.study,
        trials=trials,
        baseline=same_as.get(study.baseline, study.baseline),
        metric=study.report.metric,
        notes=(*study.design_notes(), *(f"{note}, and runs once" for note in equal), *merged),
        repeats=(*repeats, *_equal_cells(same_as, trials, repeats)),
        components=tuple(study.ablation.components) if study.ablation else (),
    )


def plan_as_json(plan: Plan) -> dict[str, Any]:
    """The plan as values for JSON."""
    fields = ("key", "condition", "arm", "seed")
    trials = [{name: getattr(trial, name) for name in fields} for trial in plan.trials]
    return {"study": plan.study, "hash": plan.hash, "trials": trials}


def condition_label(config: TrialConfig, varied_keys: Iterable[str]) -> str:
    """Label of the data bias of `config`, such as `symmetric 0.4 · IR 10`.

    The source stands in front only where it is varied; other varied keys follow by name.
    """
    varied, data = list(varied_keys), config.data
    parts = [data.source] if "data.source" in varied else []
    parts += [data.noise.label, data.imbalance_label]
    for key in varied:
        if key not in _IN_EVERY_LABEL:
            parts.append(f"{_short_key(key)}={_bare(value_at(config, key))}")
    return " · ".join(parts)


def conditions_of(study: Study) -> tuple[Condition, ...]:
    """The conditions of a study, in the order of its grid; at least one."""
    found: list[Condition] = []
    configs: dict[str, TrialConfig] = {}
    for cell in study.cells():
        if cell.arm is None:
            label, configs = condition_label(cell.trial, study.conditions), {}
            found.append(Condition(label=label, values=cell.condition, configs=configs))
        else:
            configs[cell.arm] = cell.trial
    return tuple(found)


def _equal_arms(configs: Mapping[str, Sequence[TrialConfig]]) -> dict[str, str]:
    """Arms that equal an earlier arm under every condition, each with that arm's name."""
    first_by_content: dict[str, str] = {}
    same_as: dict[str, str] = {}
    for arm, settings in configs.items():
        content = digest_of([effective_config(config) for config in settings])
        first = first_by_content.setdefault(content, arm)
        if first != arm:
            same_as[arm] = first
    return same_as


def _trials(
    study: AblationStudy,
    conditions: Sequence[Condition],
    configs: Mapping[str, Sequence[TrialConfig]],
    merged: Mapping[str, str],
    data_digests: DataDigests,
) -> Iterable[Trial]:
    arms = [arm for arm in configs if arm not in merged]
    for i, condition in enumerate(conditions):
        digests = {arm: digest_of_data(data_digests, configs[arm][i].data) for arm in arms}
        for seed in study.seeds:
            for arm in arms:
                config = configs[arm][i]
                yield Trial(
                    key=trial_key(config, seed, study.base_seed, digests[arm]),
                    condition=condition.label,
                    condition_values=condition.values,
                    arm=arm,
                    seed=seed,
                    base_seed=study.base_seed,
                    config=config,
                )


def digest_of_data(data_digests: DataDigests, data: DataConfig) -> str:
    """Digest of the content of the source that the settings name."""
    return data_digests(data) if callable(data_digests) else data_digests[data.source]


def _unique(
    trials: Iterable[Trial],
) -> tuple[tuple[Trial, ...], tuple[Repeat, ...], tuple[str, ...]]:
    """The first trial of each key, the cells that repeat another, and a note for each."""
    first_by_key: dict[str, Trial] = {}
    repeats: list[Repeat] = []
    notes: dict[str, None] = {}
    for trial in trials:
        first = first_by_key.setdefault(trial.key, trial)
        if first is not trial:
            cell, same = (f"'{t.arm} · {t.condition}'" for t in (trial, first))
            other = "a further condition" if cell == same else cell
            notes[f"{other} equals {same}, and runs once"] = None
            if cell != same:
                repeats.append(_repeat(trial))
    return tuple(first_by_key.values()), tuple(repeats), tuple(notes)


def _equal_cells(
    same_as: Mapping[str, str], trials: Sequence[Trial], repeats: Sequence[Repeat]
) -> Iterable[Repeat]:
    """The cells of arms that equal an earlier arm, so that designs keep all of their arms."""
    for arm, first in same_as.items():
        cells: list[Trial | Repeat] = [*trials, *repeats]
        for cell in cells:
            if cell.arm == first:
                yield Repeat(condition=cell.condition, arm=arm, seed=cell.seed, key=cell.key)


def _repeat(trial: Trial) -> Repeat:
    return Repeat(condition=trial.condition, arm=trial.arm, seed=trial.seed, key=trial.key)


def _short_key(key: str) -> str:
    """Shortest end of a dotted key that no other setting shares, such as `ranks`, `meta.lr`."""
    parts = key.split(".")
    ends = [".".join(parts[i:]) for i in reversed(range(len(parts)))]
    others = [f".{other}" for other in setting_keys() if other != key]
    return next(end for end in ends if not any(other.endswith(f".{end}") for other in others))


def _bare(value: object) -> str:
    return value if isinstance(value, str) else show(value)
