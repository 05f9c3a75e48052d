"""Options that several commands share."""

from __future__ import annotations

from pathlib import Path

import click

__all__ = ["storage_option", "uri_option"]

storage_option = click.option(
    "--storage",
    type=click.Path(file_okay=False, path_type=Path),
    envvar="DYNALOSS_STORAGE",
    default=Path("results"),
    show_default=True,
    show_envvar=True,
    help="Folder of the tracking store, artifacts and checkpoints.",
)
uri_option = click.option(
    "--tracking-uri",
    metavar="URI",
    envvar="MLFLOW_TRACKING_URI",
    show_envvar=True,
    help="MLflow tracking store; SQLite under the storage folder unless given.",
)
