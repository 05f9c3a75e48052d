"""Families of interchangeable parts: every kind by name, ours and those of other packages."""

from __future__ import annotations

import importlib
import pkgutil
import re
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from threading import RLock
from typing import Any, Generic, ParamSpec, TypeVar, cast

from pydantic import (
    Field,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    ValidationError,
    create_model,
)
from pydantic.fields import FieldInfo
from pydantic_core import (
    CoreSchema,
    InitErrorDetails,
    PydanticCustomError,
    PydanticKnownError,
    core_schema,
)

from dynaloss.config.outside import imported, installed, is_address, source_digest
from dynaloss.config.settings import Settings, broken_name, models_in, refusal


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """One kind of a family; each family adds what makes its kinds work, such as a constructor.

    Attributes:
        name: Name in a study file.
        description: What it does, in one line.
        source: Paper or code that it follows; empty where there is none.
        version: Of a kind of another package: changes where it computes something else, and so
            makes new trials. Empty takes a digest of the package's source instead.
    """

    name: str
    description: str
    source: str = ""
    version: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class SettingsKind(Kind):
    """A kind whose settings form a group of their own in a study file.

    Attributes:
        settings: Class of the group; None for that of the family, without settings of its own.
            Every setting has a default: a name alone chooses a kind.
    """

    settings: type[Settings] | None = None


_Fields = ParamSpec("_Fields")
_Kind = TypeVar("_Kind", bound=Kind)
_SettingsKind = TypeVar("_SettingsKind", bound=SettingsKind)


@dataclass(frozen=True, slots=True)
class _Outside(Generic[_Kind]):
    """A kind of another package, and where it comes from: its address and version or digest."""

    kind: _Kind
    origin: str


@dataclass(frozen=True, slots=True)
class _Catalogue(Generic[_Kind]):
    """All kinds whose names begin with a prefix; see `Registry.add_catalogue`."""

    description: str
    find: Callable[[str], _Kind]
    names: Callable[[], Collection[str]]


