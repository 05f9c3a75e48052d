from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from dynaloss.config.data import NoiseConfig
from dynaloss.config.families import NOISES
from dynaloss.data.bias.noise.file import read_observed_labels
from dynaloss.data.sources import Source
from dynaloss.errors import InputError

TRUE = np.array([0, 1, 2, 1, 0])
NOISY = np.array([0, 2, 2, 1, 1])


def _write(folder: Path, kind: str) -> tuple[Path, str | None]:
    path = folder / f"labels.{kind}"
    both = {"clean_label": TRUE, "worse_label": NOISY}
    match kind:
        case "npy":
            np.save(path, NOISY)
        case "npz":
            np.savez(path, **both)
        case "pt":
            torch.save(both, path)
        case "csv":
            rows = [f"{a},{b}" for a, b in zip(TRUE, NOISY, strict=True)]
            path.write_text("\n".join(["clean_label,worse_label", *rows]))
    return path, None if kind == "npy" else "worse_label"


@pytest.mark.parametrize("kind", ["npy", "npz", "csv", "pt"])
def test_labels_of_every_kind_of_file(kind: str, tmp_path: Path) -> None:
    path, key = _write(tmp_path, kind)
    found = read_observed_labels(path, key, TRUE, 3)
    assert found.dtype == np.int64
    assert found.tolist() == NOISY.tolist()


def test_a_csv_of_bare_numbers(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("0\n2\n2\n1\n1\n")
    assert read_observed_labels(tmp_path / "a.csv", None, TRUE, 3).tolist() == NOISY.tolist()


def test_labels_in_another_order_are_refused_at_the_first_difference(tmp_path: Path) -> None:
    path, key = _write(tmp_path, "pt")
    turned = np.array([0, 1, 1, 2, 0])
    facts = r"'clean_label' of '.*labels\.pt'.* 2 of 5 .*index 2: 2 in the file, 1 in the source"
    with pytest.raises(InputError, match=r"^\[data\.noise\.path\] " + facts):
        read_observed_labels(path, key, turned, 3)


@pytest.mark.parametrize(
    ("labels", "facts"),
    [
        (NOISY[:4], r" 5 images .*\b4\b"),
        (NOISY + 1, r"from 0 to 2\b.*got 3 at index 1\b"),
        (NOISY - 1, r"from 0 to 2\b.*got -1 at index 0\b"),
        (NOISY + 0.5, "list of whole numbers"),
        (NOISY * np.nan, "list of whole numbers"),
        (np.array(["cat"] * 5), "list of whole numbers"),
        (NOISY[:, None], "list of whole numbers"),
        (NOISY + 1j, "list of whole numbers"),
        (NOISY.astype("datetime64[s]"), "list of whole numbers"),
        (NOISY * 1e300, "list of whole numbers"),
        (np.zeros(5, [("a", "i4")]), "list of whole numbers"),
    ],
    ids=[
        "length",
        "above",
        "below",
        "fraction",
        "missing",
        "text",
        "matrix",
        "complex",
        "date",
        "huge",
        "record",
    ],
)
def test_labels_that_do_not_fit_are_refused(
    labels: np.ndarray, facts: str, tmp_path: Path
) -> None:
    np.save(tmp_path / "a.npy", labels)
    with pytest.raises(InputError, match=rf"^\[data\.noise\.path\] '.*a\.npy'.*{facts}"):
        read_observed_labels(tmp_path / "a.npy", None, TRUE, 3)


def test_unknown_key_is_refused_with_the_known_ones(tmp_path: Path) -> None:
    path, _ = _write(tmp_path, "npz")
    facts = r"labels\.npz'.*'clean_label', 'worse_label'\).*got 'bad'"
    with pytest.raises(InputError, match=r"^\[data\.noise\.key\].*" + facts):
        read_observed_labels(path, "bad", TRUE, 3)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"none\.npy'.*not exist.* the file"):
        read_observed_labels(tmp_path / "none.npy", None, TRUE, 3)


# -- plausibility ---------------------------------------------------------------------------


def _remarks(source: Source, labels: np.ndarray, folder: Path) -> list[str]:
    np.save(folder / "labels.npy", labels)
    noise = NoiseConfig(kind="file", path=str(folder / "labels.npy"))
    return NOISES["file"].remarks(noise, source)


def _with_flips(source: Source, number: int) -> np.ndarray:
    """Moves the first labels of a source to the next class."""
    labels = source.pool.labels.copy()
    labels[:number] = (labels[:number] + 1) % source.num_classes
    return labels


@pytest.mark.parametrize(("flips", "rate"), [(600, None), (601, "60.1"), (1000, "100.0")])
def test_more_than_60_percent_of_other_labels_are_warned_of(
    flips: int, rate: str | None, make_source: Callable[..., Source], tmp_path: Path
) -> None:
    source = make_source((250, 250, 250, 250))
    found = _remarks(source, _with_flips(source, flips), tmp_path)
    assert len(found) == (rate is not None)
    # Labels in a random order agree at 4 x 250 x 250 / 1000 of 1000 indices.
    facts = rf"^\[data\.noise\.path\] '.*/labels\.npy': {rate} % .*random order: 75\.0 %.*order$"
    assert all(re.search(facts, text) for text in found)


@pytest.mark.parametrize("seed", range(5))
def test_labels_in_another_order_are_warned_of_where_one_class_is_large(
    seed: int, make_source: Callable[..., Source], tmp_path: Path
) -> None:
    source = make_source((900, 100))
    shuffled = np.random.default_rng(seed).permutation(source.pool.labels)
    (found,) = _remarks(source, shuffled, tmp_path)
    # 1 - 0.9 x 0.9 - 0.1 x 0.1
    assert re.search(r"/labels\.npy': 1[5-9]\.\d % .*random order: 18\.0 %", found)


def test_classes_with_each_others_numbers_are_named(
    make_source: Callable[..., Source], tmp_path: Path
) -> None:
    source = make_source((250, 250, 250, 250))
    (found,) = _remarks(source, np.array([0, 3, 2, 1])[source.pool.labels], tmp_path)
    assert re.search(r"/labels\.npy': 50\.0 % .* 'b' \(1\), 'd' \(3\) have .*classes$", found)


@pytest.mark.parametrize("kind", ["symmetric", "asymmetric", "flip", "uniform"])
def test_usual_noise_needs_no_warning(
    kind: str, make_source: Callable[..., Source], tmp_path: Path
) -> None:
    source = make_source((500, 300, 100, 20))
    rows, rng = np.arange(920), np.random.default_rng(0)
    labels = NOISES[kind].observe(NoiseConfig(kind=kind, rate=0.45), source, rows, rng)
    assert _remarks(source, labels, tmp_path) == []
