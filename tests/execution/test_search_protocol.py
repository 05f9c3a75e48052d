"""What a search tells of its data before the first trial."""

from __future__ import annotations

import io
import re
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image
from pyarrow import parquet

from dynaloss.errors import InputError
from dynaloss.execution.search.launching import plan_search
from dynaloss.studies.study import SearchStudy


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Images 0 to 39 to train on, of which 0, 1 and 2 are in the test set, too."""
    monkeypatch.setenv("DYNALOSS_CACHE", str(tmp_path / "cache"))
    for name, numbers in (("train", range(40)), ("test", [0, 1, 2, 50, 51])):
        rows = []
        for number in numbers:
            file = io.BytesIO()
            pixels = np.random.default_rng(number).integers(0, 256, (8, 8, 3))
            Image.fromarray(pixels.astype(np.uint8)).save(file, "PNG")
            rows.append({"bytes": file.getvalue(), "path": None})
        table = pa.table({"img": rows, "label": [number % 2 for number in numbers]})
        parquet.write_table(table, tmp_path / f"{name}.parquet")
    return tmp_path


def _study(folder: Path, equal_images: str) -> SearchStudy:
    return SearchStudy.model_validate(
        {
            "study": "s",
            "trial": {
                "data": {
                    "source": "parquet",
                    "root": str(folder),
                    "equal_images": equal_images,
                    "validation": {"fraction": 0.25},
                },
                "schedule": {"epochs": 9},
            },
            "conditions": {"data.noise.rate": [0.0, 0.4]},
            "arms": {"full": {}, "margin-only": {"loss.corrector.enabled": False}},
            "space": {"meta.lr": {"uniform": [0.001, 1.0]}},
        }
    )


def test_equal_images_across_roles_are_noted_once_per_condition(folder: Path) -> None:
    notes = plan_search(_study(folder, "keep")).notes
    assert [note.split(":")[0] for note in notes] == [
        "'no noise · IR 1'",
        "'symmetric 0.4 · IR 1'",
    ]
    for note in notes:
        # Each of the three is in training or in validation.
        assert sum(map(int, re.findall(r"(\d+) of \w+ in test", note))) == 3
        assert re.search(r"repeats 3 \(data\.equal_images: drop ", note)


def test_dropped_equal_images_are_not_noted(folder: Path) -> None:
    assert plan_search(_study(folder, "drop")).notes == ()


def test_a_clean_set_in_a_test_split_is_refused_for_every_seed(tmp_path: Path) -> None:
    np.save(tmp_path / "clean.npy", np.arange(100))
    study = SearchStudy.model_validate(
        {
            "study": "s",
            "trial": {
                "data": {"source": "digits", "validation": {"fraction": 0.1}},
                "model": {"name": "mlp"},
                "sampler": {"kind": "clean", "path": str(tmp_path / "clean.npy")},
                "schedule": {"epochs": 9},
            },
            "space": {"meta.lr": {"uniform": [0.001, 1.0]}},
            "confirm": {"seeds": [3, 4]},
        }
    )
    with pytest.raises(InputError) as caught:
        plan_search(study)
    refused = [re.findall(r"(\w+) split of seed (\d)", text) for text in caught.value.problems]
    # The confirmation holds nothing out for validation.
    expected = [("test", "0"), ("validation", "0"), ("test", "3"), ("test", "4")]
    assert refused == [[split] for split in expected]
