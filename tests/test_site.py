"""The site is built from the documents without a warning, and needs nothing from elsewhere."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from urllib.parse import unquote

import pytest

pytestmark = pytest.mark.xdist_group("site")

_ROOT = Path(__file__).parents[1]
_FROM_ELSEWHERE = re.compile(
    r'<(?:script|img|link|iframe)\b[^>]*(?:src|href)="(?:https?:)?//([^"]+)'
)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", folder],
        cwd=_ROOT,
        env=os.environ | {"NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert "WARNING" not in done.stderr
    return folder


def test_every_document_is_a_page_that_the_menu_leads_to(site: Path) -> None:
    menu = {*re.findall(r'href="([\w-]+\.html)"', (site / "index.html").read_text("utf-8"))}
    documents = {path.with_suffix(".html").name for path in (_ROOT / "docs").glob("*.md")}
    assert documents | {"CHANGELOG.html", "CONTRIBUTING.html"} <= menu
    assert {*menu} <= {path.name for path in site.glob("*.html")}


def test_links_to_files_of_the_project_find_them(site: Path) -> None:
    for page in {*site.glob("*.html")} - {site / "404.html"}:
        for target in re.findall(r'<a [^>]*href="([^"#:]+)(?:#[^"]*)?"', page.read_text("utf-8")):
            assert (page.parent / unquote(target)).exists(), f"{page.name}: {target}"
    study = site / "ablations" / "quickstart.yaml"
    assert study.read_text("utf-8") == (_ROOT / "ablations" / "quickstart.yaml").read_text("utf-8")


def test_pages_load_nothing_from_elsewhere(site: Path) -> None:
    for page in site.rglob("*.html"):
        assert _FROM_ELSEWHERE.findall(page.read_text("utf-8")) == []


def test_equations_are_drawn_by_the_browser(site: Path) -> None:
    text = (site / "method.html").read_text("utf-8")
    equations = (_ROOT / "docs" / "method.md").read_text("utf-8").count("$$") / 2
    assert text.count('display="block"') == equations > 3
    assert "arithmatex" not in text
    assert "$" not in re.sub(r"<script.*?</script>|<code.*?</code>", "", text, flags=re.DOTALL)


def test_the_reference_has_every_command_and_public_name(site: Path) -> None:
    import dynaloss
    from dynaloss.cli.main import main

    commands = (site / "commands.html").read_text("utf-8")
    assert {*re.findall(r'id="dynaloss-(\w+)"', commands)} == {*main.commands}
    interface = (site / "api.html").read_text("utf-8")
    for name in {*dynaloss.__all__} - {"__version__"}:
        assert re.search(rf'id="dynaloss\.[\w.]*\b{name}"', interface), name
