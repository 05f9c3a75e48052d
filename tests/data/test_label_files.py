from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from dynaloss.data.bias.noise.file import read_observed_labels
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
