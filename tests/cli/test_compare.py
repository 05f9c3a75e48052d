"""`dynaloss compare` on a real store: every flag, and every odd study that a user may have."""

from __future__ import annotations

import csv
import io
import json
import math
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result

import dynaloss
from dynaloss.analysis import FORMATS
from dynaloss.cli.search import _print_confirmation
from dynaloss.studies.trial_record import Outcome, TrialRecord

Trial = Callable[..., TrialRecord]
Write = Callable[..., None]
Compare = Callable[..., Result]
NASTY = "50%_a & <b>$x$</b> #1 [bold]{y}\\z *|"


def cells(result: Result) -> dict[tuple[str, str], dict[str, Any]]:
    """The cells of a comparison in JSON by row and column."""
    assert result.exit_code == 0, result.output
    return {(cell["arm"], cell["condition"]): cell for cell in json.loads(result.stdout)["cells"]}


def refused(result: Result) -> str:
    """What the command says of bad input, with exit status 2 and no traceback."""
    assert result.exit_code == 2, result.output
    assert "Traceback" not in result.output
    return result.stderr


@pytest.fixture
def grid(write: Write, trial: Trial) -> None:
    """Study `grid`: two arms, two rates, two tails, two seeds; accuracy says which is which."""
    write(
        "grid",
        *(
            trial(
                arm,
                seed,
                0.5 + 0.2 * (arm == "full") - 0.1 * rate - 0.01 * factor + 0.001 * seed,
                condition=f"symmetric {rate} · IR {factor}",
                parameters={"data.noise.rate": str(rate), "data.imbalance_factor": str(factor)},
                metrics={"train/loss": 1.0 + rate, "more/one": 1.0, "more/two": 2.0},
                tags={"machine": "a" if seed else "b"},
            )
            for arm in ("none", "full")
            for rate in (0.2, 0.4)
            for factor in (1.0, 10.0)
            for seed in (0, 1)
        ),
        plan={"metric": "test/accuracy", "baseline": "none"},
    )


