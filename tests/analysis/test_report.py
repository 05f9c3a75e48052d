"""The report: one file, nothing fetched, names shown as they are."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import pytest

from dynaloss.analysis import compare
from dynaloss.analysis.report import write_report
from dynaloss.design.record import Outcome, TrialRecord

MakeRecord = Callable[..., TrialRecord]
METRIC = "test/accuracy"
VOID = {"meta", "link", "img"}


class Page(HTMLParser):
    """Collects tags, text and attributes, and checks that tags close in order."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.source = path.read_text(encoding="utf-8")
        self.open: list[str] = []
        self.tags: list[str] = []
        self.texts: list[str] = []
        self.links: list[str] = []
        self.feed(self.source)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.links += [value or "" for name, value in attrs if name in ("src", "href")]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.texts).split())


def write(records: Sequence[TrialRecord], path: Path, baseline: str | None = "none") -> Page:
    return Page(write_report(records, compare(records, METRIC, baseline), path / "report.html"))


@pytest.fixture(scope="module")
def page(records: Sequence[TrialRecord], tmp_path_factory: pytest.TempPathFactory) -> Page:
    return write(records, tmp_path_factory.mktemp("report"))


def test_page_is_well_formed(page: Page) -> None:
    assert page.open == []
    assert page.tags.count("html") == 1


def test_page_refers_to_nothing_outside(page: Page) -> None:
    assert page.links
    assert all(link.startswith("data:") for link in page.links)
    assert not re.search(r"@import|url\(|https?://", page.source)


def test_page_has_every_section(page: Page) -> None:
    for title in ("Results", "Learning curves", "Label corrector", "Margins", "Data", "Coverage"):
        assert title in page.text
    assert page.tags.count("img") == 10


def test_images_are_svg(page: Page) -> None:
    image = next(link for link in page.links if link.startswith("data:image"))
    root = ElementTree.fromstring(base64.b64decode(image.partition(",")[2]))
    assert root.tag.endswith("svg")


def test_page_names_the_command_that_rebuilds_it(page: Page) -> None:
    command = "dynaloss compare quickstart --metric test/accuracy --baseline none --report"
    assert f"{command} report.html" in page.text


def test_same_records_give_the_same_bytes(records: Sequence[TrialRecord], tmp_path: Path) -> None:
    pages = [write(records[:6], tmp_path).source for _ in range(2)]
    assert pages[0] == pages[1]


def test_names_are_escaped(record: MakeRecord, tmp_path: Path) -> None:
    name = "<script>alert('x')</script> & \"q\""
    page = write([record(name, condition=name)], tmp_path, baseline=None)
    assert name in page.text
    assert page.tags.count("script") == 1


def test_page_without_history_and_diagnostics(record: MakeRecord, tmp_path: Path) -> None:
    page = write([record("none"), record("full")], tmp_path)
    assert "img" not in page.tags
    assert "Learning curves" not in page.text


def test_coverage_counts_outcomes_and_missing_seeds(record: MakeRecord, tmp_path: Path) -> None:
    trials = [
        record("none", 0),
        record("none", 1),
        record("none", 2, None, outcome=Outcome.FAILED),
        record("full", 0),
    ]
    page = write(trials, tmp_path)
    assert "condition completed failed missing symmetric 0.4 · IR 1 3 1 2" in page.text


def test_unclear_difference_is_greyed(record: MakeRecord, tmp_path: Path) -> None:
    trials = [record("none", 0, 0.5), record("none", 1, 0.75)]
    trials += [record("full", 0, 0.75), record("full", 1, 0.5)]
    assert 'class="difference unclear"' in write(trials, tmp_path).source


def test_arms_with_different_data_are_reported(
    records: Sequence[TrialRecord], tmp_path: Path
) -> None:
    none, full = records[0], records[9]
    data = dict(full.diagnostics["data"]) | {"digest": "other"}
    changed = replace(full, history={}, diagnostics={"data": data})
    page = write([replace(none, history={}), changed], tmp_path)
    assert "the arms of seed 0 saw different data: not paired." in page.text


def test_two_hundred_arms_leave_most_out_of_the_figures(
    records: Sequence[TrialRecord], tmp_path: Path
) -> None:
    trials = [replace(records[0], arm=f"arm-{index}", diagnostics={}) for index in range(200)]
    page = write(trials, tmp_path, baseline="arm-7")
    assert "186 arms are left out of the figures." in page.text
