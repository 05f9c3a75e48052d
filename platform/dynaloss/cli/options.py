"""Options that several commands share."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any, TypeVar

import click

_Command = TypeVar("_Command", bound=Callable[..., object])


def figures_option(text: str) -> Callable[[_Command], _Command]:
    """`--figures DIR`.

    Args:
        text: What is written there, for the help.
    """
    return click.option(
        "--figures",
        type=click.Path(file_okay=False, path_type=Path),
        metavar="DIR",
        help=text,
    )


def format_option(of: str) -> Callable[[_Command], _Command]:
    """`--format table|json`.

    Args:
        of: What is printed in it, for the help.
    """
    return click.option(
        "--format",
        "format_",
        type=click.Choice(["table", "json"]),
        default="table",
        show_default=True,
        help=f"Format of {of}.",
    )


_storage_option = click.option(
    "--storage",
    type=click.Path(file_okay=False, path_type=Path),
    envvar="DYNALOSS_STORAGE",
    default=Path("results"),
    show_default=True,
    show_envvar=True,
    help="Folder of the tracking store, artifacts and checkpoints.",
)
_uri_option = click.option(
    "--tracking-uri",
    metavar="URI",
    envvar="MLFLOW_TRACKING_URI",
    show_envvar=True,
    help="MLflow tracking store; SQLite under the storage folder unless given.",
)


def workspace_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """`--storage` and `--tracking-uri`, passed on as one `workspace`."""

    @wraps(command)
    def with_workspace(
        *args: object, storage: Path, tracking_uri: str | None, **options: object
    ) -> object:
        from dynaloss.tracking import Workspace

        return command(*args, workspace=Workspace(storage, tracking_uri), **options)

    return _storage_option(_uri_option(with_workspace))
