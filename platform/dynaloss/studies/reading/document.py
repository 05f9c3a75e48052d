"""Reads YAML strictly: YAML 1.2 core scalars, no repeated keys, no aliases, lines for all keys.

Values that are given in Python instead have to be as plain as those of a file.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from numbers import Integral, Real
from os import PathLike, fspath
from pathlib import Path
from typing import Any

from yaml import AliasEvent, BaseLoader, MappingNode, MarkedYAMLError, ScalarNode, SequenceNode
from yaml.composer import ComposerError
from yaml.nodes import Node
from yaml.reader import ReaderError

from dynaloss.errors import InputError

KeyPath = tuple[str | int, ...]

_LARGEST = 2**18
_TAG = "tag:yaml.org,2002:"


@dataclass(frozen=True, slots=True)
class Document:
    """A YAML file as plain values, with the line of each of them.

    Attributes:
        path: The file, as it was named; None where the values were given in Python.
        values: The top-level mapping.
        lines: Line, counted from 1, of every key path; a key's line, or a list item's.
    """

    path: Path | None
    values: dict[str, Any]
    lines: Mapping[KeyPath, int] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """What messages call it."""
        return "study" if self.path is None else str(self.path)

    def line(self, path: KeyPath) -> int:
        """Line of `path`, or of the closest enclosing key that the file holds."""
        while path and path not in self.lines:
            path = path[:-1]
        return self.lines.get(path, 1)


def read_document(path: Path) -> Document:
    """Plain values and lines of the YAML file at `path`.

    Raises:
        InputError: If the file cannot be read or is not strict YAML with a mapping on top.
    """
    text = ""
    try:
        if path.exists() and not path.is_file():  # a pipe may keep its reader waiting for ever
            raise InputError(f"{path}: must be a plain file")
        if (size := path.stat().st_size) > _LARGEST:
            raise InputError(f"{path}: must have at most {_LARGEST:,} bytes, but has {size:,}")
        text = path.read_text(encoding="utf-8-sig")
        return _document(path, _CoreLoader(text).get_single_node())
    except OSError as error:
        problem = f": cannot be read: {error.strerror}"
    except UnicodeDecodeError:
        problem = ": the file must be UTF-8 text"
    except RecursionError:
        problem = ": the values are nested too deeply"
    except ReaderError as error:
        problem = f":{text.count(chr(10), 0, error.position) + 1}: not valid YAML: {error.reason}"
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        problem = f":{mark.line + 1 if mark else 1}: not valid YAML: {error.problem}"
    raise InputError(f"{path}{problem}")


def plain_value(text: str) -> Any:  # noqa: ANN401 - as the text says
    """The single value that a study file would hold where it says `text`."""
    return next(convert(text) for pattern, convert in _SCALARS.values() if pattern.match(text))


def document_of(values: Mapping[str, Any]) -> Document:
    """What a file would hold, given in Python; tuples, ranges and NumPy's numbers are plain too.

    Raises:
        InputError: If a file could not hold the values.
    """
    problems: list[str] = []
    plain = _plain_mapping(values, (), problems)
    if problems:
        raise InputError(f"study: {problem}" for problem in problems)
    return Document(None, plain)


def _plain_mapping(
    values: Mapping[str, Any], path: tuple[str, ...], problems: list[str]
) -> dict[str, Any]:
    for key in values:
        if not isinstance(key, str):
            place = f"[{'.'.join(path)}] " if path else ""
            problems.append(f"{place}a key must be text, but got {key!r}")
    return {key: _plain(value, (*path, str(key)), problems) for key, value in values.items()}


def _plain(value: object, path: tuple[str, ...], problems: list[str]) -> object:
    """A value as a file would give it; what no file can hold becomes a problem."""
    match value:
        case None | bool() | str():
            return value
        case Integral():
            return int(value)
        case Real():
            return float(value)
        case PathLike():
            return fspath(value)
        case Mapping():
            return _plain_mapping(value, path, problems)
        case list() | tuple() | range():
            return [_plain(item, path, problems) for item in value]
    kinds = "a number, text, true, false, null, a list or a mapping"
    problems.append(f"[{'.'.join(path)}] must be {kinds}, but got {type(value).__name__}")
    return None


def _document(path: Path, root: Node | None) -> Document:
    if root is None:
        raise InputError(f"{path}: the file is empty")
    builder = _Builder()
    values = builder.value(root, ())
    if builder.problems:
        raise InputError(f"{path}:{line}: {rule}" for line, rule in builder.problems)
    if not isinstance(values, dict):
        raise InputError(f"{path}:{builder.lines[()]}: the top of the file must be a mapping")
    return Document(path, values, builder.lines)


def _int(text: str) -> int:
    return int(text, {"0o": 8, "0x": 16}.get(text[:2], 10))


def _float(text: str) -> float:
    # `.inf` and `.nan` become what Python calls them; a leading dot of `.5` stays.
    return float(re.sub(r"\.(?=[iInN])", "", text))


_SCALARS: Mapping[str, tuple[re.Pattern[str], Callable[[str], object]]] = {
    "null": (re.compile(r"(null|Null|NULL|~|)\Z"), lambda text: None),
    "bool": (
        re.compile(r"(true|True|TRUE|false|False|FALSE)\Z"),
        lambda text: text.lower() == "true",
    ),
    "int": (re.compile(r"[-+]?[0-9]+\Z|0o[0-7]+\Z|0x[0-9a-fA-F]+\Z"), _int),
    "float": (
        re.compile(
            r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?\Z"
            r"|[-+]?\.(inf|Inf|INF)\Z|\.(nan|NaN|NAN)\Z"
        ),
        _float,
    ),
    "str": (re.compile(""), str),
}
"""Scalars of the YAML 1.2 core schema, text last: pattern and conversion."""


class _CoreLoader(BaseLoader):
    """Composes nodes; plain scalars get the tags of the YAML 1.2 core schema."""

    def compose_node(self, parent: Node | None, index: int) -> Node | None:
        # A chain of aliases grows exponentially; a study file is short enough without them.
        if self.check_event(AliasEvent):
            rule = "aliases (*name) are not supported: write the value out"
            event = self.peek_event()  # type: ignore[no-untyped-call]  # untyped in the stubs
            raise ComposerError(None, None, rule, event.start_mark)
        return super().compose_node(parent, index)


for _kind, (_pattern, _) in _SCALARS.items():
    _CoreLoader.add_implicit_resolver(_TAG + _kind, _pattern, None)


@dataclass(slots=True)
class _Builder:
    """Turns nodes into plain values, and notes lines and problems on the way."""

    lines: dict[KeyPath, int] = field(default_factory=dict)
    problems: list[tuple[int, str]] = field(default_factory=list)

    def value(self, node: Node, path: KeyPath) -> object:
        line = node.start_mark.line + 1
        self.lines.setdefault(path, line)
        kind = node.tag.removeprefix(_TAG)
        if isinstance(node, MappingNode) and kind == "map":
            return self._mapping(node, path)
        if isinstance(node, SequenceNode) and kind == "seq":
            return [self.value(item, (*path, i)) for i, item in enumerate(node.value)]
        if isinstance(node, ScalarNode) and kind in _SCALARS:
            return self._scalar(kind, node.value, line)
        self.problems.append((line, f"the tag {node.tag!r} is not supported"))
        return None

    def _mapping(self, node: MappingNode, path: KeyPath) -> dict[str, object]:
        values: dict[str, object] = {}
        for key_node, value_node in node.value:
            if (key := self._key(key_node, values)) is not None:
                self.lines[(*path, key)] = key_node.start_mark.line + 1
                values[key] = self.value(value_node, (*path, key))
        return values

    def _key(self, node: Node, known: Mapping[str, object]) -> str | None:
        """The key that `node` spells, or None after noting why it cannot be one."""
        text = node.value
        if not isinstance(node, ScalarNode):
            rule = "a key must be text"
        elif node.tag != f"{_TAG}str":
            rule = f"a key must be text; quote it: '{text}'"
        elif text == "<<":
            rule = "merge keys (<<) are not supported: write the settings out"
        elif text in known:
            rule = f"the key '{text}' is given twice"
        else:
            return str(text)
        self.problems.append((node.start_mark.line + 1, rule))
        return None

    def _scalar(self, kind: str, text: str, line: int) -> object:
        pattern, convert = _SCALARS[kind]
        try:
            if pattern.match(text):
                return convert(text)
        except ValueError:
            pass  # more digits than Python converts
        self.problems.append((line, f"{text[:40]!r} cannot be read as {kind}"))
        return None
