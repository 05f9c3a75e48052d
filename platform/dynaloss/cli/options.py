"""Options that several commands share."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial, wraps
from pathlib import Path
from typing import Any

import click

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
    help="MLflow tracking store; by default SQLite in the storage folder.",
)


def workspace_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """`--storage` and `--tracking-uri`, passed to the command as one `workspace`."""

    @wraps(command)
    def with_workspace(
        *args: object, storage: Path, tracking_uri: str | None, **options: object
    ) -> object:
        from dynaloss.tracking import Workspace

        return command(*args, workspace=Workspace(storage, tracking_uri), **options)

    return _storage_option(_uri_option(with_workspace))


figures_option = partial(
    click.option, "--figures", type=click.Path(file_okay=False, path_type=Path), metavar="DIR"
)

format_option = partial(
    click.option,
    "--format",
    "format_",
    type=click.Choice(["table", "json"]),
    default="table",
    show_default=True,
)
