"""Class sizes by kind of imbalance, and their draw. C: number of classes."""

from __future__ import annotations

import numpy as np

from dynaloss.config.families import IMBALANCES
from dynaloss.data.arrays import Ints


def long_tail_counts(n_max: int, num_classes: int, imbalance_factor: float) -> Ints:
    """Samples per class of the exponential long tail, largest class first, shape (C,).

    n_c = floor(n_max * f^(-c / (C - 1))), f = n_max / n_min. Source: arXiv 2211.12506 and Cui et
    al., "Class-Balanced Loss", CVPR 2019; the released code writes 1 / f. C is at least 2, f 1.
    """
    exponents = -np.arange(num_classes) / (num_classes - 1)
    # The small term keeps n_max / f on its integer where the power is one rounding below it.
    return np.floor(n_max * imbalance_factor**exponents + 1e-9).astype(np.int64)


def step_counts(n_max: int, num_classes: int, imbalance_factor: float) -> Ints:
    """Samples per class of step imbalance, shape (C,): floor(n_max / f) from class C // 2 on.

    Source: Buda et al., Neural Networks 106, 2018, and Cao et al., LDAM, NeurIPS 2019. C is at
    least 2, f = n_max / n_min at least 1.
    """
    counts = np.full(num_classes, n_max, dtype=np.int64)
    counts[num_classes // 2 :] = int(n_max / imbalance_factor + 1e-9)
    return counts


def take_per_class(labels: Ints, counts: Ints, rng: np.random.Generator) -> Ints:
    """Draws up to `counts[c]` samples of each class c at random; returns ascending indices.

    Every class is put in a random order of its own and cut, so a smaller count gives a subset.
    """
    order = rng.permutation(len(labels))
    grouped = order[np.argsort(labels[order], kind="stable")]
    sizes = np.bincount(labels, minlength=len(counts))
    positions = np.arange(len(labels)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    return np.sort(grouped[positions < np.repeat(counts, sizes)])


IMBALANCES.add(
    name="exponential",
    description="class c of C has floor(n_max factor^(-c / (C - 1))) images: even on a log scale",
    source="Cui et al., CVPR 2019",
    class_sizes=long_tail_counts,
)
IMBALANCES.add(
    name="step",
    description="n_max images in the first half of the classes, floor(n_max / factor) in the rest",
    source="Buda et al., Neural Networks 106, 2018",
    class_sizes=step_counts,
)
IMBALANCES.add(
    name="none",
    description="n_max images in every class, whatever the factor",
    class_sizes=lambda n_max, num_classes, _: np.full(num_classes, n_max, dtype=np.int64),
)