@pytest.mark.usefixtures("grid")
class TestViews:
    def test_details_and_means(self, compare: Compare) -> None:
        """A terminal shows differences where asked for, other formats unless told not to."""
        difference = "+20.0"
        assert difference not in compare("grid").stdout
        assert difference in compare("grid", "--details").stdout
        assert difference in compare("grid", "--format", "markdown").stdout
        alone = compare("grid", "--format", "markdown", "--no-details").stdout
        assert difference not in alone
        assert "| full | **67.0 ± 0.1** |" in alone

    def test_caption_and_label_are_those_of_the_first_table(self, compare: Compare) -> None:
        metrics = ("--metric", "test/accuracy", "--metric", "train/loss", "--format", "latex")
        text = compare("grid", *metrics, "--label", "tab:x", "--caption", "50 % noise").stdout
        assert text.count(r"\label{tab:x}") == text.count(r"\caption{50 \% noise.") == 1
        assert text.count(r"\begin{table}") == 2
        assert "50 % noise" in compare("grid", "--caption", "50 % noise").stdout
        assert "tab}x" in refused(compare("grid", "--label", "tab}x"))

    def test_the_plan_gives_metric_and_baseline(self, compare: Compare) -> None:
        found = cells(compare("grid", "--format", "json"))
        assert len(found) == 8
        cell = found["full", "symmetric 0.2 · IR 1.0"]
        assert cell["mean"] == pytest.approx(0.6705)
        assert cell["difference"] == pytest.approx(0.2)

    def test_rows_and_columns_are_recorded_keys(self, compare: Compare) -> None:
        question = ("grid", "--rows", "noise.rate", "--cols", "arm,imbalance", "--format", "json")
        found = cells(compare(*question))
        assert {row for row, _ in found} == {"rate=0.2", "rate=0.4"}
        assert found["rate=0.4", "full · imbalance_factor=10.0"]["mean"] == pytest.approx(0.5605)

    def test_a_row_for_each_seed_is_complete(
        self, compare: Compare, write: Write, trial: Trial
    ) -> None:
        write("planned", *(trial("full", seed) for seed in (0, 1)), plan={"seeds": [0, 1]})
        found = cells(compare("planned", "--rows", "seed", "--cols", "arm", "--format", "json"))
        assert {row for row, _ in found} == {"0", "1"}
        assert {cell["coverage"]["planned"] for cell in found.values()} == {1}

    def test_without_its_baseline_a_table_has_no_differences_and_says_so(
        self, compare: Compare
    ) -> None:
        found = compare("grid", "--where", "arm=full")
        assert found.exit_code == 0
        assert "baseline none is not among the trials" in found.stdout
        assert "nobody" in refused(compare("grid", "--baseline", "nobody"))

    def test_values_in_one_demand_are_told_apart(self, compare: Compare) -> None:
        told = refused(compare("grid", "--where", "arm=none,full"))
        assert "arm = none,full" in told
        assert "a demand of its own" in told
        assert "a demand of its own" not in refused(compare("grid", "--where", "arm=ful"))

    def test_no_columns_make_one(self, compare: Compare) -> None:
        where = ("--where", "rate=0.2", "--where", "imbalance=1")
        found = cells(compare("grid", "--cols", "", *where, "--format", "json"))
        assert {*found} == {("none", "all"), ("full", "all")}

    def test_where_accepts_several_values_of_a_key(self, compare: Compare) -> None:
        question = ("grid", "--where", "imbalance=1", "--where", "rate=.2", "--where", "rate=.4")
        found = cells(compare(*question, "--where", "machine=b", "--format", "json"))
        assert {column for _, column in found} == {
            "symmetric 0.2 · IR 1.0",
            "symmetric 0.4 · IR 1.0",
        }
        assert {(*cell["seeds"],) for cell in found.values()} == {("0",)}

    @pytest.mark.parametrize(
        ("arguments", "facts"),
        [
            (("--where", "rate"), "--where .*key=value.*got `rate`"),
            (("--where", "rate=9"), r"No trial .*\bdata\.noise\.rate = 9\b.* 0\.2, 0\.4\b"),
            (("--rows", "machin_"), "`machin_`.*'machine'"),
            (("--cols", "rate"), r"`data\.imbalance_factor`.*\b1\.0 .*\b10\.0 .*--rows, --cols "),
            (("--baseline", "nome"), "baseline `nome`.*'none'"),
            (("--metric", "more/thre"), "metric `more/thre`.*'more/"),
        ],
    )
    def test_bad_input_is_named(
        self, compare: Compare, arguments: tuple[str, ...], facts: str
    ) -> None:
        assert re.search(facts, refused(compare("grid", *arguments)))

    def test_several_metrics_in_every_format(self, compare: Compare) -> None:
        metrics = ("--metric", "train/loss", "--metric", "test/accuracy", "--metric", "train/loss")
        content = json.loads(compare("grid", *metrics, "--format", "json").stdout)
        assert content["metric"] == "train/loss"
        assert [further["metric"] for further in content["further"]] == ["test/accuracy"]
        rows = [*csv.DictReader(io.StringIO(compare("grid", *metrics, "--format", "csv").stdout))]
        assert [row["metric"] for row in rows] == ["train/loss"] * 8 + ["test/accuracy"] * 8
        assert all(float(row["mean"]) > 0 for row in rows)
        for format_, mark in (("markdown", "| arm |"), ("latex", r"\toprule"), ("table", "arm")):
            text = compare("grid", *metrics, "--format", format_).stdout
            assert text.count(mark) >= 2

    def test_every_format_shows_the_same_numbers(self, compare: Compare) -> None:
        texts = {name: compare("grid", "--format", name).stdout for name in FORMATS}
        for name in ("table", "markdown", "latex"):
            shown = texts[name].replace(r"$\pm$", "±").replace(" ", "")
            assert shown.count("67.0±0.1") == 1
        (row,) = [
            row
            for row in csv.DictReader(io.StringIO(texts["csv"]))
            if (row["arm"], row["condition"]) == ("full", "symmetric 0.2 · IR 1.0")
        ]
        assert float(row["mean"]) == pytest.approx(0.6705)

    def test_exact_shows_every_digit(self, compare: Compare) -> None:
        text = compare("grid", "--exact", "--format", "markdown").stdout
        mean = cells(compare("grid", "--format", "json"))["full", "symmetric 0.2 · IR 1.0"]["mean"]
        assert repr(mean) in text
        assert "67.0 ±" not in text


