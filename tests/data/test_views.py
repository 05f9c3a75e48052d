from __future__ import annotations

from collections.abc import Callable

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
    settings = ViewsConfig(augment="randaugment", cutout=3, crop_padding=0, flip=False)
    views = Views.of_source(make_source(flip=True), torch.device("cpu"), settings)
    assert views.config == settings


def test_cutout_comes_last(make_source: MakeSource, generator: torch.Generator) -> None:
    """Nothing after it may fill the black square, not even the inversion of a policy."""
    source = make_source(mean=(0.0,) * 3, std=(1.0,) * 3)
    settings = ViewsConfig(augment="autoaugment", cutout=4, crop_padding=0)
    views = Views.of_source(source, torch.device("cpu"), settings)
    strong = views.strong(_images(300), generator)
    assert (strong == 0).all(dim=1).flatten(1).any(dim=1).all()
