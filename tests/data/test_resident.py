from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch

from dynaloss.data.sources import Source
from dynaloss.data.splits.batched import ResidentSplit
from dynaloss.data.splits.roles import LabelledImages
from dynaloss.data.views.weak_and_strong import Views

INDICES = [torch.tensor([3, 1]), torch.tensor([0])]


@pytest.fixture
def samples(make_source: Callable[..., Source]) -> LabelledImages:
    pool = make_source((3, 2)).pool
    return LabelledImages(images=pool.images, observed=1 - pool.labels, true=pool.labels)


@pytest.fixture
def views(make_source: Callable[..., Source]) -> Views:
    return Views.of_source(make_source(flip=True), torch.device("cpu"))


@pytest.fixture
def split(samples: LabelledImages, views: Views) -> ResidentSplit:
    return ResidentSplit(samples, views, torch.device("cpu"))


def test_batches_hold_the_requested_samples(
    split: ResidentSplit, samples: LabelledImages, views: Views
) -> None:
    for batch, indices in zip(split.batches(INDICES, weak=True), INDICES, strict=True):
        assert torch.equal(batch.indices, indices)
        assert batch.labels.tolist() == samples.observed[indices.numpy()].tolist()
        assert batch.weak is not None
        assert torch.equal(batch.weak, views.weak(torch.tensor(samples.images[indices.numpy()])))
        assert batch.strong is None


def test_labels_are_those_of_the_samples(split: ResidentSplit, samples: LabelledImages) -> None:
    assert split.observed_labels.tolist() == samples.observed.tolist()
    assert split.true_labels.tolist() == samples.true.tolist()


def test_weak_view_does_not_change_the_strong_one(split: ResidentSplit) -> None:
    runs = [
        [
            batch.strong
            for batch in split.batches(
                INDICES, weak=weak, strong=True, generator=torch.Generator().manual_seed(0)
            )
        ]
        for weak in (False, True)
    ]
    assert all(torch.equal(a, b) for a, b in zip(*runs, strict=True) if a is not None)


def test_strong_view_needs_a_stream(split: ResidentSplit) -> None:
    with pytest.raises(ValueError, match=r"`generator`.*strong"):
        list(split.batches(INDICES, strong=True))


def test_holds_a_copy_of_the_samples(samples: LabelledImages, views: Views) -> None:
    split = ResidentSplit(samples, views, torch.device("cpu"))
    before = split.observed_labels.clone()
    samples.observed[:] = 0
    samples.images[:] = 0
    assert torch.equal(split.observed_labels, before)
    (batch,) = split.batches([torch.arange(5)], weak=True)
    assert batch.weak is not None
    assert len(np.unique(batch.weak)) > 1


def test_images_on_the_host_give_the_same_batches(samples: LabelledImages, views: Views) -> None:
    splits = [
        ResidentSplit(samples, views, torch.device("cpu"), on_host=on_host)
        for on_host in (False, True)
    ]
    for one, other in zip(*(split.batches(INDICES, weak=True) for split in splits), strict=True):
        assert one.weak is not None
        assert other.weak is not None
        assert torch.equal(one.weak, other.weak)
