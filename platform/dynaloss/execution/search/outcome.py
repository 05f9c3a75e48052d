"""Results of a search by group: winners, selection rules side by side, audit, trade-offs."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from dynaloss.analysis.selection import SELECTION_RULES, SelectionRule
from dynaloss.config.search import Objective, RaceConfig
from dynaloss.config.settings import Scalar
from dynaloss.execution.search.race import Race, Standing, race_of
from dynaloss.execution.search.searched import SearchTrial
from dynaloss.execution.search.telling import rank_correlation, telling
from dynaloss.studies.metric_names import higher_is_better
from dynaloss.studies.search.groups import Group
from dynaloss.studies.study import SearchStudy
from dynaloss.studies.trial_record import Outcome


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """What one rule would have chosen.

    Attributes:
        rule: The rule in words.
        number: Number of the trial in its group.
        epoch: Epoch whose weights it uses.
        value: Value of the metric that the rule looks at.
        test: Test metric of that trial at that epoch.
        cost: Distance of `test` from that of the oracle.
        clean_labels: Clean labels used by the trial and by the rule itself.
    """

    rule: str
    number: int
    epoch: int
    value: float
    test: float
    cost: float
    clean_labels: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Audit:
    """What pruning would have lost in a group, by the trials that ran on for the audit.

    Attributes:
        audited: Trials that would have been stopped, and ran on.
        finished: Those of them that completed.
        among_best: Those of them that ended among the best share of all completed trials.
        chance: The share of all completed trials that are among the best: that of audited ones
            if pruning chose at random.
        correlations: Per rung the rank correlation with the end and the number of trials that
            reached both; NaN below three trials.
    """

    audited: int
    finished: int
    among_best: int
    chance: float
    correlations: dict[int, tuple[float, int]]

    @property
    def false_share(self) -> float:
        """Share of finished audited trials that pruning would have wrongly stopped."""
        return self.among_best / self.finished if self.finished else math.nan

    @property
    def known_correlations(self) -> dict[int, tuple[float, int]]:
        """Those of `correlations` that have a value."""
        return {
            rung: found for rung, found in self.correlations.items() if not math.isnan(found[0])
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupOutcome:
    """Results of one group.

    Attributes:
        group: The group.
        trials: Its trials by number, without those of the race.
        raced: Those of the race.
        winners: The best, by the race if there was one, or else by the first objective.
        race: The race among the best; None without one.
        selections: What each selection rule would have chosen.
        audit: What pruning would have lost.
        front: Trials that no other beats in every objective; empty with a single one.
        expected_best: Expected best of k trials drawn at random, for k = 1, 2, ...
        importances: Share of each parameter in the variance of the result.
    """

    group: Group
    trials: tuple[SearchTrial, ...]
    raced: tuple[SearchTrial, ...]
    winners: tuple[SearchTrial, ...]
    race: Race | None
    selections: tuple[Selection, ...]
    audit: Audit
    front: tuple[SearchTrial, ...]
    expected_best: tuple[float, ...]
    importances: Mapping[str, float]

    @property
    def counts(self) -> Counter[str]:
        """Number of trials by outcome."""
        return Counter(str(trial.outcome) for trial in self.trials)

    @property
    def standings(self) -> tuple[Standing, ...]:
        """Those of the race that have further seeds, best first; empty without one."""
        found = self.race.standings if self.race else ()
        return tuple(one for one in found if len(one.values) > 1)

    @property
    def epochs(self) -> int:
        """Epochs that were trained, those of the race included."""
        return sum(trial.last_epoch for trial in (*self.trials, *self.raced))


def group_outcome(
    study: SearchStudy,
    group: Group,
    trials: Iterable[SearchTrial],
    importances: Mapping[str, float] | None = None,
) -> GroupOutcome:
    """Results of a group, whose trials are among those of the search."""
    everything = [trial for trial in trials if trial.group.name == group.name]
    own = sorted((t for t in everything if t.race_seed is None), key=lambda t: t.number)
    objectives, confirm = study.search.objectives(), study.confirmation
    first, config = objectives[0], study.search.race
    race = race_among(config, everything, first) if config else None
    return GroupOutcome(
        group=group,
        trials=tuple(own),
        raced=tuple(trial for trial in everything if trial.race_seed is not None),
        winners=tuple(winners(own, first, confirm.top, race)),
        race=race,
        selections=tuple(selections(own, group, first, confirm.metric)),
        audit=audit_of(own, group, first, study.scheduler.reduction_factor),
        front=tuple(pareto_front(own, objectives)) if len(objectives) > 1 else (),
        expected_best=tuple(expected_best(own, first)),
        importances=importances or {},
    )


def _completed(trials: Iterable[SearchTrial]) -> list[SearchTrial]:
    return [trial for trial in trials if trial.outcome is Outcome.COMPLETED]


def _ranked(trials: Iterable[SearchTrial], objective: Objective) -> list[SearchTrial]:
    """The best first; equal ones as they come."""
    return sorted(trials, key=lambda trial: -objective.sign * trial.last(objective.name))


def winners(
    trials: Iterable[SearchTrial], objective: Objective, top: int, race: Race | None = None
) -> list[SearchTrial]:
    """The best completed trials of a group: by the race, then by the last epoch.

    Audited ones may be among them. Equal configurations count once: the winners are to differ.
    """
    places = {one.number: place for place, one in enumerate(race.standings)} if race else {}
    distinct: dict[tuple[tuple[str, Scalar], ...], SearchTrial] = {}
    for trial in _ranked(sorted(_completed(trials), key=lambda t: t.number), objective):
        distinct.setdefault(tuple(sorted(trial.chosen.items(), key=str)), trial)
    found = sorted(distinct.values(), key=lambda trial: places.get(trial.number, len(places)))
    return found[:top]


def race_among(config: RaceConfig, trials: Sequence[SearchTrial], objective: Objective) -> Race:
    """The race among the best of a group's `trials`, which hold those of the race, too.

    The untuned trial takes part wherever it stands: what is chosen has to beat it.
    """
    searched = [trial for trial in trials if trial.race_seed is None]
    best = winners(searched, objective, config.top)
    best += [t for t in _completed(searched) if t.is_untuned and t not in best]
    signed = {trial.key: objective.sign * trial.last(objective.name) for trial in trials}
    return race_of(
        config,
        [(t.number, signed[t.key]) for t in best],
        {
            (t.number, t.race_seed): (
                t.outcome,
                signed[t.key] if t.outcome is Outcome.COMPLETED else math.nan,
            )
            for t in trials
            if t.race_seed is not None
        },
    )


def selections(
    trials: Iterable[SearchTrial], group: Group, objective: Objective, test: str
) -> list[Selection]:
    """What each rule would have chosen among the completed trials, the search's own rule first."""
    done = _completed(trials)
    found: list[Selection] = []
    for rule in SELECTION_RULES.values():
        deciding = _deciding(rule, group, objective, test)
        if rule.chooses == "trial" and deciding is not None:
            found += _pick(done, rule, *deciding, test)
    sign = 1 if higher_is_better(test) else -1
    best = max((sign * one.test for one in found), default=math.nan)
    return [replace(one, cost=best - sign * one.test) for one in found]


