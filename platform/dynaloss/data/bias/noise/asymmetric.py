"""Asymmetric noise: each class is mistaken for one other. C: number of classes."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

from dynaloss.config.data import NoiseConfig
from dynaloss.config.families import NOISES
from dynaloss.data.arrays import Floats, Ints
from dynaloss.data.bias.transitions import draw_observed_labels
from dynaloss.data.sources.source import Source
from dynaloss.errors import InputError

_CIFAR10_MAP = "9>1, 2>0, 4>7, 3<>5"
CIFAR10_CLASSES = (
    "airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck",
)  # fmt: skip
_CIFAR100_CLASSES = """
beaver dolphin otter seal whale aquarium_fish flatfish ray shark trout
orchid poppy rose sunflower tulip bottle bowl can cup plate
apple mushroom orange pear sweet_pepper clock keyboard lamp telephone television
bed chair couch table wardrobe bee beetle butterfly caterpillar cockroach
bear leopard lion tiger wolf bridge castle house road skyscraper
cloud forest mountain plain sea camel cattle chimpanzee elephant kangaroo
fox porcupine possum raccoon skunk crab lobster snail spider worm
baby boy girl man woman crocodile dinosaur lizard snake turtle
hamster mouse rabbit shrew squirrel maple_tree oak_tree palm_tree pine_tree willow_tree
bicycle bus motorcycle pickup_truck train lawn_mower rocket streetcar tank tractor
""".split()  # noqa: SIM905 - as readable as it is long
CIFAR100_SUPERCLASSES = tuple(tuple(_CIFAR100_CLASSES[i : i + 5]) for i in range(0, 100, 5))
"""The classes of CIFAR-100 by superclass, alphabetically, as its labels are numbered."""


def asymmetric_transition_matrix(mapping: Ints, rate: float) -> Floats:
    """T[i, i] = 1 - r and T[i, mapping[i]] = r, shape (C, C); a class mapped to itself stays."""
    matrix: Floats = (1 - rate) * np.eye(len(mapping))
    matrix[np.arange(len(mapping)), mapping] += rate
    return matrix


def default_class_map(class_names: Sequence[str]) -> Ints:
    """The class that each class is mistaken for, int64, shape (C,).

    CIFAR-10: 9>1, 2>0, 4>7, 3<>5 (Patrini et al., CVPR 2017); CIFAR-100: the next class of its
    superclass, in a circle; otherwise the next class, in a circle.
    """
    names = tuple(class_names)
    if names == CIFAR10_CLASSES:
        return class_map(_CIFAR10_MAP, names)
    if names == tuple(sorted(_CIFAR100_CLASSES)):
        following: dict[str, str] = {}
        for group in CIFAR100_SUPERCLASSES:
            following |= zip(group, (*group[1:], group[0]), strict=True)
        return np.array([names.index(following[name]) for name in names], dtype=np.int64)
    return np.roll(np.arange(len(names), dtype=np.int64), -1)


def class_map(text: str, class_names: Sequence[str]) -> Ints:
    """The class that each class is mistaken for, from text such as `9>1, cat<>dog`.

    Raises:
        InputError: If a pair is malformed, names an unknown class, or repeats a class.
    """
    mapping = np.arange(len(class_names), dtype=np.int64)
    seen: set[int] = set()
    for pair in text.split(","):
        match = re.fullmatch(r"([^<>]+)(<?)>([^<>]+)", pair)
        if match is None:
            raise InputError(
                f"[data.noise.map] must be pairs such as '9>1, 3<>5', but got '{pair.strip()}'"
            )
        source, target = (_class_number(match[part].strip(), class_names) for part in (1, 3))
        for start, end in ((source, target), (target, source))[: 2 if match[2] else 1]:
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


def _observe(noise: NoiseConfig, source: Source, rows: Ints, rng: np.random.Generator) -> Ints:
    matrix = asymmetric_transition_matrix(_class_map_of(noise, source), noise.rate)
    return draw_observed_labels(source.pool.labels[rows], matrix, rng)


def _class_map_of(noise: NoiseConfig, source: Source) -> Ints:
    if noise.map is None:
        return default_class_map(source.class_names)
    return class_map(noise.map, source.class_names)


NOISES.add(
    name="asymmetric",
    description="a noisy label is that of one similar class, and never the true one",
    source="Patrini et al., CVPR 2017",
    settings=NoiseConfig,
    observe=_observe,
    uses=("rate", "map"),
    check=_class_map_of,
)
