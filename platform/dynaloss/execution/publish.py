"""What MLflow's own interface shows of a study: its table, its report and its figures."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from dynaloss.analysis import Comparison, Query, comparison_table, render, run_query
from dynaloss.analysis.figures import gallery, save_gallery
from dynaloss.analysis.report import write_report
from dynaloss.analysis.tables import escape_markdown
from dynaloss.analysis.wording import summarise
from dynaloss.errors import InputError
from dynaloss.studies.stored_plan import StoredPlan
from dynaloss.studies.trial_record import GROUP, TrialRecord
from dynaloss.tracking.mlflow_views import View, views_of

if TYPE_CHECKING:
    from dynaloss.tracking import Store, StudyRun


def publish_report(store: Store, run: StudyRun, plan: StoredPlan) -> None:
    """Refreshes the description, the report and the figures of a study, from the store alone."""
    query = Query(studies=(plan.study,), everything=True)
    try:
        result = run_query(query, store, plans={plan.study: plan})
    except InputError as error:
        run.set_description(describe(plan, None, str(error)))
        return
    (comparison,) = result.comparisons
    run.set_description(describe(plan, comparison))
    run.log_means(headline(comparison))
    run.set_views(study_views(plan, result.records))
    with tempfile.TemporaryDirectory(prefix="dynaloss-report-") as name:
        folder = Path(name)
        write_report(result, folder / "report.html")
        sections = gallery(result.records, comparison, result.components)
        save_gallery(sections, folder / "figures", formats=("png",))
        run.log_artifacts(None, folder)


def study_views(plan: StoredPlan, records: Sequence[TrialRecord]) -> Iterator[View]:
    """The saved views of a study, by what its trials have."""
    values: dict[str, set[str]] = {}
    for record in records:
        for name, value in record.parameters.items():
            values.setdefault(name, set()).add(value)
    varied = [name for name, found in values.items() if len(found) > 1 and "seed" not in name]
    metrics = {name for record in records for name in record.metrics}
    is_search = plan.kind == "search"
    groups = dict.fromkeys(
        (record.tags.get(GROUP, ""),) if is_search else (record.arm, record.condition)
        for record in records
    )
    return views_of(plan.metric, metrics, varied, groups, is_search=is_search)


def headline(comparison: Comparison) -> dict[str, float]:
    """The mean of each arm under each condition, by what MLflow shows as a metric's name."""
    metric = comparison.metric.replace("/", " ")
    return {
        f"mean {metric}/{cell.arm}/{cell.condition}".replace(" · ", " "): cell.mean
        for cell in comparison.cells
        if math.isfinite(cell.mean)
    }


def publish_search(store: Store, run: StudyRun, plan: StoredPlan, summary: str) -> None:
    """Refreshes the saved views of a search, and its description where it has a summary."""
    run.set_views(study_views(plan, store.records(plan.study)))
    if summary:
        foot = (
            "Every group and decision: `search.html` among the artifacts of the search's own run."
        )
        run.set_description(f"```\n{summary.strip()}\n```\n\n{foot}\n")


def try_to_publish(
    store: Store,
    run: StudyRun,
    plan: StoredPlan,
    say: Callable[[str], None],
    *,
    summary: str = "",
) -> None:
    """Publishes the report, or says why that failed: the trials are safe without.

    Of a search, which has no report, it publishes the `summary` that is given.
    """
    try:
        if plan.kind == "search":
            publish_search(store, run, plan, summary)
        else:
            publish_report(store, run, plan)
    except Exception as error:  # such as a full disk: no reason to call the launch a failure
        say(f"The report could not be stored: {error}")


def describe(plan: StoredPlan, comparison: Comparison | None, problem: str = "") -> str:
    """The study in Markdown, for the pages of its experiment and of its own run.

    Without a comparison it names the problem, why there is none.
    """
    head = (
        f"**{escape_markdown(plan.study)}**: {len(plan.arms)} arms × {len(plan.conditions)} "
        f"conditions × {len(plan.seeds)} seeds, {len(plan.keys or ())} trials; "
        f"plan `{plan.hash}`."
    )
    if comparison is None:
        return f"{head}\n\n{escape_markdown(problem)}\n"
    table = render(comparison_table(comparison), "markdown").rstrip()
    sentences = "\n\n".join(map(escape_markdown, summarise(comparison)))
    foot = "Figures and every number: `report.html` among the artifacts of the study's own run."
    return _for_mlflow(f"{head}\n\n{table}\n\n{sentences}\n\n{foot}\n")


def _for_mlflow(markdown: str) -> str:
    """Markdown without what MLflow shows: final line breaks, backslashes before brackets."""
    for before, after in (("<br>\n\n", "\n\n"), ("\\<", "&lt;"), ("\\>", "&gt;")):
        markdown = markdown.replace(before, after)
    return markdown
