"""What the documents name exists: kinds in their registries, settings in their classes."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from pathlib import Path

import pytest

from dynaloss.config import families
from dynaloss.config.registry import groups_of
from dynaloss.config.search import ConfirmConfig, SchedulerConfig, SearchConfig
from dynaloss.config.settings import Settings
from dynaloss.config.trial import TrialConfig
from dynaloss.studies.study import AblationStudy, SearchStudy

_ROOT = Path(__file__).parents[1]
_DOCUMENTS = [_ROOT / "README.md", *sorted((_ROOT / "docs").glob("*.md"))]
_FILES = {"report.html", "search.html", "search.json"}
# A setting in backticks, alone or with a value, such as `data.memory: auto`.
_SETTING = re.compile(r"`([a-z_]+(?:\.[a-z_]+)+)(?::[^`]*)?`")


def _table(document: str, heading: str) -> list[list[str]]:
    """Rows of the table whose first heading this is, each as its cells."""
    lines = (_ROOT / "docs" / document).read_text("utf-8").splitlines()
    start = next(i for i, line in enumerate(lines) if line.startswith(f"| {heading} |"))
    rows = []
    for line in lines[start + 2 :]:
        if not line.startswith("|"):
            break
        rows.append([cell.strip() for cell in line.strip("|").split(" | ")])
    return rows


def _names(cell: str) -> list[str]:
    return re.findall("`(.+?)`", cell)


def _keys(model: type[Settings], prefix: str = "") -> Iterator[str]:
    """Dotted keys of the settings of a class, and of its groups."""
    for name, field in model.model_fields.items():
        yield prefix + name
        for group in groups_of(field):
            yield from _keys(group, f"{prefix}{name}.")


_KEYS = {*_keys(TrialConfig), *_keys(AblationStudy), *_keys(SearchStudy)}
_GROUPS = {key.partition(".")[0] for key in _KEYS if "." in key}


@pytest.mark.parametrize(
    ("document", "heading", "registry"),
    [
        ("losses.md", "`loss.name`", families.LOSSES),
        ("losses.md", "`sampler.kind` | Metadata", families.SAMPLERS),
        ("data.md", "`data.source`", families.SOURCES),
        ("data.md", "`data.imbalance`", families.IMBALANCES),
        ("data.md", "`data.noise.kind`", families.NOISES),
        ("search.md", "`search.sampler`", families.OPTUNA_SAMPLERS),
        ("search.md", "`scheduler.name`", families.PRUNERS),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_every_kind_of_a_table_is_registered(
    document: str, heading: str, registry: Collection[str]
) -> None:
    kinds = [name for row in _table(document, heading) for name in _names(row[0])]
    assert len(kinds) >= 3
    assert {*kinds} <= {*registry}


def test_every_augmentation_of_the_table_of_views_is_registered() -> None:
    rows = {row[0]: row[1] for row in _table("data.md", "setting")}
    kinds = _names(rows["`data.views.augment`"])
    assert len(kinds) >= 3
    assert {*kinds} <= {*families.AUGMENTATIONS}


def test_settings_of_the_table_of_losses_are_those_of_the_loss() -> None:
    for name, _, settings, _ in _table("losses.md", "`loss.name`"):
        (loss,) = _names(name)
        assert {*_names(settings)} <= {*families.LOSSES[loss].settings.model_fields}


@pytest.mark.parametrize("model", [SearchConfig, SchedulerConfig], ids=["search", "scheduler"])
def test_every_setting_has_a_row_in_the_tables_of_a_search(model: type[Settings]) -> None:
    text = (_ROOT / "docs/search.md").read_text("utf-8")
    section = text.partition(f"\n### {model.__name__.removesuffix('Config').lower()}\n")[2]
    rows = re.findall(r"^\| (`.*?) \|", section.partition("\n### ")[0], re.MULTILINE)
    named = {name for row in rows for name in _names(row)}
    assert {*model.model_fields} <= named


def test_settings_of_the_confirmation_are_described() -> None:
    text = (_ROOT / "docs/search.md").read_text("utf-8").partition("\n### confirm\n")[2]
    assert all(f"`{name}" in text for name in ConfirmConfig.model_fields)


@pytest.mark.parametrize("path", _DOCUMENTS, ids=lambda path: path.name)
def test_every_dotted_setting_exists(path: Path) -> None:
    named = {key for key in _SETTING.findall(path.read_text("utf-8")) if key not in _FILES}
    assert {key for key in named if key.partition(".")[0] in _GROUPS} <= _KEYS


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
