from __future__ import annotations

from pathlib import Path

import pytest

from dynaloss.errors import InputError
from dynaloss.studies import bundled_studies, find_study, load_study, make_plan
from dynaloss.studies.loading import load_any, load_search
from dynaloss.studies.search.groups import make_search_plan
from dynaloss.studies.study import SearchStudy

_ROOT = Path(__file__).parents[2]
_FILES = sorted(
    path for name in ("ablations", "search_spaces") for path in (_ROOT / name).rglob("*.y*ml")
)


def test_every_study_file_is_bundled_under_a_name_of_its_own() -> None:
    assert _FILES
    assert sorted(bundled_studies().values()) == _FILES


@pytest.mark.parametrize("name", bundled_studies())
def test_every_bundled_study_loads_and_is_called_like_its_file(name: str) -> None:
    study = load_any(name)
    if isinstance(study, SearchStudy):
        # A store holds both kinds, and an ablation may have the plain name.
        assert study.study == f"{Path(name).name}-search"
        assert make_search_plan(study, lambda data: data.source).groups
    else:
        assert study.study == Path(name).name
        assert make_plan(study, lambda data: data.source).trials


def test_each_kind_has_the_first_claim_to_its_name() -> None:
    assert load_search("quickstart").study == "quickstart-search"
    assert load_study("quickstart").study == "quickstart"


@pytest.mark.parametrize("name", ["search_spaces/quickstart", "quickstart"])
def test_a_search_is_found_by_either_of_its_names(name: str) -> None:
    assert find_study(name, "search_spaces") == bundled_studies()["search_spaces/quickstart"]


def test_a_file_comes_before_a_bundled_study(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("quickstart").write_text("study: mine")
    assert find_study("quickstart") == Path("quickstart")


def test_a_folder_does_not_hide_a_bundled_study(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("quickstart").mkdir()
    assert find_study("quickstart") == bundled_studies()["quickstart"]


def test_a_missing_study_is_named_with_those_that_exist() -> None:
    with pytest.raises(InputError, match=r"^nowhere/x.yaml: .*no such file.* quickstart"):
        find_study("nowhere/x.yaml")


def test_a_slip_in_a_name_brings_the_nearest() -> None:
    with pytest.raises(InputError, match=r"^quikstart: .*no such file.* 'quickstart'"):
        load_study("quikstart")


def test_a_folder_is_not_a_study(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r": .*a folder"):
        find_study(tmp_path)


def test_a_wheel_finds_its_studies_inside_the_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inside = tmp_path / "dynaloss" / "bundled" / "ablations" / "cifar" / "noise40.yml"
    inside.parent.mkdir(parents=True)
    inside.touch()
    (tmp_path.parent / "ablations").mkdir(exist_ok=True)
    monkeypatch.setattr("dynaloss.studies.reading.bundled._PACKAGE", tmp_path / "dynaloss")
    assert bundled_studies() == {"cifar/noise40": inside}


@pytest.mark.parametrize("path", sorted((_ROOT / "examples").glob("*.yaml")), ids=str)
def test_every_example_loads_and_is_called_like_its_file(path: Path) -> None:
    study = load_study(str(path))
    assert study.study == path.stem
    assert make_plan(study, lambda data: data.source).trials
