"""A search as a frozen value, and the strict loading of its file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import Field

from dynaloss.config.search import ConfirmConfig, SchedulerConfig, SearchConfig
from dynaloss.errors import InputError
from dynaloss.studies.checks import check_across
from dynaloss.studies.reading.bundled import find_study
from dynaloss.studies.reading.document import read_document
from dynaloss.studies.reading.problems import Problem, placed, problems_of
from dynaloss.studies.search.search_checks import check_search
from dynaloss.studies.search.space import ParameterConfig
from dynaloss.studies.study import AblationStudy, Study, load_study, study_kind

__all__ = [
    "SchedulerConfig",
    "SearchStudy",
    "confirmed_name",
    "load_any",
    "load_search",
    "search_problems",
]


class SearchStudy(Study):
    """A search: conditions x arms, a space, and how to go through it.

    Load one with `load_search`, which also checks what holds between the parts.
    """

    space: dict[str, ParameterConfig] = Field(
        description="Per dotted key of `trial`, the values to choose from."
    )
    search: SearchConfig = SearchConfig()
    scheduler: SchedulerConfig = SchedulerConfig()
    confirm: ConfirmConfig | None = None

    @property
    def confirmation(self) -> ConfirmConfig:
        """How winners are trained afresh, by default where the file does not say."""
        return self.confirm or ConfirmConfig()


def confirmed_name(study: str) -> str:
    """Name of the study that trains the winners of a search afresh."""
    return f"{study}-best"


def load_any(source: str | Path) -> AblationStudy | SearchStudy:
    """The study in the file `source`, or else the bundled study of that name, of either kind.

    Raises:
        InputError: If there is no such study, or with every problem that its file has.
    """
    path = find_study(source)
    if study_kind(read_document(path).values) == "search":
        return load_search(path)
    return load_study(path)


def load_search(source: str | Path) -> SearchStudy:
    """The search in the file `source`, or else the bundled one of that name.

    Raises:
        InputError: If there is no such study, or with every problem that its file has.
    """
    document = read_document(find_study(source, "search_spaces"))
    values = document.values
    if study_kind(values) == "ablation":
        raise InputError(
            f"{document.path}: is an ablation, as it has no `space`; run it with `dynaloss ablate`"
        )
    problems = [*check_across(values), *search_problems(values)]
    if problems:
        raise InputError(placed(problems, document))
    return SearchStudy.model_validate(values)


def search_problems(values: Mapping[str, Any]) -> list[Problem]:
    """What is wrong with a search but for `check_across`, given its file as plain values."""
    # `check_search` tells of the parameters one by one, under their dotted keys.
    typed = [
        problem
        for problem in problems_of(SearchStudy, values)
        if problem.path[:1] != ("space",) or problem.path == ("space",)
    ]
    return [*typed, *check_search(values)]
