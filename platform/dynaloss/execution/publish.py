"""What MLflow's own interface shows of a study: its table, its report and its figures."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from dynaloss.analysis import costs
from dynaloss.analysis.cells import Comparison, compare
from dynaloss.analysis.pivot import planned
from dynaloss.analysis.render import escape_markdown, render
from dynaloss.analysis.selection import curves_of
from dynaloss.analysis.summary import summarise
from dynaloss.errors import InputError
from dynaloss.studies.stored_plan import StoredPlan
from dynaloss.studies.trial_record import TrialRecord

if TYPE_CHECKING:
    from dynaloss.tracking import Store, StudyRun

__all__ = ["describe", "publish_report"]


def publish_report(store: Store, run: StudyRun, plan: StoredPlan) -> None:
    """Refreshes the description, the report and the figures of a study, from the store alone.

    Args:
        store: The tracking store.
        run: The study in it; every trial's metrics are written.
        plan: The plan as it is stored.
    """
    records = _planned_records(store, plan)
    try:
        comparison = _comparison(records, plan)
    except InputError as error:
        run.set_description(describe(plan, None, str(error)))
        return
    run.set_description(describe(plan, comparison))
    with tempfile.TemporaryDirectory(prefix="dynaloss-report-") as name:
        folder = Path(name)
        _write_files(records, comparison, plan, folder)
        run.log_artifacts(None, folder)


def describe(plan: StoredPlan, comparison: Comparison | None, problem: str = "") -> str:
    """The study in Markdown, for the pages of its experiment and of its own run.

    Args:
        plan: The plan as it is stored.
        comparison: The arms compared; None where there is nothing to compare yet.
        problem: Why there is nothing.
    """
    name = escape_markdown(plan.study)
    trials, seeds = len(plan.keys or ()), len(plan.seeds)
    head = (
        f"**{name}**: {len(plan.arms)} arms × {len(plan.conditions)} conditions × "
        f"{seeds} seeds, {trials} trials; plan `{plan.hash}`."
    )
    if comparison is None:
        return f"{head}\n\n{escape_markdown(problem)}\n"
    sentences = "\n\n".join(map(escape_markdown, summarise(comparison)))
    foot = "Figures and every number: `report.html` among the artifacts of the study's own run."
    return _for_mlflow(
        f"{head}\n\n{render(comparison, 'markdown').rstrip()}\n\n{sentences}\n\n{foot}\n"
    )


def _for_mlflow(markdown: str) -> str:
    """Markdown as MLflow's interface reads it.

    It shows a line break that ends a paragraph, and the backslash before an angle bracket.
    """
    ended = markdown.replace("<br>\n\n", "\n\n")
    return ended.replace("\\<", "&lt;").replace("\\>", "&gt;")


def _planned_records(store: Store, plan: StoredPlan) -> list[TrialRecord]:
    from dynaloss.tracking import read_records

    metric = plan.metric
    curves = (metric, *curves_of(metric), *costs.CURVES)
    records = read_records(store, plan.study, history=curves, diagnostics=True)
    return planned(records, plan)


def _comparison(records: list[TrialRecord], plan: StoredPlan) -> Comparison:
    return compare(
        records,
        plan.metric,
        plan.baseline,
        arm_order=plan.arms,
        condition_order=plan.conditions,
        seeds=plan.seeds,
    )


def _write_files(
    records: list[TrialRecord], comparison: Comparison, plan: StoredPlan, folder: Path
) -> None:
    from dynaloss.analysis.gallery import gallery, save_gallery
    from dynaloss.analysis.report import write_report

    write_report(records, comparison, folder / "report.html", plans={plan.study: plan})
    sections = gallery(records, comparison, plan.components)
    save_gallery(sections, folder / "figures", formats=("png",))
