"""How often the tests and intervals of a comparison are wrong, and how often they find an effect.

    python benchmarks/simulated_tables.py [--tables 1000] [--real FILE] [--output FILE]

Simulates tables of six differences to one shared baseline, with the functions that a comparison
uses. By distribution of the arms over the seeds (normal; skewed: exponential; collapses: normal,
and one run in ten is 10 standard deviations lower, the baseline's, too; arms collapse: the same,
but never the baseline's; real: the trials that FILE holds, resampled by seed, as
`benchmarks/tables.py` keeps them) and by number of seeds:

    family_error   share of tables whose means are equal in which a difference is called one (maxT)
    power          share of found differences where all six are 2 standard deviations of theirs
    power_holm     the same by Holm's method
    cell_coverage  share of differences that the 95 % t interval of the cell alone covers
    all_covered    share of tables whose six differences the intervals for all at once cover
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
from machine import describe
from numpy.typing import NDArray

from dynaloss.analysis.statistics.intervals import t_interval
from dynaloss.analysis.statistics.significance import LEVEL, Adjustment, adjusted_p

_Array = NDArray[np.float64]
_Draw = Callable[[np.random.Generator, int], _Array]
"""Differences without an effect, shape (6, n), in standard deviations of theirs."""

_COMPARISONS = 6
_SEEDS = (3, 5, 6, 8, 10)
_POWERS: dict[str, Adjustment] = {"power": "maxt", "power_holm": "holm"}
_EFFECT = 2.0


def _of_arms(draw: Callable[[np.random.Generator, tuple[int, int]], _Array]) -> _Draw:
    """Differences of arms to a shared baseline, centred and scaled; the baseline is row 0."""
    many = draw(np.random.default_rng(99), (2, 200_000))
    mean, scale = float((many[1] - many[0]).mean()), float((many[1] - many[0]).std())

    def differences(rng: np.random.Generator, n: int) -> _Array:
        arms = draw(rng, (_COMPARISONS + 1, n))
        return (arms[1:] - arms[0] - mean) / scale

    return differences


def _collapsing(rng: np.random.Generator, shape: tuple[int, int]) -> _Array:
    return rng.standard_normal(shape) - 10.0 * (rng.random(shape) < 0.1)


def _only_arms_collapsing(rng: np.random.Generator, shape: tuple[int, int]) -> _Array:
    values = _collapsing(rng, shape)
    values[0] = rng.standard_normal(shape[1])
    return values


def _of_trials(path: Path) -> _Draw:
    """Differences of recorded trials to their baseline, centred, resampled by seed."""
    kept = json.loads(path.read_text("utf-8"))
    by_cell: dict[tuple[str, str], dict[int, float]] = {}
    for trial in kept["trials"]:
        cell = by_cell.setdefault((trial["condition"], trial["arm"]), {})
        cell[trial["seed"]] = trial["test/accuracy"]
    found = []
    for (condition, arm), values in by_cell.items():
        reference = by_cell[condition, "none"]
        if arm != "none":
            own = np.array([values[seed] - reference[seed] for seed in sorted(reference)])
            found.append((own - own.mean()) / own.std())
    differences = np.array(found)

    def drawn(rng: np.random.Generator, n: int) -> _Array:
        cells = rng.choice(len(differences), _COMPARISONS, replace=False)
        seeds = rng.integers(differences.shape[1], size=n)
        return differences[np.ix_(cells, seeds)]

    return drawn


def simulate(draw: _Draw, n: int, tables: int) -> dict[str, float]:
    """The shares that the module's text explains, for n seeds."""
    rng = np.random.default_rng(n)
    errors, covered, all_covered = 0, 0.0, 0
    found: dict[str, list[float]] = {name: [] for name in _POWERS}
    level = (1 - LEVEL) ** (1 / _COMPARISONS)
    for _ in range(tables):
        null = draw(rng, n)
        errors += min(adjusted_p(_by_seed(null))) <= LEVEL
        own, at_once = (
            [_covers_zero(row, width) for row in null.tolist()] for width in (1 - LEVEL, level)
        )
        covered += np.mean(own)
        all_covered += all(at_once)
        rows = _by_seed(null + _EFFECT)
        for of, adjust in _POWERS.items():
            found[of].append(float(np.mean(np.array(adjusted_p(rows, adjust)) <= LEVEL)))
    return {
        "family_error": errors / tables,
        **{name: float(np.mean(shares)) for name, shares in found.items()},
        "cell_coverage": float(covered) / tables,
        "all_covered": all_covered / tables,
    }


def _by_seed(rows: _Array) -> list[dict[int, float]]:
    return [dict(enumerate(row)) for row in rows.tolist()]


def _covers_zero(values: list[float], level: float) -> bool:
    interval = t_interval(values, level)
    return interval is not None and interval[0] <= 0 <= interval[1]


def main() -> None:
    """Simulates every distribution and number of seeds, and prints a row each."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tables", type=int, default=1_000, help="Tables to simulate for each.")
    parser.add_argument("--real", type=Path, help="Recorded trials, 30 seeds or more.")
    parser.add_argument("--output", type=Path, help="File to write the results to, as JSON.")
    options = parser.parse_args()
    draws = {
        "normal": _of_arms(lambda rng, shape: rng.standard_normal(shape)),
        "skewed": _of_arms(lambda rng, shape: rng.standard_exponential(shape)),
        "collapses": _of_arms(_collapsing),
        "arms collapse": _of_arms(_only_arms_collapsing),
    }
    if options.real:
        draws["real"] = _of_trials(options.real)
    results = []
    for name, draw in draws.items():
        for n in _SEEDS:
            shares = simulate(draw, n, options.tables)
            results.append({"distribution": name, "seeds": n, **shares})
            texts = (f"{key} {value:.3f}" for key, value in shares.items())
            print(f"{name:13} n = {n:2}: {', '.join(texts)}", flush=True)
    if options.output:
        content = {"tables": options.tables, "results": results, **describe()}
        options.output.write_text(json.dumps(content, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
