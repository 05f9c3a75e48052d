"""What the documents name exists, and their tables are those of the code and of kept results.

Such a table lies between two comments, of which the first says what it lists. This writes them:

    python tests/test_docs.py
"""

from __future__ import annotations

import importlib
import json
import re
import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import click
import pytest
from pydantic.fields import FieldInfo

from dynaloss.cli.main import main
from dynaloss.config import families
from dynaloss.config.registry import Kind, OneOf, Registry, groups_of, one_of_in
from dynaloss.config.settings import Settings, show
from dynaloss.config.trial import TrialConfig
from dynaloss.studies.study import AblationStudy, SearchStudy

_ROOT = Path(__file__).parents[1]
_DOCUMENTS = [_ROOT / "README.md", *sorted((_ROOT / "docs").glob("*.md"))]
_FILES = {"report.html", "search.html", "search.json"}
# A setting in backticks, alone or with a value, such as `data.memory: auto`.
_SETTING = re.compile(r"`([a-z_]+(?:\.[a-z_]+)+)(?::[^`]*)?`")
_TABLE = re.compile(r"(<!-- table of (\w+): ([^\n]+) -->\n\n)(.*?)(\n<!-- end -->)", re.DOTALL)
_RESULT = re.compile(r"<!-- result of (\S+) -->\n.*?<!-- end -->", re.DOTALL)
_RESULTS = _ROOT / "benchmarks" / "results" / "tables"
_REGISTRIES = {n: value for n, value in vars(families).items() if isinstance(value, Registry)}


def _settings(model: type[Settings], prefix: str = "") -> Iterator[tuple[str, FieldInfo]]:
    """Settings of a class, and of its groups, by dotted key."""
    for name, field in model.model_fields.items():
        yield prefix + name, field
        for group in groups_of(field):
            yield from _settings(group, f"{prefix}{name}.")


_KEYS = {k: f for model in (TrialConfig, AblationStudy, SearchStudy) for k, f in _settings(model)}
_GROUPS = {key.partition(".")[0] for key in _KEYS if "." in key}


def _with_tables(text: str, *, every: bool) -> str:
    """A document with its tables as the code has them.

    Unless `every` kind is wanted, one in a file of its own may be missing: it has its row from
    the next time on that the tables are written.
    """

    def table(match: re.Match[str]) -> str:
        start, family, keys, rows, end = match.groups()
        if family == "settings":
            return start + _markdown(_rows_of_settings(keys.split())) + end
        registry = _REGISTRIES[family]
        may_miss = not every and hasattr(importlib.import_module(registry.home), "__path__")
        names = [name for name in registry if not may_miss or f"| `{name}` |" in rows]
        return start + _markdown(_rows_of_kinds(registry, keys, names)) + end

    return _RESULT.sub(_with_result, _TABLE.sub(table, text))


def _with_result(match: re.Match[str]) -> str:
    """The table of a study as it was kept, with where it was made."""
    kept = json.loads((_RESULTS / f"{match[1]}.json").read_text("utf-8"))
    versions = ", ".join(f"{name} {kept['versions'][name]}" for name in ("torch", "ray"))
    where = f"Made on {kept['device']}, {versions}, commit {kept['commit']}: `{kept['command']}`."
    lines = [f"<!-- result of {match[1]} -->", "", *kept["table"], where, "", "<!-- end -->"]
    return "\n".join(lines)


def _rows_of_kinds(
    registry: Registry[..., Any], key: str, names: Sequence[str]
) -> Iterator[tuple[str, ...]]:
    """A row for each of the kinds, which this key names, and for each catalogue."""
    yield f"`{key}`", "settings and defaults", "description", "source"
    mark = one_of_in(_KEYS[key.rpartition(".")[0]])
    for kind in (registry[name] for name in names):
        own = _own_settings(kind, mark) if mark and mark.registry is registry else ""
        yield f"`{kind.name}`", own, kind.description, kind.source
    for prefix, description in registry.catalogues().items():
        yield f"`{prefix}NAME`", "", description, ""


def _own_settings(kind: Kind, mark: OneOf[Any]) -> str:
    """Settings that have an effect with the kind; groups of them without their defaults."""
    fields = mark.find(kind.name).model_fields
    names = getattr(kind, "uses", [name for name in fields if name not in mark.base.model_fields])
    return ", ".join(f"`{name}` {_default(fields[name])}".rstrip() for name in names)


