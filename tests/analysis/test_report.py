"""The report: one file, nothing fetched, names shown as they are."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from dynaloss.analysis import Comparison, Result, compare
from dynaloss.analysis.report import write_report
from dynaloss.studies.stored_plan import StoredPlan
from dynaloss.studies.trial_record import Outcome, TrialRecord

pytestmark = pytest.mark.xdist_group("report")

MakeRecord = Callable[..., TrialRecord]
METRIC = "test/accuracy"
VOID = {"meta", "link", "img"}
LINKS = {"src", "srcset", "href", "xlink:href", "action", "data", "poster", "background"}
NASTY = "</td></script><script>alert(1)</script> \" onerror='x' & &lt; {{ 7 }} //x.org/a"


class Page(HTMLParser):
    """Collects tags, text and attributes, and checks that tags close in order."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.source = source
        self.open: list[str] = []
        self.tags: list[str] = []
        self.texts: list[str] = []
        self.attributes: list[tuple[str, str]] = []
        self.tables: list[list[int]] = []
        self.feed(self.source)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(name, value or "") for name, value in attrs]
        if tag == "table":
            self.tables.append([])
        elif tag == "tr":
            self.tables[-1].append(0)
        elif tag in ("td", "th"):
            self.tables[-1][-1] += 1
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open, f"</{tag}> closes nothing"
        assert self.open.pop() == tag, f"</{tag}> closes another tag"

    def handle_data(self, data: str) -> None:
        self.texts.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.texts).split())

    @property
    def links(self) -> list[str]:
        return [value for name, value in self.attributes if name in LINKS]


def check_closed(page: Page) -> None:
    """That the page, and every image in it, refers to nothing but itself and runs only its own.

    Raises:
        AssertionError: If it does not.
    """
    names = [value for name, value in page.attributes if name == "id"]
    assert len(names) == len(set(names))
    for link in page.links:
        assert link.startswith("data:") or link.removeprefix("#") in names, link
    assert not [name for name, _ in page.attributes if name.startswith("on") or name == "style"]
    assert not {"iframe", "object", "embed", "base", "form"} & {*page.tags}
    (style,), (script,) = (
        re.findall(rf"<{tag}>(.*?)</{tag}>", page.source, re.DOTALL) for tag in ("style", "script")
    )
    assert not re.search(r"@import|url\(|//", style)
    assert not re.search(r"fetch|import|XMLHttp|Socket|eval|location|document\.write|//", script)
    assert "default-src 'none'" in page.source
    for image in filter(lambda link: link.startswith("data:image"), page.links):
        check_image_closed(base64.b64decode(image.partition(",")[2]))


def check_image_closed(svg: bytes) -> None:
    """That an image refers to its own parts alone, all of which are there, or holds pixels."""
    root = ElementTree.fromstring(svg)
    assert root.tag.endswith("}svg")
    attributes = [pair for element in root.iter() for pair in element.attrib.items()]
    names = {value for name, value in attributes if name == "id"}
    parts = [value for name, value in attributes if name.rpartition("}")[2] in ("href", "src")]
    parts += [part for _, value in attributes for part in re.findall(r"url\((.*?)\)", value)]
    assert any(part.startswith("#") for part in parts)
    for part in parts:
        assert part.startswith("data:image/png;") or part.removeprefix("#") in names, part
    assert "script" not in {element.tag.rpartition("}")[2] for element in root.iter()}


def page_of(
    records: Sequence[TrialRecord],
    comparison: Comparison,
    path: Path,
    command: str | None = None,
    **known: Any,
) -> Page:
    result = Result(records=records, comparisons=[comparison], **known)
    return Page(write_report(result, path / "report.html", command=command).read_text("utf-8"))


def write(records: Sequence[TrialRecord], path: Path, baseline: str | None = "none") -> Page:
    return page_of(records, compare(records, METRIC, baseline), path)


@pytest.fixture(scope="module")
def page(records: Sequence[TrialRecord], tmp_path_factory: pytest.TempPathFactory) -> Page:
    return write(records, tmp_path_factory.mktemp("report"))


def test_page_is_well_formed(page: Page) -> None:
    assert page.source.startswith("<!doctype html>")
    for tag in ("html", "head", "title", "body", "main", "h1"):
        assert page.tags.count(tag) == 1
    assert len(page.tables) >= 8
    for widths in page.tables:
        assert len(widths) > 1
        assert len(set(widths)) == 1


def test_a_figure_comes_before_the_third_table(page: Page) -> None:
    assert page.tags.index("img") < [i for i, tag in enumerate(page.tags) if tag == "table"][2]


def test_page_refers_to_nothing_outside(page: Page) -> None:
    places = [link for link in page.links if link.startswith("#")]
    assert len(places) == page.tags.count("h2")
    assert len(page.links) == len(places) + 11  # ten figures, and an icon that is empty
    check_closed(page)
    assert not re.search(r"@import|url\(|https?://", page.source)


