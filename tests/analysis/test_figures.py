"""Figures draw what the records hold, skip what they lack, and repeat byte for byte."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure

from dynaloss.analysis.figures import training as figures
from dynaloss.analysis.figures.panels import MAX_ARMS, arm_styles, figure_bytes, save_figure
from dynaloss.analysis.statistics.series import align, corrector_table, recalls, spread
from dynaloss.errors import InputError
from dynaloss.studies.trial_record import Outcome, TrialRecord

MakeRecord = Callable[..., TrialRecord]
Draw = Callable[[Sequence[TrialRecord]], Figure | None]
METRIC = "test/accuracy"
STUDY_FIGURES = {
    "learning": lambda records: figures.learning_curves(records, METRIC),
    "corrector": figures.corrector_curves,
    "margins": figures.margins_by_class,
    "accuracy": figures.per_class_accuracy,
}
study_figures = pytest.mark.parametrize("draw", STUDY_FIGURES.values(), ids=STUDY_FIGURES)


def legend_names(figure: Figure) -> list[str]:
    return [text.get_text() for legend in figure.legends for text in legend.get_texts()]


@study_figures
def test_one_panel_per_condition(records: Sequence[TrialRecord], draw: Draw) -> None:
    figure = draw(records)
    assert figure is not None
    titles = [axes.get_title() for axes in figure.axes]
    assert titles == ["symmetric 0.4 · IR 1", "symmetric 0.4 · IR 10"]


@study_figures
def test_nothing_to_draw_gives_none(record: MakeRecord, draw: Draw) -> None:
    assert draw([record()]) is None
    assert draw([]) is None


@study_figures
def test_trials_that_did_not_complete_are_left_out(
    records: Sequence[TrialRecord], draw: Draw
) -> None:
    assert draw([replace(record, outcome=Outcome.PRUNED) for record in records]) is None


@study_figures
def test_names_with_markup_are_drawn(records: Sequence[TrialRecord], draw: Draw) -> None:
    renamed = [
        replace(record, arm=f"_{record.arm} $x_{{", condition="50% $ <b>") for record in records
    ]
    figure = draw(renamed)
    assert figure is not None
    assert figure_bytes(figure, "svg")


@pytest.mark.parametrize("suffix", ["svg", "pdf", "png"])
def test_files_repeat_byte_for_byte(
    records: Sequence[TrialRecord], tmp_path: Path, suffix: str
) -> None:
    contents = []
    for name in ("one", "other"):
        figure = figures.learning_curves(records, METRIC)
        assert figure is not None
        contents.append(save_figure(figure, tmp_path / f"{name}.{suffix}").read_bytes())
    assert contents[0] == contents[1]


def test_unknown_figure_format_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"figure format `bmp`.* png, pdf, svg"):
        save_figure(Figure(), tmp_path / "x.bmp")


def test_arm_keeps_its_colour_where_others_are_missing(records: Sequence[TrialRecord]) -> None:
    styles = arm_styles(["none", "corrector-only", "margin-only", "full"])
    figure = figures.margins_by_class(records)
    assert figure is not None
    assert legend_names(figure) == ["margin-only", "full"]
    colors = {line.get_color() for line in figure.axes[0].lines}
    assert {styles["margin-only"].color, styles["full"].color} <= colors


def test_arms_chosen_are_the_arms_drawn(records: Sequence[TrialRecord]) -> None:
    figure = figures.learning_curves(records, METRIC, arms=["full", "none"])
    assert figure is not None
    assert legend_names(figure) == ["full", "none"]


def test_arms_beyond_the_palette_are_left_out() -> None:
    styles = arm_styles([f"arm-{index}" for index in range(200)])
    assert len(set(styles.values())) == MAX_ARMS


def test_learning_curve_is_the_mean_over_seeds_in_percent(record: MakeRecord) -> None:
    trials = [
        record(seed=0, history={METRIC: ((1, 0.25), (2, 0.5))}),
        record(seed=1, history={METRIC: ((1, 0.75), (2, 1.0))}),
    ]
    figure = figures.learning_curves(trials, METRIC)
    assert figure is not None
    assert np.array_equal(figure.axes[0].lines[0].get_xydata(), [[1, 50], [2, 75]])


def test_corrector_table_of_a_hand_counted_example() -> None:
    corrector = {
        "weights": [[1.0, 0.5], [0.25, 0.75]],
        "counts": [[3, 1], [0, 0]],
        "clean": [[2, 1], [0, 0]],
    }
    table = corrector_table({"corrector": corrector})
    assert table is not None
    np.testing.assert_allclose(table, [[0.25, 0.75], [0.875, 0.5], [0.75, np.nan]])


def test_per_class_corrector_has_a_line_per_class(records: Sequence[TrialRecord]) -> None:
    drawn = {record.arm: figures.corrector_curve(record.diagnostics) for record in records[:12:3]}
    assert drawn["none"] is None
    shared, per_class = drawn["corrector-only"], drawn["full"]
    assert shared is not None
    assert per_class is not None
    assert len(per_class.axes[0].lines) - len(shared.axes[0].lines) == 10


def test_margins_are_centred_and_sorted_by_class_count() -> None:
    diagnostics = {"margins": {"margins": [1.0, 3.0, 2.0], "class_counts": [10, 30, 20]}}
    figure = figures.margins(diagnostics)
    assert figure is not None
    heights = [bar.get_height() for bar in figure.axes[0].patches]
    assert heights == [1.0, 0.0, -1.0]
    labels = [label.get_text() for label in figure.axes[0].get_xticklabels()]
    assert labels == ["1\n30", "2\n20", "0\n10"]


def test_recall_is_the_diagonal_over_the_row() -> None:
    found = recalls({"confusion": {"matrix": [[3, 1], [0, 0]]}})
    np.testing.assert_array_equal(found, [75.0, np.nan])


def test_class_without_test_samples_is_drawn(record: MakeRecord) -> None:
    trial = record(diagnostics={"confusion": {"matrix": [[3, 1], [0, 0]]}})
    figure = figures.per_class_accuracy([trial])
    assert figure is not None
    assert figure_bytes(figure, "svg")


@pytest.mark.parametrize("num_classes", [1, 10, 100])
def test_confusion_of_any_number_of_classes(num_classes: int) -> None:
    figure = figures.confusion({"confusion": {"matrix": np.eye(num_classes).tolist()}})
    assert figure is not None
    assert figure_bytes(figure, "png")


def test_trial_figures_follow_the_diagnostics(records: Sequence[TrialRecord]) -> None:
    stems = {record.arm: [*figures.trial_figures(record.diagnostics)] for record in records}
    assert stems["none"] == ["confusion"]
    assert stems["full"] == ["corrector", "margins", "confusion"]


def test_seeds_of_different_length_are_aligned() -> None:
    x, values = align([np.array([[1.0, 2.0], [3.0, 4.0]]), np.array([[2.0, 5.0], [6.0, 8.0]])])
    mean, low, high = spread(values)
    np.testing.assert_array_equal(x, [1, 2, 5])
    np.testing.assert_array_equal(mean, [3, 5, 8])
    np.testing.assert_array_equal(low, [3, 4, 8])
    np.testing.assert_array_equal(high, [3, 6, 8])
