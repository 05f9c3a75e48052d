"""Saved views of MLflow's page: their tags, and that MLflow's own page opens them."""

from __future__ import annotations

import base64
import json
import shutil
import zlib
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from dynaloss.studies.trial_record import Outcome
from dynaloss.tracking import Store
from dynaloss.tracking.mlflow_views import FIRST_VIEWS, VIEW_TAG, View, page, views_of
from dynaloss.tracking.ui_server import _first_page

Begin = Callable[..., str]

METRICS = ("test/accuracy", "train/loss", "corrector/auc", "time/trial_seconds", "epoch")


def of_study() -> list[View]:
    groups = [("full", "symmetric 0.4"), ("none", "symmetric 0.4")]
    return [*views_of("test/accuracy", METRICS, ["optimizer.lr"], groups)]


def state_of(value: str) -> dict[str, Any]:
    packed = json.loads(value)["state"].removeprefix("deflate;")
    state: dict[str, Any] = json.loads(zlib.decompress(base64.b64decode(packed)))
    return state


def test_views_draw_what_the_trials_have() -> None:
    views = {view.key: view for view in of_study()}
    assert [*views] == [
        "dynaloss-arms", "dynaloss-corrector", "dynaloss-cost", "dynaloss-settings"
    ]  # fmt: skip
    drawn = {key: [chart.get("metricKey") for chart in view.charts] for key, view in views.items()}
    assert drawn["dynaloss-arms"] == ["test/accuracy", "test/accuracy", "train/loss"]
    assert drawn["dynaloss-cost"] == ["time/trial_seconds"]
    (parallel,) = views["dynaloss-settings"].charts
    assert parallel["selectedParams"] == ["optimizer.lr"]
    search = next(views_of("val/accuracy", ("val/accuracy",), [], [("g",)], is_search=True))
    assert (search.key, search.group_by) == (FIRST_VIEWS[1], ("dynaloss.group",))


def test_a_view_is_written_where_it_is_new_or_has_changed() -> None:
    view = of_study()[0]
    written = view.tag({}, now=1000)
    assert written is not None
    name, value = written
    assert name == f"{VIEW_TAG}dynaloss-arms"
    assert len(value) < 2000
    assert (json.loads(value)["name"], json.loads(value)["createdAt"]) == ("dynaloss: Arms", 1000)
    state = state_of(value)
    assert state["groupsExpanded"] == {
        f"tag.dynaloss.arm.{arm},tag.dynaloss.condition.symmetric 0.4": False
        for arm in ("full", "none")
    }
    (section,) = {chart["metricSectionId"] for chart in state["compareRunCharts"]}
    assert section == state["compareRunSections"][0]["uuid"]
    assert view.tag({name: value}, now=2000) is None
    changed = replace(view, charts=view.charts[:1]).tag({name: value}, 2000)
    assert changed is not None
    assert (json.loads(changed[1])["createdAt"], json.loads(changed[1])["updatedAt"]) == (
        1000,
        2000,
    )
    assert view.tag({name: "no envelope"}, now=3000) is not None


def test_the_page_of_a_study_opens_its_first_view(store: Store, begin: Begin) -> None:
    with store.start_study("quickstart") as study:
        begin(study)
        assert _first_page(store.client, "quickstart") == page(study.experiment_id)
        study.set_views(of_study())
        study.finish(Outcome.COMPLETED)
    found = _first_page(store.client, "quickstart")
    assert found == page(study.experiment_id, "dynaloss-arms")
    assert "viewStateShareKey=dynaloss-arms" in found


@pytest.mark.slow
def test_mlflows_own_page_shows_the_charts_of_each_view(
    store: Store,
    begin: Begin,
    serve_store: Callable[..., Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Without a click: the section of the view comes first, with the titles of its charts."""
    if shutil.which("chromium") is None:
        pytest.skip("Chromium is not installed")
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2] / "examples"))
    import mlflow_screenshots

    monkeypatch.setattr(mlflow_screenshots, "WIDTH", 1600)
    monkeypatch.setattr(mlflow_screenshots, "HEIGHT", 2000)
    with store.start_study("quickstart") as study:
        for key, arm in (("k1", "full"), ("k2", "none")):
            tags = {"dynaloss.condition": "symmetric 0.4", "dynaloss.arm": arm}
            begin(study, key, tags=tags, parameters={"optimizer.lr": arm == "full"})
            for epoch in (1, 2):
                study.log_report(key, epoch, dict.fromkeys(METRICS[:-1], float(epoch)))
            study.end_trial(key, Outcome.COMPLETED)
        study.set_views(of_study())
        study.finish(Outcome.COMPLETED)
    address, _ = serve_store(store.tracking_uri, tmp_path)
    with mlflow_screenshots.browser() as shown:
        for view in of_study():
            shown.open(f"{address}/{page(study.experiment_id, view.key)}")
            shown.wait_for_text(view.name)
            titles = [chart["displayName"] for chart in view.charts]
            for title, n in Counter(titles).items():
                lines = "document.body.innerText.split('\\n')"
                found = f"{lines}.filter((it) => it.trim() == {json.dumps(title)})"
                shown.wait_for(f"{found}.length >= {n}")
            assert "share key is invalid" not in shown.text()
