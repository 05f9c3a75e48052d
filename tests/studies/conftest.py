"""Fixtures of the study tests: files from text, and studies from files."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from pathlib import Path
from textwrap import dedent

import pytest

from dynaloss.config import TrialConfig
from dynaloss.errors import InputError
from dynaloss.studies import AblationStudy, load_study, override

WriteStudy = Callable[[str], Path]
LoadText = Callable[[str], AblationStudy]
ProblemsOf = Callable[[str], list[str]]
AssertFacts = Callable[[Iterable[str], Iterable[tuple[str, ...]]], None]

# No number, quoted name, bracket or dotted key; an apostrophe may be.
_WORDING = r"(?:(?!\.\w|(?<!\w)')[^\d`\[\]])*"


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


@pytest.fixture(scope="session")
def assert_facts() -> AssertFacts:
    """Compares messages by their facts: place, rule with its bounds, value, names, counts.

    A message begins with the first of its facts and holds the others in order, as whole words.
    What else it holds is wording, which may change; no name or number may be hidden in it.
    """

    def check(message: str, facts: tuple[str, ...]) -> None:
        pattern = ""
        for fact in facts:
            pattern += (pattern and _WORDING) + rf"(?<!\w){re.escape(fact)}(?!\w)"
            assert re.match(pattern, message), f"{fact!r} is not the next fact of {message!r}"
        assert re.fullmatch(pattern + _WORDING, message), f"{facts} are not all of {message!r}"

    def check_all(messages: Iterable[str], expected: Iterable[tuple[str, ...]]) -> None:
        found, wanted = [*messages], [*expected]
        assert len(found) == len(wanted), found
        for message, facts in zip(found, wanted, strict=True):
            check(message, facts)

    return check_all


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
