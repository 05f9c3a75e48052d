"""Loads study files strictly: every problem at once, each with its line."""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

from dynaloss.config.outside import look_also_in
from dynaloss.errors import InputError
from dynaloss.studies.cells import cells_in
from dynaloss.studies.checks import check_across
from dynaloss.studies.reading.bundled import find_study
from dynaloss.studies.reading.document import Document, read_document
from dynaloss.studies.reading.problems import placed, validated
from dynaloss.studies.search.arm_tuning import tuning_problems
from dynaloss.studies.search.feasibility import check_search
from dynaloss.studies.study import AblationStudy, SearchStudy, Study

_Study = TypeVar("_Study", bound=Study)


def load_any(source: str | Path) -> AblationStudy | SearchStudy:
    """The study in the file `source`, or else the bundled study of that name, of either kind.

    Raises:
        InputError: If there is no such study, or with every problem that its file has.
    """
    document = read_document(find_study(source))
    if _is_search(document):
        return _loaded(document, SearchStudy)
    return _loaded(document, AblationStudy)


def load_study(source: str | Path) -> AblationStudy:
    """The ablation in the file `source`, or else the bundled one of that name.

    Raises:
        InputError: If there is no such study, or with every problem that its file has.
    """
    document = read_document(find_study(source))
    if _is_search(document):
        raise InputError(f"{document.path}: is a search; run it with `dynaloss search`")
    return _loaded(document, AblationStudy)


def load_search(source: str | Path) -> SearchStudy:
    """The search in the file `source`, or else the bundled one of that name.

    Raises:
        InputError: If there is no such study, or with every problem that its file has.
    """
    document = read_document(find_study(source, "search_spaces"))
    if not _is_search(document):
        raise InputError(
            f"{document.path}: is an ablation, as it has no `space`; run it with `dynaloss ablate`"
        )
    return _loaded(document, SearchStudy)


def _is_search(document: Document) -> bool:
    return bool({"space", "search"} & document.values.keys())


def _loaded(document: Document, model: type[_Study]) -> _Study:
    look_also_in((document.path.parent, Path.cwd()))
    values = document.values
    study, problems = validated(model, values)
    cells = list(cells_in(values))
    problems += check_across(values, cells)
    problems += check_search(values, cells) if _is_search(document) else tuning_problems(values)
    if study is None or problems:
        raise InputError(placed(problems, document))
    return study
