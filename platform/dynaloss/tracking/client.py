"""The connection to MLflow: silent, retries a busy store, one clear error for a broken one.

And what the address of a store is, and how it is shown.
"""

from __future__ import annotations

import os
import re
import sys
import time
from collections.abc import Callable, Iterator
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, ParamSpec, TypeVar

from dynaloss.errors import DynalossError, InputError
from dynaloss.left_folders import own_folder
from dynaloss.tracking import internals

if TYPE_CHECKING:
    from mlflow import MlflowClient

_ENVIRONMENT: Final = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    # Errors reach the user as exceptions; the log would print each once more, with a traceback.
    "MLFLOW_LOGGING_LEVEL": "CRITICAL",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "30",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "5",
    "GIT_PYTHON_REFRESH": "quiet",
}
_BUSY: Final = "TEMPORARILY_UNAVAILABLE"
_WAITS: Final = (0.2, 1.0)
# MLflow's errors for a request that no server has answered, or only a proxy before it.
_UNREACHABLE: Final = re.compile(
    "API request to .* failed with (exception|error code (502|503|504))", re.DOTALL
)

_P = ParamSpec("_P")
_T = TypeVar("_T")


class StoreError(DynalossError):
    """The tracking store refused or failed a call.

    Attributes:
        code: MLflow's error code, such as `RESOURCE_ALREADY_EXISTS`; empty where there is none.
    """

    def __init__(self, message: str, code: str = "") -> None:
        super().__init__(message)
        self.code = code


class StoreAwayError(StoreError):
    """The tracking server does not answer."""


class ServerAbsentError(InputError):
    """The tracking server did not answer when it was first asked."""


class Client:
    """MLflow's client, whose calls wait for a busy store and raise a `StoreError`.

    Has every method of `mlflow.MlflowClient` under its own name. A SQLite store that is not there
    yet is made.

    Args:
        tracking_uri: Address of the store.
        must_exist: Refuse a SQLite file that is not there instead of making it. An SQL store is
            then read without MLflow, which takes seconds to import, until a call needs it.

    Raises:
        InputError: If the store is absent, cannot be reached or is damaged.
    """

    def __init__(self, tracking_uri: str, *, must_exist: bool = False) -> None:
        path = sqlite_path(tracking_uri)
        if must_exist and path is not None and not path.is_file():
            raise InputError(f"There is no tracking store at {path} yet: no study was run there.")
        self.tracking_uri = tracking_uri
        if not must_exist or self.reader is None:
            _ = self.raw

    @cached_property
    def raw(self) -> MlflowClient:
        """MLflow's own client."""
        try:
            return _open(self.tracking_uri)
        except Exception as error:
            is_absent = is_server(self.tracking_uri) and not isinstance(error, PermissionError)
            kind = ServerAbsentError if is_absent else InputError
            raise kind(_not_opened(self.tracking_uri, error)) from error

    @cached_property
    def reader(self) -> internals.SqlReader | None:
        """Direct access to the tables of an SQL store; None for any other store."""
        return internals.sql_reader(self.tracking_uri) if is_sql(self.tracking_uri) else None

    def __getattr__(self, name: str) -> Callable[..., Any]:
        return partial(self.attempt, name, getattr(self.raw, name))

    def pages(self, search: str, **kwargs: object) -> Iterator[Any]:
        """The results of one of MLflow's searches, page by page."""
        page = getattr(self, search)(**kwargs)
        yield from page
        while page.token:
            page = getattr(self, search)(**kwargs, page_token=page.token)
            yield from page

    def attempt(
        self, what: str, call: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs
    ) -> _T:
        """The call's result, retried while the store is busy; `what` names it in the error.

        A retry is safe: a busy store has written nothing, and a metric written twice with the
        same time stamp is one metric to MLflow.

        Raises:
            StoreAwayError: If no server answers.
            StoreError: If the store fails the call.
        """
        waits = iter(_WAITS)
        while True:
            try:
                return call(*args, **kwargs)
            except _store_errors() as error:
                code = _code(error)
                wait = next(waits, None) if code == _BUSY else None
                if wait is None:
                    where = redacted(self.tracking_uri)
                    message = f"The tracking store {where} failed `{what}`: {_gist(error)}"
                    is_away = is_server(self.tracking_uri) and _UNREACHABLE.search(str(error))
                    raise (StoreAwayError if is_away else StoreError)(message, code) from error
                time.sleep(wait)

    def require_server(self) -> None:
        """Returns at once where the store is no server, or one that answers.

        Raises:
            StoreAwayError: If the server does not answer.
        """
        if is_server(self.tracking_uri):
            try:
                internals.check_server(self.tracking_uri)
            except Exception as error:
                where = redacted(self.tracking_uri)
                raise StoreAwayError(f"The tracking server {where} is away.") from error


