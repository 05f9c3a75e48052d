"""`dynaloss ui`: serves MLflow's own interface, or Optuna's dashboard."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from dynaloss.cli.completion import complete_study
from dynaloss.cli.options import workspace_options

if TYPE_CHECKING:
    from dynaloss.tracking import Workspace


@click.command()
@click.argument("study", required=False, shell_complete=complete_study)
@click.option("--port", type=click.IntRange(1, 65535), default=5000, show_default=True)
@click.option("--search", is_flag=True, help="Serve Optuna's dashboard of the search STUDY.")
@workspace_options
def ui(study: str | None, port: int, search: bool, workspace: Workspace) -> None:
    """Serve MLflow's own interface on the tracking store, for this machine only.

    Prints the address of the page of STUDY, with its curves by condition and arm, or else of the
    list of studies.

    Example: dynaloss ui quickstart
    """
    if search:
        from dynaloss.execution.search.dashboard import serve_dashboard

        if study is None:
            raise click.UsageError("--search needs the name of a search.")
        serve_dashboard(workspace, study, port=port, announce=_announce)
        return
    from dynaloss.tracking import serve_ui

    serve_ui(
        workspace.store_uri,
        workspace.artifact_root,
        port=port,
        study=study,
        announce=_announce,
    )


def _announce(page: str) -> None:
    click.echo(f"Open {page}")