class Registry(Mapping[str, _Kind], Generic[_Fields, _Kind]):
    """The kinds of one family: sorted by name, or in their order where one module holds them all.

    At the first look the family's home is imported, and with it every module in it whose name has
    no leading underscore; each adds its kinds. No such module may import torch, ray, mlflow or
    optuna: study files are checked without them.

    A family with a group has kinds of other packages, too: `find` and `in` know them by the name
    of their entry point or by their address, `package.module:object`, and import them then.
    Iteration is over our own.

    Args:
        family: What a kind of the family is called, such as `loss`.
        home: Dotted name of the package or module that holds the kinds.
        kind: Class of the kinds.
        group: Group of the entry points of other packages; None for a family without.
        adapt: Makes a kind of another object of another package, given the name that it was found
            by; None where it cannot.
    """

    def __init__(
        self,
        family: str,
        home: str,
        kind: Callable[_Fields, _Kind],
        *,
        group: str | None = None,
        adapt: Callable[[str, object], _Kind | None] = lambda name, found: None,
    ) -> None:
        self.family = family
        self._kind = kind
        self.home = home
        self._group = group
        self._adapt = adapt
        self._kinds: dict[str, _Kind] = {}
        self._catalogues: dict[str, _Catalogue[_Kind]] = {}
        self._outside: dict[str, _Outside[_Kind]] = {}
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

    def add_catalogue(
        self,
        prefix: str,
        description: str,
        find: Callable[[str], _Kind],
        names: Callable[[], Collection[str]],
    ) -> None:
        """Registers all names with a prefix.

        Args:
            prefix: What they begin with.
            description: What they are.
            find: Makes the kind of one, or raises as `find` of the registry.
            names: Lists them without the prefix, as far as they are known.
        """
        self._catalogues[prefix] = _Catalogue(description, find, names)

    def find(self, name: object) -> _Kind:
        """The kind of a name: ours, of a catalogue, of an entry point or at an address.

        Raises:
            PydanticCustomError: What is wrong with the name.
        """
        kinds, entries = self._loaded(), self.installed()
        if not isinstance(name, str) or not (name in kinds or self._is_elsewhere(name)):
            found = (prefix for prefix, one in self._catalogues.items() if name in one.names())
            known = [*kinds, *entries, *(f"{prefix}{name}" for prefix in found)]
            raise PydanticCustomError("choice", "must be one of {choices}", {"choices": known})
        if name in kinds and name in entries:
            raise self._clash(entries[name], name)
        for prefix, catalogue in self._catalogues.items():
            if name.startswith(prefix):
                return catalogue.find(name)
        return kinds[name] if name in kinds else self._from_outside(name).kind

    def check(self, name: str) -> str:
        """Validator of a name; raises as `find`."""
        self.find(name)
        return name

    def origin(self, name: str) -> str:
        """Address of a kind of another package, with its version or a digest; empty for ours."""
        found = self._outside.get(name)
        return found.origin if found else ""

    def installed(self) -> dict[str, str]:
        """Addresses of the kinds that installed packages add, by name; imports none of them."""
        return installed(self._group) if self._group else {}

    def catalogues(self) -> dict[str, str]:
        """Description of each catalogue, by its prefix."""
        self._loaded()
        return {prefix: one.description for prefix, one in self._catalogues.items()}

    def in_use(self) -> list[_Kind]:
        """Our own kinds, and those of other packages that were found so far."""
        return [*self.values(), *(found.kind for found in [*self._outside.values()])]

    def __getitem__(self, name: str) -> _Kind:
        ours = self._loaded().get(name)
        try:
            return ours or self.find(name)
        except PydanticCustomError as error:
            raise KeyError(name) from error

    def __iter__(self) -> Iterator[str]:
        return iter(self._loaded())

    def __len__(self) -> int:
        return len(self._loaded())

    def _is_elsewhere(self, name: str) -> bool:
        is_open = self._group is not None
        is_ours = name.startswith((*self._catalogues,))
        return is_ours or (is_open and (is_address(name) or name in self.installed()))

    def _from_outside(self, name: str) -> _Outside[_Kind]:
        with self._lock:
            if name not in self._outside:
                entries = self.installed()
                address = entries.get(name, name)
                found = imported(address)
                kind = self._as_kind(name, address, found)
                if name in entries and kind.name != name:
                    raise refusal(
                        f"is an entry point of '{address}', which is named '{kind.name}': give "
                        "both one name"
                    )
                self._outside[name] = _Outside(kind, _origin(address, kind))
            return self._outside[name]

    def _as_kind(self, name: str, address: str, found: object) -> _Kind:
        """What was imported, as a kind whose own name no other kind has."""
        known = cast("type[_Kind]", self._kind)
        kind = found if isinstance(found, known) else self._adapt(name, found)
        if kind is None:
            what = f"the class `{_dotted(found)}`" if isinstance(found, type) else "another object"
            if isinstance(found, Kind):
                what = f"a `{_dotted(type(found))}`"
            raise refusal(f"'{address}' must be a `{_dotted(known)}`, but is {what}")
        if isinstance(kind, SettingsKind) and not _are_settings(kind.settings):
            raise refusal(f"'{address}' must have a subclass of `{_dotted(Settings)}` as settings")
        if kind is found and (rule := broken_name(kind.name)):
            raise refusal(f"'{address}' has a name that {rule}: '{kind.name}'")
        others = [other.kind for other in self._outside.values()]
        if kind.name in self._kinds or any(o.name == kind.name and o is not kind for o in others):
            raise self._clash(address, kind.name)
        return kind

    def _clash(self, address: str, name: str) -> PydanticCustomError:
        other = f"a built-in {self.family}" if name in self._kinds else f"another {self.family}"
        return refusal(f"'{address}' is named '{name}', as {other} is: rename it")

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
        base: Class of the settings that all kinds share.
    """

    registry: Registry[..., _SettingsKind]
    tag: str
    default: str
    base: type[Settings]

    def settings_of(self, name: object) -> type[Settings] | None:
        """Class of the settings of a kind; None where `find` raises."""
        with suppress(PydanticCustomError):
            return self.find(name)
        return None

    def find(self, name: object) -> type[Settings]:
        """Class of the settings of a kind.

        Raises:
            PydanticCustomError: If there is no such kind, or it has other settings.
        """
        settings = self.registry.find(name).settings or self.base
        if not self.registry.origin(str(name)):
            return settings
        if not issubclass(settings, self.base):
            raise refusal(f"'{name}' must have a subclass of `{_dotted(self.base)}` as settings")
        return _named(settings, self.tag, str(name))

    def default_settings(self) -> Any:  # noqa: ANN401 - of the class that the field names
        """Settings of the default kind."""
        return self.find(self.default).model_validate({})

    def all_settings(self) -> tuple[type[Settings], ...]:
        """The classes of all kinds in use, the default's first, each once."""
        kinds = [self.registry[self.default], *self.registry.in_use()]
        return tuple(dict.fromkeys(kind.settings or self.base for kind in kinds))

    def __get_pydantic_core_schema__(
        self, source: type[Settings], handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        """A schema that validates by the kind's own settings, and shows all of them."""

        def validate(value: object) -> Settings:
            if isinstance(value, source):
                return value
            if not isinstance(value, dict):
                raise PydanticKnownError("dict_type")
            try:
                settings = self.find(value.get(self.tag, self.default))
            except PydanticCustomError as error:
                raise self._refusal(value, error) from error
            return settings.model_validate(value)

        return core_schema.no_info_plain_validator_function(validate)

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        """The settings of every built-in kind, or any of one of another package."""
        prefixes = "|".join(map(re.escape, self.registry.catalogues()))
        elsewhere = {"type": "string", "pattern": f"^({prefixes})|:" if prefixes else ":"}
        options: list[dict[str, Any]] = [
            {"type": "object", "properties": {self.tag: elsewhere}, "required": [self.tag]}
        ]
        for kind in self.registry.values():
            own = handler((kind.settings or self.base).__pydantic_core_schema__)
            name = {"properties": {self.tag: {"const": kind.name}}}
            required = {} if kind.name == self.default else {"required": [self.tag]}
            options.append({"allOf": [own, name | required], "title": kind.description})
        return {"anyOf": options}

    def _refusal(self, value: dict[str, Any], error: PydanticCustomError) -> ValidationError:
        """What is wrong with the kind, and with the settings that every kind has."""
        problems = [InitErrorDetails(type=error, loc=(self.tag,), input=value.get(self.tag))]
        try:
            self.base.model_validate(value)
        except ValidationError as shared:
            for found in shared.errors(include_url=False):
                is_of_kind = len(found["loc"]) == 1 and found["type"] == "extra_forbidden"
                if not is_of_kind and found["loc"] != (self.tag,):
                    rule = PydanticCustomError(found["type"], found["msg"], found.get("ctx"))
                    problems.append(
                        InitErrorDetails(type=rule, loc=found["loc"], input=found["input"])
                    )
        return ValidationError.from_exception_data(self.base.__name__, problems)


@cache
def _named(settings: type[Settings], tag: str, name: str) -> type[Settings]:
    """Settings of a kind of another package, whose tag is the name that it was found by."""
    text = settings.model_fields[tag].description
    fields: dict[str, Any] = {tag: (str, Field(default=name, description=text))}
    named = create_model(
        settings.__name__,
        __base__=settings,
        __module__=settings.__module__,
        **fields,
    )
    required = [key for key, field in named.model_fields.items() if field.is_required()]
    if required:
        without = ", ".join(f"`{key}`" for key in required)
        raise refusal(
            f"'{name}' must have a default for every setting, but has none for {without}"
        )
    return named


def _origin(address: str, kind: Kind) -> str:
    """Address with the version of a kind, or with a digest of its source."""
    version = kind.version or source_digest(address.partition(":")[0])
    if version is None:
        raise refusal(f"'{address}' must have a `version`, as it has no source files")
    return f"{address} {version}"


def _are_settings(value: object) -> bool:
    return value is None or (isinstance(value, type) and issubclass(value, Settings))


def _dotted(value: type) -> str:
    return f"{value.__module__}.{value.__qualname__}"


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
