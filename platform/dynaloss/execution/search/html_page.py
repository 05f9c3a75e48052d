"""The page of a search: its results and figures as one HTML file."""

from __future__ import annotations

import base64
import io
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import optuna
from matplotlib.figure import Figure

from dynaloss.execution.search.conclusion import SearchSummary, page_template
from dynaloss.execution.search.outcome import GroupOutcome
from dynaloss.execution.search.suggestions import Suggester


def write_page(summary: SearchSummary, suggesters: Mapping[str, Suggester], path: Path) -> Path:
    """Writes the summary and figures of each group, whose name leads to its suggester."""
    names = [name for name, _ in summary.objectives]
    page = page_template("search.html.j2").render(
        summary=summary,
        study=summary.plan.study,
        names=names,
        overall=_encoded([("Expected best of k trials of a group", _expected(summary))]),
        drawn={
            one.group.name: _encoded(_figures(one, suggesters[one.group.name], names))
            for one in summary.groups
        },
    )
    path.write_text(page, encoding="utf-8")
    return path


def _encoded(figures: Iterable[tuple[str, Figure]]) -> list[tuple[str, str]]:
    """The title of each figure, and the figure as a PNG file in base64."""
    from matplotlib import pyplot

    encoded = []
    for title, figure in figures:
        content = io.BytesIO()
        figure.savefig(content, format="png", bbox_inches="tight")  # parameters have long names
        encoded.append((title, base64.b64encode(content.getvalue()).decode()))
        pyplot.close(figure)  # Optuna makes its figures with pyplot, which keeps them
    return encoded


def _figures(
    one: GroupOutcome, suggester: Suggester, names: Sequence[str]
) -> Iterator[tuple[str, Figure]]:
    """Optuna's drawings that make sense for a group."""
    plots, study = optuna.visualization.matplotlib, suggester.optuna_study
    first: dict[str, Any] = {"target": lambda trial: trial.values[0], "target_name": names[0]}
    if one.importances:
        draw = partial(plots.plot_param_importances, evaluator=suggester.evaluator, **first)
        yield from _drawn("Importance of parameters", draw, study)
    if len(one.importances) > 1:
        # All pairs of many parameters are too small to read.
        draw = partial(plots.plot_contour, params=list(one.importances)[:2], **first)
        yield from _drawn("Contour over the two that matter most", draw, study)
    if len(names) > 1:
        draw = partial(plots.plot_pareto_front, target_names=names)
        yield from _drawn("Trade-off", draw, study)


def _drawn(
    title: str, draw: Callable[[optuna.Study], Any], study: optuna.Study
) -> Iterator[tuple[str, Figure]]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Optuna calls its drawings experimental
        try:
            axes = draw(study)
        except (RuntimeError, ValueError):  # too few trials of a kind
            return
    while not hasattr(axes, "figure"):
        axes = axes[0]
    yield title, axes.figure


def _expected(summary: SearchSummary) -> Figure:
    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.add_subplot()
    for one in summary.groups:
        numbers = range(1, len(one.expected_best) + 1)
        axes.plot(numbers, one.expected_best, marker=".", label=one.group.name)
    axes.set_xlabel("trials")
    axes.set_ylabel(summary.objectives[0].name)
    figure.legend(loc="outside lower center")
    return figure
