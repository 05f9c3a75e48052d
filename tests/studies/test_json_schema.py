"""The schema of study files accepts what dynaloss does, and names what it does not."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from click.testing import CliRunner

from dynaloss.cli.main import main
from dynaloss.studies.json_schema import json_schema
from dynaloss.studies.loading import load_any
from dynaloss.studies.reading.bundled import bundled_studies
from dynaloss.studies.reading.document import read_document


@pytest.fixture(scope="module")
def validator() -> Any:
    schema = json_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


@pytest.mark.parametrize("name", bundled_studies())
def test_every_bundled_study_fits(validator: Any, name: str) -> None:
    validator.validate(read_document(bundled_studies()[name]).values)


STUDY = {"study": "s", "trial": {}, "arms": {"a": {}}, "seeds": [0]}


@pytest.mark.parametrize(
    "trial",
    [
        {"loss": {"name": "gce", "q": 0.5}},
        {"loss": {"name": "my_losses:Focal", "gamma": 3}},
        {"model": {"name": "timm/resnet18"}},
    ],
)
def test_settings_of_a_kind_fit(validator: Any, trial: dict[str, Any]) -> None:
    validator.validate(STUDY | {"trial": trial})


@pytest.mark.parametrize(
    ("change", "place"),
    [
        ({"trial": {"schedule": {"epoch": 3}}}, "schedule"),
        ({"trial": {"schedule": {"epochs": "three"}}}, "epochs"),
        ({"trial": {"schedule": {"epochs": 0}}}, "epochs"),
        ({"trial": {"loss": {"name": "gec"}}}, "loss"),
        ({"trial": {"loss": {"name": "gce", "gamma": 3}}}, "loss"),
        ({"ablation": {"design": "factrial"}}, "ablation"),
        ({"seeds": []}, None),
        ({"sead": [0]}, None),
    ],
)
def test_what_dynaloss_refuses_does_not_fit(
    validator: Any, change: dict[str, Any], place: str | None
) -> None:
    errors = [*validator.iter_errors(STUDY | change)]
    if change == {"seeds": []}:  # a rule that only dynaloss knows
        assert errors == []
        return
    assert len(errors) == 1
    assert place is None or place in errors[0].absolute_path


def test_a_new_study_is_like_another_under_its_own_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name, like, command in (
        ("tails", "quickstart", "ablate"),
        ("rates", "search_spaces/sampler", "search"),
    ):
        done = CliRunner().invoke(main, ["new", name, "--like", like])
        assert done.exit_code == 0, done.stderr
        assert f"dynaloss {command} {name}.yaml" in done.stdout
        study, bundled = load_any(Path(f"{name}.yaml")), load_any(bundled_studies()[like])
        assert study.study == name
        assert study.model_copy(update={"study": bundled.study}) == bundled
        assert Path(f"{name}.yaml").read_text().startswith("# yaml-language-server: $schema=")
    printed = CliRunner().invoke(main, ["schema"]).stdout
    assert Path("dynaloss.schema.json").read_text() == printed
    assert json.loads(printed) == json_schema()
    again = CliRunner().invoke(main, ["new", "tails"])
    assert (again.exit_code, "tails.yaml is there already" in again.stderr) == (2, True)
    assert CliRunner().invoke(main, ["new", "../up"]).exit_code == 2
