"""`dynaloss compare`: arms of one or several studies in one table."""

from __future__ import annotations

import shlex
import sys
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from dynaloss.cli.completion import complete_arm, complete_demand, complete_metric, complete_study
from dynaloss.cli.options import figures_option, workspace_options

if TYPE_CHECKING:
    from dynaloss.analysis import Result
    from dynaloss.tracking import Workspace

FORMATS = ("table", "markdown", "latex", "csv", "json")
EXTRAS = ("effects", "cost", "rules", "aggregates")


def _names(_ctx: click.Context, _option: click.Parameter, value: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in value.split(",") if name.strip())


@click.command()
@click.argument(
    "studies", metavar="STUDY...", nargs=-1, required=True, shell_complete=complete_study
)
@click.option(
    "--metric",
    multiple=True,
    shell_complete=complete_metric,
    help="Metric to compare by, several times for several; the study's own unless given.",
)
@click.option(
    "--baseline",
    metavar="ARM",
    shell_complete=complete_arm,
    help="Row that the others are compared with.",
)
@click.option(
    "--margin",
    type=click.FloatRange(min=0, min_open=True),
    metavar="POINTS",
    help="Differences up to this do not matter; arms may then be equivalent.",
)
@click.option(
    "--adjust",
    type=click.Choice(("maxt", "holm")),
    help="How p values are adjusted for the table; the study's own unless given.",
)
@click.option(
    "--rows",
    default="arm",
    show_default=True,
    metavar="KEY,...",
    callback=_names,
    help="Keys that name the rows: arm, condition, seed, study, a parameter or a tag.",
)
@click.option(
    "--cols",
    "columns",
    default="condition",
    show_default=True,
    metavar="KEY,...",
    callback=_names,
    help="Keys that name the columns, such as noise,imbalance; empty for one column.",
)
@click.option(
    "--where",
    multiple=True,
    metavar="KEY=VALUE",
    shell_complete=complete_demand,
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
@click.option(
    "--details/--no-details",
    default=None,
    help="Show the differences to the baseline in every cell; by default in every format but "
    "table, which marks their verdicts.",
)
@click.option("--caption", default="", help="Caption of the table.")
@click.option(
    "--label", default="", help="Name of the table in LaTeX and Markdown, such as tab:main."
)
@click.option("--exact", is_flag=True, help="Every digit, in fractions rather than percent.")
@click.option(
    "--report",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE.html",
    help="Also write a report with all figures, one self-contained HTML file.",
)
@figures_option(help="Also write every figure as PNG and PDF.")
@workspace_options
def compare(
    studies: tuple[str, ...],
    format_: str,
    details: bool | None,
    caption: str,
    label: str,
    report: Path | None,
    figures: Path | None,
    workspace: Workspace,
    **options: Any,  # noqa: ANN401 - as the options of the function
) -> None:
    """Compare the arms of each STUDY from the tracking store.

    STUDY is the name of a study, or its file; a search means its winners, trained again. Arms are
    rows, conditions are columns; a cell shows mean and standard deviation over the seeds, and
    whether the difference to the baseline, paired by seed, is better or worse by an adjusted p
    value, equivalent (--margin), or inconclusive. Only completed trials count. Several studies
    share one table where they saw the same data.

    Example: dynaloss compare quickstart --with effects --report quickstart.html
    """
    from dynaloss.api.compare import compare as compare_studies

    everything = report is not None or figures is not None
    result = compare_studies(
        *studies, **options, everything=everything, workspace=workspace, note=_note
    )
    if report is not None:
        result.save_report(report, command=shlex.join(["dynaloss", *sys.argv[1:]]))
        click.echo(f"report: {report}", err=True)
    if figures is not None:
        click.echo(f"figures: {len(result.save_figures(figures))} files in {figures}", err=True)
    print_result(result, format_, details=details, caption=caption, label=label)


def _note(text: str) -> None:
    click.echo(f"note: {text}", err=True)


def print_result(
    result: Result,
    format_: str = "table",
    *,
    details: bool | None = None,
    caption: str = "",
    label: str = "",
) -> None:
    """Prints the tables of a result in one of `FORMATS`, see `Result.as_text`."""
    if format_ == "table" and sys.stdout.isatty():
        from dynaloss.analysis.result import content_of
        from dynaloss.cli.output import print_table

        content = content_of(format_, details=details)
        for table in chain.from_iterable(result.tables(content=content, caption=caption)):
            print_table(table)
        return
    if format_ == "csv":  # which has no place for a warning
        for text in dict.fromkeys(text for one in result.comparisons for text in one.warnings):
            _note(text)
    text = result.as_text(format_, details=details, caption=caption, label=label)
    click.echo(text, nl=False)