def prepare_environment() -> None:
    """Set MLflow's switches that the user has not set: no telemetry, no log, short time limits.

    Must come before the first import of mlflow, which reads some of them only then.
    """
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)


def _store_errors() -> tuple[type[Exception], ...]:
    """What a store may raise; MLflow's own errors only once MLflow is imported."""
    from sqlalchemy.exc import SQLAlchemyError

    if "mlflow" not in sys.modules:
        return SQLAlchemyError, OSError
    from mlflow.exceptions import MlflowException

    return MlflowException, SQLAlchemyError, OSError


def _code(error: Exception) -> str:
    """MLflow's error code; as MLflow does, an operational error of a database counts as busy."""
    from sqlalchemy.exc import OperationalError

    return _BUSY if isinstance(error, OperationalError) else str(getattr(error, "error_code", ""))


def _open(tracking_uri: str) -> MlflowClient:
    prepare_environment()
    from mlflow import MlflowClient

    if tracking_uri.startswith("http"):
        internals.check_server(tracking_uri)
    elif is_sql(tracking_uri):
        _check_database(tracking_uri)
    client = MlflowClient(tracking_uri=tracking_uri)
    client.search_experiments(max_results=1)
    return client


def _check_database(tracking_uri: str) -> None:
    """Connect once: MLflow itself retries an unusable database for more than a minute."""
    import sqlalchemy

    if (path := sqlite_path(tracking_uri)) is not None:
        if not path.exists():
            _make_sqlite(path)
        elif not path.stat().st_size:
            raise ValueError("the file is empty, all that it held is lost")
    engine = sqlalchemy.create_engine(tracking_uri, poolclass=sqlalchemy.NullPool)
    sqlalchemy.inspect(engine).get_table_names()


def _make_sqlite(path: Path) -> None:
    """Make a store aside and put it in its place whole, unless another process was faster.

    MLflow makes it in place, in seconds: a kill in between, or a second process, spoils it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with own_folder(".new-store-", path.parent) as folder:
        made = Path(folder) / path.name
        internals.make_sqlite(made)
        try:
            path.hardlink_to(made)
        except FileExistsError:
            return
        except OSError:  # a file system without hard links
            if not path.exists():
                made.replace(path)


def _not_opened(tracking_uri: str, error: Exception) -> str:
    where = redacted(tracking_uri)
    if is_server(tracking_uri):
        remedy = "Check that the server runs and that the address and the credentials are right."
    elif "out-of-date" in str(error):
        remedy = f"Back it up, then run `mlflow db upgrade {where}`."
    elif isinstance(error, ImportError):
        remedy = "Install the driver of this database."
    else:
        remedy = "Check the address; if the file is damaged, move it away or restore a copy."
    # What is said of a malformed address may repeat a part of it, a password say.
    is_malformed = isinstance(error, ValueError) and "@" in tracking_uri
    reason = "it is no valid address." if is_malformed else _gist(error)
    return f"The tracking store {where} cannot be opened: {reason} {remedy}"


def _gist(error: Exception) -> str:
    """The first line of an error as a sentence; the rest is SQL, bindings and remedies."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    line = redacted(lines[0].strip())
    return line if line.endswith(".") else f"{line}."


def is_server(tracking_uri: str) -> bool:
    """Whether the URI is that of a tracking server, reached over HTTP."""
    return tracking_uri.startswith(("http://", "https://", "databricks"))


def is_sql(tracking_uri: str) -> bool:
    """Whether the URI is that of an SQL database, reached directly."""
    scheme, separator, _ = tracking_uri.partition("://")
    return bool(separator) and scheme != "file" and not is_server(tracking_uri)


def sqlite_path(tracking_uri: str) -> Path | None:
    """The file of a SQLite store; None for every other store and for one in memory."""
    if not tracking_uri.startswith("sqlite:///"):
        return None
    name = tracking_uri.removeprefix("sqlite:///").partition("?")[0]
    return Path(name) if name and name != ":memory:" else None


def redacted(text: str) -> str:
    """The text without the user names, passwords and tokens of the addresses it may hold.

    A password may hold any character: all up to the last `@` of the line goes.
    """
    bare = re.sub(r"(://|https?:)(?!/).*@", r"\1***@", text)
    bare = re.sub(r"\b(\w+:)(?!//)\S*@", r"\1***@", bare)  # one that is mistyped
    return re.sub(r"(?i)(\w*(?:password|passwd|pwd|token|secret)=)[^&\s]+", r"\1***", bare)
