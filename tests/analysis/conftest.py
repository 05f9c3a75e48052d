"""Synthetic records: made up by formulas here, no trial was run for any of these numbers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from dynaloss.studies.trial_record import Outcome, TrialRecord

CONDITIONS = ("symmetric 0.4 · IR 1", "symmetric 0.4 · IR 10")
ARMS = ("none", "corrector-only", "margin-only", "full")
NUM_CLASSES, NUM_RANKS, NUM_EPOCHS = 10, 10, 40

MakeRecord = Callable[..., TrialRecord]


def make_record(
    arm: str = "full",
    seed: int = 0,
    accuracy: float | None = 0.8,
    *,
    condition: str = CONDITIONS[0],
    outcome: Outcome = Outcome.COMPLETED,
    **fields: Any,
) -> TrialRecord:
    metrics = {} if accuracy is None else {"test/accuracy": accuracy}
    given = {
        "study": "quickstart",
        "key": f"{condition}/{arm}/{seed}",
        "metrics": metrics,
    } | fields
    return TrialRecord(
        condition=condition,
        arm=arm,
        seed=seed,
        outcome=outcome,
        run_id=f"run-{arm}-{seed}",
        **given,
    )


def _data(rng: np.random.Generator, imbalance: float) -> dict[str, Any]:
    classes = np.arange(NUM_CLASSES)
    true = np.floor(105 * imbalance ** (-classes / (NUM_CLASSES - 1)))
    observed = 0.6 * true + 0.4 * true.sum() / NUM_CLASSES + rng.integers(-2, 3, NUM_CLASSES)
    return {
        "source": "digits",
        "digest": f"{int(rng.integers(1 << 30)):08x}",
        "splits": {"train": int(true.sum()), "validation": 0, "test": 360},
        "true_class_counts": true.astype(int).tolist(),
        "observed_class_counts": observed.astype(int).tolist(),
        "flip_rate": 0.36 + 0.01 * float(rng.standard_normal()),
        "transition_matrix": np.eye(NUM_CLASSES).tolist(),
        "class_names": [str(name) for name in classes],
    }


def _corrector(rng: np.random.Generator, counts: list[int], per_class: bool) -> dict[str, Any]:
    ranks = np.arange(NUM_RANKS)[:, None]
    shape = (NUM_RANKS, NUM_CLASSES)
    offset = 0.5 * rng.standard_normal((1, NUM_CLASSES if per_class else 1))
    weights = np.broadcast_to(1 / (1 + np.exp(3 * (ranks - 6.5 + offset))), shape)
    samples = np.broadcast_to(np.asarray(counts) // NUM_RANKS, shape)
    clean = np.floor(samples * np.clip(1.05 - 0.1 * np.maximum(ranks - 4, 0) * 1.7, 0.05, 1))
    return {
        "per_class": per_class,
        "ranks": NUM_RANKS,
        "weights": weights.tolist(),
        "counts": samples.tolist(),
        "clean": np.minimum(clean, samples).astype(int).tolist(),
    }


def _confusion(rng: np.random.Generator, accuracy: float, tail: float) -> list[list[int]]:
    recalls = np.clip(accuracy - tail * np.linspace(-1, 1, NUM_CLASSES), 0, 1)
    rows = []
    for index, recall in enumerate(recalls):
        shares = np.full(NUM_CLASSES, (1 - recall) / (NUM_CLASSES - 1))
        shares[index] = recall
        rows.append(rng.multinomial(36, shares).tolist())
    return rows


def _trial(condition: str, arm: str, seed: int) -> TrialRecord:
    where, what = CONDITIONS.index(condition), ARMS.index(arm)
    rng = np.random.default_rng([where, seed])
    data = _data(rng, (1, 10)[where])
    rng = np.random.default_rng([where, what, seed])
    accuracy = 0.9 - 0.09 * where + (0.0, 0.05, 0.02, 0.07)[what] + 0.012 * rng.standard_normal()
    epochs = np.arange(1, NUM_EPOCHS + 1)
    noise = 0.012 * rng.standard_normal(NUM_EPOCHS)
    curve = 0.1 + (accuracy - 0.1) * (1 - np.exp(-epochs / 6)) + noise
    diagnostics: dict[str, Any] = {"data": data}
    if "corrector" in arm or arm == "full":
        diagnostics["corrector"] = _corrector(rng, data["observed_class_counts"], arm == "full")
    if "margin" in arm or arm == "full":
        slope = np.linspace(1, -1, NUM_CLASSES) * (0.1, 0.9)[where]
        diagnostics["margins"] = {
            "margins": (1 + slope + 0.1 * rng.standard_normal(NUM_CLASSES)).tolist(),
            "class_counts": data["observed_class_counts"],
        }
    tail = 0.12 * where * (1.5, 1.2, 0.6, 0.5)[what]
    matrix = _confusion(rng, float(accuracy), tail)
    diagnostics["confusion"] = {"matrix": matrix, "class_names": data["class_names"]}
    points = tuple((int(e), float(v)) for e, v in zip(epochs, curve, strict=True))
    return make_record(
        arm,
        seed,
        condition=condition,
        metrics={"test/accuracy": float(accuracy), "train/loss": 2.5 - 2 * float(accuracy)},
        history={"test/accuracy": points},
        diagnostics=diagnostics,
    )


@pytest.fixture
def record() -> MakeRecord:
    """Makes one synthetic record; `accuracy=None` leaves the metric out."""
    return make_record


@pytest.fixture(scope="session")
def records() -> tuple[TrialRecord, ...]:
    """A whole synthetic study: two conditions, four arms, three seeds, with diagnostics."""
    return tuple(
        _trial(condition, arm, seed)
        for condition in CONDITIONS
        for arm in ARMS
        for seed in range(3)
    )
