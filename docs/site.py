"""Makes the site of the README, of what the documents link to, and of their equations."""

from __future__ import annotations

import posixpath
import re
from pathlib import Path

from latex2mathml.converter import convert
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

_ROOT = Path(__file__).parents[1]
_PAGES = {
    "README.md": "index.md",
    "CONTRIBUTING.md": "CONTRIBUTING.md",
    "CHANGELOG.md": "CHANGELOG.md",
}
_LINK = re.compile(r"(\]\()(?!https?:|#)([^)#\s]+)")
_EQUATION = re.compile(r'<(span|div) class="arithmatex">\\([(\[])(.*?)\\[)\]]</\1>', re.DOTALL)


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Adds the pages beside the folder of the documents, and every file that is linked."""
    for source, page in _PAGES.items():
        files.append(File.generated(config, page, content=(_ROOT / source).read_text("utf-8")))
    linked = {
        _in_project(document.src_uri, target)
        for document in files.documentation_pages()
        for _, target in _LINK.findall(document.content_string)
    }
    for path in sorted(linked - _PAGES.keys()):
        if (_ROOT / path).is_file() and not path.startswith("docs/"):
            files.append(File.generated(config, path, abs_src_path=str(_ROOT / path)))
    return files


def on_page_markdown(markdown: str, page: Page, **_: object) -> str:
    """Links between the pages of the site, from those between files of the project."""

    def link(match: re.Match[str]) -> str:
        path = _in_project(page.file.src_uri, match[2])
        return match[1] + _PAGES.get(path, path.removeprefix("docs/"))

    return _LINK.sub(link, markdown)


def on_page_content(html: str, **_: object) -> str:
    """Equations as MathML, which browsers draw by themselves."""
    return _EQUATION.sub(
        lambda match: convert(
            match[3].replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&"),
            display="inline" if match[2] == "(" else "block",
        ),
        html,
    )


def _in_project(page: str, target: str) -> str:
    """Path from the project's root of what a page links to."""
    folder = "" if page in _PAGES.values() else "docs"
    return posixpath.normpath(posixpath.join(folder, target))
