from __future__ import annotations

import warnings

import pytest
import torch
from torch.optim.lr_scheduler import CosineAnnealingLR, LinearLR, LRScheduler, SequentialLR

from dynaloss.learning.steps import learning_rate


def _by_torch(base_lr: float, epochs: int, ramp_epochs: int) -> list[float]:
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=base_lr)
    scheduler: LRScheduler = CosineAnnealingLR(optimizer, T_max=epochs - ramp_epochs)
    if ramp_epochs:
        optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=base_lr)
        ramp = LinearLR(optimizer, start_factor=0.1, total_iters=ramp_epochs)
        cosine = CosineAnnealingLR(optimizer, T_max=epochs - ramp_epochs)
        scheduler = SequentialLR(optimizer, [ramp, cosine], milestones=[ramp_epochs])
    rates = []
    for _ in range(epochs):
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
def test_equals_the_schedulers_of_torch(epochs: int, ramp_epochs: int) -> None:
    rates = [
        learning_rate(epoch, base_lr=0.1, epochs=epochs, ramp_epochs=ramp_epochs)
        for epoch in range(epochs)
    ]
    assert rates == pytest.approx(_by_torch(0.1, epochs, ramp_epochs), rel=1e-9)


def test_ramp_may_fill_the_whole_run() -> None:
    rates = [learning_rate(e, base_lr=1.0, epochs=2, ramp_epochs=4) for e in range(2)]
    assert rates == pytest.approx([0.1, 0.325])
