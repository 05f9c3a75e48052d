"""The page of a search: its results and figures as one HTML file."""

from __future__ import annotations

import base64
import io
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import jinja2
import optuna
from matplotlib.figure import Figure

from dynaloss.execution.search.conclusion import INTERRUPTED, SearchSummary, short
from dynaloss.execution.search.outcome import GroupOutcome
from dynaloss.execution.search.suggestions import Suggester


def write_page(summary: SearchSummary, suggesters: Mapping[str, Suggester], path: Path) -> Path:
    """Writes the summary and the figures of each group as one self-contained HTML file.

    Args:
        summary: The result of the search.
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
    names = [name for name, _ in summary.objectives]
    page = environment.get_template("search.html.j2").render(
        summary=summary,
        study=summary.plan.study,
        names=names,
        interrupted=INTERRUPTED,
        overall=_encoded([("Expected best of k trials of a group", _expected(summary))]),
        drawn={
            one.group.name: _encoded(_figures(one, suggesters[one.group.name], names))
            for one in summary.groups
        },
    )
    path.write_text(page, encoding="utf-8")
    return path


def _encoded(figures: Iterable[tuple[str, Figure]]) -> list[tuple[str, str]]:
    return [(title, base64.b64encode(_png(figure)).decode()) for title, figure in figures]


def _figures(
    one: GroupOutcome, suggester: Suggester, names: Sequence[str]
) -> Iterator[tuple[str, Figure]]:
    """Optuna's drawings that make sense for a group."""
    plots, study = optuna.visualization.matplotlib, suggester.optuna_study
    of_first: dict[str, Any] = {"target": lambda trial: trial.values[0], "target_name": names[0]}
    drawings: dict[str, Callable[[], Any]] = {}
    if one.importances:
        drawings["Importance of parameters"] = lambda: plots.plot_param_importances(
            study, evaluator=suggester.evaluator, **of_first
        )
    if len(one.importances) > 1:
        # All pairs of many parameters are too small to read.
        drawings["Contour over the two that matter most"] = lambda: plots.plot_contour(
            study, params=list(one.importances)[:2], **of_first
        )
    if len(names) > 1:
        drawings["Trade-off"] = lambda: plots.plot_pareto_front(study, target_names=names)
    for title, draw in drawings.items():
        figure = _drawn(draw)
        if figure is not None:
            yield title, figure


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
    for one in summary.groups:
        numbers = range(1, len(one.expected_best) + 1)
        axes.plot(numbers, one.expected_best, marker=".", label=one.group.name)
    axes.set_xlabel("trials")
    axes.set_ylabel(summary.objectives[0][0])
    figure.legend(loc="outside lower center")
    return figure


def _png(figure: Figure) -> bytes:
    content = io.BytesIO()
    figure.savefig(content, format="png", bbox_inches="tight")  # names of parameters are long
    if hasattr(figure, "number"):  # Optuna makes its figures with pyplot, which keeps them
        from matplotlib import pyplot

        pyplot.close(figure)
    return content.getvalue()