def _pick(
    trials: Sequence[SearchTrial], rule: SelectionRule, by: Objective, split: str, test: str
) -> Iterator[Selection]:
    """The best (trial, epoch) by a rule, the earliest of several, without its cost; if any."""
    points = [
        (by.sign * value, -trial.number, -epoch, trial)
        for trial in trials
        for epoch, value in rule.candidates(trial.curve(by.name).items(), trial.last_epoch)
    ]
    if not points:
        return
    value, _, before, trial = max(points, key=lambda point: point[:3])
    sizes = trial.data.get("splits", {})
    used = trial.reports[-before].get("labels/clean_used", 0.0) + sizes.get(split, 0)
    yield Selection(
        rule=rule.name,
        number=trial.number,
        epoch=-before,
        value=by.sign * value,
        test=trial.curve(test).get(-before, math.nan),
        cost=math.nan,
        clean_labels=int(used),
    )


def _deciding(
    rule: SelectionRule, group: Group, objective: Objective, test: str
) -> tuple[Objective, str] | None:
    """The metric that decides, and the split whose true labels that uses beyond the trial's own.

    None for noisy validation labels where all are clean.
    """
    data = group.config.data
    is_clean = data.validation.labels == "clean" or data.noise.is_off
    match rule.role:
        case "":
            return Objective(test, "max" if higher_is_better(test) else "min"), "test"
        case "val":
            return None if is_clean else (objective, "")
        case "val_clean":
            clean = Objective(rule.metric(objective.name), objective.mode)
            return (objective, "") if is_clean else (clean, "validation")


def audit_of(
    trials: Iterable[SearchTrial], group: Group, objective: Objective, reduction_factor: int
) -> Audit:
    """What the audited ones of a group's trials show of its pruning.

    The best 1/reduction_factor of the completed trials are the best share.
    """
    own = list(trials)
    done = _completed(own)
    best = _ranked(done, objective)[: -(-len(done) // reduction_factor)]
    audited = [trial for trial in done if trial.audited_at is not None]
    # Of the median rule's many stops, a few are enough.
    shown = group.rungs if len(group.rungs) < 8 else group.rungs[:: len(group.rungs) // 4]
    curves = [trial.curve(objective.name) for trial in done]
    return Audit(
        audited=sum(trial.audited_at is not None for trial in own),
        finished=len(audited),
        among_best=sum(trial in best for trial in audited),
        chance=len(best) / len(done) if done else math.nan,
        correlations={rung: rank_correlation(curves, rung) for rung in shown},
    )


def telling_epoch(outcomes: Iterable[GroupOutcome], metric: str) -> int | None:
    """First epoch, after warm-up and ramp, from which on results rank as those at the end.

    By the completed trials, audited ones included; see `telling`.
    """
    everything = list(outcomes)
    found = telling(
        [[trial.curve(metric) for trial in _completed(one.trials)] for one in everything],
        earliest=1 + max((one.group.config.idle_epochs for one in everything), default=0),
        latest=min((one.group.epochs for one in everything), default=0) - 1,
    )
    return found.epoch if found else None


def pareto_front(
    trials: Iterable[SearchTrial], objectives: Sequence[Objective]
) -> list[SearchTrial]:
    """Completed trials that no other beats in every objective, best first by the first one.

    A trial without a value of some objective is left out.
    """
    import optuna

    study = optuna.create_study(directions=[f"{mode}imize" for _, mode in objectives])
    with_values = [(t, [t.last(name) for name, _ in objectives]) for t in _completed(trials)]
    known = [(trial, values) for trial, values in with_values if all(map(math.isfinite, values))]
    study.add_trials([optuna.create_trial(values=values) for _, values in known])
    return _ranked((known[best.number][0] for best in study.best_trials), objectives[0])


def expected_best(trials: Iterable[SearchTrial], objective: Objective) -> list[float]:
    """Expected best of k of a group's trials drawn at random, for k = 1, 2, ...

    A trial counts with its last value, wherever it was stopped.
    """
    sign = objective.sign
    last = [sign * trial.last(objective.name) for trial in trials]
    values = sorted(value for value in last if math.isfinite(value))
    n = len(values)
    return [
        sign * sum(v * (math.comb(i, k - 1) / math.comb(n, k)) for i, v in enumerate(values))
        for k in range(1, n + 1)
    ]
