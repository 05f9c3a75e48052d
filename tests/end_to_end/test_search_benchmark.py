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
