"""What stands beside the table: cost, selection rules, aggregates, single runs."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from dynaloss.analysis import FORMATS, compare, render
from dynaloss.analysis.figures.gallery import gallery, save_gallery
from dynaloss.analysis.selection import SELECTION_RULES, rankings
from dynaloss.analysis.statistics.costs import costs
from dynaloss.analysis.tables.extras import EXTRAS, extra_tables
from dynaloss.analysis.tables.single_run import difference_tables, run_tables
from dynaloss.studies.trial_record import TrialRecord

MakeRecord = Callable[..., TrialRecord]
METRIC = "test/accuracy"


def curve(*values: float) -> tuple[tuple[int, float], ...]:
    return tuple(enumerate(values, start=1))


def pick(record: TrialRecord, rule: str) -> float | None:
    return SELECTION_RULES[rule].value(record, METRIC)


def test_each_rule_chooses_its_epoch(record: MakeRecord) -> None:
    history = {METRIC: curve(0.2, 0.9, 0.5, 0.4), "val/accuracy": curve(0.1, 0.3, 0.6, 0.6)}
    trial = record(history=history)
    found = {rule: pick(trial, rule) for rule in ("last", "validation", "oracle")}
    assert found == {"last": 0.4, "validation": 0.5, "oracle": 0.9}
    assert pick(trial, "last ten") == pytest.approx(0.5)
    assert pick(record(), "last") is None


def test_rules_may_rank_the_arms_differently(record: MakeRecord) -> None:
    trials = [
        record("a", history={METRIC: curve(0.9, 0.1)}),
        record("b", history={METRIC: curve(0.2, 0.3)}),
    ]
    found = rankings(trials, METRIC, ["a", "b"])
    assert [*found] == ["last", "last ten", "oracle"]
    assert ([*found["last"]], [*found["oracle"]]) == (["b", "a"], ["a", "b"])
    (table,) = extra_tables(["rules"], trials, compare(trials, METRIC))
    assert "rank the arms differently: last: b > a" in table.notes[-1]


def test_rules_without_finite_values_are_not_shown(record: MakeRecord) -> None:
    nan = float("nan")
    trial = record("a", history={METRIC: curve(0.9, nan), "val/accuracy": curve(nan, nan)})
    found = {rule: pick(trial, rule) for rule in ("last", "validation", "oracle")}
    assert found == {"last": None, "validation": None, "oracle": 0.9}
    trials = [record("a", history={METRIC: curve(0.9, 0.8)})]
    (table,) = extra_tables(["rules"], trials, compare(trials, METRIC))
    assert "Not every arm has the curves for: validation." in table.notes


def test_cost_is_shown_next_to_gain(record: MakeRecord) -> None:
    seconds = {"none": 1.0, "full": 3.0}
    trials = [
        record(arm, s, 0.5 + 0.1 * (arm == "full"), history={"time/epoch_seconds": curve(t, t)})
        for arm, t in seconds.items()
        for s in range(2)
    ]
    none, full = costs(trials, compare(trials, METRIC, "none"))
    assert (none.seconds, none.gain) == (2.0, None)
    assert (full.seconds, full.ratio) == (6.0, 3.0)
    assert full.gain == pytest.approx(0.1)


@pytest.mark.parametrize("name", FORMATS)
def test_extras_render_in_every_format(records: Sequence[TrialRecord], name: str) -> None:
    tables = extra_tables([*EXTRAS], records, compare(records, METRIC, "none"))
    assert len(tables) == 6  # four kinds of effects, rules, aggregates; no time was recorded
    for table in tables:
        text = render(table, name)
        assert text.endswith("\n")
        if name == "json":
            assert len(json.loads(text)["rows"]) == len(table.rows)


def test_the_command_offers_every_extra_and_format() -> None:
    from dynaloss.cli import compare as command

    assert tuple(EXTRAS) == command.EXTRAS
    assert FORMATS == command.FORMATS


def test_figures_are_written_as_png_and_pdf(
    records: Sequence[TrialRecord], tmp_path: Path
) -> None:
    paths = save_gallery(gallery(records, compare(records, METRIC, "none")), tmp_path / "figures")
    assert {path.suffix for path in paths} == {".png", ".pdf"}
    assert {path.stem for path in paths} >= {"effects", "profiles", "curves-1", "curves-2"}


def test_difference_tables_list_differences_alone(record: MakeRecord) -> None:
    one = record("a", parameters={"lr": "1", "same": "x"}, diagnostics={"data": {"digest": "p"}})
    two = record(
        "b",
        accuracy=0.9,
        parameters={"lr": "2", "same": "x"},
        diagnostics={"data": {"digest": "q"}},
    )
    tables = {table.title: table.texts for table in difference_tables(one, two)}
    assert tables["Settings"] == (("lr", "1", "2"),)
    assert tables["Data"] == (("digest", "p", "q"),)
    assert tables["Metrics, last values"] == ((METRIC, "0.8", "0.9", "+0.1"),)
    assert difference_tables(one, one) == []


def test_a_difference_late_in_a_long_list_is_found(record: MakeRecord) -> None:
    counts = [[100] * 99 + [last] for last in (1, 2)]
    runs = [record(diagnostics={"data": {"true_class_counts": c}}) for c in counts]
    ((name, one, other),) = difference_tables(*runs)[0].texts
    assert name == "true_class_counts"
    assert one == other  # as much of it as a line holds
    assert one.endswith("...")


def test_captions_follow_the_metric_and_the_arms(record: MakeRecord) -> None:
    trials = [
        record(f"arm-{arm}", condition=condition, metrics={"train/loss": 1.0 + arm})
        for arm in range(15)
        for condition in "xy"
    ]
    (profiles,) = gallery(trials, compare(trials, "train/loss"))
    assert "a curve below another is better everywhere." in profiles.caption
    assert profiles.caption.endswith(" 1 arm is left out of the figures.")


def test_one_run_in_the_terminal(records: Sequence[TrialRecord]) -> None:
    full = next(record for record in records if record.arm == "full")
    text = "".join(render(table) for table in run_tables(full))
    for part in ("Curves over the epochs", "▁", "Label corrector", "Margins", "Confusion"):
        assert part in text


def test_one_class_one_seed_and_nothing_else(record: MakeRecord) -> None:
    matrix = {"confusion": {"matrix": [[5]], "class_names": ["only"]}}
    trials = [record("none", diagnostics=matrix), record("full", diagnostics=matrix)]
    comparison = compare(trials, METRIC, "none")
    assert all(table.rows for table in extra_tables([*EXTRAS], trials, comparison))
    assert gallery(trials, comparison)
    assert "only" in render(run_tables(trials[0])[0])
