from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray
from scipy import stats

from dynaloss.data.bias.imbalance import long_tail_counts, take_per_class
from dynaloss.data.bias.noise.symmetric import symmetric_transition_matrix
from dynaloss.data.bias.transitions import draw_observed_labels, realised_transition_matrix

Labels = NDArray[np.int64]

LABELS = arrays(np.int64, st.integers(1, 80), elements=st.integers(0, 4))
COUNTS = arrays(np.int64, 5, elements=st.integers(0, 30))
CLASS_SIZES = arrays(np.int64, st.integers(2, 12), elements=st.integers(1, 500))
RATES = st.floats(0, 1)


@pytest.mark.parametrize(
    ("n_max", "num_classes", "factor", "total"),
    [
        (5000, 10, 1, 50_000),
        (5000, 10, 10, 20_431),
        (5000, 10, 100, 12_406),
        (500, 100, 10, 19_573),
        (500, 100, 100, 10_847),
    ],
)
def test_long_tails_of_cifar_have_the_known_totals(
    n_max: int, num_classes: int, factor: float, total: int
) -> None:
    counts = long_tail_counts(n_max, num_classes, factor)
    assert counts.sum() == total
    assert (counts[0], counts[-1]) == (n_max, n_max // factor)


@given(st.integers(1, 5000), st.integers(2, 100), st.floats(1, 200))
def test_long_tail_falls_from_the_head(n_max: int, num_classes: int, factor: float) -> None:
    counts = long_tail_counts(n_max, num_classes, factor)
    assert counts.shape == (num_classes,)
    assert counts[0] == n_max
    assert counts[-1] == pytest.approx(n_max / factor, abs=1)
    assert (np.diff(counts) <= 0).all()


@given(st.integers(1, 5000), st.integers(2, 100), st.integers(1, 200))
@example(49, 10, 49)  # 49 * 49**-1.0 is 0.9999999999999999
def test_smallest_class_is_exact(n_max: int, num_classes: int, factor: int) -> None:
    assert long_tail_counts(n_max, num_classes, factor)[-1] == n_max // factor


@given(LABELS, COUNTS, st.integers(0, 100))
def test_draws_all_of_each_class_up_to_the_count(
    labels: Labels, counts: Labels, seed: int
) -> None:
    taken = take_per_class(labels, counts, np.random.default_rng(seed))
    assert (np.diff(taken) > 0).all()
    sizes = np.bincount(labels, minlength=5)
    assert np.array_equal(np.bincount(labels[taken], minlength=5), np.minimum(sizes, counts))


@given(LABELS, COUNTS, COUNTS, st.integers(0, 100))
def test_smaller_count_draws_a_subset(
    labels: Labels, counts: Labels, others: Labels, seed: int
) -> None:
    large = take_per_class(labels, np.maximum(counts, others), np.random.default_rng(seed))
    small = take_per_class(labels, np.minimum(counts, others), np.random.default_rng(seed))
    assert set(small.tolist()) <= set(large.tolist())


def test_draws_every_sample_of_a_class_equally_often() -> None:
    labels = np.arange(20) % 2
    hits = np.zeros(20)
    rng = np.random.default_rng(0)
    for _ in range(2000):
        hits[take_per_class(labels, np.array([3, 5]), rng)] += 1
    expected = np.where(labels == 0, 600, 1000)
    assert stats.chisquare(hits[::2], expected[::2]).pvalue > 1e-3
    assert stats.chisquare(hits[1::2], expected[1::2]).pvalue > 1e-3


@given(CLASS_SIZES, RATES)
def test_rows_of_symmetric_noise_sum_to_one(sizes: Labels, rate: float) -> None:
    matrix = symmetric_transition_matrix(sizes, rate)
    assert matrix.min() >= 0
    assert matrix.sum(axis=1) == pytest.approx(1)


@given(CLASS_SIZES, RATES)
def test_symmetric_noise_keeps_the_expected_class_frequencies(sizes: Labels, rate: float) -> None:
    assert sizes @ symmetric_transition_matrix(sizes, rate) == pytest.approx(sizes)


@given(LABELS, st.integers(0, 100))
def test_rate_zero_is_the_identity(labels: Labels, seed: int) -> None:
    matrix = symmetric_transition_matrix(np.bincount(labels, minlength=5), 0.0)
    assert np.array_equal(matrix, np.eye(5))
    observed = draw_observed_labels(labels, matrix, np.random.default_rng(seed))
    assert np.array_equal(observed, labels)
    assert observed.dtype == np.int64


def test_expected_flip_rate_is_that_of_the_paper() -> None:
    counts = long_tail_counts(5000, 10, 10)
    matrix = symmetric_transition_matrix(counts, 0.4)
    flips = (counts * (1 - matrix.diagonal())).sum() / counts.sum()
    assert flips == pytest.approx(0.341, abs=5e-4)


def test_drawn_labels_realise_the_transition_matrix() -> None:
    counts = 10 * long_tail_counts(5000, 10, 10)
    labels = np.repeat(np.arange(10), counts)
    matrix = symmetric_transition_matrix(counts, 0.4)
    observed = draw_observed_labels(labels, matrix, np.random.default_rng(0))
    for true in range(10):
        drawn = np.bincount(observed[labels == true], minlength=10)
        assert stats.chisquare(drawn, counts[true] * matrix[true]).pvalue > 1e-4
    assert (observed != labels).mean() == pytest.approx(0.341, abs=4e-3)


def test_draws_every_class_of_a_row_and_no_other() -> None:
    matrix = np.array([[0.0, 0.5, 0.5], [0.0, 1.0, 0.0], [1.0, 0.0, 0.0]])
    labels = np.repeat(np.arange(3), 200)
    observed = draw_observed_labels(labels, matrix, np.random.default_rng(0))
    assert [set(observed[labels == c].tolist()) for c in range(3)] == [{1, 2}, {1}, {0}]


def test_realised_matrix_counted_by_hand() -> None:
    true, observed = np.array([0, 0, 0, 0, 2]), np.array([0, 1, 1, 2, 0])
    assert realised_transition_matrix(true, observed, 3).tolist() == [
        [0.25, 0.5, 0.25],
        [0.0, 1.0, 0.0],
        [1.0, 0.0, 0.0],
    ]
