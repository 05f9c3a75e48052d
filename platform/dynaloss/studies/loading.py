"""Loads studies strictly: every problem at once, each with its line in the file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from dynaloss.config.outside import look_also_in
from dynaloss.errors import InputError
from dynaloss.studies.cells import cells_in, size_problem
from dynaloss.studies.checks import check_across
from dynaloss.studies.reading.bundled import find_study
from dynaloss.studies.reading.document import Document, document_of, read_document
from dynaloss.studies.reading.problems import placed, validated
from dynaloss.studies.search.arm_tuning import tuning_problems
from dynaloss.studies.search.feasibility import check_search
from dynaloss.studies.study import AblationStudy, SearchStudy, Study

StudySource = str | Path | Mapping[str, Any]
"""A study file, the name of a bundled study, or the values that such a file would hold."""

_Study = TypeVar("_Study", bound=Study)


def load_any(source: StudySource) -> AblationStudy | SearchStudy:
    """The study that a source means, of either kind.

    Raises:
        InputError: If there is no such study, or with every problem that it has.
    """
    document = _document(source, "ablations")
    if _is_search(document):
        return _loaded(document, SearchStudy)
    return _loaded(document, AblationStudy)


def load_study(source: StudySource) -> AblationStudy:
    """The ablation that a source means.

    Raises:
        InputError: If there is no such study, or with every problem that it has.
    """
    document = _document(source, "ablations")
    if _is_search(document):
        raise InputError(
            f"{document.name}: is a search; run it with `dynaloss search`, in Python with "
            "`dynaloss.search`"
        )
    return _loaded(document, AblationStudy)


def load_search(source: StudySource) -> SearchStudy:
    """The search that a source means; of two bundled studies of a name, it is the search.

    Raises:
        InputError: If there is no such study, or with every problem that it has.
    """
    document = _document(source, "search_spaces")
    if not _is_search(document):
        raise InputError(
            f"{document.name}: is an ablation, as it has no `space`; run it with `dynaloss "
            "ablate`, in Python with `dynaloss.Study`"
        )
    return _loaded(document, SearchStudy)


def _document(source: StudySource, first: str) -> Document:
    if isinstance(source, Mapping):
        return document_of(source)
    return read_document(find_study(source, first))


def _is_search(document: Document) -> bool:
    return bool({"space", "search"} & document.values.keys())


def _loaded(document: Document, model: type[_Study]) -> _Study:
    beside = () if document.path is None else (document.path.parent,)
    look_also_in((*beside, Path.cwd()))
    values = document.values
    if too_large := size_problem(values):
        raise InputError(placed([too_large], document))
    study, problems = validated(model, values)
    cells = list(cells_in(values))
    problems += check_across(values, cells)
    problems += check_search(values, cells) if _is_search(document) else tuning_problems(values)
    if study is None or problems:
        raise InputError(placed(problems, document))
    return study
