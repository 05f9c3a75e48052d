"""The errors that dynaloss raises on purpose."""

from __future__ import annotations

from collections.abc import Iterable

__all__ = ["DynalossError", "InputError"]

_MOST_SHOWN = 50


class DynalossError(Exception):
    """Base of every error that dynaloss raises for its user to read.

    Examples:
        >>> issubclass(dynaloss.InputError, dynaloss.DynalossError)
        True
    """


class InputError(DynalossError):
    """Something that the user gave does not hold; lists every problem found, one a line.

    The command line prints the problems without a traceback and exits with status 2.

    Attributes:
        problems: One complete sentence per problem: place, rule, value, remedy where known.

    Examples:
        >>> try:
        ...     dynaloss.Study.load({"study": "small", "trial": {"schedule": {"epoch": 2}}})
        ... except dynaloss.InputError as error:
        ...     print(error)
        study: [trial.schedule.epoch] is not a known key; did you mean 'epochs'?
        study: [seeds] is missing
    """

    def __init__(self, problems: str | Iterable[str]) -> None:
        self.problems = (problems,) if isinstance(problems, str) else tuple(problems)
        super().__init__("\n".join(self.shown))

    @property
    def shown(self) -> tuple[str, ...]:
        """The problems to print: of very many the first, and how many there are more.

        Examples:
            >>> dynaloss.InputError(f"problem {i}" for i in range(100)).shown[-1]
            'and 50 more'
        """
        more = len(self.problems) - _MOST_SHOWN
        rest = (f"and {more:,} more",) if more > 0 else ()
        return self.problems[:_MOST_SHOWN] + rest
