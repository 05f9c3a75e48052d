"""Figures of a search, and one page that holds them: importances, contours, trade-offs."""

from __future__ import annotations

import base64
import html
import io
import warnings
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import optuna
from matplotlib.figure import Figure

from dynaloss.execution.search_optuna import Suggester
from dynaloss.execution.search_results import expected_best
from dynaloss.execution.search_summary import SearchSummary

__all__ = ["write_search_report"]


def write_search_report(
    summary: SearchSummary, suggesters: Mapping[str, Suggester], path: Path
) -> Path:
    """Writes the summary and the figures of each group as one self-contained HTML file.

    Args:
        summary: What the search came to.
        suggesters: By name of the group.
        path: File to write.
    """
    parts = [f"<h1>Search {html.escape(summary.plan.study.study)}</h1>"]
    parts.append(f"<pre>{html.escape(summary.as_text())}</pre>")
    for title, figure in _figures(summary, suggesters):
        image = base64.b64encode(_png(figure)).decode()
        parts.append(f'<h2>{html.escape(title)}</h2><img src="data:image/png;base64,{image}">')
    head = '<!doctype html><meta charset="utf-8"><meta name="color-scheme" content="light dark">'
    style = "<style>body{font-family:sans-serif;max-width:60rem;margin:auto}img{max-width:100%}"
    path.write_text(f"{head}{style}</style>\n" + "\n".join(parts) + "\n", encoding="utf-8")
    return path


def _figures(
    summary: SearchSummary, suggesters: Mapping[str, Suggester]
) -> Iterator[tuple[str, Figure]]:
    yield "Expected best after so many trials of a group, drawn at random", _expected(summary)
    for name, suggester in suggesters.items():
        for title, draw in _drawings(summary, suggester, name).items():
            figure = _drawn(draw)
            if figure is not None:
                yield f"{title}: {name}", figure


def _drawings(
    summary: SearchSummary, suggester: Suggester, name: str
) -> dict[str, Callable[[], Any]]:
    """Optuna's drawings that make sense for a group."""
    plots, study = optuna.visualization.matplotlib, suggester.optuna_study
    objectives = summary.plan.study.search.objectives()
    first = objectives[0][0]

    def target(trial: optuna.trial.FrozenTrial) -> float:
        return float(trial.values[0])

    shares = summary.importances.get(name, {})
    drawings: dict[str, Callable[[], Any]] = {}
    if shares:
        evaluator = optuna.importance.FanovaImportanceEvaluator(seed=0)
        drawings["Importance of parameters"] = lambda: plots.plot_param_importances(
            study, evaluator=evaluator, target=target, target_name=first
        )
    if len(shares) > 1:
        # All pairs of many parameters are too small to read.
        pair = list(shares)[:2]
        drawings["Contour over the two that matter most"] = lambda: plots.plot_contour(
            study, params=pair, target=target, target_name=first
        )
    if len(objectives) > 1:
        names = [objective for objective, _ in objectives]
        drawings["Trade-off"] = lambda: plots.plot_pareto_front(study, target_names=names)
    return drawings


def _drawn(draw: Callable[[], Any]) -> Figure | None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Optuna calls its drawings experimental
        try:
            axes = draw()
        except (RuntimeError, ValueError):  # too few trials of a kind
            return None
    while not hasattr(axes, "figure"):
        axes = axes[0]
    figure: Figure = axes.figure
    return figure


def _expected(summary: SearchSummary) -> Figure:
    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.add_subplot()
    objective = summary.plan.study.search.objectives()[0]
    for group in summary.plan.groups:
        values = expected_best(summary.of(group), group, objective)
        axes.plot(range(1, len(values) + 1), values, marker=".", label=group.name)
    axes.set_xlabel("trials")
    axes.set_ylabel(objective[0])
    axes.legend()
    return figure


def _png(figure: Figure) -> bytes:
    content = io.BytesIO()
    figure.savefig(content, format="png")
    if hasattr(figure, "number"):  # Optuna makes its figures with pyplot, which keeps them
        from matplotlib import pyplot

        pyplot.close(figure)
    return content.getvalue()