_MACHINES = ("CPU A, AVX2, 1 thread", "CPU B, AVX512, 1 thread")


def test_what_no_study_of_several_has_planned_is_not_missing(
    compare: Compare, write: Write, trial: Trial
) -> None:
    """Study `one` has fewer arms and seeds; `two` lacks a condition of it."""
    for study, arms, conditions, seeds in (
        ("one", ["none"], ["A", "B"], [0]),
        ("two", ["none", "full"], ["A"], [1, 2]),
    ):
        write(
            study,
            *(
                trial(arm, seed, condition=c, data=f"{c}{seed}", key=f"{study}{arm}{seed}{c}")
                for arm in arms
                for c in conditions
                for seed in seeds[:1]
            ),
            plan={"arms": arms, "conditions": conditions, "seeds": seeds, "baseline": "none"},
        )
    found = cells(compare("one", "two", "--force", "--format", "json"))
    planned = {cell: found[cell]["coverage"]["planned"] for cell in found}
    assert planned == {
        ("none", "A"): 3, ("full", "A"): 2, ("none", "B"): 1, ("full", "B"): 0,
    }  # fmt: skip
    text = compare("one", "two", "--force").stdout
    assert "full, A: 1 of 2" in text
    assert "none, A: 2 of 3" in text
    assert "full, B" not in text


@pytest.mark.parametrize("format_", ["table", "markdown", "latex", "csv", "json"])
def test_trials_of_several_environments_are_named_in_every_format(
    format_: str, compare: Compare, write: Write, trial: Trial
) -> None:
    trials = [
        trial(arm, seed, tags={"dynaloss.environment": _MACHINES[seed]} if seed < 2 else {})
        for arm in ("none", "full")
        for seed in range(3)
    ]
    write("s", *trials)
    both = compare("s", "--format", format_)
    text = " ".join((both.stdout + both.stderr).split())
    for group in (*(f"2 trials on {machine}" for machine in _MACHINES), "2 trials on unknown"):
        assert group in text
    one = compare("s", "--format", format_, "--where", f"environment={_MACHINES[0]}")
    assert "2 trials on" not in one.stdout + one.stderr


def test_pruned_trials_count_only_where_asked_for(
    compare: Compare, write: Write, trial: Trial
) -> None:
    write(
        "s",
        trial("full", 0, 0.8),
        trial("full", 1, 0.2, outcome=Outcome.PRUNED),
        trial("full", 2, 0.9, outcome=Outcome.FAILED),
    )
    (without,) = cells(compare("s", "--format", "json")).values()
    assert (without["n"], without["mean"]) == (1, 0.8)
    assert without["coverage"]["outcomes"] == {"pruned": 1, "failed": 1}
    result = compare("s", "--include-pruned", "--format", "json")
    (counted,) = cells(result).values()
    assert (counted["n"], counted["mean"]) == (2, 0.5)
    (warning,) = json.loads(result.stdout)["warnings"]
    assert re.search("^Pruned trials .*last value", warning)


