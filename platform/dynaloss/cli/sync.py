"""`dynaloss sync`: delivers what a tracking server that was away did not get."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from dynaloss.cli.completion import complete_study
from dynaloss.cli.options import workspace_options

if TYPE_CHECKING:
    from dynaloss.tracking import Workspace


@click.command()
@click.argument("studies", nargs=-1, metavar="[STUDY]...", shell_complete=complete_study)
@workspace_options
def sync(studies: tuple[str, ...], workspace: Workspace) -> None:
    """Deliver the records that wait on disk because the tracking server was away.

    Those of each STUDY, or of all studies in the storage folder; nothing is trained.

    Example: dynaloss sync quickstart
    """
    from dynaloss.execution import sync as syncing

    syncing.sync(workspace, click.echo, studies)
