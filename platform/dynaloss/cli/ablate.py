"""`dynaloss ablate`: runs the trials of an ablation, or shows its plan."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from dynaloss.cli.options import cluster_options, format_option, submit_to_slurm, workspace_options
from dynaloss.errors import InputError

if TYPE_CHECKING:
    from dynaloss.tracking import Workspace


@click.command()
@click.argument("study")
@click.option("--plan", "plan_only", is_flag=True, help="List every trial and run nothing.")
@format_option(help="Format of the plan.")
@click.option(
    "--spread",
    type=click.FloatRange(min=0, min_open=True),
    metavar="POINTS",
    help="With --plan: standard deviation of an arm over seeds, such as 1.2, for the smallest "
    "detectable difference; by default from earlier runs.",
)
@click.option(
    "--effect",
    type=click.FloatRange(min=0, min_open=True),
    metavar="POINTS",
    help="With --plan: how many seeds find a difference of this many points.",
)
@click.option(
    "--probe",
    is_flag=True,
    help="With --plan: measure the cost now, in two epochs of one trial of every size, instead of "
    "using earlier runs. Records nothing.",
)
@click.option("--fresh", is_flag=True, help="Re-run finished trials.")
@cluster_options
@workspace_options
def ablate(
    study: str,
    plan_only: bool,
    format_: str,
    probe: bool,
    spread: float | None,
    effect: float | None,
    fresh: bool,
    slurm: str | None,
    workspace: Workspace,
) -> None:
    """Run the unfinished trials of STUDY.

    STUDY is a YAML file or the name of a bundled study (see `dynaloss list`). A finished trial
    never runs twice: after an interruption, or with a seed or a condition added, the same command
    runs the rest.

    Exit status: 0 if every trial completed, 1 if one failed or diverged, or records wait for a
    tracking server (`dynaloss sync`), 2 for bad input, 130 after an interruption.
    """
    if (probe or spread is not None or effect is not None) and not plan_only:
        raise InputError("`--probe`, `--spread` and `--effect` require `--plan`.")
    from dynaloss.api.study import Study

    loaded = Study.load(study)
    if plan_only:
        from dynaloss.cli.planning import show_plan

        plan, resources = loaded.plan(workspace), loaded.settings.resources
        show_plan(
            plan, resources, workspace, format_=format_, spread=spread, effect=effect, probe=probe
        )
        return
    if slurm is not None:
        command = ["ablate", study, *["--fresh"] * fresh]
        submit_to_slurm(command, slurm, loaded.name, workspace)
        return
    run = loaded.run(workspace, fresh=fresh)
    click.echo(run.as_text(), nl=False)
    sys.exit(run.exit_status)
