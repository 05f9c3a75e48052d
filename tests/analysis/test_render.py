"""Every text format, also with names that a format reads as markup."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest

from dynaloss.analysis import FORMATS, Comparison, compare, comparison_table
from dynaloss.analysis import render as render_table
from dynaloss.analysis.tables.formats import escape_markdown
from dynaloss.errors import InputError
from dynaloss.studies.trial_record import Outcome, TrialRecord

MakeRecord = Callable[..., TrialRecord]
METRIC = "test/accuracy"
NASTY = "50%_a & <b> | $x$ #1 [bold]{y}\\z *"


@pytest.fixture
def comparison(record: MakeRecord) -> Comparison:
    values = {"none": (0.5, 0.625, 0.75), "full": (0.75, 0.875, 0.875)}
    trials = [record(arm, seed, v) for arm, row in values.items() for seed, v in enumerate(row)]
    trials[-1] = record("full", 2, None, outcome=Outcome.PRUNED)
    return compare(trials, METRIC, "none")


def render(comparison: Comparison, *form: str, **options: int) -> str:
    return render_table(comparison_table(comparison), *form, **options)


def refuse_constant(name: str) -> Any:
    raise AssertionError(f"{name} is not JSON")


@pytest.mark.parametrize("name", FORMATS)
def test_same_records_give_the_same_text(records: Sequence[TrialRecord], name: str) -> None:
    one, other = (render(compare(records, METRIC, "none"), name) for _ in range(2))
    assert one == other
    assert one.endswith("\n")


def test_unknown_format_names_the_known_ones(comparison: Comparison) -> None:
    with pytest.raises(InputError, match=r"format `yaml`.* table, markdown, latex, csv, json"):
        render(comparison, "yaml")


def test_table_shows_mean_difference_and_what_is_incomplete(comparison: Comparison) -> None:
    text = render(comparison)
    assert "62.5 ± 12.5" in text
    assert "*81.2 ± 8.8†" in text
    assert "+25.0 [25.0, 25.0] inconclusive" in text
    assert "† Incomplete: full, symmetric 0.4 · IR 1: 2 of 3 (1 pruned)." in text


@pytest.mark.parametrize("width", [10, 24, 40, 80])
def test_table_fits_its_width_and_keeps_every_number(
    records: Sequence[TrialRecord], width: int
) -> None:
    comparison = compare(records, METRIC, "none")
    text = render(comparison, width=width)
    assert max(map(len, text.splitlines())) <= width
    if width >= 40:
        for cell in comparison.cells:
            assert f"{100 * cell.mean:.1f} ± {100 * cell.std:.1f}" in text


def five_conditions(record: MakeRecord) -> Comparison:
    """Six seeds; at `asymmetric 0.4 · IR 100` each arm has another verdict."""
    gains = {"none": 0.0, "corrector-only": 0.05, "margin-only": -0.05, "class_balanced": 0.0}
    conditions = [f"symmetric 0.{rate} · IR 10" for rate in range(1, 5)]
    trials = [
        record(arm, seed, 0.8 + gain * (1 + 0.01 * seed), condition=condition)
        for condition in (*conditions, "asymmetric 0.4 · IR 100")
        for arm, gain in gains.items()
        for seed in range(6)
    ]
    return compare(trials, METRIC, "none", margin=0.01)


def test_marks_of_five_conditions_fit_a_terminal_of_eighty_columns(record: MakeRecord) -> None:
    table = comparison_table(five_conditions(record), "marks")
    lines = render_table(table, width=80).splitlines()
    assert max(map(len, lines)) <= 80
    rows = {line.split()[0]: line.split()[1:] for line in lines if "±" in line[:30]}
    assert rows["none"] == ["80.0±0.0"] * 6
    assert rows["corrector-only"] == ["*85.1±0.1▲"] * 6
    assert rows["margin-only"] == ["74.9±0.1▼"] * 6
    assert rows["class_balanced"] == ["80.0±0.0="] * 6
    notes = " ".join(" ".join(lines).split())
    assert re.search(
        r"= equivalent: within ± 1\.0 points .* ▲ better, ▼ worse: p of .* unmarked: ", notes
    )


@pytest.mark.parametrize("name", ["markdown", "latex"])
def test_means_alone_say_nothing_of_differences(record: MakeRecord, name: str) -> None:
    text = render_table(comparison_table(five_conditions(record), "means"), name)
    assert text.count("85.1") == 6
    for word in ("better", "gray", "Against", "Second line", "<br>+5.1"):
        assert word not in text


def test_caption_and_label_are_those_of_latex_and_markdown(comparison: Comparison) -> None:
    table = replace(comparison_table(comparison), title="50 % noise", label="tab:x")
    text = render_table(table, "latex")
    assert "\n\\caption{50 \\% noise.}\n" in text
    below = text.partition(r"\end{tabular}")[2].partition(r"\caption")[0]
    assert "test/accuracy" in below
    assert r"$\dagger$ Incomplete" in below
    assert "test/accuracy" in render(comparison, "latex").partition(r"\caption{")[2]
    assert text.index(r"\caption") < text.index(r"\label{tab:x}") < text.index(r"\end{table}")
    assert render_table(table, "markdown").startswith('<a id="tab:x"></a>**50 % noise**\n\n| arm')


def test_table_shows_markup_in_names_unchanged(record: MakeRecord) -> None:
    assert NASTY in render(compare([record(NASTY)], METRIC))


def test_markdown_has_one_row_per_arm(comparison: Comparison) -> None:
    head, rule, none, full, *_ = render(comparison, "markdown").splitlines()
    assert head == "| arm | symmetric 0.4 · IR 1 |"
    assert rule == "| --- | --- |"
    assert none == "| none | 62.5 ± 12.5 |"
    assert full == r"| full | **81.2 ± 8.8†**<br>+25.0 \[25.0, 25.0\] inconclusive |"


def test_markdown_escapes_names(record: MakeRecord) -> None:
    row = render(compare([record(NASTY)], METRIC), "markdown").splitlines()[2]
    assert r"50%\_a & \<b\> \| $x$ \#1 \[bold\]{y}\\z \*" in row


def test_markdown_shows_entities_and_tildes_unchanged() -> None:
    assert escape_markdown("&lt; &#60; a & b ~~c~~") == r"&amp;lt; &amp;\#60; a & b \~\~c\~\~"


def test_latex_uses_booktabs_and_bold_for_the_best(comparison: Comparison) -> None:
    text = render(comparison, "latex")
    for part in (r"\toprule", r"\midrule", r"\bottomrule", r"\textbf{81.2 $\pm$ 8.8$\dagger$}"):
        assert part in text
    assert r"symmetric 0.4 $\cdot$ IR 1" in text


def test_latex_escapes_names(record: MakeRecord) -> None:
    text = render(compare([record(NASTY)], METRIC), "latex")
    escaped = r"50\%\_a \& \textless{}b\textgreater{} \textbar{} \$x\$ \#1 {[}bold{]}\{y\}"
    assert escaped + r"\textbackslash{}z {*} & " in text


def test_csv_holds_full_precision_and_leaves_unknown_values_empty(record: MakeRecord) -> None:
    text = render(compare([record(NASTY, accuracy=0.1 + 0.2)], METRIC), "csv")
    (row,) = csv.DictReader(io.StringIO(text))
    assert row["arm"] == NASTY
    assert float(row["mean"]) == 0.1 + 0.2
    assert (row["std"], row["ci95_low"], row["difference"]) == ("", "", "")


def test_json_has_the_agreed_shape(comparison: Comparison) -> None:
    content = json.loads(render(comparison, "json"), parse_constant=refuse_constant)
    assert list(content)[:5] == ["study", "metric", "baseline", "margin", "adjust"]
    none, full = content["cells"]
    keys = "condition arm n mean std ci95 difference difference_ci95 seeds coverage"
    assert list(none)[: len(keys.split())] == keys.split()
    assert none["difference"] is None
    assert full["difference"] == 0.25
    assert full["difference_ci95"] == [0.25, 0.25]
    assert full["seeds"] == {"0": 0.75, "1": 0.875}
    assert full["coverage"] == {"completed": 2, "planned": 3, "outcomes": {"pruned": 1}}


def test_json_is_strict_without_values(record: MakeRecord) -> None:
    trials = [record("a"), record("b", accuracy=float("nan"))]
    content = json.loads(render(compare(trials, METRIC), "json"), parse_constant=refuse_constant)
    one, empty = content["cells"]
    assert (one["std"], one["ci95"]) == (None, None)
    assert (empty["n"], empty["mean"]) == (0, None)


def test_many_arms_render(record: MakeRecord) -> None:
    trials = [record(f"arm-{index}", accuracy=index / 200) for index in range(200)]
    assert len(render(compare(trials, METRIC), "markdown").splitlines()) > 200


def test_long_lists_of_incomplete_cells_are_cut(record: MakeRecord) -> None:
    trials = [record("a", 0), record("a", 1), *(record(f"b{index}") for index in range(20))]
    assert "and 8 more" in render(compare(trials, METRIC))
