"""Problems of a study in plain sentences, with the key that each is about."""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from dynaloss.config.registry import groups_of, one_of_in
from dynaloss.config.settings import Settings, show
from dynaloss.studies.reading.document import Document, KeyPath

_Settings = TypeVar("_Settings", bound=Settings)

_RULES = {
    "bool_type": "must be true or false",
    "dict_type": "must be a mapping",
    "finite_number": "must be a finite number",
    "float_type": "must be a number",
    "greater_than": "must be greater than {gt}",
    "greater_than_equal": "must be at least {ge}",
    "int_type": "must be a whole number",
    "less_than": "must be less than {lt}",
    "less_than_equal": "must be at most {le}",
    "list_type": "must be a list",
    "model_attributes_type": "must be a mapping",
    "model_type": "must be a mapping",
    "string_type": "must be text",
    "tuple_type": "must be a list",
}


@dataclass(frozen=True, slots=True)
class Problem:
    """One rule that does not hold.

    Attributes:
        path: Where, as keys from the top of the file.
        text: The rule, the value and the remedy; reads on from the name of the key.
    """

    path: KeyPath
    text: str

    @property
    def key(self) -> str:
        """Dotted key of the path; positions in lists are left to the line number."""
        return ".".join(part for part in self.path if isinstance(part, str))

    def __str__(self) -> str:
        return f"[{self.key}] {self.text}" if self.key else self.text


def validated(
    model: type[_Settings], values: Mapping[str, Any]
) -> tuple[_Settings | None, list[Problem]]:
    """The settings that `values` make; None, and every reason, where `model` refuses them."""
    try:
        return model.model_validate(values), []
    except ValidationError as error:
        details = error.errors(include_url=False)
        return None, [_problem(detail, model, values) for detail in details]


def problems_of(model: type[Settings], values: Mapping[str, Any]) -> list[Problem]:
    """Every reason for which `model` refuses `values`; none if it accepts them."""
    return validated(model, values)[1]


def placed(problems: Iterable[Problem], document: Document) -> list[str]:
    """The problems, each once; those of a file in order of their lines."""
    if document.path is None:
        return [f"{document.name}: {problem}" for problem in dict.fromkeys(problems)]
    lines = {problem: document.line(problem.path) for problem in problems}
    ordered = sorted(lines.items(), key=lambda entry: entry[1])
    return [f"{document.name}:{line}: {problem}" for problem, line in ordered]


def but_got(rule: str, value: object, remedy: str = "") -> str:
    """The rule, the value that breaks it and, where known, the remedy."""
    return f"{rule}, but got {show(value)}" + (f"; {remedy}" if remedy else "")


def repeats(value: object) -> str:
    """What is wrong with a list that holds `value` twice."""
    return f"must hold distinct values, but got {show(value)} twice"


def did_you_mean(name: object, known: Iterable[str]) -> str:
    """Question that names the nearest known name, or nothing where none is near.

    A last part such as `rate` finds its dotted key, and `resnet18` finds `torchvision/resnet18`.
    """
    options = list(known)
    found = next((option for option in options if option.endswith(f"/{name}")), "")
    close = difflib.get_close_matches(str(name), options, n=1)
    dotted = (option for option in options if option.endswith(f".{name}"))
    found = found or next(iter(close or dotted), "")
    return found and f"did you mean '{found}'?"


def listed(names: Iterable[str]) -> str:
    """Names in quotes, separated by commas."""
    return ", ".join(f"'{name}'" for name in names)


def not_one_of(known: Collection[str], value: object, family: str = "") -> str:
    """What is wrong with a `value` that is none of the `known` ones, and the nearest of them."""
    rule = "must be one of" if family or len(known) > 1 else "must be"
    rule = " ".join(filter(None, (rule, family, listed(known))))
    return but_got(rule, value, did_you_mean(value, known))


def _problem(detail: ErrorDetails, root: type[Settings], values: Mapping[str, Any]) -> Problem:
    path, value, context = detail["loc"], detail["input"], detail.get("ctx", {})
    match detail["type"]:
        case "extra_forbidden":
            text = _unknown_key(path, root, values)
        case "missing":
            text = "is missing"
        case "rule":
            text = but_got(context["rule"], value, context["remedy"])
            text += "" if _is_given(path, values) else " (its default)"
        case "refusal":
            text = context["text"]
        case "choice":
            text = not_one_of(context["choices"], value)
        case "literal_error":
            text = not_one_of(re.findall(r"'([^']*)'", context["expected"]), value)
        case "repeated":
            text = repeats(context["value"])
        case "empty":
            text = "must hold at least one value, but is empty"
        case kind:
            shown = {name: show(bound) for name, bound in context.items()}
            text = but_got(_RULES.get(kind, "must be of another kind").format_map(shown), value)
    return Problem(path, text)


def _is_given(path: KeyPath, values: object) -> bool:
    """Whether the file has a value at a path, which is otherwise the default."""
    for part in path:
        try:
            values = values[part]  # type: ignore[index]
        except (KeyError, IndexError, TypeError):
            return False
    return True


def _unknown_key(path: KeyPath, root: type[Settings], values: object) -> str:
    *groups, key = path
    models: tuple[type[Settings], ...] = (root,)
    kind = ""
    for part in groups:
        values = values[part] if isinstance(values, Mapping | list) else None  # type: ignore[index]
        fields = [m.model_fields[part] for m in models if part in m.model_fields]
        for mark in filter(None, map(one_of_in, fields)):
            kind = str(values.get(mark.tag, mark.default)) if isinstance(values, dict) else ""
        # Between them, the keys of a mapping and the positions in a list leave the models alone.
        models = tuple(group for f in fields for group in groups_of(f)) if fields else models
    known = [name for model in models for name in model.model_fields]
    if key in known:
        return f"is not a setting of '{kind}'"
    question = did_you_mean(key, known)
    if not question and (elsewhere := [*dict.fromkeys(_places(root, str(key)))]):
        question = f"its place is {' or '.join(map(repr, elsewhere))}"
    return "is not a known key; " + (question or f"known: {listed(dict.fromkeys(known))}")


def _places(model: type[Settings], key: str, prefix: str = "") -> Iterator[str]:
    """Dotted keys of the settings below a group whose last part is this one."""
    for name, field in model.model_fields.items():
        if name == key:
            yield prefix + name
        for group in groups_of(field):
            yield from _places(group, key, f"{prefix}{name}.")
