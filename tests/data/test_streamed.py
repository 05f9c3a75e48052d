from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from dynaloss.data.sources import Source
from dynaloss.data.sources.image_files import ImageFiles
from dynaloss.data.splits import open_split
from dynaloss.data.splits.batched import ResidentSplit
from dynaloss.data.splits.roles import LabelledImages
from dynaloss.data.splits.streamed import StreamedSplit, random_box
from dynaloss.data.views.weak_and_strong import Views

CPU = torch.device("cpu")
INDICES = [torch.tensor([5, 1, 3]), torch.tensor([0, 2])]


@pytest.fixture
def samples(tmp_path: Path) -> LabelledImages:
    """Images of sides 20 and 30 with ten times their number in red, and shade in green."""
    for n in range(6):
        pixels = np.full((20, 30, 3), 10 * n + 10, dtype=np.uint8)
        pixels[..., 1] = np.arange(30) * 8
        Image.fromarray(pixels).save(tmp_path / f"{n}.png")
    files = ImageFiles(str(tmp_path), np.array([f"{n}.png" for n in range(6)]), 8)
    labels = np.arange(6) % 3
    return LabelledImages(images=files, observed=labels, true=1 - labels % 2)


@pytest.fixture
def views(make_source: Callable[..., Source]) -> Views:
    source = make_source(mean=(0.0,) * 3, std=(1 / 255,) * 3, flip=True)
    return Views.of_source(source, CPU)


def _strong(split: StreamedSplit, seed: int = 0) -> list[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [
        batch.strong
        for batch in split.batches(INDICES, weak=True, strong=True, generator=generator)
        if batch.strong is not None
    ]


def test_batches_hold_the_requested_samples(samples: LabelledImages, views: Views) -> None:
    split = StreamedSplit(samples, views, CPU, num_workers=0)
    for batch, indices in zip(split.batches(INDICES, weak=True), INDICES, strict=True):
        assert torch.equal(batch.indices, indices)
        assert batch.labels.tolist() == samples.observed[indices.numpy()].tolist()
        assert batch.strong is None
        assert batch.weak is not None
        assert batch.weak.shape == (len(indices), 3, 8, 8)
        middle = batch.weak[:, 0, 4, 4]
        torch.testing.assert_close(middle, 10.0 * indices + 10, rtol=0, atol=1e-3)


def test_the_number_of_workers_changes_nothing(samples: LabelledImages, views: Views) -> None:
    none, two = (StreamedSplit(samples, views, CPU, num_workers=n) for n in (0, 2))
    for _ in range(2):  # the second pass is that of workers which live on
        for one, other in zip(_strong(none), _strong(two), strict=True):
            assert torch.equal(one, other)


def test_the_strong_view_follows_its_stream(samples: LabelledImages, views: Views) -> None:
    split = StreamedSplit(samples, views, CPU, num_workers=0)
    state = torch.default_generator.get_state()
    first, again, other = (torch.cat(_strong(split, seed)) for seed in (0, 0, 7))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert torch.equal(torch.default_generator.get_state(), state)


def test_pass_left_early_does_not_shorten_the_next(samples: LabelledImages, views: Views) -> None:
    split = StreamedSplit(samples, views, CPU, num_workers=0)
    batches = split.batches(INDICES, weak=True)
    next(batches)
    both = split.batches(INDICES, weak=True)
    assert [len(batch.labels) for batch in both] == [3, 2]
    assert len(next(batches).labels) == 2


def test_strong_view_needs_a_stream(samples: LabelledImages, views: Views) -> None:
    split = StreamedSplit(samples, views, CPU, num_workers=0)
    with pytest.raises(ValueError, match=r"`generator`.*strong"):
        list(split.batches(INDICES, strong=True))


def test_random_boxes_lie_inside_with_the_intended_shape() -> None:
    image, rng = Image.new("RGB", (60, 40)), np.random.default_rng(0)
    boxes = np.array([random_box(image, rng) for _ in range(2000)])
    top, left, height, width = boxes.T
    assert (boxes[:, :2] >= 0).all()
    assert (top + height <= 40).all()
    assert (left + width <= 60).all()
    assert (np.abs(np.log(width / height)) <= np.log(4 / 3) + 0.2).all()
    assert 0.06 < (height * width / 2400).min() < 0.1
    assert (height * width / 2400).max() > 0.6


def test_files_stream_and_arrays_do_not(
    samples: LabelledImages, views: Views, make_source: Callable[..., Source]
) -> None:
    pool = make_source().pool
    arrays = LabelledImages(images=pool.images, observed=pool.labels, true=pool.labels)
    assert isinstance(open_split(samples, views, CPU), StreamedSplit)
    assert isinstance(open_split(arrays, views, CPU, "stream"), ResidentSplit)