def _rows_of_settings(keys: Sequence[str]) -> Iterator[tuple[str, ...]]:
    """A row for each of the keys, and for each below one of them."""
    yield "setting", "default", "description"
    for key, field in _KEYS.items():
        if any(f"{key}.".startswith(f"{given}.") for given in keys) and not groups_of(field):
            yield f"`{key}`", f"`{_default_of(key)}`", (field.description or "").rstrip(".")


def _default_of(key: str) -> str:
    """Default of a setting; of one that names a kind, the name of the default kind."""
    group, _, name = key.rpartition(".")
    mark = one_of_in(_KEYS[group]) if group in _KEYS else None
    return mark.default if mark and mark.tag == name else _default(_KEYS[key])


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    match field.get_default(call_default_factory=True, validated_data={}):
        case dict():
            return "{}"
        case str(text):
            return text
        case tuple(values):
            return f"[{', '.join(map(str, values))}]"
        case Settings():
            return ""
        case value:
            return show(value)


def _markdown(rows: Iterator[tuple[str, ...]]) -> str:
    """A table, its headings first, without the columns that are empty below them."""
    columns = [column for column in zip(*rows, strict=True) if any(column[1:])]
    lines = [f"| {' | '.join(row)} |\n" for row in zip(*columns, strict=True)]
    return "".join([lines[0], "|---" * len(columns) + "|\n", *lines[1:]])


@pytest.mark.parametrize("path", _DOCUMENTS, ids=lambda path: path.name)
def test_tables_are_those_of_the_code_and_of_kept_results(path: Path) -> None:
    text = path.read_text("utf-8")
    assert text == _with_tables(text, every=False), "Run `python tests/test_docs.py`."


def test_the_reference_holds_every_setting() -> None:
    text = (_ROOT / "docs" / "reference.md").read_text("utf-8")
    single = {key for key, field in _KEYS.items() if not groups_of(field)}
    listed = {*re.findall(r"^\| `([a-z0-9_.]+)` \|", text, re.MULTILINE)}
    assert listed == {key for key in single if not key.startswith("trial.")}
    assert f"| `loss.name` | `{TrialConfig().loss.name}` |" in text
    assert f"| `data.noise.kind` | `{TrialConfig().data.noise.kind}` |" in text


def test_every_family_and_every_part_of_a_search_has_a_table() -> None:
    tables = [table for path in _DOCUMENTS for table in _TABLE.findall(path.read_text("utf-8"))]
    assert {*_REGISTRIES} <= {family for _, family, *_ in tables}
    assert {"search", "scheduler", "confirm"} <= {keys for _, _, keys, *_ in tables}


@pytest.mark.parametrize("path", _DOCUMENTS, ids=lambda path: path.name)
def test_every_dotted_setting_exists(path: Path) -> None:
    named = {key for key in _SETTING.findall(path.read_text("utf-8")) if key not in _FILES}
    assert {key for key in named if key.partition(".")[0] in _GROUPS} <= _KEYS.keys()


@pytest.mark.parametrize("path", _DOCUMENTS, ids=lambda path: path.name)
def test_every_file_and_heading_of_a_link_exists(path: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", path.read_text("utf-8")):
        if target.startswith("http"):
            continue
        file, _, anchor = target.partition("#")
        linked = path.parent / file if file else path
        assert linked.is_file(), target
        if anchor:
            headings = re.findall(r"^#+ (.*)$", linked.read_text("utf-8"), re.MULTILINE)
            anchors = [re.sub(r"[^\w -]", "", h.lower()).replace(" ", "-") for h in headings]
            assert anchor in anchors


@pytest.mark.parametrize("path", _DOCUMENTS, ids=lambda path: path.name)
def test_every_command_is_one_that_the_command_line_takes(path: Path) -> None:
    for block in re.findall(r"^```console\n(.*?)^```", path.read_text("utf-8"), re.M | re.S):
        for line in re.findall(r"^(?:\w+=\S+ )*dynaloss (.+)$", block, re.M):
            name, *arguments = shlex.split(line, comments=True)
            try:
                main.commands[name].make_context(name, arguments)
            except (click.ClickException, KeyError) as error:
                pytest.fail(f"dynaloss {line}: {error!r}")


if __name__ == "__main__":
    for document in _DOCUMENTS:
        document.write_text(_with_tables(document.read_text("utf-8"), every=True), "utf-8")
