"""Label noise by kind. N: samples, C: classes; every kind draws from the stream it is given."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from dynaloss.data.bias.imbalance import draw_observed_labels
from dynaloss.errors import InputError

__all__ = [
    "CIFAR10_CLASSES",
    "CIFAR100_SUPERCLASSES",
    "asymmetric_transition_matrix",
    "class_map",
    "default_class_map",
    "flip_labels",
    "instance_labels",
    "uniform_transition_matrix",
]

CIFAR10_CLASSES = tuple(
    "airplane automobile bird cat deer dog frog horse ship truck".split()  # noqa: SIM905
)
_CIFAR10_MAP = "9>1, 2>0, 4>7, 3<>5"
CIFAR100_SUPERCLASSES = tuple(
    tuple(line.split())
    for line in (
        "beaver dolphin otter seal whale",
        "aquarium_fish flatfish ray shark trout",
        "orchid poppy rose sunflower tulip",
        "bottle bowl can cup plate",
        "apple mushroom orange pear sweet_pepper",
        "clock keyboard lamp telephone television",
        "bed chair couch table wardrobe",
        "bee beetle butterfly caterpillar cockroach",
        "bear leopard lion tiger wolf",
        "bridge castle house road skyscraper",
        "cloud forest mountain plain sea",
        "camel cattle chimpanzee elephant kangaroo",
        "fox porcupine possum raccoon skunk",
        "crab lobster snail spider worm",
        "baby boy girl man woman",
        "crocodile dinosaur lizard snake turtle",
        "hamster mouse rabbit shrew squirrel",
        "maple_tree oak_tree palm_tree pine_tree willow_tree",
        "bicycle bus motorcycle pickup_truck train",
        "lawn_mower rocket streetcar tank tractor",
    )
)
"""The classes of CIFAR-100 by superclass, alphabetically, as its labels are numbered."""

# Spread of the flip rate over samples in Xia et al., NeurIPS 2020.
_INSTANCE_STD = 0.1


def uniform_transition_matrix(num_classes: int, rate: float) -> NDArray[np.float64]:
    """T = (1 - r) I + r / C, shape (C, C): a hit label is any of the classes, its own too."""
    matrix: NDArray[np.float64] = (1 - rate) * np.eye(num_classes) + rate / num_classes
    return matrix


def asymmetric_transition_matrix(mapping: NDArray[np.int64], rate: float) -> NDArray[np.float64]:
    """T[i, i] = 1 - r and T[i, mapping[i]] = r, shape (C, C); a class mapped to itself stays."""
    matrix: NDArray[np.float64] = (1 - rate) * np.eye(len(mapping))
    matrix[np.arange(len(mapping)), mapping] += rate
    return matrix


def default_class_map(class_names: Sequence[str]) -> NDArray[np.int64]:
    """The class that each class is mistaken for, int64, shape (C,), told by the class names.

    CIFAR-10: 9>1, 2>0, 4>7, 3<>5 (Patrini et al., CVPR 2017); CIFAR-100: the next class of its
    superclass, in a circle; otherwise the next class, in a circle.
    """
    names = tuple(class_names)
    if names == CIFAR10_CLASSES:
        return class_map(_CIFAR10_MAP, names)
    if names == tuple(sorted(name for group in CIFAR100_SUPERCLASSES for name in group)):
        following = {
            name: group[(i + 1) % len(group)]
            for group in CIFAR100_SUPERCLASSES
            for i, name in enumerate(group)
        }
        return np.array([names.index(following[name]) for name in names], dtype=np.int64)
    return np.roll(np.arange(len(names), dtype=np.int64), -1)


def class_map(text: str, class_names: Sequence[str]) -> NDArray[np.int64]:
    """The class that each class is mistaken for, from text such as `9>1, cat<>dog`.

    Args:
        text: Pairs `from>to`, or `a<>b` for both ways, by number or name, split by commas.
        class_names: One per class.

    Raises:
        InputError: If a pair is malformed, names an unknown class, or repeats a class.
    """
    mapping = np.arange(len(class_names), dtype=np.int64)
    seen: set[int] = set()
    for pair in text.split(","):
        left, both, right = pair.partition("<>")
        if not both:
            left, sign, right = pair.partition(">")
            if not sign:
                raise InputError(
                    f"[data.noise.map] must be pairs such as '9>1, 3<>5', but got '{pair.strip()}'"
                )
        source, target = (_class_number(name.strip(), class_names) for name in (left, right))
        for start, end in ((source, target), (target, source))[: 2 if both else 1]:
            if start in seen:
                raise InputError(f"[data.noise.map] maps class '{class_names[start]}' twice")
            seen.add(start)
            mapping[start] = end
    return mapping


def _class_number(name: str, class_names: Sequence[str]) -> int:
    if name in class_names:
        return list(class_names).index(name)
    if name.isdecimal() and int(name) < len(class_names):
        return int(name)
    raise InputError(
        f"[data.noise.map] must name classes by name or by number from 0 to "
        f"{len(class_names) - 1}, but got '{name}'"
    )


def flip_labels(
    true_labels: NDArray[np.int64], num_classes: int, rate: float, rng: np.random.Generator
) -> NDArray[np.int64]:
    """Changes the class of exactly floor(r N) samples, by frequency among the other classes.

    Noise kind `flip`, as in RoLT (Wei et al., arXiv 2108.11569).
    """
    # The small term keeps r N on its integer where the product is one rounding below it.
    number = int(np.floor(rate * len(true_labels) + 1e-9))
    chosen = rng.permutation(len(true_labels))[:number]
    true = true_labels[chosen]
    weights = np.tile(np.bincount(true_labels, minlength=num_classes), (num_classes, 1))
    np.fill_diagonal(weights, 0)
    if not weights[true].any(axis=1).all():
        raise InputError("[data.noise.kind] 'flip' needs images of at least 2 classes")
    observed = true_labels.copy()
    observed[chosen] = draw_observed_labels(true, weights.astype(np.float64), rng)
    return observed


def instance_labels(
    images: NDArray[np.uint8],
    true_labels: NDArray[np.int64],
    num_classes: int,
    rate: float,
    rng: np.random.Generator,
) -> NDArray[np.int64]:
    """Labels that depend on the image: part-dependent noise of Xia et al., NeurIPS 2020.

    Each sample has a flip rate q from a normal around r (standard deviation 0.1), cut to [0, 1].
    Each class has a random projection of the flattened image to C scores; q times the softmax of
    the scores of the other classes is the law of the flip. Deviation: images are scaled to [0, 1].

    Args:
        images: uint8, shape (N, channels, height, width).
        true_labels: int64, shape (N,).
        num_classes: C.
        rate: r, the mean flip rate before the cut.
        rng: Random stream.
    """
    rates = _truncated_normal(rate, len(true_labels), rng)
    draws = rng.random(len(true_labels))
    observed = true_labels.copy()
    for label in range(num_classes):
        rows = np.flatnonzero(true_labels == label)
        num_pixels = int(np.prod(images.shape[1:]))
        flat = images[rows].reshape(len(rows), num_pixels).astype(np.float64) / 255
        scores = flat @ rng.standard_normal((num_pixels, num_classes))
        scores[:, label] = -np.inf
        scores = np.exp(scores - scores.max(axis=1, keepdims=True))
        law = rates[rows, None] * scores / scores.sum(axis=1, keepdims=True)
        law[:, label] = 1 - rates[rows]
        cumulative = np.cumsum(law, axis=1)
        hits = draws[rows, None] * cumulative[:, -1:] >= cumulative
        observed[rows] = hits.sum(axis=1)
    return observed


def _truncated_normal(mean: float, size: int, rng: np.random.Generator) -> NDArray[np.float64]:
    values = rng.normal(mean, _INSTANCE_STD, size)
    while (outside := (values < 0) | (values > 1)).any():
        values[outside] = rng.normal(mean, _INSTANCE_STD, int(outside.sum()))
    return values
