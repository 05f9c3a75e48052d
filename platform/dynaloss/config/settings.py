"""What the typed settings share: strict frozen models and rules that speak plain words."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Collection, Hashable, Iterable, Iterator, Mapping
from itertools import product
from pathlib import Path
from typing import Annotated, Any, TypeVar, get_args

from pydantic import AfterValidator, BaseModel, ConfigDict, Field
from pydantic.fields import FieldInfo
from pydantic_core import PydanticCustomError

Scalar = bool | int | float | str | None
_T = TypeVar("_T")


def _without_sign_of_zero(value: float) -> float:
    # -0.0 equals 0.0 but prints otherwise, and would give an equal trial another key.
    return value + 0.0


Real = Annotated[float, AfterValidator(_without_sign_of_zero)]

_LONGEST_SHOWN = 60
_LONGEST_NAME = 100


class Settings(BaseModel):
    """Base of every typed group of settings: frozen, strict about types, no unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


def rule_error(rule: str, remedy: str = "") -> PydanticCustomError:
    """Error whose rule and remedy reach the user word for word."""
    return PydanticCustomError("rule", "{rule}", {"rule": rule, "remedy": remedy})


def refusal(text: str) -> PydanticCustomError:
    """Error whose text is all that the user reads, for values that cannot be shown in a line."""
    return PydanticCustomError("refusal", "{text}", {"text": text})


def one_of(names: Collection[str]) -> Callable[[str], str]:
    """Validator that accepts only `names`, which may grow after the model is defined."""

    def check(value: str) -> str:
        if value in names:
            return value
        raise PydanticCustomError("choice", "must be one of {choices}", {"choices": list(names)})

    check.names = names  # type: ignore[attr-defined] # for the JSON schema
    return check


def broken_name(value: str, signs: str = "_.-") -> str | None:
    """The rule that a name of letters, digits and `signs` breaks, or None.

    Names that pass stay whole as folder names, in tags and on the command line.
    """
    if len(value) > _LONGEST_NAME:
        return f"must have at most {_LONGEST_NAME} characters"
    if re.fullmatch(rf"[A-Za-z0-9_][A-Za-z0-9{re.escape(signs)}]*", value):
        return None
    return f"must be letters, digits and {' '.join(signs)} only, with a letter, digit or _ first"


def name_of(signs: str = "_.-") -> Callable[[str], str]:
    """Validator for names; see `broken_name`."""

    def check(value: str) -> str:
        rule = broken_name(value, signs)
        if rule:
            raise rule_error(rule)
        return value

    return check


def is_single(value: object) -> bool:
    """Whether `value` is one value rather than a list or a mapping."""
    return isinstance(value, Scalar)


def _single_value(value: object) -> object:
    if is_single(value):
        return value
    raise rule_error("must be a single value")


def filled(values: tuple[Any, ...]) -> tuple[Any, ...]:
    """Validator that refuses an empty list."""
    if not values:
        raise PydanticCustomError("empty", "empty")
    return values


def distinct(values: tuple[Any, ...]) -> tuple[Any, ...]:
    """Validator that refuses a value given twice."""
    for value in repeated(values):
        raise PydanticCustomError("repeated", "{value}", {"value": value})
    return values


def _absolute(path: str | None) -> str | None:
    # Trials run in folders of their own.
    if path is None:
        return None
    if not path or "\0" in path:
        raise rule_error("must be a path")
    # Unlike Path.expanduser, this leaves the home of an unknown user as it is written.
    return str(Path(os.path.expanduser(path)).absolute())  # noqa: PTH111


Listed = Field(strict=False)
"""Lets a list of a file become a tuple of its model, in models that are strict otherwise."""

Single = Annotated[Any, AfterValidator(_single_value)]
"""One value, not a list or a mapping."""

Values = Annotated[tuple[Single, ...], Listed, AfterValidator(filled), AfterValidator(distinct)]
"""At least one value, none of them twice."""

_Seed = Annotated[int, Field(ge=0)]
Seeds = Annotated[tuple[_Seed, ...], Listed, AfterValidator(filled), AfterValidator(distinct)]
"""At least one seed, none of them twice."""

PathText = Annotated[str | None, AfterValidator(_absolute)]
"""A path, made absolute; None for none."""


def is_path(field: FieldInfo) -> bool:
    """Whether a field holds a `PathText`."""
    return any(isinstance(m, AfterValidator) and m.func is _absolute for m in field.metadata)


def mapping_at(values: Mapping[str, Any], *path: str) -> dict[str, Any]:
    """The mapping that plain values, well-formed or not, hold at a path; empty without one."""
    found = _at(values, path)
    return found if isinstance(found, dict) else {}


def list_at(values: Mapping[str, Any], *path: str) -> list[Any]:
    """The list that plain values, well-formed or not, hold at a path; empty without one."""
    found = _at(values, path)
    return found if isinstance(found, list) else []


def _at(values: object, path: Iterable[str]) -> object:
    for key in path:
        values = values.get(key) if isinstance(values, Mapping) else None
    return values


def combinations(choices: Mapping[str, Iterable[_T]]) -> Iterator[dict[str, _T]]:
    """Every combination of one choice per key, the last key fastest."""
    for chosen in product(*choices.values()):
        yield dict(zip(choices, chosen, strict=True))


def repeated(values: Iterable[Any]) -> list[Any]:
    """Values that were given before, in order."""
    seen: set[Hashable] = set()
    again = []
    for value in values:
        # True == 1 in Python, but they are two values in a file.
        mark = (isinstance(value, bool), value)
        if mark in seen:
            again.append(value)
        seen.add(mark)
    return again


def models_in(annotation: Any) -> tuple[type[Settings], ...]:  # noqa: ANN401 - any annotation
    """Settings models that a field's annotation names, in order; several for a union."""
    if isinstance(annotation, type) and issubclass(annotation, Settings):
        return (annotation,)
    return tuple(model for part in get_args(annotation) for model in models_in(part))


def show(value: object) -> str:
    """`value` as a study file would write it, shortened where it is long."""
    match value:
        case None | True | False:
            return {None: "null", True: "true", False: "false"}[value]
        case float() if value.is_integer() and abs(value) < 1e15:
            return str(int(value))
        case dict():
            return "a mapping"
        case list() | tuple():
            return "a list"
        case _:
            text = repr(value) if isinstance(value, str) else str(value)
            return text if len(text) <= _LONGEST_SHOWN else f"{text[: _LONGEST_SHOWN - 3]}..."
