"""The commands that look at what came out: `compare`, `diff`, `show`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from dynaloss.cli.options import figures_option, workspace_options

if TYPE_CHECKING:
    from dynaloss.tracking import Workspace

__all__ = ["EXTRAS", "compare", "diff", "show"]

FORMATS = ("table", "markdown", "latex", "csv", "json")
EXTRAS = ("effects", "cost", "rules", "aggregates")


def _names(_ctx: click.Context, _option: click.Parameter, value: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in value.split(",") if name.strip())


@click.command()
@click.argument("studies", metavar="STUDY...", nargs=-1, required=True)
@click.option(
    "--metric",
    "metrics",
    multiple=True,
    help="Metric to compare by, several times for several; the study's own unless given.",
)
@click.option("--baseline", metavar="ARM", help="Row that the others are compared with.")
@click.option(
    "--rows",
    default="arm",
    show_default=True,
    metavar="KEY,...",
    callback=_names,
    help="What names the rows: arm, condition, seed, study, a parameter or a tag.",
)
@click.option(
    "--cols",
    "columns",
    default="condition",
    show_default=True,
    metavar="KEY,...",
    callback=_names,
    help="What names the columns, such as noise,imbalance; empty for one column.",
)
@click.option(
    "--where",
    multiple=True,
    metavar="KEY=VALUE",
    help="Keep only these trials; one key several times allows several values.",
)
@click.option(
    "--include-pruned", is_flag=True, help="Count the last value of pruned trials as well."
)
@click.option(
    "--force", is_flag=True, help="Join studies that saw different data, and mark the table."
)
@click.option(
    "--with",
    "extras",
    multiple=True,
    type=click.Choice(EXTRAS),
    help="Show this as well: effects of the components, cost next to gain, rules that pick the "
    "epoch, aggregates over the conditions.",
)
@click.option(
    "--format",
    "format_",
    type=click.Choice(FORMATS),
    default="table",
    show_default=True,
    help="Format of the table.",
)
@click.option("--exact", is_flag=True, help="Every digit, in fractions rather than percent.")
@click.option(
    "--report",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE.html",
    help="Also write a report with all figures, one self-contained HTML file.",
)
@figures_option("Also write every figure as PNG and PDF.")
@workspace_options
def compare(
    studies: tuple[str, ...],
    metrics: tuple[str, ...],
    baseline: str | None,
    rows: tuple[str, ...],
    columns: tuple[str, ...],
    where: tuple[str, ...],
    include_pruned: bool,
    force: bool,
    extras: tuple[str, ...],
    format_: str,
    exact: bool,
    report: Path | None,
    figures: Path | None,
    workspace: Workspace,
) -> None:
    """Compare the arms of each STUDY from the tracking store.

    STUDY is the name of a study, or its file; a search stands for its winners, trained afresh.
    Arms are rows, conditions are columns; a cell shows mean and standard deviation over the
    seeds and the difference to the baseline, paired by seed, with its 95 % interval and a
    corrected p value, or "cannot tell". Only completed trials count. Several studies share one
    table where they saw the same data.
    """
    from dynaloss.cli.comparing import Question, compare_studies

    question = Question(
        studies=studies,
        metrics=metrics,
        baseline=baseline,
        rows=rows,
        columns=columns,
        where=where,
        include_pruned=include_pruned,
        force=force,
        exact=exact,
        extras=extras,
    )
    text = compare_studies(
        question,
        format_=format_,
        report=report,
        figures=figures,
        workspace=workspace,
    )
    click.echo(text, nl=False)


@click.command()
@click.argument("one", metavar="RUN")
@click.argument("other", metavar="RUN")
@workspace_options
def diff(one: str, other: str, workspace: Workspace) -> None:
    """Show what differs between two runs: settings, data, environment and metrics.

    RUN is the key of a trial or the id of its run, or the beginning of either.
    """
    from dynaloss.cli.inspecting import diff_runs

    click.echo(diff_runs(one, other, workspace), nl=False)


@click.command()
@click.argument("run", metavar="RUN")
@figures_option("Write the figures of the run there, as PNG, instead of drawing in the terminal.")
@workspace_options
def show(run: str, figures: Path | None, workspace: Workspace) -> None:
    """Show one run: corrector curve, margins, confusion matrix and learning curves.

    RUN is the key of a trial or the id of its run, or the beginning of either.
    """
    from dynaloss.cli.inspecting import show_run

    click.echo(show_run(run, figures, workspace), nl=False)
