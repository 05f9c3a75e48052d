"""`dynaloss show`: one run from the tracking store."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from dynaloss.cli.completion import complete_run
from dynaloss.cli.options import figures_option, workspace_options
from dynaloss.errors import InputError

if TYPE_CHECKING:
    from dynaloss.studies.trial_record import TrialRecord
    from dynaloss.tracking import Workspace


@click.command()
@click.argument("run", metavar="RUN", shell_complete=complete_run)
@figures_option(
    help="Write the figures of the run there, as PNG, instead of drawing in the terminal."
)
@workspace_options
def show(run: str, figures: Path | None, workspace: Workspace) -> None:
    """Show one run: corrector curve, margins, confusion matrix and learning curves.

    RUN is the key of a trial or the id of its run, or the beginning of either.

    Example: dynaloss show 3f2a --figures figures
    """
    from dynaloss.analysis.tables import render
    from dynaloss.analysis.tables.single_run import run_tables

    (record,) = find_runs([run], workspace)
    head = f"{record.arm} · {record.condition} · seed {record.seed} ({record.key})"
    click.echo(f"{head}: {record.outcome}")
    if figures is None:
        click.echo("".join(f"\n{render(table)}" for table in run_tables(record)), nl=False)
    else:
        _write_figures(record, figures)


def _write_figures(record: TrialRecord, folder: Path) -> None:
    from dynaloss.analysis.figures import learning_curves, save_figure, trial_figures

    drawn = trial_figures(record.diagnostics)
    for metric in ("test/accuracy", "train/loss"):
        if curve := learning_curves([record], metric):
            drawn[metric.replace("/", "-")] = curve
    folder.mkdir(parents=True, exist_ok=True)
    for stem, figure in drawn.items():
        click.echo(save_figure(figure, folder / f"{stem}.png"))


def find_runs(names: Sequence[str], workspace: Workspace) -> list[TrialRecord]:
    """The runs whose keys or ids begin with the names, with their history and diagnostics.

    Raises:
        InputError: If a name fits no run, or several.
    """
    store = workspace.open_store(must_exist=True)
    found: dict[str, list[tuple[str, str]]] = {name: [] for name in names}
    for study in store.studies():
        for record in store.records(study, metrics=()):
            for name in names:
                if record.key.startswith(name) or record.run_id.startswith(name):
                    found[name].append((study, record.run_id))
    if problems := [_problem(name, hits) for name, hits in found.items() if len(hits) != 1]:
        raise InputError(problems)
    return [
        record
        for study, run_id in (found[name][0] for name in names)
        for record in store.records(study, history=True, diagnostics=True, run_id=run_id)
    ]


def _problem(name: str, hits: Sequence[tuple[str, str]]) -> str:
    fits = f"a key or an id that starts with `{name}`"
    shown = ", ".join(f"{run_id} of {study}" for study, run_id in hits[:5])
    return f"{len(hits)} runs have {fits}: {shown}." if hits else f"No run has {fits}."
