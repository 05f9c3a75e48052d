"""What MLflow's own interface shows of a study: its table, its report and its figures."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from dynaloss.analysis import Comparison, Query, comparison_table, render, run_query
from dynaloss.analysis.figures import gallery, save_gallery
from dynaloss.analysis.report import summarise, write_report
from dynaloss.analysis.tables import escape_markdown
from dynaloss.errors import InputError
from dynaloss.studies.stored_plan import StoredPlan

if TYPE_CHECKING:
    from dynaloss.tracking import Store, StudyRun


def publish_report(store: Store, run: StudyRun, plan: StoredPlan) -> None:
    """Refreshes the description, the report and the figures of a study, from the store alone.

    Args:
        store: The tracking store.
        run: The study in it; every trial's metrics are written.
        plan: Its stored plan.
    """
    query = Query(studies=(plan.study,), everything=True)
    try:
        result = run_query(query, store, plans={plan.study: plan})
    except InputError as error:
        run.set_description(describe(plan, None, str(error)))
        return
    (comparison,) = result.comparisons
    run.set_description(describe(plan, comparison))
    with tempfile.TemporaryDirectory(prefix="dynaloss-report-") as name:
        folder = Path(name)
        write_report(result, folder / "report.html")
        sections = gallery(result.records, comparison, result.components)
        save_gallery(sections, folder / "figures", formats=("png",))
        run.log_artifacts(None, folder)


def describe(plan: StoredPlan, comparison: Comparison | None, problem: str = "") -> str:
    """The study in Markdown, for the pages of its experiment and of its own run.

    Args:
        plan: Its stored plan.
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
    table = render(comparison_table(comparison), "markdown").rstrip()
    sentences = "\n\n".join(map(escape_markdown, summarise(comparison)))
    foot = "Figures and every number: `report.html` among the artifacts of the study's own run."
    return _for_mlflow(f"{head}\n\n{table}\n\n{sentences}\n\n{foot}\n")


def _for_mlflow(markdown: str) -> str:
    """Markdown as MLflow's interface reads it.

    It shows a line break that ends a paragraph, and the backslash before an angle bracket.
    """
    ended = markdown.replace("<br>\n\n", "\n\n")
    return ended.replace("\\<", "&lt;").replace("\\>", "&gt;")
