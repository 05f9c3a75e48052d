"""Large and odd tables: two hundred arms, and names that formats read as markup."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from dynaloss.analysis import FORMATS, compare, comparison_table, render
from dynaloss.analysis.tables.extras import EXTRAS, extra_tables
from dynaloss.analysis.wording import notes
from dynaloss.studies.trial_record import TrialRecord

MakeRecord = Callable[..., TrialRecord]
METRIC = "test/accuracy"


def test_two_hundred_arms_with_everything_beside_them(record: MakeRecord) -> None:
    trials = [
        record(f"arm-{arm}", seed, arm / 200 + seed / 1000, condition=condition)
        for condition in ("x", "y")
        for arm in range(200)
        for seed in range(6)
    ]
    started = time.perf_counter()
    comparison = compare(trials, METRIC, "arm-0")
    tables = extra_tables([*EXTRAS], trials, comparison)
    assert [len(table.rows) for table in tables] == [199]
    assert all(render(comparison_table(comparison), name) for name in FORMATS)
    assert time.perf_counter() - started < 30


@pytest.mark.parametrize(("seeds", "called"), [(16, "exact two-sided"), (17, "the two-sided")])
def test_the_notes_name_the_exact_test(record: MakeRecord, seeds: int, called: str) -> None:
    trials = [record(arm, seed) for arm in ("none", "full") for seed in range(seeds)]
    assert f"{called} sign-flip test" in " ".join(notes(compare(trials, METRIC, "none")))


@pytest.mark.parametrize("name", FORMATS)
def test_markup_in_names_stays_text(record: MakeRecord, name: str) -> None:
    arm = "50%_a & <b> $x$ [bold]"
    trials = [record(a, s, condition="c|d") for a in ("none", arm) for s in range(2)]
    comparison = compare(trials, METRIC, "none")
    (table,) = extra_tables(["aggregates"], trials, comparison)
    shown = {"latex": r"50\%\_a \& \textless{}b", "markdown": r"50%\_a & \<b\>"}
    assert shown.get(name, "50%_a & <b>") in render(table, name)
