"""`dynaloss export`: writes a trained classifier to a file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from dynaloss.cli.completion import complete_run
from dynaloss.cli.options import workspace_options

if TYPE_CHECKING:
    from dynaloss.tracking import Workspace


@click.command()
@click.argument("run", metavar="RUN", shell_complete=complete_run)
@click.option(
    "--to",
    "folder",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="DIR",
    default=Path(),
    help="Where to write it.  [default: here]",
)
@click.option(
    "--register",
    "name",
    metavar="NAME",
    help="Register it under this name in MLflow's registry of models, too.",
)
@workspace_options
def export(run: str, folder: Path, name: str | None, workspace: Workspace) -> None:
    """Write the trained classifier of a run, and a study file that trains it again.

    RUN is the key of a trial or the id of its run, or the beginning of either. The study must
    keep classifiers: `limits: {models: best}`, or all. `dynaloss.learning.load_model` rebuilds
    one from its file, `mlflow.pytorch.load_model` a registered one.

    Example: dynaloss export 3f2a --to models --register digits
    """
    from dynaloss.cli.show import find_runs
    from dynaloss.execution.exporting import export_model, register_exported

    (record,) = find_runs([run], workspace)
    model, study = export_model(record, workspace, folder)
    click.echo(f"{model}\n{study}")
    if name is not None:
        version = register_exported(model, record, workspace, name)
        click.echo(f"models:/{name}/{version}")
