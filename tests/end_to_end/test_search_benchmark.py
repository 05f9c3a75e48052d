"""The benchmark of search methods: its table of curves, and how it plays searches on them."""

from __future__ import annotations

import numpy as np
import pytest
import search
from search_curves import train


def test_the_table_holds_every_trial_of_its_study() -> None:
    curves = search.table()
    conditions, configurations, seeds = 4, 96 + 1, 6
    assert (len(curves.conditions), len(curves.configurations)) == (conditions, configurations)
    assert curves.configurations[-1] == {}
    assert len({str(chosen) for chosen in curves.configurations}) == configurations
    for name, values in curves.values.items():
        assert values.shape == (conditions, configurations, seeds, 27), name
        assert np.nanmin(values) >= 0
        assert np.nanmax(values) <= 1
    assert (curves.seconds > 0).all()


def test_a_recorded_trial_can_be_trained_again() -> None:
    """On the machine that recorded it, to the last digit; others round otherwise."""
    curves = search.table()
    found = train(1, curves.configurations[2], curves.seeds[0])
    for name, values in curves.values.items():
        assert found[name][:3] == pytest.approx(values[1, 2, 0, :3], abs=0.1), name


def test_the_untuned_trial_alone_has_the_regret_of_the_defaults() -> None:
    curves = search.table()
    found = search.run(search.DEFAULT, 1, repeat=5, slots=2)
    roles = np.random.default_rng(5).permutation(6)
    test = curves.values["test/accuracy"][..., -1]
    by_hand = [test[k].mean(axis=1).max() - test[k, -1, roles[3:]].mean() for k in range(4)]
    assert found["regret"] == pytest.approx(by_hand)
    assert found["epochs"] == 4 * 27
    seconds = sorted(27 * curves.seconds[k, -1, roles[0]] for k in range(4))
    assert sum(seconds) / 2 <= found["seconds"] <= sum(seconds)


def test_a_random_search_takes_the_best_of_its_suggestions() -> None:
    """Each condition names a configuration with the best validation value among some four."""
    curves = search.table()
    found = search.run("random", 4, repeat=0, slots=2)
    assert found["epochs"] == 4 * 4 * 27
    assert found["empty"] == 0
    roles = np.random.default_rng(0).permutation(6)
    test = curves.values["test/accuracy"][..., -1]
    unseen = test[:, :, roles[3:]].mean(axis=2)
    best = test.mean(axis=2).max(axis=1)
    for k, regret in enumerate(found["regret"]):
        assert np.isclose(best[k] - unseen[k], regret).any()


def row(method: str, slots: int, trials: int, seconds: float, regret: float) -> dict[str, object]:
    return {
        "method": method,
        "slots": slots,
        "trials": trials,
        "seconds": seconds,
        "epochs": 27.0 * trials,
        "regret": regret,
        "regret_sem": 0.001,
        "by_repeat": [regret, regret + 0.01],
        "empty": 0.0,
    }


def test_at_equal_wall_time_the_largest_search_that_fits_counts_even_a_worse_one() -> None:
    rows = [row("no search", 0, 0, 0.0, 0.02)]
    for name, regrets in (("random", (0.03, 0.05)), (search.DEFAULT, (0.02, 0.01))):
        for slots in (2, 8):
            rows += [
                row(name, slots, trials, trials * 14.0 / slots, regret)
                for trials, regret in zip((2, 4), regrets, strict=True)
            ]
    rows += [row("TPE", 2, trials, 1.0, 0.0) for trials in (2, 4)]  # none on 8 slots
    lines = [line for line in search.shown(rows) if line.count("|") == 9]
    own = f"| {search.DEFAULT} "
    assert lines[2:] == [
        "| random | 2 | 2 | - | - | - | 3.00 (2) | 5.00 (4) |",
        f"{own}| 2 | 2 | - | - | - | 2.00 (2) | 1.00 (4) |",
        "| random | 8 | 2 | - | 3.00 (2) | 5.00 (4) | 5.00 (4) | 5.00 (4) |",
        f"{own}| 8 | 2 | - | 2.00 (2) | 1.00 (4) | 1.00 (4) | 1.00 (4) |",
    ]


def test_added_rows_take_the_places_of_their_like() -> None:
    kept = [row("no search", 0, 0, 0.0, 0.02), row("random", 2, 1, 3.0, 0.5)]
    new = [row("no search", 0, 0, 0.0, 0.9), row("random", 2, 1, 3.0, 0.4)]
    found = search._with_new(kept, [*new, row("random", 8, 1, 1.0, 0.3)])
    assert [(one["slots"], one["regret"]) for one in found] == [(0, 0.02), (2, 0.4), (8, 0.3)]
