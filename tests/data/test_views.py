from __future__ import annotations

import statistics
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from scipy import stats
from torch import Tensor
from torchvision.transforms import functional as TF

from dynaloss.config.data import ViewsConfig
from dynaloss.data.sources import Source
from dynaloss.data.views.weak_and_strong import Views, random_crop, random_flip

MakeSource = Callable[..., Source]


@pytest.fixture
def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def _images(number: int, channels: int = 3, height: int = 6, width: int = 5) -> Tensor:
    """Distinct, non-zero pixels."""
    pixels = torch.arange(channels * height * width) + 1
    image = pixels.reshape(channels, height, width).to(torch.uint8)
    return image.repeat(number, 1, 1, 1)


def test_crop_is_that_of_the_padded_image(generator: torch.Generator) -> None:
    """Every crop is one of torchvision's 25, and each of those occurs equally often."""
    images = _images(5000)
    padded = TF.pad(images[0], [2, 2, 2, 2])
    places = {
        TF.crop(padded, top, left, 6, 5).numpy().tobytes(): (top, left)
        for top in range(5)
        for left in range(5)
    }
    cropped = random_crop(images, 2, generator)
    assert cropped.shape == images.shape
    assert cropped.dtype == torch.uint8
    found = [places[image.contiguous().numpy().tobytes()] for image in cropped]
    counts = [found.count(place) for place in places.values()]
    assert stats.chisquare(counts).pvalue > 1e-3


def test_crop_mixes_no_images(generator: torch.Generator) -> None:
    images = torch.arange(1, 41, dtype=torch.uint8).view(-1, 1, 1, 1).expand(-1, 2, 8, 8)
    cropped = random_crop(images, 3, generator)
    assert torch.equal(cropped.flatten(1).max(dim=1).values, images[:, 0, 0, 0])


def test_flip_mirrors_half_of_the_images(generator: torch.Generator) -> None:
    images = _images(2000)
    mirrored = TF.hflip(images[0])
    flipped = random_flip(images, generator)
    hits = sum(torch.equal(image, mirrored) for image in flipped)
    assert hits + sum(torch.equal(image, images[0]) for image in flipped) == 2000
    assert stats.binomtest(hits, 2000).pvalue > 1e-3


def test_weak_view_normalises_and_nothing_else(make_source: MakeSource) -> None:
    source = make_source(mean=(0.4, 0.5, 0.6), std=(0.2, 0.3, 0.1))
    images = _images(4)
    found = Views.of_source(source, torch.device("cpu")).weak(images)
    expected = TF.normalize(images / 255, [0.4, 0.5, 0.6], [0.2, 0.3, 0.1])
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("flip", [True, False])
@pytest.mark.parametrize("crop_padding", [0, 1])
def test_strong_view_uses_the_defaults_of_the_source(
    crop_padding: int, flip: bool, make_source: MakeSource, generator: torch.Generator
) -> None:
    """100 images give every crop and mirror image, of those that are allowed, at least once."""
    source = make_source(crop_padding=crop_padding, flip=flip)
    views = Views.of_source(source, torch.device("cpu"))
    strong = views.strong(_images(400), generator)
    kinds = len({image.contiguous().numpy().tobytes() for image in strong})
    assert kinds == (9 if crop_padding else 1) * (2 if flip else 1)
    assert views.weak(_images(1)).numpy().tobytes() in {
        image.contiguous().numpy().tobytes() for image in strong[None].flatten(0, 1)
    }


def test_same_stream_same_view(make_source: MakeSource) -> None:
    views = Views.of_source(make_source(flip=True), torch.device("cpu"))
    first, again, other = (
        views.strong(_images(50), torch.Generator().manual_seed(seed)) for seed in (0, 0, 1)
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_settings_override_the_defaults_of_the_source(make_source: MakeSource) -> None:
    settings = ViewsConfig(
        augment="randaugment", cutout=3, crop_padding=0, flip=False, statistics="images"
    )
    views = Views.of_source(make_source(flip=True), torch.device("cpu"), settings)
    assert views.config == settings


@pytest.mark.parametrize("fill", [0, 128])
def test_cutout_comes_last(fill: int, make_source: MakeSource, generator: torch.Generator) -> None:
    """Nothing after it may fill the square, not even the inversion of a policy."""
    source = make_source(mean=(0.0,) * 3, std=(1 / 255,) * 3)
    settings = ViewsConfig(augment="autoaugment", cutout=4, crop_padding=0, fill=fill)
    views = Views.of_source(source, torch.device("cpu"), settings)
    strong = views.strong(_images(300), generator).round()
    assert (strong == fill).all(dim=1).flatten(1).any(dim=1).all()


def test_what_a_policy_leaves_empty_is_filled_and_the_crop_is_not(
    make_source: MakeSource, generator: torch.Generator
) -> None:
    """White images: rotated and moved ones have corners of the fill, cropped ones black edges."""
    source = make_source(mean=(0.0,) * 3, std=(1 / 255,) * 3, crop_padding=1)
    white = torch.full((200, 3, 6, 5), 255, dtype=torch.uint8)
    values = {}
    for name, settings in {
        "crop": ViewsConfig(fill=128),
        "policy": ViewsConfig(augment="trivialaugment", fill=128, crop_padding=0),
    }.items():
        strong = Views.of_source(source, torch.device("cpu"), settings).strong(white, generator)
        values[name] = set(strong.round().int().unique().tolist())
    assert values["crop"] == {0, 255}
    assert 128 in values["policy"]


def test_images_are_divided_by_the_mean_of_their_own_deviations(make_source: MakeSource) -> None:
    source = make_source()
    images = source.pool.images / 255
    own = [[statistics.stdev(channel.ravel()) for channel in image] for image in images]
    expected = [statistics.fmean(channel) for channel in zip(*own, strict=True)]
    views = Views.of_source(source, torch.device("cpu"), ViewsConfig(statistics="images"))
    assert views.std.flatten().tolist() == pytest.approx(expected, abs=1e-4)
    assert views.std.flatten().tolist() != pytest.approx(source.std, abs=1e-2)
    for own, theirs in (("images", expected), ("pixels", source.std)):
        views = Views.of_source(replace(source, statistics=own), torch.device("cpu"))
        assert views.std.flatten().tolist() == pytest.approx(theirs, abs=1e-4)


def test_a_source_may_know_the_mean_of_its_images_deviations(make_source: MakeSource) -> None:
    source = replace(make_source(), image_std=(0.2, 0.3, 0.4))
    views = Views.of_source(source, torch.device("cpu"), ViewsConfig(statistics="images"))
    assert views.std.flatten().tolist() == pytest.approx([0.2, 0.3, 0.4])
