"""Settings of the data: its source, the bias put on its training part, and its views."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field, ValidationInfo, field_validator

from dynaloss.config.families import AUGMENTATIONS, IMBALANCES, NOISES, SOURCES
from dynaloss.config.registry import OneOf
from dynaloss.config.settings import (
    Listed,
    PathText,
    Real,
    Settings,
    broken_name,
    one_of,
    refusal,
    rule_error,
    show,
)

_PAIRS = re.compile(r"[^,<>]+<?>[^,<>]+(,[^,<>]+<?>[^,<>]+)*")


class NoiseConfig(Settings):
    """How observed labels differ from true ones.

    A kind with settings of its own derives its class from this one.
    """

    kind: Annotated[str, AfterValidator(NOISES.check)] = Field(
        default="symmetric", description="Law of the label noise."
    )
    rate: Real = Field(
        default=0.0, ge=0, le=1, description="Share of labels that are redrawn, in [0, 1]."
    )
    map: str | None = Field(
        default=None,
        description="For asymmetric: what each class is mistaken for, such as '9>1, cat<>dog', by "
        "number or name; null uses the map of CIFAR, or the next class.",
    )
    path: PathText = Field(
        default=None,
        validate_default=True,
        description="For file: the label file, .npy, .npz, .csv or .pt, a label per image.",
    )
    key: str | None = Field(
        default=None,
        description="For file: the array or column to use, such as 'worse_label'; null where "
        "there is only one.",
    )

    @property
    def is_off(self) -> bool:
        """Whether every label stays as it is."""
        uses = NOISES[self.kind].uses
        return not uses or ("rate" in uses and self.rate == 0)

    @property
    def label(self) -> str:
        """The noise in words, such as `symmetric 0.4`."""
        has_rate = "rate" in NOISES[self.kind].uses
        amount = show(self.rate) if has_rate else self.key or "labels"
        return "no noise" if self.is_off else f"{NOISES[self.kind].name} {amount}"

    @field_validator("map")
    @classmethod
    def _made_of_pairs(cls, pairs: str | None) -> str | None:
        if pairs is None or _PAIRS.fullmatch(pairs):
            return pairs
        raise rule_error("must be pairs such as '9>1, 3<>5'")

    @field_validator("path")
    @classmethod
    def _given_where_used(cls, path: str | None, info: ValidationInfo) -> str | None:
        kind = NOISES.get(info.data.get("kind", ""))
        if path is None and kind and "path" in kind.uses:
            raise rule_error(f"must be a label file where data.noise.kind is '{kind.name}'")
        return path


class ValidationConfig(Settings):
    """A part of the training data, held out to select by."""

    fraction: Real = Field(
        default=0.0, ge=0, lt=1, description="Share of the training data held out, in [0, 1)."
    )
    labels: Literal["observed", "clean"] = Field(
        default="observed",
        description="Labels of the held-out part: as noisy as in training, or the true ones, "
        "which count as clean labels used.",
    )


class ViewsConfig(Settings):
    """How the strong view is made of an image; the weak view is the image, normalised."""

    augment: Annotated[str, AfterValidator(one_of(AUGMENTATIONS))] = Field(
        default="none", description="Policy of the strong view."
    )
    cutout: int = Field(
        default=0, ge=0, description="Side of the square that is cut out, in pixels; 0 for none."
    )
    crop_padding: int | None = Field(
        default=None,
        ge=0,
        description="Padding of the random crop, in pixels; null: the default of the source.",
    )
    flip: bool | None = Field(
        default=None,
        description="Whether half of the images are mirrored; null: the default of the source.",
    )
    fill: int = Field(
        default=128,
        ge=0,
        le=255,
        description="Value, 0 to 255, of the pixels that cutout, rotation, shear and translation "
        "leave empty; 128 as in the authors' code. The random crop fills with 0.",
    )
    statistics: Literal["pixels", "images"] | None = Field(
        default=None,
        description="Standard deviation that images are divided by, per channel. pixels: that of "
        "all pixels. images: the mean over the images of that within each. null: the default of "
        "the source: images for CIFAR-10, as in the authors' code, and pixels for all others.",
    )
    mixup: Real = Field(
        default=0.0,
        ge=0,
        description="Mixes the images and labels of a training batch, with shares from "
        "Beta(mixup, mixup); 0 for none. For losses that accept soft targets; the authors' code "
        "offers 0.5.",
    )


def _pairs(given: object) -> object:
    if given is None or isinstance(given, tuple):
        return given
    if isinstance(given, list) and all(isinstance(pair, list | tuple) for pair in given):
        return tuple(map(tuple, given))  # as JSON gives it back
    if not isinstance(given, dict):
        raise rule_error("must be a mapping of names to files or folders")
    return tuple(given.items())


def _named(pairs: tuple[tuple[str, str], ...]) -> tuple[tuple[str, str], ...]:
    for name, _ in pairs:
        if rule := broken_name(name, "_"):
            raise refusal(f"names a set '{name}', which {rule}")
    return pairs


# Pairs rather than a mapping, since settings are hashed.
_NamedFiles = Annotated[
    tuple[tuple[str, str], ...],
    BeforeValidator(_pairs, json_schema_input_type=dict[str, str]),
    Listed,
    AfterValidator(_named),
]


class SourceSettings(Settings):
    """Which source, and where its files are; what sources are loaded by."""

    source: Annotated[str, AfterValidator(SOURCES.check)] = Field(
        default="digits", description="Name of the data source."
    )
    root: PathText = Field(
        default=None, description="Folder that holds the data; null where the source needs none."
    )
    train: str | None = Field(
        default=None,
        description="Training file or folder below data.root; null uses the usual name.",
    )
    test: str | None = Field(
        default=None,
        description="Test file or folder below data.root; null uses the usual name, and '' "
        "means none: then data.test_fraction is kept for the test.",
    )
    more_tests: _NamedFiles | None = Field(
        default=None,
        description="Further test sets, a mapping of names to files or folders below data.root; "
        "each reports metrics of its own, such as `test_NAME/accuracy`.",
    )
    download: bool = Field(
        default=False, description="Whether to fetch missing files, where the source can."
    )
    verify: bool = Field(
        default=True,
        description="Whether files must have their published checksums, where the source knows "
        "them; false reads other files, too, with a warning.",
    )
    image_size: int | None = Field(
        default=None,
        ge=4,
        description="Side of the images in pixels, for images of any size; null uses the "
        "usual one.",
    )
    num_classes: int | None = Field(
        default=None,
        ge=2,
        description="Keep the classes below this number, such as the first 50; null keeps all.",
    )
    memory: Literal["auto", "resident", "stream"] = Field(
        default="auto",
        description="resident: decoded once, and kept on the device. stream: read batch by "
        "batch. auto: resident up to 4 GiB.",
    )

    @property
    def source_key(self) -> str:
        """Text that two settings share if and only if they name the same source and files.

        The settings that only some sources have are part of it.
        """
        return self.model_dump_json(exclude=set(DataConfig.model_fields) - _OF_THE_SOURCE)


_OF_THE_SOURCE = set(SourceSettings.model_fields)
_NOISE = OneOf(NOISES, tag="kind", default="symmetric", base=NoiseConfig)


class DataConfig(SourceSettings):
    """Source of the data and the bias put on its training part: long tail first, then noise.

    A source with settings of its own derives its class from this one.
    """

    noise: Annotated[NoiseConfig, _NOISE] = NoiseConfig()
    imbalance: Annotated[str, AfterValidator(one_of(IMBALANCES))] = Field(
        default="exponential", description="How class sizes fall from n_max to n_min."
    )
    imbalance_factor: Real = Field(
        default=1.0,
        description="Size of the largest training class over that of the smallest, "
        "n_max / n_min, at least 1; 1 keeps the classes balanced.",
    )
    n_max: int | None = Field(
        default=None,
        ge=1,
        description="Training images of the largest class, at least 1; null keeps all.",
    )
    test_fraction: Real = Field(
        default=0.25,
        gt=0,
        lt=1,
        description="Share of the images kept for the test, in (0, 1), where the source has no "
        "test split of its own.",
    )
    test_seed: int | None = Field(
        default=None,
        ge=0,
        description="Seed that draws that share: of trials of several seeds, one test split; null "
        "draws one for each trial's seed.",
    )
    validation: ValidationConfig = ValidationConfig()
    equal_images: Literal["keep", "drop"] = Field(
        default="keep",
        description="Images of equal content in two roles. keep: a warning counts them. drop: "
        "training leaves out what is in the test or in validation, too.",
    )
    views: ViewsConfig = ViewsConfig()

    @property
    def has_test_split(self) -> bool:
        """Whether the source is known to have a test split of its own."""
        kind = SOURCES.get(self.source)
        return kind is not None and kind.has_test_split and self.test != ""

    @property
    def is_imbalanced(self) -> bool:
        """Whether the classes are made to differ in size."""
        return self.imbalance != "none" and self.imbalance_factor != 1

    @property
    def imbalance_label(self) -> str:
        """The imbalance in words, such as `IR 10`."""
        if not self.is_imbalanced:
            return "IR 1"
        kind = "" if self.imbalance == "exponential" else f"{self.imbalance} "
        return f"{kind}IR {show(self.imbalance_factor)}"

    @field_validator("imbalance_factor")
    @classmethod
    def _largest_over_smallest(cls, factor: float) -> float:
        if factor >= 1:
            return factor
        inverse = f": did you mean {show(float(f'{1 / factor:.6g}'))}?" if factor > 0 else ""
        raise rule_error(
            "must be at least 1",
            "it is n_max / n_min, the inverse of what the released code writes" + inverse,
        )
