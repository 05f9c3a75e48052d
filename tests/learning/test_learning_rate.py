from __future__ import annotations

import warnings
from collections.abc import Callable
from itertools import pairwise

import pytest
import torch
from torch import nn
from torch.optim.lr_scheduler import (
    ConstantLR,
    CosineAnnealingLR,
    LinearLR,
    LRScheduler,
    MultiStepLR,
    SequentialLR,
)

from dynaloss.config import ScheduleConfig
from dynaloss.learning.steps import learning_rate
from dynaloss.learning.trainer import Trainer


def _schedule(epochs: int, ramp_epochs: int, cosine: str = "after_ramp") -> ScheduleConfig:
    lengths = {"epochs": epochs, "ramp_epochs": ramp_epochs, "warmup_epochs": 0}
    return ScheduleConfig.model_validate({**lengths, "cosine": cosine})


def _optimizer(base_lr: float) -> torch.optim.SGD:
    return torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=base_lr)


def _by_torch(base_lr: float, epochs: int, ramp_epochs: int) -> list[float]:
    optimizer = _optimizer(base_lr)
    scheduler: LRScheduler = CosineAnnealingLR(optimizer, T_max=epochs - ramp_epochs)
    if ramp_epochs:
        optimizer = _optimizer(base_lr)
        ramp = LinearLR(optimizer, start_factor=0.1, total_iters=ramp_epochs)
        cosine = CosineAnnealingLR(optimizer, T_max=epochs - ramp_epochs)
        scheduler = SequentialLR(optimizer, [ramp, cosine], milestones=[ramp_epochs])
    return _rates(optimizer, scheduler, epochs)


def _rates(optimizer: torch.optim.SGD, scheduler: LRScheduler, steps: int) -> list[float]:
    rates = []
    for _ in range(steps):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        with warnings.catch_warnings():
            # SequentialLR itself still passes the deprecated epoch on.
            warnings.simplefilter("ignore", UserWarning)
            scheduler.step()
    return rates


@pytest.mark.parametrize(
    ("epochs", "ramp_epochs"), [(325, 5), (40, 2), (10, 0), (3, 2), (7, 1)], ids=str
)
def test_cosine_after_the_ramp_equals_the_schedulers_of_torch(
    epochs: int, ramp_epochs: int
) -> None:
    schedule = _schedule(epochs, ramp_epochs)
    rates = [
        learning_rate(epoch, share, base_lr=0.1, schedule=schedule)
        for epoch, share in zip(range(epochs), [0.0, 0.9] * epochs, strict=False)
    ]
    assert rates == pytest.approx(_by_torch(0.1, epochs, ramp_epochs), rel=1e-9)


@pytest.mark.parametrize(("epochs", "ramp_epochs", "batches"), [(30, 5, 4), (3, 2, 7)], ids=str)
def test_cosine_from_the_start_equals_the_product_of_two_schedulers_of_torch(
    epochs: int, ramp_epochs: int, batches: int
) -> None:
    """A cosine that steps once an epoch, and a ramp from 0.1 to 1 that steps once a batch."""
    annealed, ramped = _optimizer(0.1), _optimizer(1.0)
    by_epoch = _rates(annealed, CosineAnnealingLR(annealed, T_max=epochs), epochs)
    ramp = LinearLR(ramped, start_factor=0.1, total_iters=ramp_epochs * batches)
    by_batch = _rates(ramped, ramp, epochs * batches)
    schedule = _schedule(epochs, ramp_epochs, "from_start")
    for number, factor in enumerate(by_batch):
        epoch, batch = divmod(number, batches)
        found = learning_rate(epoch, batch / batches, base_lr=0.1, schedule=schedule)
        assert found == pytest.approx(by_epoch[epoch] * factor, rel=1e-9)


def test_without_a_ramp_the_cosine_is_the_same() -> None:
    rates = [
        [learning_rate(e, 0.5, base_lr=0.1, schedule=_schedule(9, 0, cosine)) for e in range(9)]
        for cosine in ("after_ramp", "from_start")
    ]
    assert rates[0] == rates[1]


@pytest.mark.parametrize("decay", ["linear", "steps", "constant"])
def test_other_decays_equal_the_schedulers_of_torch(decay: str) -> None:
    optimizer = _optimizer(0.1)
    scheduler: LRScheduler = {
        "linear": lambda: LinearLR(optimizer, 1.0, end_factor=0.0, total_iters=20),
        "steps": lambda: MultiStepLR(optimizer, milestones=[12, 18], gamma=0.2),
        "constant": lambda: ConstantLR(optimizer, factor=1.0),
    }[decay]()
    schedule = ScheduleConfig(
        epochs=20, ramp_epochs=0, warmup_epochs=0, decay=decay, first_step=0.6, second_step=0.9,
        step_factor=0.2,
    )  # fmt: skip
    rates = [learning_rate(epoch, 0.5, base_lr=0.1, schedule=schedule) for epoch in range(20)]
    assert rates == pytest.approx(_rates(optimizer, scheduler, 20), rel=1e-9)


def test_ramp_may_fill_the_whole_run() -> None:
    rates = [learning_rate(e, 0.0, base_lr=1.0, schedule=_schedule(2, 4)) for e in range(2)]
    assert rates == pytest.approx([0.1, 0.325])


@pytest.mark.parametrize("arm", ["none", "full"])
def test_trainer_sets_the_rate_of_every_batch(
    arm: str, make_trainer: Callable[..., Trainer], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Four batches an epoch; in the second, the pass over the metadata keeps the last rate."""
    trainer = make_trainer(arm, epochs=4, ramp_epochs=2, cosine="from_start", meta_every=9)
    rates, step = [], torch.optim.SGD.step

    def record(self: torch.optim.SGD) -> None:
        rates.append(self.param_groups[0]["lr"])
        step(self)

    monkeypatch.setattr(torch.optim.SGD, "step", record)
    epochs = trainer.epochs()
    next(epochs)
    assert rates == pytest.approx([0.05 * (0.1 + 0.9 * i / 8) for i in range(4)])
    rates.clear()
    next(epochs)
    cosine = 0.05 * 0.5 * (1 + 0.5**0.5)
    assert rates[:4] == pytest.approx([cosine * (0.1 + 0.9 * i / 8) for i in range(4, 8)])
    assert all(after == before for before, after in pairwise(rates[3:]))
    assert (len(rates) > 4) is (arm == "full")
