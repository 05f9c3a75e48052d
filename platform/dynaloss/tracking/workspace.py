"""Where studies keep their results: the storage folder and the tracking store."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from filelock import FileLock, Timeout

from dynaloss.errors import InputError
from dynaloss.tracking.client import is_sql, sqlite_path
from dynaloss.tracking.store import Store


@dataclass(frozen=True, slots=True)
class Workspace:
    """A storage folder and a tracking store.

    Attributes:
        storage: Folder of checkpoints, locks, artifacts and the default tracking store, made
            absolute; by default that of the variable DYNALOSS_STORAGE, then `results`.
        tracking_uri: MLflow tracking URI; None for that of the variable MLFLOW_TRACKING_URI, then
            SQLite in the storage folder.

    Examples:
        >>> workspace = dynaloss.Workspace("results", "sqlite:///runs.db")
        >>> workspace.storage.name
        'results'
    """

    storage: Path = field(
        default_factory=lambda: Path(os.environ.get("DYNALOSS_STORAGE") or "results")
    )
    tracking_uri: str | None = None

    def __post_init__(self) -> None:
        # Unlike Path.expanduser, this leaves the home of an unknown user as it is written.
        folder = Path(os.path.expanduser(self.storage))  # noqa: PTH111
        object.__setattr__(self, "storage", folder.resolve())

    @classmethod
    def of(cls, place: Workspace | str | Path | None) -> Workspace:
        """The workspace itself, that of a storage folder, or the default one for None.

        Examples:
            >>> dynaloss.Workspace.of("results").storage == workspace.storage
            True
        """
        if isinstance(place, Workspace):
            return place
        return cls() if place is None else cls(Path(place))

    @property
    def store_uri(self) -> str:
        """Address of the tracking store.

        A relative SQLite path is made absolute, so that the interface and the workers, which may
        run in other folders, open the same file.

        Examples:
            >>> workspace.store_uri.startswith("sqlite:////")
            True
        """
        default = f"sqlite:///{self.storage / 'mlflow.db'}"
        uri = self.tracking_uri or os.environ.get("MLFLOW_TRACKING_URI") or default
        path = sqlite_path(uri)
        _, mark, query = uri.partition("?")
        return uri if path is None else f"sqlite:///{path.absolute()}{mark}{query}"

    @property
    def artifact_root(self) -> str | None:
        """File URI of the artifacts; None where the server or the file store decides.

        Examples:
            >>> workspace.artifact_root == (workspace.storage / "artifacts").as_uri()
            True
        """
        return (self.storage / "artifacts").as_uri() if is_sql(self.store_uri) else None

    @property
    def has_store(self) -> bool:
        """Whether the store may hold something: only a SQLite file is known to be absent.

        Examples:
            >>> workspace.has_store
            False
        """
        path = sqlite_path(self.store_uri)
        return path is None or path.is_file()

    def folder(self, study: str) -> Path:
        """Folder of the study.

        Examples:
            >>> workspace.folder("small").relative_to(workspace.storage).as_posix()
            'small'
        """
        return self.storage / study

    def checkpoints(self, study: str) -> Path:
        """Folder of the study's checkpoints.

        Examples:
            >>> workspace.checkpoints("small").relative_to(workspace.storage).as_posix()
            'small/checkpoints'
        """
        return self.folder(study) / "checkpoints"

    def open_store(self, *, must_exist: bool = False) -> Store:
        """The tracking store, opened; see `Store` for `must_exist` and the errors.

        Examples:
            >>> "small" in dynaloss.Workspace("results").open_store().studies()
            True
        """
        return Store(self.store_uri, self.artifact_root, must_exist=must_exist)

    @contextmanager
    def locked(self, study: str) -> Iterator[None]:
        """Keep a second launch of the same study out.

        Raises:
            InputError: If another process runs the study in this workspace.

        Examples:
            >>> with workspace.locked("small"):
            ...     print("no other launch of `small` starts")
            no other launch of `small` starts
        """
        path = self._lock_path(study)
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            lock = FileLock(path, timeout=0).acquire()
        except Timeout:
            raise InputError(
                f"Another process is running study '{study}' in {self.storage}: "
                "wait for it, or stop it first."
            ) from None
        with lock:
            self._owner_path(study).write_text(f"{os.getpid()} {socket.gethostname()}", "utf-8")
            yield

    def launcher(self, study: str) -> tuple[int, str] | None:
        """Process and machine of the launch of the study that runs; None where none does.

        Examples:
            >>> workspace.launcher("small") is None
            True
        """
        path = self._lock_path(study)
        if not path.exists():
            return None
        try:
            FileLock(path, timeout=0).acquire().lock.release()
        except Timeout:
            pid, _, host = self._owner_path(study).read_text("utf-8").partition(" ")
            return int(pid), host
        return None

    def _lock_path(self, study: str) -> Path:
        return self.folder(study) / "launch.lock"

    def _owner_path(self, study: str) -> Path:
        return self.folder(study) / "launch.pid"
