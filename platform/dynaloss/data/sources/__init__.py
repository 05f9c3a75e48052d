"""Data sources: what they hold, whether their files are there, and their digests."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from dynaloss.config.data import SourceSettings
from dynaloss.config.families import SOURCES, SourceKind
from dynaloss.data.sources.source import DataNotFound, ImageArrays, Source
from dynaloss.errors import InputError

__all__ = [
    "DataNotFound",
    "ImageArrays",
    "Source",
    "SourceSettings",
    "SourceStatus",
    "load_source",
    "source_remarks",
    "source_status",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceStatus:
    """Whether the data of a source are there.

    Attributes:
        digest: Digest of its content, or a placeholder that no content has.
        missing: What to fetch and where to put it; None where nothing is missing.
    """

    digest: str
    missing: str | None


def load_source(settings: SourceSettings) -> Source:
    """Loads a source; decodes or downloads where needed.

    Raises:
        DataNotFound: If its files are missing.
        InputError: If they cannot be read.
    """
    with _readable():
        source = _kind_of(settings).load(settings)
    if not isinstance(source, Source):
        raise InputError(
            f"[data.source] '{settings.source}' must load a dynaloss.data.sources.Source, but "
            f"returned {type(source).__name__}"
        )
    if [name for name, _ in settings.more_tests or ()] != [*source.more_tests]:
        raise InputError(f"[data.more_tests] is not a setting of '{settings.source}'")
    # Found once here: it goes with the source to the processes of the trials.
    source.image_ids  # noqa: B018
    return source


def source_status(settings: SourceSettings) -> SourceStatus:
    """Whether the data of a source are there, and their digest; decodes nothing.

    Raises:
        InputError: If the files are there but cannot be read.
    """
    kind = _kind_of(settings)
    try:
        with _readable():
            digest = kind.digest(settings)
    except DataNotFound as error:
        return SourceStatus(digest=f"missing:{settings.source}", missing=str(error))
    return SourceStatus(digest=digest, missing=None)


def source_remarks(settings: SourceSettings) -> tuple[str, ...]:
    """What to warn of in the files of a source, one sentence each; nothing where some miss.

    Raises:
        InputError: As of `source_status`.
    """
    remarks = _kind_of(settings).remarks
    try:
        with _readable():
            return tuple(remarks(settings)) if remarks is not None else ()
    except DataNotFound:
        return ()


@contextmanager
def _readable() -> Iterator[None]:
    """Raises InputError for a file or folder that the system refuses to read."""
    try:
        yield
    except OSError as error:
        raise InputError(f"[data.root] '{error.filename}': {error.strerror}") from error


def _kind_of(settings: SourceSettings) -> SourceKind:
    kind = SOURCES[settings.source]
    given = [name for name in kind.ignores if getattr(settings, name) is not None]
    if given:
        raise InputError([f"[data.{n}] is not a setting of '{settings.source}'" for n in given])
    return kind
