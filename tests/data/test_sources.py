from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from sklearn.datasets import load_digits

from dynaloss.config import DataConfig, NoiseConfig
from dynaloss.data.sources import ImageArrays, Source, SourceSettings, load_source

MakeSource = Callable[..., Source]

DIGITS = SourceSettings(source="digits")


@pytest.mark.parametrize("name", ["digits"])
def test_arrays_of_a_source_are_consistent(name: str) -> None:
    source = load_source(SourceSettings(source=name))
    images, labels = source.pool.images, source.pool.labels
    assert source.name == name
    assert (images.dtype, labels.dtype) == (np.uint8, np.int64)
    assert images.shape == (len(labels), *source.input_shape)
    assert set(np.unique(labels)) == set(range(source.num_classes))
    assert len(source.mean) == len(source.std) == source.input_shape[0]


@pytest.mark.parametrize("name", ["digits"])
def test_mean_and_std_are_those_of_the_pool(name: str) -> None:
    source = load_source(SourceSettings(source=name))
    scaled = source.pool.images / 255
    assert scaled.mean(axis=(0, 2, 3)) == pytest.approx(source.mean, abs=1e-3)
    assert scaled.std(axis=(0, 2, 3)) == pytest.approx(source.std, abs=1e-3)


def test_digits_are_those_of_sklearn() -> None:
    source, digits = load_source(DIGITS), load_digits()
    assert source.input_shape == (1, 8, 8)
    assert np.array_equal(source.pool.labels, digits.target)
    assert np.allclose(source.pool.images[:, 0] / 255 * 16, digits.images, atol=0.05)
    assert (source.pool.images.min(), source.pool.images.max()) == (0, 255)


def test_digest_of_digits_is_stable() -> None:
    """Trial keys depend on it."""
    digest = "ac2213023a1dd19f8222ec82825f32c3504d17957813b2fdf14736bb5f12f150"
    assert load_source(DIGITS).digest == digest
    assert load_source(DIGITS).digest == digest


def test_settings_of_one_source_share_a_key() -> None:
    noisy = DataConfig(noise=NoiseConfig(rate=0.4), imbalance_factor=10.0)
    assert noisy.source_key == DataConfig().source_key == DIGITS.source_key
    others = [DataConfig(root="elsewhere"), DataConfig(memory="stream"), DataConfig(num_classes=5)]
    assert len({settings.source_key for settings in (DIGITS, *others)}) == 4


def _with(source: Source, part: str, field: str) -> Source:
    """`source` with the last number of one of its arrays changed."""
    arrays: ImageArrays = getattr(source, part)
    changed = getattr(arrays, field).copy()
    changed.flat[-1] ^= 1
    return replace(source, **{part: replace(arrays, **{field: changed})})


@pytest.mark.parametrize("field", ["images", "labels"])
@pytest.mark.parametrize("part", ["pool", "test"])
def test_digest_changes_with_a_pixel_or_a_label(
    part: str, field: str, make_source: MakeSource
) -> None:
    source = make_source(test=True)
    assert make_source(test=True).digest == source.digest
    assert _with(source, part, field).digest != source.digest


def test_digest_depends_on_shape_and_role(make_source: MakeSource) -> None:
    source = make_source()
    turned = replace(source.pool, images=source.pool.images.transpose(0, 1, 3, 2))
    digests = {
        source.digest,
        replace(source, pool=turned).digest,
        replace(source, test=source.pool).digest,
    }
    assert len(digests) == 3
