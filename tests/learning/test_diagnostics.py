from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from sklearn.metrics import roc_auc_score
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from dynaloss.errors import InputError
from dynaloss.learning import sample_losses
from dynaloss.learning.diagnostics import (
    Ranking,
    corrector_metrics,
    corrector_table,
    ranking_of,
    weak_logits,
)
from dynaloss.learning.losses._dynamic_loss import LabelCorrector
from dynaloss.learning.meta.ranks import rank_bins
from dynaloss.learning.streams import default_generator_seeded
from dynaloss.learning.trainer import Trainer

OBSERVED = torch.tensor([0, 0, 1, 1, 2, 2])
TRUE = torch.tensor([0, 1, 1, 1, 0, 2])
RANKS = torch.tensor([0, 1, 0, 1, 1, 0])


@pytest.fixture
def corrector() -> LabelCorrector:
    """Trusts rank 0 wholly and rank 1 not at all."""
    corrector = LabelCorrector(num_ranks=2, num_classes=3, per_class=False, hidden_layers=1)
    with torch.no_grad():
        corrector.layers[0].weight.copy_(torch.tensor([1.0, -1.0])[:, None].expand(2, 64))
        corrector.layers[1].weight.copy_(torch.eye(64))
        corrector.layers[3].weight.fill_(1.0)
        corrector.layers[3].bias.fill_(-32.0)
    return corrector


@pytest.fixture
def ranking() -> Ranking:
    """A classifier that always predicts class 1."""
    probs = torch.tensor([[0.0, 1.0, 0.0]]).expand(6, 3)
    return Ranking(losses=torch.zeros(6), probs=probs, ranks=RANKS)


def test_corrector_metrics_counted_by_hand(corrector: LabelCorrector, ranking: Ranking) -> None:
    found = corrector_metrics(corrector, ranking, OBSERVED, TRUE)
    assert found == pytest.approx(
        {
            "corrector/auc": roc_auc_score(OBSERVED == TRUE, 1 - RANKS),
            "corrector/weight_clean": 0.75,
            "corrector/weight_noisy": 0.0,
            "corrector/target_accuracy": 5 / 6,
            "corrector/saturated": 0.5,  # sigmoid(32) is 1 in float32, sigmoid(-32) is not 0
        },
        abs=1e-6,
    )


def test_metrics_without_a_value_are_absent(corrector: LabelCorrector, ranking: Ranking) -> None:
    found = corrector_metrics(corrector, ranking, OBSERVED, OBSERVED)
    named = ("weight_clean", "target_accuracy", "saturated")
    assert set(found) == {f"corrector/{name}" for name in named}


def test_corrector_table_counted_by_hand(corrector: LabelCorrector, ranking: Ranking) -> None:
    table = corrector_table(corrector, ranking, OBSERVED, TRUE)
    weights = torch.tensor(table.pop("weights"))
    torch.testing.assert_close(weights, torch.tensor([[1.0] * 3, [0.0] * 3]))
    assert table == {
        "per_class": False,
        "ranks": 2,
        "counts": [[1, 1, 1], [1, 1, 1]],
        "clean": [[1, 1, 1], [0, 1, 0]],
    }


def test_ranking_is_by_plain_cross_entropy_in_eval_mode(
    make_trainer: Callable[..., Trainer],
) -> None:
    trainer = make_trainer()
    split = trainer.train
    state = {name: value.clone() for name, value in trainer.model.state_dict().items()}
    found = ranking_of(weak_logits(trainer.model.train(), split), split.observed_labels, 5)
    with torch.no_grad():
        logits = trainer.model.eval()(split.images)
    losses = F.cross_entropy(logits, split.observed_labels, reduction="none")
    torch.testing.assert_close(found.losses, losses)
    torch.testing.assert_close(found.probs, logits.softmax(1))
    assert torch.equal(found.ranks, rank_bins(found.losses, split.observed_labels, 5))
    assert all(torch.equal(v, state[k]) for k, v in trainer.model.state_dict().items())


def test_confusion_has_true_classes_as_rows(make_trainer: Callable[..., Trainer]) -> None:
    trainer = make_trainer()
    test = trainer.evaluations["test"]
    matrix = torch.tensor(trainer.diagnostics()["confusion"]["matrix"])
    assert torch.equal(matrix.sum(dim=1), torch.bincount(test.observed_labels, minlength=3))


def test_diagnostics_hold_the_parts_that_exist(make_trainer: Callable[..., Trainer]) -> None:
    names = {arm: set(make_trainer(arm).diagnostics()) for arm in ("none", "margin", "full")}
    assert names == {
        "none": {"confusion"},
        "margin": {"confusion", "margins"},
        "full": {"confusion", "margins", "corrector"},
    }


def _samples(count: int) -> TensorDataset:
    generator = torch.Generator().manual_seed(1)
    images = torch.randn(count, 4, generator=generator)
    return TensorDataset(images, torch.arange(count) % 3, torch.arange(count))


def _network() -> nn.Module:
    """Dropout and batch norm, the latter frozen."""
    with default_generator_seeded(0):
        network = nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3), nn.Dropout())
    network[1].eval()
    return network


@pytest.mark.parametrize("shuffle", [False, True])
def test_losses_of_samples_are_in_the_order_of_their_indices(shuffle: bool) -> None:
    model, samples = _network(), _samples(10)
    generator = torch.Generator().manual_seed(2)
    loader = DataLoader(samples, batch_size=4, shuffle=shuffle, generator=generator)
    found = sample_losses(model, loader)
    model.eval()
    for image, label, index in samples:
        expected = -model(image[None]).log_softmax(dim=1)[0, label]
        assert found[index].item() == pytest.approx(expected.item(), rel=1e-5)
    assert not found.requires_grad


def test_losses_of_samples_leave_the_model_as_it_was() -> None:
    model, loader = _network(), DataLoader(_samples(10), batch_size=4)
    state = {name: value.clone() for name, value in model.state_dict().items()}
    sample_losses(model, loader)
    assert [module.training for module in model.modules()] == [True, True, False, True]
    assert all(torch.equal(model.state_dict()[name], value) for name, value in state.items())


def test_losses_of_samples_read_the_first_of_several_views() -> None:
    model, samples = _network(), _samples(10)
    images, labels, indices = samples.tensors
    views = TensorDataset(images, images + 1, labels, indices)
    expected = sample_losses(model, DataLoader(samples, batch_size=4))
    assert torch.equal(sample_losses(model, DataLoader(views, batch_size=4)), expected)


@pytest.mark.parametrize(
    "loader",
    [
        DataLoader(_samples(10), batch_size=4, drop_last=True, sampler=range(9, -1, -1)),
        [_samples(4).tensors, _samples(4).tensors],
        [],
    ],
    ids=["incomplete", "repeated", "empty"],
)
def test_losses_of_samples_need_each_sample_once(loader: Any) -> None:
    with pytest.raises(InputError, match="0 to N - 1, each once"):
        sample_losses(_network(), loader)