def test_page_has_every_section(page: Page) -> None:
    for title in ("Results", "Learning curves", "Label corrector", "Margins", "Data", "Coverage"):
        assert title in page.text
    assert page.tags.count("img") == 10


@pytest.mark.parametrize(
    ("part", "instead"),
    [
        ("</tbody>", ""),
        ("<h1>", "<h1><p>"),
        ('href="data:,"', 'href="//x.org/i.png"'),
        ('href="data:,"', 'href="#nowhere"'),
        ("<main>", "<main><img src='http://x.org/i.png'>"),
        ("<main>", "<main><img src='i.png'>"),
        ("<main>", "<main onclick='x()'></main><main>"),
        ("<style>", "<style>body { background: url(x.png) }"),
        ("<script>", "<script>fetch('x')"),
    ],
)
def test_the_check_finds_a_broken_page(page: Page, part: str, instead: str) -> None:
    assert part in page.source
    with pytest.raises(AssertionError):
        check_closed(Page(page.source.replace(part, instead, 1)))


@pytest.mark.parametrize(
    ("part", "instead"),
    [('href="#', 'href="http://x.org/#'), ('href="#', 'href="#no'), ("url(#", "url(x.svg#")],
)
def test_the_check_finds_a_broken_image(page: Page, part: str, instead: str) -> None:
    image = next(link for link in page.links if link.startswith("data:image"))
    svg = base64.b64decode(image.partition(",")[2]).decode()
    assert part in svg
    with pytest.raises(AssertionError):
        check_image_closed(svg.replace(part, instead, 1).encode())


def test_page_names_the_command_that_rebuilds_it(page: Page) -> None:
    command = "dynaloss compare quickstart --metric test/accuracy --baseline none --report"
    assert f"{command} report.html" in page.text


def test_same_records_give_the_same_bytes(records: Sequence[TrialRecord], tmp_path: Path) -> None:
    pages = [write(records[:6], tmp_path).source for _ in range(2)]
    assert pages[0] == pages[1]


def test_names_are_shown_unchanged_everywhere(
    records: Sequence[TrialRecord], tmp_path: Path
) -> None:
    data = dict(records[0].diagnostics["data"]) | {"source": NASTY, "class_names": [NASTY] * 10}
    trials = [
        replace(
            record,
            study=NASTY,
            condition=NASTY,
            arm=NASTY if record.arm == "full" else record.arm,
            diagnostics={**record.diagnostics, "data": data},
            tags={f"dynaloss.environment.{NASTY}": NASTY},
        )
        for record in records[:12]
    ]
    plan = StoredPlan(hash=NASTY, notes=(NASTY,), deviations=(NASTY,))
    page = page_of(
        trials,
        compare(trials, METRIC, NASTY),
        tmp_path,
        command=NASTY,
        plans={NASTY: plan},
        study_tags={NASTY: {"mlflow.source.git.commit": NASTY}},
    )
    check_closed(page)
    assert page.texts.count(NASTY) >= 15
    for text in (
        f"{NASTY} · test/accuracy",
        f"test/accuracy (%) · 4 arms · 1 condition · baseline {NASTY}",
        f"{NASTY} {NASTY} (12 trials)",
        f"Note: {NASTY}.",
        f"Plan of {NASTY}: {NASTY}, stored before",
        f"difference to {NASTY}, paired",
        f"commit {NASTY} (last launch)",
        f"At {NASTY}, ",
    ):
        assert text in page.text, text
    assert ("alt", f"Learning curves at {NASTY}") in page.attributes


def test_page_without_a_plan_claims_none(record: MakeRecord, tmp_path: Path) -> None:
    trials = [record("none"), record("full")]
    comparison = compare(trials, METRIC, "none")
    page = page_of(trials, comparison, tmp_path, plans={"s": StoredPlan()})
    assert "Plan of s: not recorded." in page.text
    assert "stored before the first trial" not in page.text
    assert "2 arms · 1 condition ·" in page.text


def test_two_studies_of_the_same_components_show_their_effects(
    records: Sequence[TrialRecord], tmp_path: Path
) -> None:
    plan = StoredPlan(components=("corrector", "margin"))
    plans = {"one": plan, "other": plan}
    page = page_of(records, compare(records, METRIC, "none"), tmp_path, plans=plans)
    assert "Shapley values of the components" in page.text
    assert ("alt", "Effect of each component at all conditions") in page.attributes


def test_exact_shows_every_digit_throughout(record: MakeRecord, tmp_path: Path) -> None:
    third = 1 / 3
    comparison = replace(compare([record(accuracy=third)], METRIC), exact=True)
    page = page_of([], comparison, tmp_path)
    assert f"1 of 1 {third!r} – – – 0: {third!r}" in page.text
    assert "test/accuracy · 1 arm · 1 condition" in page.text


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
