"""Options that several commands share."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from functools import partial, wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from dynaloss.tracking import Workspace

_from_environment = partial(click.option, show_envvar=True)

_storage_option = _from_environment(
    "--storage",
    type=click.Path(file_okay=False, path_type=Path),
    envvar="DYNALOSS_STORAGE",
    default=Path("results"),
    show_default=True,
    help="Folder of the tracking store, artifacts and checkpoints.",
)
_uri_option = _from_environment(
    "--tracking-uri",
    metavar="URI",
    envvar="MLFLOW_TRACKING_URI",
    help="MLflow tracking store; by default SQLite in the storage folder.",
)
_address_option = _from_environment(
    "--address",
    metavar="HOST:PORT",
    envvar="RAY_ADDRESS",
    help="Run the trials on the cluster of Ray at this address.",
)
_slurm_option = click.option(
    "--slurm",
    metavar="OPTIONS",
    help="Submit the launch to Slurm, with options of sbatch such as "
    "partition=gpu,nodes=4,time=8:00:00, and return.",
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


def cluster_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """`--address`, passed on to Ray, and `--slurm`, passed to the command."""

    @wraps(command)
    def with_address(*args: object, address: str | None, **options: object) -> object:
        if address is not None:
            os.environ["RAY_ADDRESS"] = address
        return command(*args, **options)

    return _address_option(_slurm_option(with_address))


def verbose_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """`-v`: shows what otherwise only the log file of a launch has."""

    @wraps(command)
    def with_details(*args: object, verbose: bool, **options: object) -> object:
        if not verbose:
            return command(*args, **options)
        from dynaloss.execution.progress import details_shown

        with details_shown():
            return command(*args, **options)

    return click.option(
        "-v",
        "--verbose",
        is_flag=True,
        help="Show starts, epochs and Ray's own lines, as the log file of the launch has them.",
    )(with_details)


def submit_to_slurm(command: Sequence[str], slurm: str, study: str, workspace: Workspace) -> None:
    """Submits a launch to Slurm instead of running it; prints what sbatch says."""
    from dynaloss.execution.slurm import parse_options, submit

    # In the environment, as an address may hold a password, which the script would show.
    place = {"DYNALOSS_STORAGE": str(workspace.storage)}
    if workspace.tracking_uri is not None:
        place["MLFLOW_TRACKING_URI"] = workspace.tracking_uri
    options, folder = parse_options(slurm), workspace.folder(study)
    click.echo(submit(command, options, study=study, folder=folder, environment=place))


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
