"""A study of either kind, loaded and checked."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Generic, Self, TypeVar

from dynaloss.analysis.wording import counted
from dynaloss.config.settings import Scalar
from dynaloss.studies import study as settings_of
from dynaloss.studies.loading import StudySource
from dynaloss.studies.notebook import notebook_html
from dynaloss.studies.overrides import apply_overrides
from dynaloss.studies.plan import conditions_of

_Settings = TypeVar("_Settings", bound=settings_of.Study, covariant=True)


@dataclass(frozen=True, slots=True, repr=False)
class Loaded(ABC, Generic[_Settings]):
    """What ablations and searches share.

    Attributes:
        settings: Everything that the file of the study sets, or leaves at its default.
    """

    settings: _Settings

    @classmethod
    @abstractmethod
    def load(cls, source: StudySource) -> Self:
        """The study of that name, file or content."""

    @property
    def name(self) -> str:
        """Name of the study.

        Examples:
            >>> study.name
            'small'
        """
        return self.settings.study

    @property
    def conditions(self) -> tuple[str, ...]:
        """Labels of the conditions, in order; at least one.

        Examples:
            >>> study.conditions
            ('symmetric 0.4 · IR 10',)
        """
        return tuple(dict.fromkeys(one.label for one in conditions_of(self.settings)))

    @property
    def arms(self) -> tuple[str, ...]:
        """Names of the arms, in order; at least one.

        Examples:
            >>> study.arms
            ('none', 'full')
        """
        return tuple(self.settings.arm_overrides())

    def with_(self, trial: Mapping[str, Scalar] | None = None, **parts: object) -> Self:
        """The study with other settings of its trial, and other parts.

        Args:
            trial: Values by dotted key of the trial, as an arm has them.
            parts: What replaces other keys of the file, such as `seeds` or `conditions`.

        Raises:
            InputError: With every problem of the changed study.

        Examples:
            >>> longer = study.with_({"schedule.epochs": 5}, seeds=range(3))
            >>> longer.settings.trial.schedule.epochs, longer.settings.seeds
            (5, (0, 1, 2))
        """
        values = self.settings.model_dump(mode="json", exclude_unset=True)
        changed = {"trial": apply_overrides(values["trial"], trial or {})}
        return self.load(values | changed | parts)

    def __repr__(self) -> str:
        sizes = counted(len(self.conditions), "condition"), counted(len(self.arms), "arm")
        return f"<{type(self).__name__} {self.name}: {', '.join(sizes)}>"

    def _repr_html_(self) -> str:
        parts = {"conditions": self.conditions, "arms": self.arms}
        lines = (f"{name}: {', '.join(values)}" for name, values in parts.items())
        return notebook_html([f"study {self.name}", *lines])
