"""Rules of a contract: what a part must do, what it does instead, and the error that says so."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from dynaloss.errors import DynalossError, InputError
from dynaloss.testing.unchanged import global_states

_Case = TypeVar("_Case")


class ContractError(DynalossError, AssertionError):
    """A part does not keep the contract of its family.

    Attributes:
        problems: One sentence per broken rule.

    Examples:
        >>> from dynaloss.testing import ContractError, check_sampler
        >>> try:
        ...     check_sampler("hierarchical", random_ratio=2)
        ... except ContractError as error:
        ...     print(error)
        metadata sampler 'hierarchical': [sampler.random_ratio] must be at most 1, but got 2
    """

    def __init__(self, problems: Iterable[str]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(self.problems))


@dataclass(frozen=True, slots=True)
class Rule(Generic[_Case]):
    """One rule of a contract.

    Attributes:
        text: What the part must do; reads on from its name.
        findings: What it does instead, of a case; each reads on from "but".
    """

    text: str
    findings: Callable[[_Case], Iterable[str]]


def rule(text: str) -> Callable[[Callable[[_Case], Iterable[str]]], Rule[_Case]]:
    """Makes a rule of the function that finds what breaks it; see `Rule`."""
    return lambda findings: Rule(text, findings)


def enforce(part: str, case: _Case, stages: Iterable[Sequence[Rule[_Case]]]) -> None:
    """Tries the rules of a contract, stage by stage; a stage needs what those before it found.

    Args:
        part: The part in words, such as `loss 'mine'`.
        case: What the rules look at.
        stages: Rules, the basic ones first.

    Raises:
        ContractError: With the broken rules of the first stage that has any.
    """
    __tracebackhide__ = True
    for stage in stages:
        problems: list[str] = []
        errors: dict[str, Exception] = {}
        for tried in stage:
            try:
                with global_states():  # whatever a part draws, the next rule starts alike
                    found = list(tried.findings(case))
            except Exception as error:  # whatever code of somebody else raises
                # A mistake that stops several rules is one problem.
                found = [] if _words(error) in errors else [f"raised {_words(error)}"]
                errors.setdefault(_words(error), error)
            problems += [f"{part} {tried.text}, but {finding}" for finding in found]
        if problems:
            raise ContractError(problems) from next(iter(errors.values()), None)


def _words(error: Exception) -> str:
    """Type and first line of an error; all problems of one of our own."""
    lines = error.problems if isinstance(error, InputError) else str(error).splitlines()[:1]
    return ": ".join([type(error).__name__, *filter(None, ["; ".join(lines)])])
