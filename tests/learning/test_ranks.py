from __future__ import annotations

import math
from fractions import Fraction

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from torch import Tensor

from dynaloss.learning.meta.ranks import rank_bins, sort_within_classes


@st.composite
def ranked(draw: st.DrawFn, *, unique: bool = True) -> tuple[Tensor, Tensor]:
    labels = draw(st.lists(st.integers(0, 4), min_size=1, max_size=60))
    values = st.integers(0, 10_000 if unique else 5)
    losses = draw(st.lists(values, min_size=len(labels), max_size=len(labels), unique=unique))
    return torch.tensor(losses).double(), torch.tensor(labels)


@given(ranked(), st.integers(2, 120), st.randoms(use_true_random=False))
@settings(max_examples=60, deadline=None)
def test_order_of_the_samples_does_not_matter(
    data: tuple[Tensor, Tensor], num_ranks: int, random: object
) -> None:
    losses, labels = data
    order = list(range(len(labels)))
    random.shuffle(order)
    permuted = rank_bins(losses[order], labels[order], num_ranks)
    assert torch.equal(permuted, rank_bins(losses, labels, num_ranks)[order])


@given(ranked(unique=False), st.integers(2, 120))
@settings(max_examples=60, deadline=None)
def test_bins_follow_the_formula_in_exact_arithmetic(
    data: tuple[Tensor, Tensor], num_ranks: int
) -> None:
    losses, labels = data
    bins = rank_bins(losses, labels, num_ranks).tolist()
    for label in set(labels.tolist()):
        members = [i for i, other in enumerate(labels.tolist()) if other == label]
        members.sort(key=lambda i: float(losses[i]))
        for position, i in enumerate(members):
            exact = math.floor(Fraction(position, len(members) + 1) * num_ranks)
            assert bins[i] == exact
            assert 0 <= bins[i] < num_ranks


@given(ranked(unique=False), st.integers(2, 120))
@settings(max_examples=60, deadline=None)
def test_bins_rise_with_the_loss_within_a_class(
    data: tuple[Tensor, Tensor], num_ranks: int
) -> None:
    losses, labels = data
    bins = rank_bins(losses, labels, num_ranks)
    for label in labels.unique():
        members = labels == label
        by_loss = bins[members][losses[members].argsort(stable=True)]
        assert (by_loss.diff() >= 0).all()


def test_bins_counted_by_hand() -> None:
    """Class 0 has 4 samples: floor(pos / 5 * 10); class 1 has 2: floor(pos / 3 * 10)."""
    losses = torch.tensor([0.9, 5.0, 0.1, 0.5, 4.0, 0.7])
    labels = torch.tensor([0, 1, 0, 0, 1, 0])
    assert rank_bins(losses, labels, 10).tolist() == [6, 3, 0, 2, 0, 4]


@pytest.mark.parametrize(("size", "bins"), [(1, {0}), (3, {0, 25, 50}), (4, {0, 20, 40, 60})])
def test_a_small_class_uses_few_bins(size: int, bins: set[int]) -> None:
    found = rank_bins(torch.rand(size), torch.zeros(size, dtype=torch.int64), 100)
    assert set(found.tolist()) == bins


@given(ranked(unique=False))
@settings(max_examples=60, deadline=None)
def test_sorting_keeps_classes_together_and_ties_in_order(data: tuple[Tensor, Tensor]) -> None:
    values, labels = data
    order, positions = sort_within_classes(values, labels)
    keys = sorted(range(len(labels)), key=lambda i: (int(labels[i]), float(values[i]), i))
    assert order.tolist() == keys
    for label in labels.unique():
        inside = positions[order][labels[order] == label]
        assert inside.tolist() == list(range(len(inside)))


def test_a_generator_ranks_by_chance_within_the_class() -> None:
    """Each class has the bins of its size, each sample any of them as often, anew each time."""
    losses, labels = torch.arange(6.0), torch.tensor([0, 0, 0, 0, 1, 1])
    generator = torch.Generator().manual_seed(0)
    draws = torch.stack([rank_bins(losses, labels, 10, generator) for _ in range(4000)])
    for members, bins in ((draws[:, :4], [0, 2, 4, 6]), (draws[:, 4:], [0, 3])):
        assert torch.equal(members.sort(dim=1).values, torch.tensor(bins).expand_as(members))
        counts = [(members[:, 0] == rank).sum().item() for rank in bins]
        assert stats.chisquare(counts).pvalue > 1e-3