class TestSeveralStudies:
    @pytest.fixture(autouse=True)
    def studies(self, write: Write, trial: Trial) -> None:
        for study, digest, accuracy in (("one", "d", 0.5), ("two", "d", 0.7), ("odd", "e", 0.9)):
            write(study, *(trial("full", seed, accuracy, data=digest) for seed in (0, 1)))

    def test_studies_of_the_same_data_share_a_table(self, compare: Compare) -> None:
        question = ("one", "two", "--rows", "study,arm", "--baseline", "one · full")
        found = cells(compare(*question, "--format", "json"))
        assert found["two · full", "A"]["difference"] == pytest.approx(0.2)

    def test_a_trial_that_two_studies_share_counts_once(self, compare: Compare) -> None:
        found = cells(compare("one", "two", "--format", "json"))
        assert found["full", "A"]["n"] == 2

    def test_studies_of_other_data_are_refused_with_the_difference(self, compare: Compare) -> None:
        message = refused(compare("one", "odd", "--rows", "study"))
        assert re.search(r"\bA, seed 0, `one` and `odd`.*\bdigest .*\bd .*\be ", message)
        assert "--force" in message

    @pytest.mark.parametrize("format_", FORMATS)
    def test_force_joins_and_marks_the_table(self, compare: Compare, format_: str) -> None:
        question = ("one", "odd", "--rows", "study", "--force", "--format", format_)
        result = compare(*question)
        assert result.exit_code == 0
        if format_ == "csv":  # has no place for a note
            assert "FORCED" in result.stderr
        else:
            assert "FORCED: the studies did not see the same data" in result.stdout


