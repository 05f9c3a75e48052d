"""Families of interchangeable parts: every kind by name, found in the family's own package."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from threading import RLock
from typing import Any, Generic, ParamSpec, TypeVar

from pydantic import GetCoreSchemaHandler
from pydantic.fields import FieldInfo
from pydantic_core import CoreSchema, PydanticCustomError, PydanticKnownError, core_schema

from dynaloss.config.settings import Settings, models_in


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """One kind of a family; each family adds what makes its kinds work, such as a constructor.

    Attributes:
        name: Name in a study file.
        description: What it does, in one line.
        source: Paper or code that it follows; empty where there is none.
    """

    name: str
    description: str
    source: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class SettingsKind(Kind):
    """A kind whose settings form a group of their own in a study file.

    Attributes:
        settings: Class of the group. Every setting has a default: a name alone chooses a kind.
    """

    settings: type[Settings]


_Fields = ParamSpec("_Fields")
_Kind = TypeVar("_Kind", bound=Kind)
_SettingsKind = TypeVar("_SettingsKind", bound=SettingsKind)


class Registry(Mapping[str, _Kind], Generic[_Fields, _Kind]):
    """The kinds of one family: sorted by name, or in their order where one module holds them all.

    At the first look the family's home is imported, and with it every module in it whose name has
    no leading underscore; each adds its kinds. No such module may import torch, ray, mlflow or
    optuna: study files are checked without them.

    Args:
        family: What a kind of the family is called, such as `loss`.
        home: Dotted name of the package or module that holds the kinds.
        kind: Class of the kinds.
    """

    def __init__(self, family: str, home: str, kind: Callable[_Fields, _Kind]) -> None:
        self.family = family
        self._kind = kind
        self.home = home
        self._kinds: dict[str, _Kind] = {}
        self._is_loaded = False
        self._lock = RLock()

    def add(self, *args: _Fields.args, **kwargs: _Fields.kwargs) -> None:
        """Registers the kind of these fields.

        Raises:
            ValueError: If the name is taken.
        """
        kind = self._kind(*args, **kwargs)
        if kind.name in self._kinds:
            raise ValueError(f"`name` must be new in the family {self.family}: '{kind.name}'.")
        self._kinds[kind.name] = kind

    def __getitem__(self, name: str) -> _Kind:
        return self._loaded()[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._loaded())

    def __len__(self) -> int:
        return len(self._loaded())

    def _loaded(self) -> dict[str, _Kind]:
        with self._lock:
            if not self._is_loaded:
                self._is_loaded = True  # at once: a module may look at the registry it adds to
                try:
                    is_package = _import_all(self.home)
                except BaseException:
                    self._is_loaded = False
                    raise
                if is_package:  # modules import each other: their order is no order to show
                    self._kinds = dict(sorted(self._kinds.items()))
        return self._kinds


@dataclass(frozen=True, slots=True)
class OneOf(Generic[_SettingsKind]):
    """Marks a field whose settings are those of the kind that their `tag` names.

    Attributes:
        registry: The family.
        tag: Setting that names the kind.
        default: Name of the kind where the tag is not given.
    """

    registry: Registry[..., _SettingsKind]
    tag: str
    default: str

    def settings_of(self, name: object) -> type[Settings] | None:
        """Class of the settings of a kind; None for an unknown one."""
        kind = self.registry.get(name) if isinstance(name, str) else None
        return None if kind is None else kind.settings

    def default_settings(self) -> Any:  # noqa: ANN401 - of the class that the field names
        """Settings of the default kind."""
        return self.registry[self.default].settings.model_validate({})

    def all_settings(self) -> tuple[type[Settings], ...]:
        """The classes of all kinds, the default's first, each once."""
        kinds = [self.registry[self.default], *self.registry.values()]
        return tuple(dict.fromkeys(kind.settings for kind in kinds))

    def __get_pydantic_core_schema__(
        self, source: type[Settings], handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        """A schema that validates by the kind's own settings, and shows all of them."""

        def validate(value: object) -> Settings:
            if isinstance(value, source):
                return value
            if not isinstance(value, dict):
                raise PydanticKnownError("dict_type")
            name = value.get(self.tag, self.default)
            settings = self.settings_of(name)
            if settings is None:
                raise PydanticCustomError(
                    "unknown_kind",
                    "`{tag}` must be one of {known}",
                    {"tag": self.tag, "known": list(self.registry)},
                )
            return settings.model_validate(value)

        return core_schema.no_info_plain_validator_function(validate)


def _import_all(home: str) -> bool:
    """Imports a module, or a package with all its public modules; whether it is a package."""
    path = getattr(importlib.import_module(home), "__path__", None)
    for module in pkgutil.iter_modules(path or ()):
        if not module.name.startswith("_"):
            importlib.import_module(f"{home}.{module.name}")
    return path is not None


def groups_of(field: FieldInfo) -> tuple[type[Settings], ...]:
    """Settings classes that a field may hold, in order; none for a single setting."""
    mark = one_of_in(field)
    return models_in(field.annotation) if mark is None else mark.all_settings()


def one_of_in(field: FieldInfo) -> OneOf[Any] | None:
    """The mark of a field whose settings are those of a kind, or None."""
    return next((mark for mark in field.metadata if isinstance(mark, OneOf)), None)
