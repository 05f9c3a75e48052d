"""Launches that are struck at random moments end as an undisturbed one."""

from __future__ import annotations

from pathlib import Path

import chaos
import pytest


@pytest.mark.slow
def test_a_search_that_is_struck_ends_as_an_undisturbed_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    short = chaos.STUDIES["search"].replace("epochs: 40", "epochs: 12")
    monkeypatch.setattr(chaos, "STUDIES", {"search": short})
    rows = [*chaos.strikes(tmp_path, kills=2, seed=1)]
    assert any(row["hit"] and row["codes"][0] for row in rows)
    counts = ("lost", "duplicates", "unfinished", "repeated epochs", "tracebacks", "left")
    for row in rows:
        assert row["as undisturbed"], row
        assert not {name: row[name] for name in counts if row[name]}, row
