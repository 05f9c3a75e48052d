"""The errors that dynaloss raises on purpose."""

from __future__ import annotations

from collections.abc import Iterable

__all__ = ["DynalossError", "InputError"]


class DynalossError(Exception):
    """Base of every error that dynaloss raises for its user to read.

    Example:
        >>> issubclass(dynaloss.InputError, dynaloss.DynalossError)
        True
    """


class InputError(DynalossError):
    """Something that the user gave does not hold; lists every problem found, one a line.

    The command line prints the problems without a traceback and exits with status 2.

    Attributes:
        problems: One complete sentence per problem: place, rule, value, remedy where known.

    Example:
        >>> try:
        ...     dynaloss.Study.load({"study": "small", "trial": {"schedule": {"epoch": 2}}})
        ... except dynaloss.InputError as error:
        ...     print(error)
        study: [trial.schedule.epoch] is not a known key; did you mean 'epochs'?
        study: [seeds] is missing
    """

    def __init__(self, problems: str | Iterable[str]) -> None:
        self.problems = (problems,) if isinstance(problems, str) else tuple(problems)
        super().__init__("\n".join(self.problems))
