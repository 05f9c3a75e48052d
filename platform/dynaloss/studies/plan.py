"""From a study to its trials: ordered, unique, each with its key."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING, Any, Literal

from dynaloss.config import DataConfig, TrialConfig
from dynaloss.config.settings import Scalar
from dynaloss.studies.confounding import confounders
from dynaloss.studies.identity import digest_of, flatten, trial_key
from dynaloss.studies.notebook import notebook_html
from dynaloss.studies.overrides import setting_keys, shown, value_at
from dynaloss.studies.study import AblationStudy, Study

if TYPE_CHECKING:
    import pandas

DataDigests = Mapping[str, str] | Callable[[DataConfig], str]
"""Digest of the data: by the name of the source, or computed from the settings."""

_COLUMNS = ("key", "condition", "arm", "seed")
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
    """A cell that computes the same as an earlier trial, whose key it shares.

    For example, an arm that ignores what a condition changes.
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
        margin: See `ReportConfig`.
        adjust: See `ReportConfig`.
        notes: What was merged because it would compute the same, and what else to know of the
            design, one sentence each.
        repeats: Cells that share the trial of another cell, for the comparison.
        components: Components that the arms of the design switch, in order.
        warnings: What may be wrong with the design or the data, one sentence each.

    Examples:
        >>> plan = study.plan()
        >>> [(trial.arm, trial.seed) for trial in plan.trials]
        [('none', 0), ('full', 0)]
        >>> plan.baseline, plan.metric
        ('none', 'test/accuracy')
    """

    study: str
    trials: tuple[Trial, ...]
    baseline: str
    metric: str
    margin: float | None = None
    adjust: Literal["maxt", "holm"] = "maxt"
    notes: tuple[str, ...] = ()
    repeats: tuple[Repeat, ...] = ()
    components: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()

    @property
    def hash(self) -> str:
        """Hash of what was planned: the trials, the baseline and the metric.

        Examples:
            >>> study.plan().hash == plan.hash
            True
        """
        trials = [[trial.key, trial.condition, trial.arm, trial.seed] for trial in self.trials]
        return digest_of({"trials": trials, "baseline": self.baseline, "metric": self.metric})

    def to_frame(self) -> pandas.DataFrame:
        """One row a trial: key, condition, arm, seed, and its settings by dotted key.

        Examples:
            >>> plan.to_frame()[["arm", "seed", "optimizer.lr"]]
                arm  seed  optimizer.lr
            0  none     0           0.1
            1  full     0           0.1
        """
        import pandas

        return pandas.DataFrame(
            {name: getattr(trial, name) for name in _COLUMNS} | flatten(trial.config)
            for trial in self.trials
        )

    def __repr__(self) -> str:
        return f"<plan {self.hash} of study {self.study}: {len(self.trials)} trials>"

    def _repr_html_(self) -> str:
        remarks = {"warning": self.warnings, "note": self.notes}
        lines = (f"{kind}: {text}" for kind, texts in remarks.items() for text in texts)
        return notebook_html([repr(self)[1:-1], *lines], self.to_frame()[[*_COLUMNS]])


def make_plan(study: AblationStudy, data_digests: DataDigests) -> Plan:
    """Trials of a loaded `study`; those that would compute the same are merged and noted."""
    cells = list(_trials(study, data_digests))
    first: dict[str, Trial] = {}
    same_as = _equal_arms(cells)
    notes = [f"arm '{arm}' equals arm '{other}', and runs once" for arm, other in same_as.items()]
    repeats = []
    for cell in cells:
        trial = first.setdefault(cell.key, cell)
        own, other = (f"{t.arm} · {t.condition}" for t in (cell, trial))
        if trial is not cell and cell.arm not in same_as:
            what = "another condition" if own == other else f"'{own}'"
            notes.append(f"{what} equals '{other}', and runs once")
        if own != other:
            names = ("condition", "arm", "seed", "key")
            repeats.append(Repeat(**{name: getattr(cell, name) for name in names}))
    return Plan(
        study=study.study,
        trials=tuple(first.values()),
        baseline=same_as.get(study.baseline, study.baseline),
        **study.report.model_dump(),
        notes=(*study.design_notes(), *dict.fromkeys(notes)),
        repeats=tuple(dict.fromkeys(repeats)),
        components=study.switched,
        warnings=(
            *confounders(study, conditions_of(study)[0].configs),
            *_short_schedules(first.values()),
        ),
    )


def _short_schedules(trials: Iterable[Trial]) -> Iterator[str]:
    """Names the arms whose trials end before their losses have made a difference."""
    arms: dict[tuple[int, int], dict[str, None]] = {}
    for trial in trials:
        idle, epochs = trial.config.idle_epochs, trial.config.schedule.epochs
        if idle >= epochs:
            arms.setdefault((epochs, idle), {})[trial.arm] = None
    for (epochs, idle), names in arms.items():
        yield (
            f"{', '.join(names)}: schedule.epochs is {epochs}, within the {idle} epochs of "
            "schedule.warmup_epochs and schedule.ramp_epochs, in which arms hardly differ"
        )


def plan_as_json(plan: Plan) -> dict[str, Any]:
    """The plan as values for JSON."""
    trials = [{name: getattr(trial, name) for name in _COLUMNS} for trial in plan.trials]
    return {"study": plan.study, "hash": plan.hash, "trials": trials}


def condition_label(config: TrialConfig, varied_keys: Collection[str]) -> str:
    """Label of the data bias of `config`, such as `symmetric 0.4 · IR 10`.

    The source comes first, and only where it is varied; other varied keys follow by name.
    """
    data = config.data
    parts = [shown("data.source", data.source)] if "data.source" in varied_keys else []
    parts += [data.noise.label, data.imbalance_label]
    for key in varied_keys:
        if key not in _IN_EVERY_LABEL:
            parts.append(f"{_short_key(key)}={shown(key, value_at(config, key))}")
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


def digest_of_data(data_digests: DataDigests, data: DataConfig) -> str:
    """Digest of the content of the source that the settings name."""
    return data_digests(data) if callable(data_digests) else data_digests[data.source]


def _trials(study: AblationStudy, data_digests: DataDigests) -> Iterator[Trial]:
    """The trial of every cell, equal ones too."""
    for condition in conditions_of(study):
        configs = condition.configs
        digests = {arm: digest_of_data(data_digests, configs[arm].data) for arm in configs}
        for seed, (arm, config) in product(study.seeds, configs.items()):
            yield Trial(
                key=trial_key(config, seed, study.base_seed, digests[arm], study.resources),
                condition=condition.label,
                condition_values=condition.values,
                arm=arm,
                seed=seed,
                base_seed=study.base_seed,
                config=config,
            )


def _equal_arms(cells: Iterable[Trial]) -> dict[str, str]:
    """Arms that equal an earlier arm under every condition, each with that arm's name."""
    keys: dict[str, list[str]] = {}
    for cell in cells:
        keys.setdefault(cell.arm, []).append(cell.key)
    first: dict[tuple[str, ...], str] = {}
    same_as = {arm: first.setdefault(tuple(own), arm) for arm, own in keys.items()}
    return {arm: other for arm, other in same_as.items() if arm != other}


def _short_key(key: str) -> str:
    """Shortest end of a dotted key that no other setting shares, such as `ranks`, `meta.lr`."""
    parts = key.split(".")
    ends = [".".join(parts[i:]) for i in reversed(range(len(parts)))]
    keys = [f".{key}" for key in setting_keys()]
    return next(end for end in ends if sum(key.endswith(f".{end}") for key in keys) == 1)
