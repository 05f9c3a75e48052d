"""Settings of the data: its source, the bias put on its training part, and its views."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, ValidationInfo, field_validator

from dynaloss.config.plugins import user_source_names
from dynaloss.config.settings import PathText, Real, Settings, one_of, rule_error, show

__all__ = ["SOURCES", "DataConfig", "NoiseConfig", "ValidationConfig", "ViewsConfig"]

SOURCES = {
    "digits": "1,797 real 8 x 8 images of ten digits, part of scikit-learn: no download",
    "cifar10": "CIFAR-10 as torchvision keeps it; data.download: true fetches it",
    "cifar100": "CIFAR-100 as torchvision keeps it; data.download: true fetches it",
    "parquet": "parquet files with images in their rows, as Hugging Face ships data sets",
    "image_folder": "a folder of images per class, below train/ and test/",
    "image_list": "text files of `path label` lines, as ImageNet-LT and WebVision ship them",
    "animal10n": "Animal-10N: training/ and testing/ with the label in front of each file name",
}
"""Every data source of our own by name; those that other packages add are accepted, too."""

_WITH_TEST_SPLIT = frozenset(SOURCES) - {"digits"}
_PAIRS = re.compile(r"[^,<>]+<?>[^,<>]+(,[^,<>]+<?>[^,<>]+)*")


def _known_source(name: str) -> str:
    return one_of([*SOURCES, *user_source_names()])(name)


class NoiseConfig(Settings):
    """How observed labels come to differ from true ones."""

    kind: Literal["symmetric", "uniform", "flip", "asymmetric", "instance", "file", "none"] = (
        Field(
            default="symmetric",
            description="Law of the label noise. symmetric: a noisy label is drawn by class "
            "frequency, and may be the true one. uniform: likewise, each class equally often. "
            "flip: exactly this share of the labels changes. asymmetric: to one similar class. "
            "instance: depends on the image. file: labels from data.noise.path. none: labels "
            "stay as they are, whatever the rate.",
        )
    )
    rate: Real = Field(
        default=0.0, ge=0, le=1, description="Share of labels that are redrawn, in [0, 1]."
    )
    map: str | None = Field(
        default=None,
        description="For asymmetric: what each class is mistaken for, such as '9>1, cat<>dog', by "
        "number or name; null takes the usual map of CIFAR, or else the next class.",
    )
    path: PathText = Field(
        default=None,
        validate_default=True,
        description="For file: the label file, .npy, .npz, .csv or .pt, a label per image.",
    )
    key: str | None = Field(
        default=None,
        description="For file: the array or column to take, such as 'worse_label'; null where "
        "there is only one.",
    )

    @property
    def is_off(self) -> bool:
        """Whether every label stays as it is."""
        return self.kind == "none" or (self.kind != "file" and self.rate == 0)

    @property
    def label(self) -> str:
        """The noise in words, such as `symmetric 0.4`."""
        if self.is_off:
            return "no noise"
        return f"{self.kind} {self.key or 'labels' if self.kind == 'file' else show(self.rate)}"

    @field_validator("map")
    @classmethod
    def _made_of_pairs(cls, pairs: str | None) -> str | None:
        if pairs is None or _PAIRS.fullmatch(pairs):
            return pairs
        raise rule_error("must be pairs such as '9>1, 3<>5'")

    @field_validator("path")
    @classmethod
    def _given_for_a_file(cls, path: str | None, info: ValidationInfo) -> str | None:
        if path is None and info.data.get("kind") == "file":
            raise rule_error("must be a label file where data.noise.kind is 'file'")
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

    augment: Literal[
        "none", "autoaugment", "autoaugment_imagenet", "randaugment", "trivialaugment"
    ] = Field(
        default="none",
        description="Policy of the strong view. autoaugment: that of CIFAR-10. "
        "autoaugment_imagenet: that of ImageNet.",
    )
    cutout: int = Field(
        default=0, ge=0, description="Side of the square that is cut out, in pixels; 0 for none."
    )
    crop_padding: int | None = Field(
        default=None,
        ge=0,
        description="Padding of the random crop, in pixels; null takes what suits the source.",
    )
    flip: bool | None = Field(
        default=None,
        description="Whether half of the images are mirrored; null takes what suits the source.",
    )
    mixup: Real = Field(
        default=0.0,
        ge=0,
        description="Mixes the images and labels of a training batch, with shares from "
        "Beta(mixup, mixup); 0 for none. For losses that accept soft targets.",
    )


class DataConfig(Settings):
    """Source of the data and the bias put on its training part: long tail first, then noise."""

    source: Annotated[str, AfterValidator(_known_source)] = Field(
        default="digits", description="Name of the data source."
    )
    root: PathText = Field(
        default=None, description="Folder that holds the data; null where the source needs none."
    )
    train: str | None = Field(
        default=None,
        description="Training file or folder below data.root; null takes the usual name.",
    )
    test: str | None = Field(
        default=None,
        description="Test file or folder below data.root; null takes the usual name, and '' "
        "stands for none: then data.test_fraction is kept for the test.",
    )
    download: bool = Field(
        default=False, description="Whether to fetch missing files, where the source can."
    )
    image_size: int | None = Field(
        default=None,
        ge=4,
        description="Side of the images in pixels, for images of any size; null takes the "
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
    noise: NoiseConfig = NoiseConfig()
    imbalance: Literal["exponential", "step", "none"] = Field(
        default="exponential",
        description="How class sizes fall from n_max to n_min. exponential: evenly on a log "
        "scale. step: the later half of the classes is small. none: whatever the factor, not.",
    )
    imbalance_factor: Real = Field(
        default=1.0,
        description="Size of the largest training class over that of the smallest, "
        "n_max / n_min, at least 1; 1 keeps the classes balanced.",
    )
    n_max: int | None = Field(
        default=None,
        ge=1,
        description="Training images of the largest class, at least 1; null takes all there are.",
    )
    test_fraction: Real = Field(
        default=0.25,
        gt=0,
        lt=1,
        description="Share of the images kept for the test, in (0, 1), where the source has no "
        "test split of its own.",
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
        return self.source in _WITH_TEST_SPLIT and self.test != ""

    @property
    def is_imbalanced(self) -> bool:
        """Whether the classes are made to differ in size."""
        return self.imbalance != "none" and self.imbalance_factor != 1

    @property
    def imbalance_label(self) -> str:
        """The imbalance in words, such as `IR 10`."""
        step = "step " if self.imbalance == "step" and self.is_imbalanced else ""
        return f"{step}IR {show(self.imbalance_factor if self.is_imbalanced else 1)}"

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
