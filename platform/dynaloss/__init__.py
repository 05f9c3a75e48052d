"""Hyper-parameter search and component ablation for robust learning with a meta-learned loss.

Its public names run what the command line runs; each is imported when it is first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from dynaloss.lazy import late_names

if TYPE_CHECKING:
    from dynaloss.analysis.result import Result
    from dynaloss.api.ablation import AblationSummary
    from dynaloss.api.compare import compare
    from dynaloss.api.search import Search, search
    from dynaloss.api.study import Study
    from dynaloss.errors import DynalossError, InputError
    from dynaloss.execution.search.conclusion import SearchSummary
    from dynaloss.studies.plan import Plan
    from dynaloss.studies.search.groups import SearchPlan
    from dynaloss.tracking.workspace import Workspace

__version__ = "0.1.0"

__all__ = [
    "AblationSummary",
    "DynalossError",
    "InputError",
    "Plan",
    "Result",
    "Search",
    "SearchPlan",
    "SearchSummary",
    "Study",
    "Workspace",
    "__version__",
    "compare",
    "search",
]

__getattr__ = late_names(
    __name__,
    {
        "AblationSummary": "dynaloss.api.ablation",
        "DynalossError": "dynaloss.errors",
        "InputError": "dynaloss.errors",
        "Plan": "dynaloss.studies.plan",
        "Result": "dynaloss.analysis.result",
        "Search": "dynaloss.api.search",
        "SearchPlan": "dynaloss.studies.search.groups",
        "SearchSummary": "dynaloss.execution.search.conclusion",
        "Study": "dynaloss.api.study",
        "Workspace": "dynaloss.tracking.workspace",
        "compare": "dynaloss.api.compare",
        "search": "dynaloss.api.search",
    },
)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