class TestOddStudies:
    def test_no_runs(self, compare: Compare, write: Write) -> None:
        write("s")
        assert re.search("no trials .*run the study", refused(compare("s")))

    def test_nothing_completed(self, compare: Compare, write: Write, trial: Trial) -> None:
        outcomes = (Outcome.FAILED, Outcome.FAILED, Outcome.DIVERGED, Outcome.RUNNING)
        write("s", *(trial("full", i, outcome=outcome) for i, outcome in enumerate(outcomes)))
        facts = "`s`.*no completed trial.* 1 running, 1 diverged, 2 failed"
        assert re.search(facts, refused(compare("s")))

    def test_an_unknown_study_lists_the_known_ones(self, compare: Compare, write: Write) -> None:
        write("study")
        assert re.search(r"'stuyd'.*'study'.*'study'", refused(compare("stuyd")))

    def test_one_seed_is_inconclusive(self, compare: Compare, write: Write, trial: Trial) -> None:
        write("s", trial("none", 0, 0.5), trial("full", 0, 0.9))
        cell = cells(compare("s", "--baseline", "none", "--format", "json"))["full", "A"]
        assert (cell["n"], cell["std"], cell["ci95"]) == (1, None, None)
        assert (cell["difference_ci95"], cell["verdict"]) == (None, "inconclusive")

    def test_missing_cells_are_empty_and_marked(
        self, compare: Compare, write: Write, trial: Trial
    ) -> None:
        write("s", trial("none", 0, condition="A"), trial("full", 0, condition="B"))
        found = cells(compare("s", "--format", "json"))
        assert (found["full", "A"]["n"], found["full", "A"]["mean"]) == (0, None)
        text = compare("s").stdout
        assert "Incomplete: full, A: 0 of 1; none, B: 0 of 1." in text

    def test_trials_that_demands_leave_are_missing_where_they_were_planned(
        self, compare: Compare, write: Write, trial: Trial
    ) -> None:
        plan = {"arms": ["none", "full"], "conditions": ["A", "B"], "seeds": [0, 1]}
        write("s", trial("none", 0), trial("none", 1), trial("full", 0), plan=plan)
        one = compare("s", "--where", "arm=full").stdout
        assert "Incomplete: full, A: 1 of 2; full, B: 0 of 2." in one
        seed = cells(compare("s", "--where", "seed=0", "--format", "json"))
        assert {cell["coverage"]["planned"] for cell in seed.values()} == {1}

    def test_demands_leave_no_row_or_column_that_no_plan_has(
        self, compare: Compare, write: Write, trial: Trial
    ) -> None:
        for name, arms, conditions in (("a", ["none", "full"], ["A", "B"]), ("b", ["new"], ["B"])):
            trials = [
                trial(arm, condition=c, key=f"{name}{arm}{c}") for arm in arms for c in conditions
            ]
            write(name, *trials, plan={"arms": arms, "conditions": conditions, "seeds": [0]})
        found = cells(compare("a", "b", "--force", "--where", "condition=A", "--format", "json"))
        assert {*found} == {("none", "A"), ("full", "A")}
        found = cells(compare("a", "b", "--force", "--where", "arm=new", "--format", "json"))
        assert {*found} == {("new", "B")}

    def test_rows_by_key_name_the_trials_of_an_arm(
        self, compare: Compare, write: Write, trial: Trial
    ) -> None:
        trials = [trial("full", seed, condition=name) for seed in (0, 1) for name in "AB"]
        write("s", *trials, plan={"arms": ["full"], "conditions": ["A", "B"], "seeds": [0, 1]})
        told = compare("s", "--rows", "condition,seed,key", "--cols", "arm").stdout
        for one in trials:
            assert f"{one.condition} · {one.seed} · {one.key}" in told
        assert "Incomplete" not in told

    def test_nan_and_infinity_are_no_values(
        self, compare: Compare, write: Write, trial: Trial
    ) -> None:
        odd = {0: math.nan, 1: math.inf, 2: 0.25}
        write("s", *(trial("full", seed, value) for seed, value in odd.items()))
        (cell,) = cells(compare("s", "--format", "json")).values()
        assert cell["seeds"] == {"2": 0.25}
        assert "full, A: 1 of 3" in compare("s").stdout

    @pytest.mark.parametrize("format_", FORMATS)
    def test_names_like_markup_are_shown_unchanged(
        self, compare: Compare, write: Write, trial: Trial, format_: str
    ) -> None:
        write("s", *(trial(NASTY, seed, condition=NASTY) for seed in (0, 1)), trial("none", 0))
        result = compare("s", "--format", format_, "--with", "aggregates")
        assert result.exit_code == 0
        shown = {
            "latex": r"50\%\_a \& \textless{}b\textgreater{}\$x\$",
            "markdown": r"50%\_a & \<b\>$x$",
            "json": "50%_a & <b>$x$",
            "csv": "50%_a & <b>$x$",
            "table": "50%_a & <b>$x$",
        }[format_]
        assert shown in result.stdout

    def test_two_hundred_arms_one_class_and_a_report(
        self, compare: Compare, write: Write, trial: Trial
    ) -> None:
        diagnostics = {"confusion": {"matrix": [[5]], "class_names": [NASTY]}}
        write(
            "s",
            *(
                trial(f"arm-{arm}", 0, arm / 200, diagnostics=diagnostics if arm > 196 else {})
                for arm in range(200)
            ),
        )
        result = compare("s", "--format", "markdown", "--report", "r.html")
        assert result.exit_code == 0, result.output
        assert len(result.stdout.splitlines()) > 200
        assert "186 arms are left out of the figures" in Path("r.html").read_text("utf-8")


