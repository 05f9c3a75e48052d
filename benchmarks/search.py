"""Search methods side by side on recorded curves: regret against epochs and wall time.

    python benchmarks/search.py [METHOD ...] [--slots 2] [--repeats 300] [--output FILE] [--add]

`--add` keeps the other rows of the file, and draws the figure of docs/search.md of them all, as
all methods together do.

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
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from functools import cache
from itertools import pairwise, product
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
from matplotlib.lines import Line2D
from numpy.typing import NDArray
from search_curves import METRICS, Curves, load

from dynaloss.analysis.figures.panels import arm_styles, legend, panels, save_figure
from dynaloss.analysis.statistics.intervals import t_interval
from dynaloss.config.settings import Scalar
from dynaloss.execution.search.pruning import Candidate, Decision, Pruner, Verdict
from dynaloss.studies.search.groups import make_search_plan
from dynaloss.studies.search.points import untuned_point
from dynaloss.studies.study import SearchStudy

OUTPUT = Path(__file__).parent / "results" / "tables" / "search.json"
FIGURE = Path(__file__).parents[1] / "docs" / "images" / "search-regret.png"
OBJECTIVE, TEST = "val/balanced_accuracy", "test/accuracy"
TRIALS = (1, 2, 4, 8, 16)
BUDGETS = (3, 6, 12, 24, 48)
"""Seconds of wall time at which methods are compared."""
RACE_SEEDS = (100, 101)
DEFAULT = "TPE, ASHA, untuned first, race"
_DRAWN = (
    "random",
    "TPE, ASHA",
    "random, untuned first",
    "TPE, ASHA, untuned first",
    DEFAULT,
    "TPE, ASHA, race",
)

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


_WHOLE = {
    "metric": OBJECTIVE,
    "sampler": "random",
    "race": None,
    "untuned_first": False,
}
_RACE = {"race": {"top": 4, "seeds": RACE_SEEDS}}
_FIRST = {"untuned_first": True}
_TPE, _SHARED = {"sampler": "tpe"}, {"sampler": "shared_tpe"}
_ASHA, _PROMOTION = {"name": "asha"}, {"name": "promotion"}
METHODS: dict[str, Method] = {
    "random": Method(),
    "random, ASHA": Method(scheduler=_ASHA),
    "random, promotion": Method(scheduler=_PROMOTION),
    "random, PASHA": Method(scheduler={"name": "pasha"}),
    "random, median": Method(scheduler={"name": "median"}),
    "random, Ray's ASHA, pooled": Method(
        scheduler=_ASHA, pruner=lambda study: _ray(study, pooled=True)
    ),
    "random, Ray's ASHA by condition": Method(
        scheduler=_ASHA, pruner=lambda study: _ray(study, pooled=False)
    ),
    "random, Optuna's halving": Method(
        scheduler=_ASHA, pruner=lambda study: _optuna(study, name="halving")
    ),
    "random, Optuna's Hyperband": Method(
        scheduler=_ASHA, pruner=lambda study: _optuna(study, name="hyperband")
    ),
    "TPE": Method(search=_TPE),
    "TPE, ASHA": Method(search=_TPE, scheduler=_ASHA),
    "TPE, Optuna's halving": Method(
        search=_TPE, scheduler=_ASHA, pruner=lambda study: _optuna(study, name="halving")
    ),
    "random, untuned first": Method(search=_FIRST),
    "TPE, ASHA, race": Method(search={**_TPE, **_RACE}, scheduler=_ASHA),
    "TPE, ASHA, untuned first": Method(search={**_TPE, **_FIRST}, scheduler=_ASHA),
    DEFAULT: Method(search={**_TPE, **_FIRST, **_RACE}, scheduler=_ASHA),
    "TPE, promotion, untuned first, race": Method(
        search={**_TPE, **_FIRST, **_RACE}, scheduler=_PROMOTION
    ),
    "TPE, PASHA, untuned first, race": Method(
        search={**_TPE, **_FIRST, **_RACE}, scheduler={"name": "pasha"}
    ),
    "shared TPE, ASHA, untuned first, race": Method(
        search={**_SHARED, **_FIRST, **_RACE}, scheduler=_ASHA
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
        group.name: Suggester(storage, study, group, parallel=slots > 1, groups=plan.groups)
        for group in plan.groups
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
        space = SearchStudy.model_validate(curves.study).space
        known = [*curves.configurations[:-1], untuned_point(space, groups[0].config) or {}]
        self._places = np.array([self._place(chosen) for chosen in known])
        self._conditions = {group.name: k for k, group in enumerate(groups)}
        self._roles = roles
        self.epochs = 0

    def configuration(self, chosen: Mapping[str, Scalar]) -> int:
        """The recorded configuration nearest to a suggestion."""
        return int(((self._places - self._place(chosen)) ** 2).sum(axis=1).argmin())

    def play(self, director: Any, slots: int) -> float:  # noqa: ANN401 - stands in as a backend
        """Runs a search to its end; returns its wall time in seconds."""
        from dynaloss.execution.trial.runner import StepResult
        from dynaloss.studies.trial_record import Outcome

        upcoming, running, now, may_begin = director.upcoming(), [], 0.0, True
        while True:
            while may_begin and len(running) < slots and (trial := next(upcoming, None)):
                cell = self._cell(trial)
                step = float(self._curves.seconds[cell])
                heapq.heappush(running, (now + step, trial.key, trial.last_epoch + 1, cell, step))
            if not running:
                return now
            now, key, epoch, cell, step = heapq.heappop(running)
            self.epochs += 1
            metrics = {name: float(self._curves.values[name][cell][epoch - 1]) for name in METRICS}
            last = epoch == self._curves.values[OBJECTIVE].shape[-1]
            outcome = Outcome.COMPLETED if last else None
            goes_on = director.take(key, StepResult(reports=((epoch, metrics),), outcome=outcome))
            if goes_on:
                heapq.heappush(running, (now + step, key, epoch + 1, cell, step))
            # Other reports bring nothing new to begin, and to ask takes time.
            may_begin = not goes_on or epoch in director.trials[key].group.rungs

    def _cell(self, trial: Any) -> tuple[int, int, int]:  # noqa: ANN401 - a `SearchTrial`
        role = 0 if trial.race_seed is None else 1 + RACE_SEEDS.index(trial.race_seed)
        configuration = self.configuration(trial.chosen)
        return self._conditions[trial.group.name], configuration, int(self._roles[role])


def _many(work: tuple[str, int, int, int, int]) -> list[dict[str, Any]]:
    method, trials, slots, start, stop = work
    return [run(method, trials, repeat, slots) for repeat in range(start, stop)]


def measure(
    methods: Sequence[str], slots: Sequence[int], repeats: int, processes: int
) -> list[dict[str, Any]]:
    """A row per method, number of slots and of trials, over all repeats."""
    rows = [_untuned(repeats)]
    with ProcessPoolExecutor(processes) as pool:
        for method, n, trials in product(methods, slots, TRIALS):
            parts = np.linspace(0, repeats, processes * 4 + 1).astype(int).tolist()
            work = [(method, trials, n, a, b) for a, b in pairwise(parts)]
            found = [one for part in pool.map(_many, work) for one in part]
            rows.append({"method": method, "slots": n, "trials": trials, **_row(found)})
            print(_shown(rows[-1]), flush=True)
    return rows


def _untuned(repeats: int) -> dict[str, Any]:
    """The row of no search at all: the defaults, on the seeds that no search would have seen."""
    test = table().values[TEST][..., -1]
    best = np.nanmax(test.mean(axis=2), axis=1)
    found = []
    for repeat in range(repeats):
        unseen = np.random.default_rng(repeat).permutation(len(table().seeds))[3:]
        regret = (best - test[:, -1, unseen].mean(axis=1)).tolist()
        found.append({"regret": regret, "epochs": 0, "seconds": 0.0, "empty": 0})
    return {"method": "no search", "slots": 0, "trials": 0, **_row(found)}


def _row(found: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    regret = np.array([one["regret"] for one in found])
    return {
        "epochs": float(np.mean([one["epochs"] for one in found])),
        "seconds": float(np.mean([one["seconds"] for one in found])),
        "regret": float(regret.mean()),
        "regret_sem": float(regret.mean(axis=1).std(ddof=1) / math.sqrt(len(regret))),
        "worst": float(regret.max(axis=1).mean()),
        "by_condition": regret.mean(axis=0).round(5).tolist(),
        "by_repeat": regret.mean(axis=1).round(5).tolist(),
        "empty": float(np.mean([one["empty"] for one in found])),
    }


def _shown(row: Mapping[str, Any]) -> str:
    return (
        f"{row['method']:38} {row['slots']:2} slots {row['trials']:3} trials "
        f"{row['epochs']:7.0f} epochs {row['seconds']:5.0f} s  "
        f"regret {100 * row['regret']:5.2f} ± {100 * row['regret_sem']:.2f}, worst "
        f"{100 * row['worst']:5.2f}, empty {row['empty']:.2f}"
    )


def shown(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """The rows as tables in Markdown, a line per method, and the default against others.

    By number of trials stand the rows of the fewest slots; by wall time the methods that have rows
    for every number of slots.
    """
    counts = sorted({row["trials"] for row in rows if row["trials"]})
    slots = sorted({row["slots"] for row in rows if row["slots"]})
    found = {(row["method"], row["slots"], row["trials"]): row for row in rows}
    lines = [
        f"| method |{''.join(f' {n} trials |' for n in counts)}",
        "|---|" + "---|" * len(counts),
    ]
    for method in _methods(rows, slots[:1]):
        cells = (_cell(found[method, slots[0], n]) for n in counts)
        lines.append(f"| {method} | {' | '.join(cells)} |")
    nothing = found["no search", 0, 0]
    lines += [
        "",
        f"Regret in points on {slots[0]} slots, mean over four conditions and "
        f"{len(nothing['by_repeat'])} repeats (epochs of all four, seconds on the slots, "
        "conditions without a winner). The defaults, without any search: "
        f"{100 * nothing['regret']:.2f}. Standard errors are at most "
        f"{_largest_error(row for row in rows if row['slots'] <= slots[0])}.",
    ]
    return [*lines, *_claims(rows), "", *_by_the_clock(rows, slots)]


def _methods(rows: Sequence[Mapping[str, Any]], slots: Sequence[int]) -> list[str]:
    """The methods with rows for all these numbers of slots, in the order of `METHODS`."""
    known = {(row["method"], row["slots"]) for row in rows}
    return [name for name in METHODS if all((name, n) in known for n in slots)]


def _by_the_clock(rows: Sequence[Mapping[str, Any]], slots: Sequence[int]) -> Iterator[str]:
    """Regret at equal wall time, as a table, and the default against others there."""
    yield f"| method | slots | repeats |{''.join(f' {n} s |' for n in BUDGETS)}"
    yield "|---|---|---|" + "---|" * len(BUDGETS)
    for n, method in product(slots, _methods(rows, slots)):
        fitting = [_fitting(rows, method, n, budget) for budget in BUDGETS]
        cells = (f"{100 * row['regret']:.2f} ({row['trials']})" if row else "-" for row in fitting)
        repeats = {len(row["by_repeat"]) for row in rows if _is_of(row, method, n)}
        shown = ", ".join(map(str, sorted(repeats)))
        yield f"| {method} | {n} | {shown} | {' | '.join(cells)} |"
    yield ""
    yield (
        "Regret in points at equal wall time: that of the most trials per condition, in brackets, "
        f"of {', '.join(map(str, TRIALS))} whose mean seconds fit; some searches take longer. "
        "The defaults are there at once. Standard errors are at most "
        f"{_largest_error(rows)}."
    )
    for name in ("random", "TPE, ASHA", "no search"):
        texts = [
            f"on {n} slots {_difference(mine, other)}"
            for n in slots
            if (mine := _fitting(rows, DEFAULT, n, BUDGETS[-2]))
            and (other := _fitting(rows, name, 0 if name == "no search" else n, BUDGETS[-2]))
        ]
        against = "the defaults" if name == "no search" else f"`{name}`"
        yield ""
        yield f"Less regret than {against} by, in {BUDGETS[-2]} s: {'; '.join(texts)}."


def _largest_error(rows: Iterable[Mapping[str, Any]]) -> str:
    return f"{100 * max(row['regret_sem'] for row in rows):.2f}"


def _is_of(row: Mapping[str, Any], method: str, slots: int) -> bool:
    return (row["method"], row["slots"]) == (method, slots)


def _fitting(
    rows: Sequence[Mapping[str, Any]], method: str, slots: int, seconds: float
) -> Mapping[str, Any] | None:
    """The row of the most trials whose mean seconds are within a budget."""
    own = [row for row in rows if _is_of(row, method, slots) and row["seconds"] <= seconds]
    return max(own, key=lambda row: int(row["trials"]), default=None)


def _cell(row: Mapping[str, Any]) -> str:
    empty = f", {row['empty']:.1f} empty" if row["empty"] else ""
    return f"{100 * row['regret']:.2f} ({row['epochs']:,.0f}, {row['seconds']:.0f} s{empty})"


def _claims(rows: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """The default against others at no more epochs: paired differences over the repeats."""
    own = [row for row in rows if row["method"] == DEFAULT and row["slots"] == 2]
    nothing = [row for row in rows if row["method"] == "no search"]
    for name in ("random", "TPE, ASHA"):
        others = [row for row in rows if row["method"] == name and row["slots"] == 2]
        pairs = [
            (max((o for o in own if o["epochs"] <= 1.05 * other["epochs"]), key=_epochs), other)
            for other in others
            if own and min(map(_epochs, own)) <= 1.05 * other["epochs"]
        ]
        texts = (f"{o['epochs']:,.0f} epochs {_difference(mine, o)}" for mine, o in pairs)
        yield ""
        yield f"Less regret than `{name}` by, at no more epochs (within 5 %): {'; '.join(texts)}."
    if own and nothing:
        texts = (f"{o['trials']}: {_difference(o, nothing[0])}" for o in own)
        yield ""
        yield f"Less regret than the defaults, by number of trials: {'; '.join(texts)}."


def draw(rows: Sequence[Mapping[str, Any]], path: Path = FIGURE) -> None:
    """Draws regret by epochs on two slots and by wall time, with the 95 % interval of the mean."""
    views = [("epochs", 2), ("seconds", 2), ("seconds", 32)]
    figure, axes = panels([f"{n} slots" for _, n in views], x="", y="regret (points)")
    nothing = next(row for row in rows if row["method"] == "no search")
    styles = arm_styles(_DRAWN)
    for one, (cost, slots) in zip(axes, views, strict=True):
        for method, style in styles.items():
            own = [row for row in rows if _is_of(row, method, slots)]
            one.errorbar(
                [row[cost] for row in own],
                [100 * row["regret"] for row in own],
                yerr=[196 * row["regret_sem"] for row in own],
                capsize=2,
                **style.line(marker=True),
            )
        one.axhline(100 * nothing["regret"], color="grey", linestyle="--")
        label = {"epochs": "epochs of all conditions", "seconds": "seconds of wall time"}[cost]
        one.set(xscale="log", ylim=(0, None), xlabel=label)
        if cost == "seconds":
            one.set_xticks(BUDGETS, labels=map(str, BUDGETS))
            one.minorticks_off()
    none = Line2D([], [], color="grey", linestyle="--", label="no search")
    legend(figure, styles, [none], markers=True)
    save_figure(figure, path)


def _epochs(row: Mapping[str, Any]) -> float:
    return float(row["epochs"])


def _difference(less: Mapping[str, Any], more: Mapping[str, Any]) -> str:
    # A repeat is the same in every row; some rows have fewer of them.
    pairs = list(zip(more["by_repeat"], less["by_repeat"], strict=False))
    differences = np.array([b - a for b, a in pairs])
    low, high = t_interval(differences.tolist()) or (math.nan, math.nan)
    return f"{100 * differences.mean():+.2f} [{100 * low:.2f}, {100 * high:.2f}]"


def main() -> None:
    """Runs the methods that are named, or all, and keeps the rows."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("methods", nargs="*", metavar="METHOD", help="Methods, by default all.")
    parser.add_argument("--slots", type=int, nargs="+", default=[2], help="Trials at a time.")
    parser.add_argument("--repeats", type=int, default=300, help="Searches for each row.")
    parser.add_argument(
        "--processes", type=int, default=os.cpu_count(), help="Searches at a time."
    )
    parser.add_argument("--output", type=Path, default=OUTPUT, help="File of the rows.")
    parser.add_argument("--add", action="store_true", help="Keep the other rows of the file.")
    options = parser.parse_args()
    from machine import describe

    methods, made = options.methods or [*METHODS], describe()
    rows = measure(methods, options.slots, options.repeats, options.processes)
    if options.add:
        kept = json.loads(options.output.read_text("utf-8"))
        rows = _with_new(kept["rows"], rows)
        added = f"{made['command']}, at {made['commit']} on {made['device']}"
        made = {name: kept[name] for name in made} | {"command": f"{kept['command']}; {added}"}
    content = {"table": shown(rows), "rows": rows, **made, "threads": 1}
    if options.add or not options.methods:
        draw(rows)
    options.output.write_text(_as_json(content), "utf-8")
    print("\n".join(content["table"]))


def _as_json(content: Mapping[str, Any]) -> str:
    """JSON with one line for each row, so that the file stays below 1 MiB."""
    around = json.dumps({**content, "rows": []}, indent=1, ensure_ascii=False)
    rows = ",\n  ".join(json.dumps(row, ensure_ascii=False) for row in content["rows"])
    return around.replace('"rows": []', f'"rows": [\n  {rows}\n ]') + "\n"


def _with_new(
    kept: Sequence[Mapping[str, Any]], new: Sequence[Mapping[str, Any]]
) -> list[Mapping[str, Any]]:
    """The rows of a file with others in their places, or at the end; that of no search stays."""
    found = {(row["method"], row["slots"], row["trials"]): row for row in kept}
    for row in new:
        if row["slots"]:
            found[row["method"], row["slots"], row["trials"]] = row
    return list(found.values())


if __name__ == "__main__":
    main()
