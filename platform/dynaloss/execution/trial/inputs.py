"""The data of the trials of a launch, and what must hold of both before any trial starts."""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from typing import TYPE_CHECKING

from dynaloss.config import DataConfig, TrialConfig
from dynaloss.errors import InputError
from dynaloss.execution.trial.assembly import checks_of

if TYPE_CHECKING:
    from dynaloss.data.sources import Source


class Sources:
    """The data sources of a launch, each loaded once."""

    def __init__(self) -> None:
        self._loaded: dict[str, Source] = {}

    def of(self, config: DataConfig) -> Source:
        """The source of the settings."""
        from dynaloss.data.sources import load_source

        key = config.source_key
        if key not in self._loaded:
            self._loaded[key] = load_source(config)
        return self._loaded[key]

    def named(self, configs: Iterable[DataConfig]) -> dict[str, Source]:
        """The sources of the settings by `DataConfig.source_key`."""
        return {config.source_key: self.of(config) for config in configs}

    def digest(self, config: DataConfig) -> str:
        """Digest of the content of the source."""
        return self.of(config).digest

    def check(self, trials: Iterable[tuple[TrialConfig, int, int]]) -> None:
        """Refuses every trial that cannot be assembled.

        Args:
            trials: Settings, trial seed and study seed of each.

        Raises:
            InputError: With all problems.
        """
        problems: dict[str, None] = {}
        done: set[Hashable] = set()
        for config, seed, base_seed in trials:
            checks = checks_of(config, seed=seed, base_seed=base_seed)
            for key, check in checks.items():
                try:
                    if key not in done:
                        check(self.of(config.data))
                except InputError as error:
                    problems |= dict.fromkeys(error.problems)
            done |= checks.keys()
        if problems:
            raise InputError(problems)
