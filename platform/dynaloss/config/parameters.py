"""Parameters of a search space: exactly one distribution each, some of them conditional."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, model_validator

from dynaloss.config.settings import Listed, Real, Scalar, Settings, Values, is_single, refusal

_KINDS = ("uniform", "loguniform", "integer", "loginteger", "choice")


def _bounds(values: tuple[float, ...]) -> tuple[float, ...]:
    if len(values) != 2:
        raise refusal("must be [low, high]")
    if values[0] >= values[1]:
        raise refusal(f"must be [low, high] with low below high, but got [{_pair(values)}]")
    return values


def _positive(values: tuple[float, ...]) -> tuple[float, ...]:
    if values[0] <= 0:
        raise refusal(f"must start above 0, as its logarithm is drawn, but got [{_pair(values)}]")
    return values


def _pair(values: tuple[float, ...]) -> str:
    return ", ".join(f"{value:g}" for value in values)


def _one_or_several(wanted: Any) -> Any:  # noqa: ANN401 - a value of any setting
    several = wanted if isinstance(wanted, list) and wanted else [wanted]
    if all(map(is_single, several)):
        return wanted
    raise refusal("must be a single value or a list of them")


_Range = Annotated[tuple[Real, ...], Listed, AfterValidator(_bounds)]
_LogRange = Annotated[_Range, AfterValidator(_positive)]
_Whole = Annotated[tuple[int, ...], Listed, AfterValidator(_bounds)]
_LogWhole = Annotated[_Whole, AfterValidator(_positive)]
_Wanted = Annotated[Any, AfterValidator(_one_or_several)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Distribution:
    """The values that a parameter may have.

    Attributes:
        kind: `real`, `whole` or `choice`.
        low: Lowest value of a range.
        high: Highest value of a range, itself included.
        log: Whether the logarithm is drawn evenly.
        step: Distance of the values of a range, counted from `low`; None for any value.
        choices: The values of a choice.
    """

    kind: Literal["real", "whole", "choice"]
    low: float = 0.0
    high: float = 0.0
    log: bool = False
    step: float | None = None
    choices: tuple[Scalar, ...] = ()

    def extremes(self) -> tuple[Scalar, ...]:
        """The values to try a trial with: the ends of a range, or every choice."""
        return self.choices or (self.low, self.high)

    def points(self) -> tuple[Scalar, ...] | None:
        """Every value, where they can be counted."""
        if self.kind == "choice":
            return self.choices
        if self.step is None:
            return None
        count = math.floor((self.high - self.low) / self.step + 1e-9) + 1
        values = (self.low + i * self.step for i in range(count))
        return tuple(int(v) if self.kind == "whole" else self.rounded(v) for v in values)

    def holds(self, value: Scalar) -> bool:
        """Whether it is one of the values that the parameter may have."""
        if (points := self.points()) is not None:
            return any(type(one) is type(value) and one == value for one in points)
        if isinstance(value, bool) or not isinstance(value, int | float):
            return False
        is_of_kind = isinstance(value, int) or self.kind == "real"
        return is_of_kind and self.low <= value <= self.high

    def rounded(self, value: float) -> float:
        """`value` without the noise of adding steps, and within the range."""
        return min(round(value, 12), self.high)


class ParameterConfig(Settings):
    """One parameter of a space: exactly one kind, with its step and its condition."""

    uniform: _Range | None = Field(
        default=None, description="[low, high]: any number between, each as likely."
    )
    loguniform: _LogRange | None = Field(
        default=None, description="[low, high]: any number between, each magnitude as likely."
    )
    integer: _Whole | None = Field(
        default=None, description="[low, high]: any whole number between, both included."
    )
    loginteger: _LogWhole | None = Field(
        default=None, description="[low, high]: whole numbers, each magnitude as likely."
    )
    choice: Values | None = Field(default=None, description="A list: any of its values.")
    step: Real | None = Field(
        default=None, gt=0, description="Distance between the values of uniform or integer."
    )
    when: dict[str, _Wanted] = Field(
        default={},
        description="The parameter exists only where each of these settings has the value "
        "given, or one of the list given.",
    )

    @model_validator(mode="after")
    def _one_kind(self) -> ParameterConfig:
        if sum(getattr(self, kind) is not None for kind in _KINDS) != 1:
            raise refusal(f"must name exactly one of {', '.join(_KINDS)}")
        if self.step is None:
            return self
        if self.kind not in ("uniform", "integer"):
            raise refusal(f"must have no step, as {self.kind} has none")
        if self.kind == "integer" and not self.step.is_integer():
            raise refusal("must have a whole step, as integer needs one")
        return self

    @property
    def kind(self) -> str:
        """Name of the distribution."""
        return next(kind for kind in _KINDS if getattr(self, kind) is not None)

    def distribution(self) -> Distribution:
        """The distribution that the parameter names."""
        if self.choice is not None:
            return Distribution(kind="choice", choices=self.choice)
        low, high = getattr(self, self.kind)
        log, step = self.kind.startswith("log"), self.step
        if self.kind.endswith("integer"):
            step = None if log else float(step or 1)
            return Distribution(kind="whole", low=low, high=high, log=log, step=step)
        return Distribution(kind="real", low=float(low), high=float(high), log=log, step=step)
