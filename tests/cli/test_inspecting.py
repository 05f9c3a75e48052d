"""`dynaloss show` and `dynaloss diff` on a real store."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from dynaloss.cli.main import main
from dynaloss.studies.trial_record import TrialRecord

Trial = Callable[..., TrialRecord]
Write = Callable[..., None]
CONFUSION = {"matrix": [[9, 1], [4, 6]], "class_names": ["cat", "dog"]}


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, arguments)


@pytest.fixture(autouse=True)
def two_runs(write: Write, trial: Trial) -> None:
    for name, rate in (("first", "0.2"), ("second", "0.4")):
        record = trial(
            "full",
            3,
            key=f"{name}-key",
            condition=f"symmetric {rate}",
            parameters={"data.noise.rate": rate, "model.name": "mlp"},
            history={"test/accuracy": ((1, 0.25), (2, 0.5))},
            diagnostics={"confusion": CONFUSION},
        )
        write(name, record)


def test_a_run_is_shown_by_the_beginning_of_its_key() -> None:
    result = run("show", "sec")
    assert result.exit_code == 0, result.output
    assert result.stdout.startswith("full · symmetric 0.4 · seed 3 (second-key): completed\n")
    for part in ("test/accuracy", "▁█", "25.0", "50.0", "cat", "90", "60"):
        assert part in result.stdout


def test_the_figures_of_a_run_are_written() -> None:
    result = run("show", "first-key", "--figures", "here")
    assert result.exit_code == 0, result.output
    assert {path.name for path in Path("here").iterdir()} == {"confusion.png", "test-accuracy.png"}
    assert f"{Path('here') / 'confusion.png'}\n" in result.stdout


def test_diff_lists_differing_settings_alone() -> None:
    result = run("diff", "first", "second")
    assert result.exit_code == 0, result.output
    assert re.search(r"data\.noise\.rate +0\.2 +0\.4", result.stdout)
    assert "model.name" not in result.stdout
    assert run("diff", "first", "first-k").stdout == "The two runs do not differ.\n"


@pytest.mark.parametrize(
    ("name", "facts"),
    [("third", r"\bNo run .*`third`"), ("", r"\b2 runs .*``.* \w+ of second, \w+ of first\b")],
)
def test_an_unknown_or_ambiguous_run_is_refused(name: str, facts: str) -> None:
    result = run("show", name)
    assert result.exit_code == 2
    assert re.search(facts, result.stderr)
