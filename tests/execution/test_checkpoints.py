"""Checkpoints that are damaged: never another state, the one before or none."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from dynaloss.execution.trial.checkpoints import CheckpointFile


def state_of(epoch: int) -> dict[str, Any]:
    generator = torch.Generator().manual_seed(epoch)
    weights = {f"layer{k}.weight": torch.randn(16, 8, generator=generator) for k in range(4)}
    return {
        "trainer": {"model": weights, "epoch": epoch, "random": generator.get_state()},
        "history": [(e, {"val/accuracy": 0.1 * e}) for e in range(1, epoch + 1)],
    }


def same(one: object, other: object) -> bool:
    if isinstance(one, torch.Tensor):
        return isinstance(other, torch.Tensor) and torch.equal(one, other)
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    return one == other


@pytest.fixture
def checkpoint(tmp_path: Path) -> CheckpointFile:
    """That of a trial which was saved after epochs 2 and 5."""
    file = CheckpointFile(tmp_path, "k")
    file.write(state_of(2))
    file.write(state_of(5))
    return file


def test_the_last_state_is_read(checkpoint: CheckpointFile) -> None:
    state, damaged = checkpoint.read()
    assert same(state, state_of(5))
    assert damaged == []


def test_no_flipped_bit_gives_another_state(checkpoint: CheckpointFile) -> None:
    whole, draw = checkpoint.path.read_bytes(), np.random.default_rng(0)
    before, last = state_of(2), state_of(5)
    refused = 0
    for _ in range(500):
        content = bytearray(whole)
        content[draw.integers(len(content))] ^= 1 << int(draw.integers(8))
        checkpoint.path.write_bytes(content)
        state, damaged = checkpoint.read()
        refused += len(damaged)
        assert same(state, before if damaged else last)
    assert refused > 250  # the rest of the bits is padding


@pytest.mark.parametrize(
    "spoil",
    [
        pytest.param(lambda content: content[:-1], id="cut by a byte"),
        pytest.param(lambda content: content[: len(content) // 2], id="cut in half"),
        pytest.param(lambda content: b"", id="empty"),
        pytest.param(lambda content: bytes(len(content)), id="zeros"),
    ],
)
def test_a_cut_file_is_set_aside_and_the_one_before_it_read(
    checkpoint: CheckpointFile, spoil: Callable[[bytes], bytes]
) -> None:
    checkpoint.path.write_bytes(spoil(checkpoint.path.read_bytes()))
    state, damaged = checkpoint.read()
    assert same(state, state_of(2))
    assert [path.name for path in damaged] == ["k.damaged"]
    assert damaged[0].exists()
    assert checkpoint.read()[1] == []  # said once


def test_without_a_whole_file_there_is_no_state(checkpoint: CheckpointFile) -> None:
    for path in (checkpoint.path, checkpoint.before):
        path.write_bytes(path.read_bytes()[:100])
    state, damaged = checkpoint.read()
    assert state is None
    assert [path.name for path in damaged] == ["k.damaged", "k.before.damaged"]


def test_a_kill_between_the_two_replacements_leaves_the_one_before(
    checkpoint: CheckpointFile,
) -> None:
    checkpoint.path.replace(checkpoint.before)
    assert same(checkpoint.read()[0], state_of(5))


def test_nothing_is_left_of_a_trial_that_has_ended(
    checkpoint: CheckpointFile, tmp_path: Path
) -> None:
    checkpoint.before.write_bytes(b"")
    checkpoint.path.write_bytes(b"")
    checkpoint.read()
    checkpoint.write(state_of(7))
    (tmp_path / "k.123.part").touch()
    checkpoint.remove()
    assert list(tmp_path.iterdir()) == []


def test_what_cannot_be_read_is_no_damage(checkpoint: CheckpointFile) -> None:
    checkpoint.path.unlink()
    checkpoint.path.mkdir()
    with pytest.raises(IsADirectoryError):
        checkpoint.read()


def test_what_would_take_more_than_the_quota_replaces_the_one_before_or_is_not_written(
    checkpoint: CheckpointFile, tmp_path: Path
) -> None:
    size = checkpoint.path.stat().st_size
    other = tmp_path / "other.pt"
    other.write_bytes(bytes(size))
    room_for_two = CheckpointFile(tmp_path, "k", 2.5 * size)
    assert room_for_two.write(state_of(6))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["k.pt", "other.pt"]
    assert same(room_for_two.read()[0], state_of(6))
    room_for_one = CheckpointFile(tmp_path, "k", 1.5 * size)
    assert not room_for_one.write(state_of(7))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["k.pt", "other.pt"]
    assert same(room_for_one.read()[0], state_of(6))
    assert CheckpointFile(tmp_path, "k", 3.5 * size).write(state_of(8))
    assert (tmp_path / "k.before.pt").exists()
