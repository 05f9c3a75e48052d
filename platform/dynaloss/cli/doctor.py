"""`dynaloss doctor`: what launches need, and what they have left behind."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from dynaloss.cli.options import workspace_options

if TYPE_CHECKING:
    from dynaloss.tracking import Workspace


@click.command()
@click.option("--repair", is_flag=True, help="Repair what launches have left; deletes no result.")
@click.option(
    "--relocate",
    is_flag=True,
    help="Point the store of a folder that was moved, or copied, to the artifacts beside it.",
)
@workspace_options
def doctor(repair: bool, relocate: bool, workspace: Workspace) -> None:
    """Look at packages, devices, Ray, disk and store, and at what launches have left behind.

    Exits with status 1 where there is a problem. A study that runs is left alone.

    Example: dynaloss doctor --repair
    """
    from dynaloss.execution import doctor as examining

    findings = (
        examining.relocate(workspace) if relocate else examining.examine(workspace, repair=repair)
    )
    has_problem = False
    for finding in findings:
        click.echo(str(finding))
        has_problem |= finding.is_problem
    sys.exit(1 if has_problem else 0)
