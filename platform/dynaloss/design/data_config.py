"""Settings of the data: its source, and the bias put on its training part."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, Field, field_validator

from dynaloss.design.settings import Real, Settings, one_of, rule_error, show

__all__ = ["SOURCES", "DataConfig", "NoiseConfig", "ValidationConfig"]

SOURCES = {
    "digits": "1,797 real 8 x 8 images of ten digits, part of scikit-learn: no download",
}
"""Every data source by name; `data.source` accepts exactly these."""


class NoiseConfig(Settings):
    """How observed labels come to differ from true ones."""

    kind: Literal["symmetric", "none"] = Field(
        default="symmetric",
        description="Law of the label noise. symmetric: a noisy label is drawn by class "
        "frequency, and may be the true one. none: labels stay as they are, whatever the rate.",
    )
    rate: Real = Field(
        default=0.0, ge=0, le=1, description="Share of labels that are redrawn, in [0, 1]."
    )


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


class DataConfig(Settings):
    """Source of the data and the bias put on its training part: long tail first, then noise."""

    source: Annotated[str, AfterValidator(one_of(SOURCES))] = Field(
        default="digits", description="Name of the data source."
    )
    noise: NoiseConfig = NoiseConfig()
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
