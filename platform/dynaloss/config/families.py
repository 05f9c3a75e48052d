"""The families of interchangeable parts that study files name: what makes up a kind, and where.

A new kind is one file in the home of its family, or an object of another package. It cannot be
known to the settings alone: what study files may name, what `dynaloss list` shows and what runs
are read from the same registry.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dynaloss.config.registry import Kind, Registry, SettingsKind

if TYPE_CHECKING:
    import numpy as np
    import torch
    from numpy.typing import NDArray
    from torch import Tensor, nn


@dataclass(frozen=True, slots=True, kw_only=True)
class LossKind(SettingsKind):
    """A loss.

    Attributes:
        build: Makes it, given its settings and its `TrainingFacts`.
    """

    build: Callable[..., Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class SamplerKind(SettingsKind):
    """A way to choose the metadata of an epoch.

    Attributes:
        draw: Positions of the metadata in the training set, given the settings and `Candidates`.
        uses: Settings that have an effect, beside the kind: without `every` metadata are drawn
            once, with `path` a file names them.
        has_true_labels: Whether metadata have their true labels, which count as clean labels used.
    """

    draw: Callable[..., Tensor]
    uses: tuple[str, ...] = ("random_ratio", "low_loss_ratio", "every", "keep_in_train")
    has_true_labels: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class NoiseKind(SettingsKind):
    """A law of label noise.

    Attributes:
        observe: Observed labels, int64, given the settings, the source, the positions in its pool
            of the N samples to label, and a NumPy generator.
        uses: Settings that have an effect, beside the kind. A kind that uses the rate is off at
            rate 0, and one that uses none is always off.
        check: Refuses a source that it cannot be put on, whatever the seed; None accepts all.
        remarks: What to warn of on a source that passed `check`, one sentence each, given the
            settings and the source.
        is_costly: Whether its labels are drawn in the trial alone, not in the checks before it.
    """

    observe: Callable[..., NDArray[np.int64]]
    uses: tuple[str, ...] = ("rate",)
    check: Callable[..., object] | None = None
    remarks: Callable[..., Sequence[str]] | None = None
    is_costly: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ImbalanceKind(Kind):
    """A shape of class sizes.

    Attributes:
        class_sizes: Samples per class, int64, shape (C,), given n_max, C and n_max / n_min.
    """

    class_sizes: Callable[[int, int, float], NDArray[np.int64]]


@dataclass(frozen=True, slots=True, kw_only=True)
class AugmentationKind(Kind):
    """A policy of the strong view.

    Attributes:
        steps: Yields the operation and magnitude of each image of a batch, step by step.
    """

    steps: Callable[[Tensor, torch.Generator], Iterator[tuple[Tensor, Tensor]]]


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceKind(SettingsKind):
    """A data source.

    Attributes:
        load: Reads it whole, given its settings; decodes or downloads where needed.
        digest: Digest of its content, given the same, without decoding it.
        remarks: What to warn of in its files, one sentence each, given the same.
        ignores: Settings of the source that mean nothing to it, and are refused.
        has_test_split: Whether it has a test split of its own.
    """

    load: Callable[..., Any]
    digest: Callable[..., str]
    remarks: Callable[..., Sequence[str]] | None = None
    ignores: tuple[str, ...] = ()
    has_test_split: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelKind(SettingsKind):
    """A classifier.

    Attributes:
        build: Makes it, given its settings, and `input_shape` and `num_classes` by name.
    """

    build: Callable[..., nn.Module]


@dataclass(frozen=True, slots=True, kw_only=True)
class OptunaSamplerKind(Kind):
    """A way to suggest configurations.

    Attributes:
        build: Makes Optuna's sampler, given the settings of the search, the seed of the trial, the
            seed of its group and whether trials run in parallel.
        enumerates: Whether the combinations of the space are run one after the other, so that
            all values must be countable.
        needs_complete: Whether Optuna's sampler learns from completed trials alone, so that it
            must be shown pruned ones as completed.
        shares: Whether it learns from the trials of all groups, by their ranks within the group.
        is_multi_objective: Whether it takes several objectives.
        takes_any_space: Whether it takes choices, and parameters that depend on others.
        least_parameters: Fewest parameters that it can search.
    """

    build: Callable[..., Any]
    enumerates: bool = False
    needs_complete: bool = False
    shares: bool = False
    is_multi_objective: bool = True
    takes_any_space: bool = True
    least_parameters: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class PrunerKind(Kind):
    """A rule that stops trials.

    Attributes:
        build: Makes the rule, given the settings of the scheduler.
        rungs: Epochs at which trials are compared, given those settings, the first such epoch and
            a trial's length.
        has_rungs: Whether there are such epochs, which the settings must leave room for.
        has_brackets: Whether trials differ in their first rung.
        promotes: Whether trials pause at a rung until they are among the best there.
    """

    build: Callable[..., Any]
    rungs: Callable[..., list[int]]
    has_rungs: bool = True
    has_brackets: bool = False
    promotes: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class DesignKind(Kind):
    """A design of an ablation.

    Attributes:
        subsets: The subsets of the components that are switched on together, in order, given the
            names of the components and a resolution, which only fractions have.
    """

    subsets: Callable[[Sequence[str], int], list[tuple[str, ...]]]


def _source_of(name: str, load: object) -> SourceKind | None:
    """The data source of a function of its settings that returns a `Source`."""
    if not callable(load):
        return None
    return SourceKind(
        name=name,
        description="",
        load=load,
        digest=lambda settings: str(load(settings).digest),
        has_test_split=False,
    )


LOSSES = Registry("loss", "dynaloss.learning.losses", LossKind, group="dynaloss.losses")
SAMPLERS = Registry(
    "metadata sampler", "dynaloss.learning.meta.samplers", SamplerKind, group="dynaloss.samplers"
)
MODELS = Registry(
    "model", "dynaloss.learning.models.catalogue", ModelKind, group="dynaloss.models"
)
NOISES = Registry("label noise", "dynaloss.data.bias.noise", NoiseKind, group="dynaloss.noises")
IMBALANCES = Registry("imbalance", "dynaloss.data.bias.imbalance", ImbalanceKind)
SOURCES = Registry(
    "data source",
    "dynaloss.data.sources.kinds",
    SourceKind,
    group="dynaloss.sources",
    adapt=_source_of,
)
AUGMENTATIONS = Registry("augmentation", "dynaloss.data.views.policies", AugmentationKind)
OPTUNA_SAMPLERS = Registry(
    "Optuna sampler", "dynaloss.execution.search.optuna_samplers", OptunaSamplerKind
)
PRUNERS = Registry("pruner", "dynaloss.execution.search.pruning", PrunerKind)
DESIGNS = Registry("design", "dynaloss.studies.designs", DesignKind)
