"""`dynaloss diff`: differences between two runs from the tracking store."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from dynaloss.cli.completion import complete_run
from dynaloss.cli.options import workspace_options
from dynaloss.cli.show import find_runs

if TYPE_CHECKING:
    from dynaloss.tracking import Workspace


@click.command()
@click.argument("one", metavar="RUN", shell_complete=complete_run)
@click.argument("other", metavar="RUN", shell_complete=complete_run)
@workspace_options
def diff(one: str, other: str, workspace: Workspace) -> None:
    """Show the differences between two runs: settings, data, environment and metrics.

    RUN is the key of a trial or the id of its run, or the beginning of either.

    Example: dynaloss diff 3f2a 91bc
    """
    from dynaloss.analysis.tables import render
    from dynaloss.analysis.tables.single_run import difference_tables

    tables = difference_tables(*find_runs([one, other], workspace))
    text = "\n".join(map(render, tables)) or "The two runs do not differ.\n"
    click.echo(text, nl=False)
