"""`dynaloss diff` and `dynaloss show`: single runs from the tracking store."""

from __future__ import annotations

from pathlib import Path

from dynaloss.analysis.render_extra import render_extra
from dynaloss.analysis.single import difference_tables, run_tables
from dynaloss.errors import InputError
from dynaloss.studies.trial_record import TrialRecord
from dynaloss.tracking import Workspace, list_studies, read_records

__all__ = ["diff_runs", "show_run"]


def diff_runs(one: str, other: str, workspace: Workspace) -> str:
    """What differs between two runs, as text."""
    left, right = _find([one, other], workspace)
    tables = difference_tables(left, right)
    if not tables:
        return "The two runs do not differ.\n"
    return "\n".join(render_extra(table) for table in tables)


def show_run(run: str, figures: Path | None, workspace: Workspace) -> str:
    """One run as text; with a folder its figures are written there instead."""
    (record,) = _find([run], workspace)
    head = (
        f"{record.arm} · {record.condition} · seed {record.seed} ({record.key}): "
        f"{record.outcome}\n"
    )
    if figures is None:
        return "\n".join([head, *(render_extra(table) for table in run_tables(record))])
    return head + _write_figures(record, figures)


def _write_figures(record: TrialRecord, folder: Path) -> str:
    from dynaloss.analysis.figures import learning_curves, trial_figures
    from dynaloss.analysis.panels import save_figure

    drawn = trial_figures(record.diagnostics)
    for metric in ("test/accuracy", "train/loss"):
        curve = learning_curves([record], metric)
        if curve is not None:
            drawn[metric.replace("/", "-")] = curve
    folder.mkdir(parents=True, exist_ok=True)
    paths = [save_figure(figure, folder / f"{stem}.png") for stem, figure in drawn.items()]
    return "".join(f"{path}\n" for path in paths)


def _find(names: list[str], workspace: Workspace) -> list[TrialRecord]:
    """The runs whose key or id starts so, with their history and diagnostics."""
    store = workspace.open_store(must_exist=True)
    found: dict[str, list[tuple[str, str]]] = {name: [] for name in names}
    for study in list_studies(store):
        for record in read_records(store, study, metrics=()):
            for name in names:
                if record.key.startswith(name) or record.run_id.startswith(name):
                    found[name].append((study, record.run_id))
    problems = [_problem(name, hits) for name, hits in found.items() if len(hits) != 1]
    if problems:
        raise InputError(problems)
    places = [found[name][0] for name in names]
    return [
        record
        for study, run_id in places
        for record in read_records(store, study, history=True, diagnostics=True, run_id=run_id)
    ]


def _problem(name: str, hits: list[tuple[str, str]]) -> str:
    if not hits:
        return f"No run has a key or an id that starts with `{name}`."
    shown = ", ".join(f"{run_id} of {study}" for study, run_id in hits[:5])
    return f"{len(hits)} runs have a key or an id that starts with `{name}`: {shown}."