class TestSearches:
    """A search is compared by its winners, trained again: its own trials are single draws."""

    @pytest.fixture
    def search(self, write: Write, trial: Trial) -> None:
        draws = [trial("full", 0, 0.1 * i, key=f"draw{i}") for i in range(3)]
        write("hunt", *draws, plan={"kind": "search", "metric": "val/accuracy"})

    @pytest.mark.usefixtures("search")
    def test_refused_before_its_winners_are_trained(self, compare: Compare) -> None:
        facts = "`hunt`.*search .*winners .*not .*trained.*`dynaloss search hunt` "
        assert re.search(facts, refused(compare("hunt")))

    @pytest.mark.usefixtures("search")
    @pytest.mark.parametrize("source", ["hunt", "hunt-best", "hunt.yaml"])
    def test_by_name_and_by_file(
        self, compare: Compare, write: Write, trial: Trial, source: str
    ) -> None:
        Path("hunt.yaml").write_text("study: hunt\nspace: {}\n")
        write("hunt-best", trial("full", 0, 0.75), plan={"metric": "test/accuracy"})
        (cell,) = cells(compare(source, "--format", "json")).values()
        assert cell["mean"] == 0.75

    @pytest.mark.usefixtures("search")
    @pytest.mark.parametrize("is_terminal", [False, True])
    def test_the_confirmation_is_below_its_heading(
        self,
        write: Write,
        trial: Trial,
        is_terminal: bool,
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        write("hunt-best", trial("full", 0, 0.75), plan={"metric": "test/accuracy"})
        monkeypatch.setattr(sys.stdout, "isatty", lambda: is_terminal)
        _print_confirmation(dynaloss.compare("hunt"))
        heading, _, table = capsys.readouterr().out.strip().partition("\n")
        assert heading == "confirmation, on train + validation:"
        assert "75.0" in table

    def test_by_the_name_of_a_bundled_file(
        self, compare: Compare, write: Write, trial: Trial
    ) -> None:
        write("loss-search", plan={"kind": "search"})
        write("loss-search-best", trial("full", 0, 0.75))
        (cell,) = cells(compare("loss", "--format", "json")).values()
        assert cell["mean"] == 0.75


def test_cost_shows_seconds_and_peak_memory(compare: Compare, write: Write, trial: Trial) -> None:
    taken = {"none": (10.0, 100.0), "full": (30.0, 250.0)}
    write(
        "s",
        *(
            trial(
                arm,
                seed,
                0.5 + 0.1 * (arm == "full"),
                metrics={"time/trial_seconds": seconds, "memory/peak_mib": peak + seed},
            )
            for arm, (seconds, peak) in taken.items()
            for seed in (0, 2)
        ),
    )
    result = compare("s", "--baseline", "none", "--with", "cost", "--format", "json")
    (table,) = json.loads(result.stdout)["extras"]
    assert table["rows"][1] == {
        "arm": "full",
        "seconds per trial": "30.0",
        "times baseline": "3.00",
        "mean gain": "+10.0",
        "peak MiB": "251",
    }


def test_rules_use_the_stored_curves(compare: Compare, write: Write, trial: Trial) -> None:
    curves = {"a": ((0.9, 0.4), (0.2, 0.8)), "b": ((0.2, 0.5), (0.7, 0.6))}
    write(
        "s",
        *(
            trial(
                arm,
                0,
                test[-1],
                history={
                    "test/accuracy": tuple(enumerate(test, 1)),
                    "val/accuracy": tuple(enumerate(val, 1)),
                },
            )
            for arm, (test, val) in curves.items()
        ),
    )
    result = compare("s", "--with", "rules", "--format", "json")
    (table,) = json.loads(result.stdout)["extras"]
    shown = [(r["arm"], r["last"], r["validation"], r["oracle"]) for r in table["rows"]]
    assert shown == [("a", "40.0", "40.0", "90.0"), ("b", "50.0", "20.0", "50.0")]
    assert "last: b > a; " in table["notes"][-1]
    assert "validation: a > b; oracle: a > b." in table["notes"][-1]


def test_report_shows_environment_and_deviations(
    compare: Compare, write: Write, trial: Trial
) -> None:
    plan = {"metric": "test/accuracy", "hash": "abc", "deviations": ["seeds added: 3."]}
    tags = {"dynaloss.environment.torch": "2.11.0"}
    write("s", trial(tags={"mlflow.source.git.commit": "c0ffee"}), plan=plan, tags=tags)
    assert compare("s", "--report", "new/r.html").exit_code == 0
    page = Path("new/r.html").read_text("utf-8")
    for text in ("2.11.0 (last launch)", "c0ffee (1 trial)", "seeds added: 3.", "abc"):
        assert text in page
