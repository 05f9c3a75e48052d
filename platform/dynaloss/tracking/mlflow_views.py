"""Saved views of MLflow's page of a study: what it shows without a click.

MLflow 3 keeps a saved view as a tag of the experiment, which its *Views* menu lists: an envelope
with a name, and the state of the page, deflated. An address that names it opens it. The form is
that of MLflow's own page (its `main` script, tried with 3.17); tests/tracking/test_mlflow_views.py
opens each view in a browser.
"""

from __future__ import annotations

import base64
import json
import zlib
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from dynaloss.studies.trial_record import GROUP
from dynaloss.tracking.schema import Tag

VIEW_TAG: Final = "mlflow.sharedViewState."
"""Begin of the tag of a saved view; its identifier follows."""

FIRST_VIEWS: Final = ("dynaloss-arms", "dynaloss-search")
"""The views to open first, of which a study has one."""

_MAX_VALUE: Final = 5000
_TRIALS: Final = f"tags.`{Tag.ROLE}` = 'trial'"

Chart = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """A saved view.

    Attributes:
        key: Its identifier, in its address.
        name: Its name in the menu.
        charts: What it draws, in order.
        order_by: Metric by which runs are sorted. By the time of their start, MLflow would fold
            them below the study's own run, whose charts are empty.
        group_by: Tags by which runs are averaged; none for each run by itself.
        groups: Values of these tags of each group, whose runs are folded away.
    """

    key: str
    name: str
    charts: tuple[Chart, ...]
    order_by: str
    group_by: tuple[str, ...] = ()
    groups: tuple[tuple[str, ...], ...] = ()

    def tag(self, earlier: Mapping[str, str], now: int) -> tuple[str, str] | None:
        """Name and value of its tag; None where the tags have it already, or it is too long.

        Args:
            earlier: Tags of the experiment.
            now: Time in milliseconds since 1970.
        """
        name = VIEW_TAG + self.key
        state = _deflated(self._state())
        try:
            before = json.loads(earlier.get(name, "{}"))
        except ValueError:
            before = {}
        if before.get("state") == state and before.get("name") == self.name:
            return None
        value = json.dumps(
            {
                "name": self.name,
                "createdAt": before.get("createdAt", now),
                "updatedAt": now,
                "state": state,
            }
        )
        return (name, value) if len(value) <= _MAX_VALUE else None

    def _state(self) -> dict[str, Any]:
        sections: dict[str, str] = {}
        charts = []
        for number, chart in enumerate(self.charts):
            section = sections.setdefault(self.name, f"{self.key}-section")
            charts.append(chart | {"uuid": f"{self.key}-{number}", "metricSectionId": section})
        keys = [{"mode": "tag", "groupByData": tag} for tag in self.group_by]
        return {
            "searchFilter": _TRIALS,
            "orderByKey": f"metrics.`{self.order_by}`",
            "orderByAsc": False,
            "compareRunCharts": charts,
            "compareRunSections": [
                {
                    "uuid": section,
                    "name": name,
                    "display": True,
                    "isReordered": True,
                    "deleted": False,
                    "isGenerated": False,
                    "columns": min(2, len(charts)),
                }
                for name, section in sections.items()
            ],
            "isAccordionReordered": True,
            "groupBy": {"aggregateFunction": "average", "groupByKeys": keys} if keys else None,
            "groupsExpanded": {self._group_key(values): False for values in self.groups},
            "runsHiddenMode": "SHOW_ALL",
            "hideEmptyCharts": bool(keys),  # which it takes parallel coordinates for
        }

    def _group_key(self, values: Sequence[str]) -> str:
        pairs = zip(self.group_by, values, strict=True)
        return ",".join(f"tag.{tag}.{value}" for tag, value in pairs)


def _deflated(state: Mapping[str, Any]) -> str:
    packed = zlib.compress(json.dumps(state, separators=(",", ":")).encode(), 9)
    return "deflate;" + base64.b64encode(packed).decode()


def page(experiment_id: str, view: str | None = None) -> str:
    """End of the address of an experiment's page, with a view open."""
    shown = f"compareRunsMode=CHART&viewStateShareKey={view}&" if view else ""
    return f"#/experiments/{experiment_id}/runs?{shown}workflowType=machine_learning"


def views_of(
    metric: str,
    metrics: Collection[str],
    varied: Sequence[str],
    groups: Collection[tuple[str, ...]],
    *,
    is_search: bool = False,
) -> Iterator[View]:
    """The views of a study, the first one that to open.

    Args:
        metric: Metric that arms are compared by, or trials selected by.
        metrics: Names of the metrics that its trials have.
        varied: Parameters in which its trials differ.
        groups: Arm and condition of each cell; of a search, the name of each group.
        is_search: Whether it is a search.
    """
    # The arm first: MLflow cuts the names of groups.
    group_by = (GROUP,) if is_search else (Tag.ARM, Tag.CONDITION)
    name, first = ("Search" if is_search else "Arms"), FIRST_VIEWS[is_search]
    kinds = {
        (first, name): [_line(metric), _bar(metric), _line("train/loss")],
        ("dynaloss-corrector", "Corrector"): [
            _line(one)
            for one in ("corrector/auc", "corrector/weight_clean", "corrector/weight_noisy")
        ],
        ("dynaloss-margins", "Margins"): [
            _line(one) for one in ("margin/range", "margin/frequency_correlation")
        ],
        ("dynaloss-cost", "Cost"): [
            *map(_bar, ("time/trial_seconds", "memory/peak_mib")),
            _line("time/epoch_seconds"),
        ],
    }
    for (key, title), charts in kinds.items():
        if shown := tuple(chart for chart in charts if chart["metricKey"] in metrics):
            yield View(
                key=key,
                name=f"dynaloss: {title}",
                charts=shown,
                order_by=metric,
                group_by=group_by,
                groups=tuple(groups),
            )
    if varied:
        chart = _chart("PARALLEL", "Parallel Coordinates") | {
            "selectedParams": [*varied[:8]],
            "selectedMetrics": [metric],
            "showAllRuns": True,
        }
        name = "dynaloss: Settings"
        yield View(key="dynaloss-settings", name=name, charts=(chart,), order_by=metric)


def _chart(kind: str, title: str) -> Chart:
    common = {"deleted": False, "isGenerated": False, "runsCountToCompare": 100}
    return {"type": kind, "displayName": title} | common


def _line(metric: str) -> Chart:
    settings = {
        "metricKey": metric,
        "xAxisKey": "step",
        "scaleType": "linear",
        "yAxisKey": "metric",
    }
    more = {"lineSmoothness": 0, "useGlobalXaxisKey": True, "useGlobalLineSmoothing": True}
    return _chart("LINE", metric) | settings | more | {"selectedMetricKeys": [metric]}


def _bar(metric: str) -> Chart:
    return _chart("BAR", metric) | {"metricKey": metric}
