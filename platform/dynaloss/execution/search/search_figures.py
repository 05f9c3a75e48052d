"""Figures of a search, and the one page that holds them beside what it came to."""

from __future__ import annotations

import base64
import io
import warnings
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import jinja2
import optuna
from matplotlib.figure import Figure

from dynaloss.execution.search.outcome import expected_best
from dynaloss.execution.search.search_summary import SearchSummary, short
from dynaloss.execution.search.suggestions import Suggester

__all__ = ["write_search_report"]

_Drawn = list[tuple[str, str]]


def write_search_report(
    summary: SearchSummary, suggesters: Mapping[str, Suggester], path: Path
) -> Path:
    """Writes the summary and the figures of each group as one self-contained HTML file.

    Args:
        summary: What the search came to.
        suggesters: By name of the group.
        path: File to write.
    """
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("dynaloss.execution.search"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
    )
    environment.filters["number"] = short
    page = environment.get_template("search.html.j2").render(
        study=summary.plan.study.study,
        coverage=summary.coverage,
        interrupted=summary.interrupted,
        confirmed=summary.plan.study.confirm is not None,
        notes=summary.plan.notes,
        objective=summary.plan.study.search.objectives()[0][0],
        test=summary.test_metric,
        groups=summary.as_json()["groups"],
        overall=_encoded([("Expected best of so many trials of a group", _expected(summary))]),
        drawn={name: _encoded(_figures(summary, one, name)) for name, one in suggesters.items()},
    )
    path.write_text(page, encoding="utf-8")
    return path


def _encoded(figures: Iterator[tuple[str, Figure]] | list[tuple[str, Figure]]) -> _Drawn:
    return [(title, base64.b64encode(_png(figure)).decode()) for title, figure in figures]


def _figures(
    summary: SearchSummary, suggester: Suggester, name: str
) -> Iterator[tuple[str, Figure]]:
    for title, draw in _drawings(summary, suggester, name).items():
        figure = _drawn(draw)
        if figure is not None:
            yield title, figure


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
        drawings["Importance of parameters"] = lambda: plots.plot_param_importances(
            study, evaluator=suggester.evaluator, target=target, target_name=first
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
    figure.legend(loc="outside lower center")
    return figure


def _png(figure: Figure) -> bytes:
    content = io.BytesIO()
    figure.savefig(content, format="png", bbox_inches="tight")  # names of parameters are long
    if hasattr(figure, "number"):  # Optuna makes its figures with pyplot, which keeps them
        from matplotlib import pyplot

        pyplot.close(figure)
    return content.getvalue()
