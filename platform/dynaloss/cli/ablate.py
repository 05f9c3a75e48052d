"""`dynaloss ablate`: runs the trials of an ablation, or shows its plan."""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from dynaloss.cli.completion import complete_demand, complete_study_file
from dynaloss.cli.options import (
    cluster_options,
    format_option,
    submit_to_slurm,
    verbose_option,
    workspace_options,
)
from dynaloss.errors import InputError

if TYPE_CHECKING:
    from dynaloss.api.study import Study
    from dynaloss.tracking import Workspace


@click.command()
@click.argument("study", shell_complete=complete_study_file)
@click.option("--plan", "plan_only", is_flag=True, help="Show cost and power, and run nothing.")
@click.option("--trials", is_flag=True, help="With --plan: list every trial with its key.")
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
@click.option(
    "--where",
    multiple=True,
    metavar="KEY=VALUE",
    shell_complete=complete_demand,
    help="Run only these trials, such as arm=full, seed=0 or noise.rate=0.4; one key several "
    "times allows several values.",
)
@click.option(
    "--set",
    "changes",
    multiple=True,
    metavar="KEY=VALUE",
    help="Change a setting of the trial, such as schedule.epochs=5. The study then has a name of "
    "its own, which is printed.",
)
@click.option(
    "--slots", type=click.IntRange(min=1), metavar="N", help="Run at most N trials at a time."
)
@cluster_options
@verbose_option
@workspace_options
def ablate(
    study: str,
    plan_only: bool,
    trials: bool,
    format_: str,
    probe: bool,
    spread: float | None,
    effect: float | None,
    fresh: bool,
    where: tuple[str, ...],
    changes: tuple[str, ...],
    slots: int | None,
    slurm: str | None,
    workspace: Workspace,
) -> None:
    """Run the unfinished trials of STUDY.

    STUDY is a YAML file or the name of a bundled study (see `dynaloss list`). A finished trial
    never runs twice: after an interruption, or with a seed or a condition added, the same command
    runs the rest.

    Exit status: 0 if every trial completed, 1 if one failed or diverged, or records wait for a
    tracking server (`dynaloss sync`), 2 for bad input, 130 after an interruption.

    Example: dynaloss ablate quickstart --where arm=full
    """
    if (probe or trials or spread is not None or effect is not None) and not plan_only:
        raise InputError("`--probe`, `--trials`, `--spread` and `--effect` require `--plan`.")
    if plan_only and (where or slots is not None or slurm is not None):
        raise InputError("`--where`, `--slots` and `--slurm` are for a launch, not for `--plan`.")
    from dynaloss.api.study import Study

    loaded = _changed(Study.load(study), changes)
    if plan_only:
        from dynaloss.cli.planning import show_plan

        plan, resources = loaded.plan(workspace), loaded.settings.resources
        show_plan(
            plan,
            resources,
            workspace,
            format_=format_,
            spread=spread,
            effect=effect,
            probe=probe,
            trials=trials,
        )
        return
    if slurm is not None:
        command = ["ablate", study, *["--fresh"] * fresh]
        command += [word for demand in where for word in ("--where", demand)]
        command += [word for change in changes for word in ("--set", change)]
        command += [] if slots is None else ["--slots", str(slots)]
        submit_to_slurm(command, slurm, loaded.name, workspace)
        return
    run = loaded.run(workspace, fresh=fresh, where=where, slots=slots)
    click.echo(run.as_text(), nl=False)
    sys.exit(run.exit_status)


def _changed(study: Study, changes: Sequence[str]) -> Study:
    """The study with settings changed, under a name that says which."""
    if not changes:
        return study
    from dynaloss.studies.overrides import key_problem
    from dynaloss.studies.reading.document import plain_value

    values = {}
    for change in changes:
        key, equals, text = change.partition("=")
        if not (equals and text):
            raise InputError(f"--set must be KEY=VALUE, but got '{change}'")
        if problem := key_problem(key):
            raise InputError(f"--set: '{key}' {problem}")
        values[key] = plain_value(text)
    words = (f"{key.rpartition('.')[2]}-{value}" for key, value in values.items())
    name = re.sub(r"[^A-Za-z0-9_.-]+", "-", "-".join([study.name, *words]))
    click.echo(f"study {name}: {study.name} with {', '.join(changes)}", err=True)
    return study.with_(values, study=name)
