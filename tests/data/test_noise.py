from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray
from pydantic import Field, ValidationError
from scipy import stats

from dynaloss.config import DataConfig, NoiseConfig
from dynaloss.config.families import NOISES, NoiseKind
from dynaloss.data.bias.noise import observed_labels
from dynaloss.data.bias.noise.asymmetric import (
    CIFAR10_CLASSES,
    CIFAR100_SUPERCLASSES,
    asymmetric_transition_matrix,
    class_map,
    default_class_map,
)
from dynaloss.data.bias.noise.flip import flip_labels
from dynaloss.data.bias.noise.instance import instance_labels
from dynaloss.data.bias.noise.uniform import uniform_transition_matrix
from dynaloss.data.sources import Source
from dynaloss.errors import InputError
from dynaloss.learning.streams import Streams

CIFAR100 = tuple(sorted(name for group in CIFAR100_SUPERCLASSES for name in group))
# Superclass of each class of CIFAR-100, as the data set itself numbers them.
COARSE = (
    "4 1 14 8 0 6 7 7 18 3 3 14 9 18 7 11 3 9 7 11 6 11 5 10 7 6 13 15 3 15 0 11 1 10 12 14 16 9 "
    "11 5 5 19 8 8 15 13 14 17 18 10 16 4 17 4 2 0 17 4 18 17 10 3 2 12 12 16 12 1 9 19 2 10 0 1 "
    "16 12 9 13 15 13 16 19 2 4 6 19 5 5 8 19 18 1 2 15 6 0 17 8 14 13"
)


def _rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def _labels(counts: list[int]) -> np.ndarray:
    return np.repeat(np.arange(len(counts)), counts)


def test_uniform_matrix_by_hand() -> None:
    expected = [[0.8, 0.1, 0.1, 0], [0.1, 0.8, 0.1, 0], [0.1, 0.1, 0.8, 0]]
    assert np.allclose(uniform_transition_matrix(3, 0.3), np.array(expected)[:, :3])


def test_asymmetric_matrix_by_hand() -> None:
    matrix = asymmetric_transition_matrix(np.array([1, 1, 0]), 0.3)
    assert np.allclose(matrix, [[0.7, 0.3, 0], [0, 1, 0], [0.3, 0, 0.7]])


def test_map_of_cifar10() -> None:
    assert default_class_map(CIFAR10_CLASSES).tolist() == [0, 1, 0, 5, 7, 3, 6, 7, 8, 1]


def test_map_of_cifar100_is_a_circle_in_each_superclass() -> None:
    coarse = np.array([int(number) for number in COARSE.split()])
    mapping = default_class_map(CIFAR100)
    assert np.array_equal(np.bincount(coarse), np.full(20, 5))
    for label, target in enumerate(mapping):
        members = np.flatnonzero(coarse == coarse[label]).tolist()
        assert target == members[(members.index(label) + 1) % 5]


def test_map_of_other_classes_is_the_next_one() -> None:
    assert default_class_map(["a", "b", "c"]).tolist() == [1, 2, 0]


def test_map_of_the_user_by_name_and_number() -> None:
    assert class_map("cat>0, 2<>3", ["ant", "cat", "dog", "eel"]).tolist() == [0, 0, 3, 2]


@pytest.mark.parametrize(
    ("text", "facts"),
    [
        ("0-1", "'9>1, 3<>5'.*got '0-1'"),
        ("0>4", r"name .*number from 0 to 3\b.*got '4'"),
        ("0>cow", r"name .*number from 0 to 3\b.*got 'cow'"),
        ("0>1, 0>2", "class 'ant' twice"),
    ],
)
def test_a_wrong_map_is_refused(text: str, facts: str) -> None:
    with pytest.raises(InputError, match=rf"^\[data\.noise\.map\].*{facts}"):
        class_map(text, ["ant", "cat", "dog", "eel"])


@pytest.mark.parametrize(("rate", "flips"), [(0, 0), (0.29, 29), (0.299, 29), (0.7, 70), (1, 100)])
def test_flip_changes_exactly_that_many(rate: float, flips: int) -> None:
    labels = _labels([70, 20, 10])
    assert (flip_labels(labels, 3, rate, _rng()) != labels).sum() == flips


