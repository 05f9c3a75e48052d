"""Fixtures of the study tests: files from text, and studies from files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from textwrap import dedent

import pytest

from dynaloss.config import TrialConfig
from dynaloss.errors import InputError
from dynaloss.studies import AblationStudy, load_study, override

WriteStudy = Callable[[str], Path]
LoadText = Callable[[str], AblationStudy]
ProblemsOf = Callable[[str], list[str]]


@pytest.fixture
def write_study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> WriteStudy:
    """Writes a study file into an empty working folder and names it without the folder."""
    monkeypatch.chdir(tmp_path)

    def write(text: str) -> Path:
        path = Path("study.yaml")
        path.write_text(dedent(text).lstrip("\n"), encoding="utf-8")
        return path

    return write


@pytest.fixture
def load_text(write_study: WriteStudy) -> LoadText:
    """Loads a study from text; `study`, `trial` and `seeds` may be left out."""

    def load(text: str) -> AblationStudy:
        text = dedent(text).lstrip("\n")
        for key, default in {"study": "tiny", "trial": "{}", "seeds": "[0]"}.items():
            if f"\n{key}:" not in f"\n{text}":
                text += f"\n{key}: {default}"
        return load_study(write_study(text))

    return load


@pytest.fixture
def problems_of(load_text: LoadText) -> ProblemsOf:
    """Problems of a study text, without the name of the file."""

    def problems(text: str) -> list[str]:
        with pytest.raises(InputError, match=r"^study.yaml:") as caught:
            load_text(text)
        return [problem.removeprefix("study.yaml:") for problem in caught.value.problems]

    return problems


@pytest.fixture(
    params=[
        {},
        {"loss.name": "cross_entropy"},
        {"loss.corrector.enabled": False, "loss.margin.enabled": False},
        {"data.noise.rate": 0.4, "data.imbalance_factor": 10, "data.n_max": 500},
    ],
    ids=["defaults", "cross_entropy", "both_off", "biased"],
)
def trial_config(request: pytest.FixtureRequest) -> TrialConfig:
    """Trials that differ in what affects their result."""
    return override(TrialConfig(), request.param)
