"""`dynaloss status` and `dynaloss stop`: a launch, seen and ended from another terminal."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import click

from dynaloss.cli.completion import complete_study
from dynaloss.cli.options import workspace_options

if TYPE_CHECKING:
    from dynaloss.tracking import Workspace

_SECONDS = 2.0


@click.command()
@click.argument("study", shell_complete=complete_study)
@click.option("--watch", is_flag=True, help="Go on until the launch ends.")
@workspace_options
def status(study: str, watch: bool, workspace: Workspace) -> None:
    """Show what a launch of STUDY is doing: done, running, left, failures, time left.

    STUDY is the name of the study, as in its file.

    Example: dynaloss status quickstart --watch
    """
    from rich.console import Console
    from rich.live import Live
    from rich.text import Text

    from dynaloss.execution.status import status as status_of

    lines, is_running = status_of(workspace, study)
    console = Console(highlight=False)
    if not (watch and console.is_terminal):
        click.echo("\n".join(lines))
        while watch and is_running:
            time.sleep(_SECONDS)
            before, (lines, is_running) = lines[1:2], status_of(workspace, study)
            if lines[1:2] != before or not is_running:
                click.echo("\n".join(lines))
        return
    with Live(Text("\n".join(lines)), console=console) as live:
        while is_running:
            time.sleep(_SECONDS)
            lines, is_running = status_of(workspace, study)
            live.update(Text("\n".join(lines)))


@click.command()
@click.argument("study", shell_complete=complete_study)
@workspace_options
def stop(study: str, workspace: Workspace) -> None:
    """Stop the launch of STUDY on this machine, as Ctrl-C in its terminal would.

    Running trials keep their state; returns once the launch has ended. The same command that
    launched the study continues it.

    Example: dynaloss stop quickstart
    """
    from dynaloss.execution.status import stop as stop_launch

    click.echo(stop_launch(workspace, study))
