"""From a source to the splits of a trial: test, long tail, noise, validation, in this order."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from dynaloss.config.data import DataConfig
from dynaloss.config.families import IMBALANCES, NOISES
from dynaloss.data.arrays import Bools, Ints
from dynaloss.data.bias.imbalance import take_per_class
from dynaloss.data.bias.noise import observed_labels
from dynaloss.data.bias.transitions import realised_transition_matrix
from dynaloss.data.sources.source import Images, Source
from dynaloss.errors import InputError
from dynaloss.learning.streams import Streams


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelledImages:
    """The samples of one role.

    Attributes:
        images: See `Images`.
        observed: Labels that training sees, or that an evaluation is scored against.
        true: Labels without noise.
    """

    images: Images
    observed: Ints
    true: Ints


@dataclass(frozen=True, kw_only=True)
class TrialSplits:
    """Which images of a source train, validate and test; they are copied when first used.

    Attributes:
        source: The source.
        validation_labels: `observed` or `clean`, see `ValidationConfig`.
        in_test: Marks the samples of the pool that are kept for the test.
        kept: What the long tail left, as positions among those that it could draw.
        rows: The same, as positions in the pool.
        observed: Observed label of each of them.
        held_out: Marks those of them that validate.
        in_train: Marks those of them that train.
    """

    source: Source
    validation_labels: str
    in_test: Bools
    kept: Ints
    rows: Ints
    observed: Ints
    held_out: Bools
    in_train: Bools

    @cached_property
    def train(self) -> LabelledImages:
        """The biased training set."""
        return self._samples(self.in_train)

    @cached_property
    def validation(self) -> LabelledImages | None:
        """A part of the biased pool, or None."""
        samples = self._samples(self.held_out)
        if self.validation_labels == "clean":
            samples = replace(samples, observed=samples.true)
        return samples if self.held_out.any() else None

    @cached_property
    def tests(self) -> dict[str, LabelledImages]:
        """Clean and as balanced as the source: `test`, and `test_NAME` for each further set."""
        sets = self.source.test_sets or {"test": self.source.pool.take(self.in_test)}
        return {
            role: LabelledImages(images=test.images, observed=test.labels, true=test.labels)
            for role, test in sets.items()
        }

    @property
    def by_role(self) -> dict[str, LabelledImages]:
        """The splits that there are, by role."""
        validation = {} if self.validation is None else {"validation": self.validation}
        return {"train": self.train, **validation, **self.tests}

    @property
    def positions(self) -> dict[str, Ints]:
        """Positions in the pool of the images of each role, int64.

        None are in a test where the source has test sets of its own.
        """
        tests = dict.fromkeys(self.source.test_sets, np.empty(0, dtype=np.int64))
        return tests | {
            "train": self.rows[self.in_train],
            "validation": self.rows[self.held_out],
            "test": np.flatnonzero(self.in_test),
        }

    @property
    def equal_images(self) -> dict[str, int]:
        """Counts of the images of one role that equal one of another, by content.

        `train_test`, `train_validation`, `validation_test`: images of the first role that are in
        the second, too; `source`: images that are repetitions, whatever their role.
        """
        ids, test = self.source.image_ids, _test_ids(self.source, self.in_test)
        train, validation = (ids[self.positions[role]] for role in ("train", "validation"))
        return {
            "train_test": int(np.isin(train, test).sum()),
            "train_validation": int(np.isin(train, validation).sum()),
            "validation_test": int(np.isin(validation, test).sum()),
            "source": len(ids) - len(np.unique(ids)),
        }

    @property
    def record(self) -> dict[str, Any]:
        """What was done to the data, as plain values.

        Sizes, class counts, realised flip rate and transition matrix, digests of the tail, of the
        noise and of each split, and equal images across roles.
        """
        source, train, C = self.source, self.train, self.source.num_classes
        matrix = realised_transition_matrix(train.true, train.observed, C)
        return {
            "source": source.name,
            "digest": source.digest,
            "tail_digest": hashlib.sha256(self.kept.tobytes()).hexdigest(),
            "noise_digest": hashlib.sha256(self.observed.tobytes()).hexdigest(),
            "split_digests": {
                role: _digest(source, self.positions[role], samples)
                for role, samples in self.by_role.items()
            },
            "class_names": list(source.class_names),
            "splits": {"train": 0, "validation": 0, "test": 0}
            | {role: len(samples.true) for role, samples in self.by_role.items()},
            "true_class_counts": np.bincount(train.true, minlength=C).tolist(),
            "observed_class_counts": np.bincount(train.observed, minlength=C).tolist(),
            "equal_images": self.equal_images,
            "flip_rate": float((train.true != train.observed).mean()),
            "transition_matrix": matrix.tolist(),
        }

    def _samples(self, chosen: Bools) -> LabelledImages:
        """The samples that are marked among those that the long tail left."""
        rows, pool = self.rows[chosen], self.source.pool
        return LabelledImages(
            images=pool.images[rows], observed=self.observed[chosen], true=pool.labels[rows]
        )


def check_bias(source: Source, config: DataConfig, streams: Streams) -> None:
    """Refuses a bias that cannot be put on `source`; splits it to see, except with costly noise.

    Raises:
        InputError: As of `make_splits`, or if a class map, a label file or images in files do
            not fit the noise.
    """
    kind = NOISES[config.noise.kind]
    if kind.check is not None:
        kind.check(config.noise, source)
    if kind.is_costly:
        _long_tail(source, config, streams)
    else:
        make_splits(source, config, streams)


def make_splits(source: Source, config: DataConfig, streams: Streams) -> TrialSplits:
    """Splits and biases a source; each step draws from a stream of its own.

    Trials of one seed share the split, and those of one condition and seed the tail and noise.
    With `data.test_seed` all share the test split.

    Raises:
        InputError: If a class would have no image, or no observed label in training.
    """
    in_test, kept, rows = _long_tail(source, config, streams)
    observed = observed_labels(config.noise, source, rows, streams)
    held_out = _stratified(observed, config.validation.fraction, source, streams, "validation")
    twins = held_out
    if config.equal_images == "drop":
        twins = np.isin(source.image_ids[rows], source.image_ids[rows[held_out]])
    _refuse_empty_classes(observed[~twins], source)
    return TrialSplits(
        source=source,
        validation_labels=config.validation.labels,
        in_test=in_test,
        kept=kept,
        rows=rows,
        observed=observed,
        held_out=held_out,
        in_train=~twins,
    )


def _refuse_empty_classes(observed: Ints, source: Source) -> None:
    # Nothing could be learned of a class without an observed label in training.
    empty = np.flatnonzero(np.bincount(observed, minlength=source.num_classes) == 0)
    if len(empty):
        raise InputError(
            f"[data.noise] must leave every class an observed training label, but leaves none of "
            f"class {source.named(empty)}: lower [data.noise.rate], [data.imbalance_factor] or "
            "[data.validation.fraction], raise [data.n_max], or choose another seed"
        )


def _test_ids(source: Source, in_test: Bools) -> Ints:
    """The images to test on, by `Source.image_ids`."""
    ids, n = source.image_ids, len(in_test)
    return ids[n:] if source.test is not None else ids[:n][in_test]


def _stratified(
    labels: Ints, fraction: float, source: Source, streams: Streams, stream: str
) -> Bools:
    """Marks that share of the samples of each class, drawn at random."""
    sizes = np.bincount(labels, minlength=source.num_classes)
    share = np.rint(sizes * fraction).astype(np.int64)
    marked = np.zeros(len(labels), dtype=bool)
    marked[take_per_class(labels, share, streams.numpy(stream))] = True
    return marked


def _long_tail(source: Source, config: DataConfig, streams: Streams) -> tuple[Bools, Ints, Ints]:
    """The first parts of `TrialSplits`: `in_test`, `kept` and `rows`."""
    labels = source.pool.labels
    in_test = np.zeros(len(labels), dtype=bool)
    if source.test is None:
        shared = streams if config.test_seed is None else replace(streams, seed=config.test_seed)
        in_test = _stratified(labels, config.test_fraction, source, shared, "split")
    excluded = in_test
    if config.equal_images == "drop":
        excluded = np.isin(source.image_ids[: len(in_test)], _test_ids(source, in_test))
    pool_rows = np.flatnonzero(~excluded)
    sizes = np.bincount(labels[pool_rows], minlength=source.num_classes)
    counts = _class_sizes(sizes, config, source)
    kept = take_per_class(labels[pool_rows], counts, streams.numpy("tail"))
    return in_test, kept, pool_rows[kept]


def _class_sizes(sizes: Ints, config: DataConfig, source: Source) -> Ints:
    """Samples to keep of each class, of which there are `sizes`."""
    factor = config.imbalance_factor if config.is_imbalanced else 1.0
    n_max = config.n_max or int(sizes.max())
    counts = IMBALANCES[config.imbalance].class_sizes(n_max, source.num_classes, factor)
    empty = np.flatnonzero(np.minimum(sizes, counts) == 0)
    if len(empty):
        is_there = sizes[empty].all()
        remedy = "lower [data.imbalance_factor]" if is_there else "it has none in the source"
        raise InputError(
            f"[data.imbalance_factor] must leave every class a training image, "
            f"but {factor:g} leaves none of class {source.named(empty)}: {remedy}"
        )
    return counts


def _digest(source: Source, positions: Ints, samples: LabelledImages) -> str:
    """Digest of which images of the source the samples are, and of their labels."""
    known = [values.tobytes() for values in (positions, samples.true, samples.observed)]
    return hashlib.sha256(b"".join([source.digest.encode(), *known])).hexdigest()
