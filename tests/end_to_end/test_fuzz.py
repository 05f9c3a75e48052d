"""Malformed files of every kind: one clear error each, soon, or they are read."""

from __future__ import annotations

from pathlib import Path

import pytest
from fuzz import fuzz


@pytest.mark.filterwarnings("ignore::sqlalchemy.exc.SAWarning", "ignore::UserWarning")
def test_changed_files_give_one_clear_error_or_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DYNALOSS_CACHE", str(tmp_path))
    found = fuzz(1000, seed=0)
    assert found.failures == []
    assert {sum(one.values()) - one["slow"] for one in found.outcomes.values()} == {100}
    assert all(one["refused"] for one in found.outcomes.values())
    assert found.more_mib < 300
