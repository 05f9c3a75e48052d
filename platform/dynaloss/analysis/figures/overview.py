"""Figures made from the comparison itself: effects as a heatmap, performance profiles."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from dynaloss.analysis.figures.panels import arm_styles, legend, panels, plain
from dynaloss.analysis.statistics.aggregates import complete_scores, performance_profile
from dynaloss.analysis.statistics.comparison import POOLED, Comparison
from dynaloss.analysis.statistics.effects import KINDS, Effect
from dynaloss.studies import metric_names

_NUM_THRESHOLDS = 201


def effects_heatmap(metric: str, found: Sequence[Effect]) -> Figure | None:
    """Components as rows, conditions as columns; red hurts, blue helps, white does neither."""
    kind = next((k for k in KINDS if k != "interaction" and any(e.kind == k for e in found)), None)
    chosen = {(e.name, e.condition): e for e in found if e.kind == kind}
    if kind is None:
        return None
    names = list(dict.fromkeys(name for name, _ in chosen))
    conditions = list(dict.fromkeys(condition for _, condition in chosen))
    scale = 100 if metric_names.is_percent(metric) else 1
    values = scale * np.array(
        [[chosen[n, c].mean if (n, c) in chosen else np.nan for c in conditions] for n in names]
    )
    size = (2.6 + 1.5 * len(conditions), 1.4 + 0.55 * len(names))
    figure = Figure(figsize=size, layout="constrained")
    axes = figure.subplots()
    largest = float(np.nanmax(np.abs(values))) or 1.0
    colors = "RdBu" if metric_names.higher_is_better(metric) else "RdBu_r"
    image = axes.imshow(values, cmap=colors, vmin=-largest, vmax=largest, aspect="auto")
    figure.colorbar(image, ax=axes, label=plain(f"{kind}: {metric_names.label(metric)}"))
    axes.set_yticks(range(len(names)), [plain(name) for name in names])
    wrapped = [plain(name.replace(" · ", "\n")) for name in conditions]
    axes.set_xticks(range(len(conditions)), wrapped)
    axes.tick_params(length=0, labelsize="small")
    for (name, condition), effect in chosen.items():
        text = metric_names.format_signed(metric, effect.mean)
        place = (conditions.index(condition), names.index(name))
        style = _style(effect, dark=abs(effect.mean) > 0.6 * largest / scale)
        axes.text(*place, text, ha="center", va="center", size=9, **style)
    return figure


def _style(effect: Effect, *, dark: bool) -> dict[str, Any]:
    """Readable on its colour; in italics, and grey on light, where it is inconclusive."""
    if effect.clear:
        return {"color": "white" if dark else "black"}
    return {"color": "white" if dark else "0.45", "style": "italic"}


def performance_profiles(comparison: Comparison, arms: Sequence[str]) -> Figure | None:
    """Share of the values above each threshold by arm; None with fewer than two conditions."""
    complete = {arm: x for arm, x in complete_scores(comparison).items() if arm in arms}
    if min(map(len, complete.values()), default=0) < 2:
        return None
    every = np.concatenate([x for values in complete.values() for x in values])
    thresholds = np.linspace(every.min(), every.max(), _NUM_THRESHOLDS)
    scale = 100 if metric_names.is_percent(comparison.metric) else 1
    figure, (axes,) = panels(
        [POOLED], x=metric_names.label(comparison.metric), y="share of trials above"
    )
    styles = {arm: style for arm, style in arm_styles(arms).items() if arm in complete}
    for arm, style in styles.items():
        shares = performance_profile(complete[arm], thresholds.tolist())
        axes.step(scale * thresholds, shares, where="post", **style.line())
    axes.set_ylim(-0.02, 1.02)
    legend(figure, styles)
    return figure