def test_flip_draws_the_other_classes_by_frequency() -> None:
    labels = _labels([6000, 3000, 1000])
    observed = flip_labels(labels, 3, 1.0, _rng())
    drawn = np.bincount(observed[labels == 0], minlength=3)
    assert drawn[0] == 0
    assert stats.chisquare(drawn[1:], [4500, 1500]).pvalue > 1e-3


@pytest.mark.parametrize("rate", [0.2, 0.45])
def test_instance_noise_flips_about_the_rate(rate: float) -> None:
    images = _rng(1).integers(0, 256, (6000, 3, 4, 4)).astype(np.uint8)
    labels = _labels([2000, 2000, 2000])
    observed = instance_labels(images, labels, 3, rate, _rng())
    # The normal around 0.2 loses 2.3 % of its mass below 0, which lifts its mean by 0.0055.
    assert (observed != labels).mean() == pytest.approx(rate, abs=0.02)


def test_instance_noise_flips_equal_images_alike() -> None:
    """Each image has a law of its own: most flips of it go to one class, unlike in another's."""
    images = np.repeat(_rng(1).integers(0, 256, (2, 3, 8, 8)), 500, axis=0).astype(np.uint8)
    labels = np.zeros(1000, dtype=np.int64)
    observed = instance_labels(images, labels, 10, 0.5, _rng())
    for part in (observed[:500], observed[500:]):
        flips = np.bincount(part[part != 0], minlength=10)
        assert flips.max() > 0.6 * flips.sum() > 100


@pytest.mark.parametrize("kind", ["flip", "instance"])
def test_noise_follows_its_stream(kind: str) -> None:
    labels = _labels([50, 50])
    images = _rng(1).integers(0, 256, (100, 1, 2, 2)).astype(np.uint8)

    def draw(seed: int) -> list[int]:
        if kind == "flip":
            return flip_labels(labels, 2, 0.4, _rng(seed)).tolist()
        return instance_labels(images, labels, 2, 0.4, _rng(seed)).tolist()

    assert draw(0) == draw(0) != draw(1)


class _ShiftConfig(NoiseConfig):
    by: int = Field(default=1, ge=1)


def _shift(
    noise: _ShiftConfig, source: Source, rows: NDArray[np.int64], rng: np.random.Generator
) -> NDArray[np.int64]:
    hit = rng.random(len(rows)) < noise.rate
    return (source.pool.labels[rows] + noise.by * hit) % source.num_classes


@pytest.fixture
def shift(monkeypatch: pytest.MonkeyPatch) -> None:
    """A kind of noise with a setting of its own, for one test."""
    assert "shift" not in NOISES
    kind = NoiseKind(
        name="shift", description="", settings=_ShiftConfig, observe=_shift, uses=("rate", "by")
    )
    monkeypatch.setitem(NOISES._kinds, "shift", kind)


@pytest.mark.usefixtures("shift")
def test_another_kind_is_validated_and_drawn_by_its_registration(
    make_source: Callable[..., Source],
) -> None:
    noise = {"kind": "shift", "rate": 1.0, "by": 2}
    config = DataConfig.model_validate({"noise": noise})
    source = make_source()
    labels = observed_labels(config.noise, source, np.arange(5), Streams(base_seed=0, seed=0))
    assert labels.tolist() == ((source.pool.labels[:5] + 2) % 4).tolist()
    assert config.noise.label == "shift 1"
    assert config.model_dump()["noise"]["by"] == 2


@pytest.mark.usefixtures("shift")
@pytest.mark.parametrize(
    ("noise", "problem"),
    [
        ({"kind": "shift", "by": 0}, r"noise.by\n .*greater than or equal to 1"),
        ({"kind": "flip", "by": 1}, r"noise.by\n .*not permitted"),
    ],
    ids=["rule", "other kind"],
)
def test_settings_are_those_of_the_kind(noise: dict[str, object], problem: str) -> None:
    with pytest.raises(ValidationError, match=problem):
        DataConfig.model_validate({"noise": noise})


def test_unknown_kind_is_refused() -> None:
    with pytest.raises(ValidationError, match="symmetric"):
        NoiseConfig(kind="symetric")
