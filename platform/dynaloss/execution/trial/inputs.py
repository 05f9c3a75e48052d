"""The data of the trials of a launch, and what must hold of both before any trial starts."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator
from typing import TYPE_CHECKING

from dynaloss.config import DataConfig, TrialConfig
from dynaloss.config.families import NOISES
from dynaloss.errors import InputError
from dynaloss.execution.trial.assembly import checks_of

if TYPE_CHECKING:
    from dynaloss.data.sources import Source, SourceStatus


class Sources:
    """The data sources of a launch, each loaded once, or of a plan.

    Attributes:
        missing: By `DataConfig.source_key`, what to fetch of the sources that are not there.
    """

    def __init__(self) -> None:
        self._loaded: dict[str, Source] = {}
        self._statuses: dict[str, SourceStatus] = {}
        self.missing: dict[str, str] = {}

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

    def planned_digest(self, config: DataConfig) -> str:
        """Digest of the content of the source, which need not be there; loads nothing."""
        status = self._status(config)
        if status.missing:
            self.missing[config.source_key] = status.missing
        return status.digest

    def _status(self, config: DataConfig) -> SourceStatus:
        """Whether the data are there, looked at once."""
        from dynaloss.data.sources import source_status

        key = config.source_key
        if key not in self._statuses:
            self._statuses[key] = source_status(config)
        return self._statuses[key]

    def missing_notes(self) -> list[str]:
        """What to fetch, a sentence for each source that is not there."""
        texts = dict.fromkeys(self.missing.values())
        return [f"data not found, so the keys are provisional: {text}" for text in texts]

    def warnings(self, configs: Iterable[DataConfig]) -> tuple[str, ...]:
        """What may be wrong with the files that settings name, one sentence each.

        Loads no source but those that labels of a file are put on; passes over missing data.

        Raises:
            InputError: With all problems, if files are there but cannot be used.
        """
        problems: dict[str, None] = {}
        found: dict[str, None] = {}
        for config in {(one.source_key, one.noise): one for one in configs}.values():
            try:
                found |= dict.fromkeys(self._remarks(config))
            except InputError as error:
                problems |= dict.fromkeys(error.problems)
        if problems:
            raise InputError(problems)
        return tuple(found)

    def _remarks(self, config: DataConfig) -> Iterator[str]:
        from dynaloss.data.sources import source_remarks

        yield from source_remarks(config)
        noise, is_loaded = NOISES[config.noise.kind], config.source_key in self._loaded
        if noise.remarks is not None and (is_loaded or self._status(config).missing is None):
            source = self.of(config)
            if noise.check is not None:
                noise.check(config.noise, source)
            yield from noise.remarks(config.noise, source)

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
