"""The contract of a component."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from dynaloss.studies.cells import Cell, cells_in
from dynaloss.studies.checks import check_across
from dynaloss.studies.identity import effective_config
from dynaloss.studies.reading.problems import problems_of
from dynaloss.studies.study import AblationStudy
from dynaloss.testing.rules import ContractError, Rule, rule


@dataclass(frozen=True, slots=True, kw_only=True)
class ComponentCase:
    """A component that a study switches.

    Attributes:
        label: The component in words.
        off: The trial without it.
        on: The trial with it.
    """

    label: str
    off: Cell
    on: Cell

    @classmethod
    def find(cls, name: str, trial: Mapping[str, Any]) -> ComponentCase:
        """The component of a name or address, in a study of that trial.

        Raises:
            ContractError: With everything that such a study refuses.
        """
        label = f"component '{name}'"
        values = {
            "study": "check",
            "trial": dict(trial),
            "ablation": {"components": [name]},
            "seeds": [0],
        }
        problems, cells = problems_of(AblationStudy, values), list(cells_in(values))
        problems += check_across(values, cells)
        if problems:
            raise ContractError(f"{label}: {problem}" for problem in problems)
        _, off, on = cells  # first the condition by itself
        return cls(label=label, off=off, on=on)


@rule("must have an effect on the trial")
def _has_an_effect(case: ComponentCase) -> Iterator[str]:
    if effective_config(case.on.trial) == effective_config(case.off.trial):
        yield "on and off compute the same"


COMPONENT_STAGES: tuple[tuple[Rule[Any], ...], ...] = ((_has_an_effect,),)
