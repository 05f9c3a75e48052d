"""The trainer with every loss and every switch: it resumes bit for bit and has its effect."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from dynaloss.errors import InputError
from dynaloss.learning.losses import TrainingLoss
from dynaloss.learning.losses._dynamic_loss import make_pseudo_labels
from dynaloss.learning.meta.clean_set import load_clean_set
from dynaloss.learning.models.heads import CosineLinear, last_linear, make_head_cosine
from dynaloss.learning.reports import Diverged
from dynaloss.learning.trainer import Trainer

MakeTrainer = Callable[..., Trainer]

SETTINGS: dict[str, dict[str, Any]] = {
    "cross_entropy": {"label_smoothing": 0.1},
    "focal": {"gamma": 2.0},
    "gce": {"q": 0.7},
    "sce": {"alpha": 0.1, "beta": 1.0},
    "elr": {"strength": 3.0, "momentum": 0.7},
    "ldam": {"max_margin": 0.5, "scale": 5.0, "drw_epoch": 2},
    "balanced_softmax": {},
    "logit_adjustment": {"tau": 1.0},
    "class_balanced": {"beta": 0.9999, "gamma": 0.0},
    "meta_weight_net": {"hidden_size": 10},
}
SWITCHES: dict[str, dict[str, Any]] = {
    "every-2": {"every": 2},
    "fixed": {"kind": "fixed"},
    "random": {"kind": "random"},
    "random_balanced": {"kind": "random_balanced"},
    "low_loss_only": {"kind": "low_loss_only"},
    "clean": {"kind": "clean", "clean_set": torch.tensor([3, 40, 60])},
    "keep": {"keep_in_train": True},
    "head": {"hypergradient": "head"},
    "cold": {"warm_start_epochs": 0},
}


def _loss(name: str) -> dict[str, Any]:
    return {"name": name, **SETTINGS[name]}


def _run(trainer: Trainer, epochs: int | None = None) -> list[dict[str, float]]:
    reports = itertools.islice(trainer.epochs(), epochs)
    return [
        {name: v for name, v in report.metrics.items() if not name.startswith("time/")}
        for report in reports
    ]


def _weights(trainer: Trainer) -> Tensor:
    tensors = [*trainer.model.state_dict().values(), *trainer.loss.state_dict().values()]
    return torch.cat([tensor.flatten().double() for tensor in tensors])


@pytest.mark.parametrize("name", SETTINGS)
def test_every_loss_trains_and_continues_bit_for_bit(
    name: str, make_trainer: MakeTrainer, assert_resumes: Callable[..., None]
) -> None:
    assert_resumes(lambda: make_trainer(loss=_loss(name)))


@pytest.mark.parametrize("switch", SWITCHES)
def test_every_switch_continues_bit_for_bit(
    switch: str, make_trainer: MakeTrainer, assert_resumes: Callable[..., None]
) -> None:
    assert_resumes(lambda: make_trainer(**SWITCHES[switch]))


@pytest.mark.parametrize("name", [name for name in SETTINGS if name != "meta_weight_net"])
def test_losses_that_are_not_learned_draw_no_metadata(
    name: str, make_trainer: MakeTrainer
) -> None:
    trainer = make_trainer(loss=_loss(name))
    assert isinstance(trainer.loss, TrainingLoss)
    (report, *_) = _run(trainer, 1)
    assert not [metric for metric in report if metric.startswith(("sampler/", "corrector/"))]
    assert [batch.weak is None for batch in trainer.train.given] == [True] * 4 + [False]


def test_meta_weight_net_learns_its_weights_after_warm_up(make_trainer: MakeTrainer) -> None:
    trainer = make_trainer(loss=_loss("meta_weight_net"), meta_every=1)
    start = nn.utils.parameters_to_vector(trainer.loss.parameters()).clone()
    _run(trainer, 1)
    assert torch.equal(start, nn.utils.parameters_to_vector(trainer.loss.parameters()))
    assert "sampler/metadata_purity" in _run(trainer, 1)[0]
    assert not torch.equal(start, nn.utils.parameters_to_vector(trainer.loss.parameters()))


# -- metadata ---------------------------------------------------------------------------------


def _metadata(trainer: Trainer) -> list[int]:
    trainer.train.given.clear()
    _run(trainer, 1)
    batches = [b for b in trainer.train.given if b.weak is None]
    return sorted({i for batch in batches for i in batch.indices.tolist()})


@pytest.mark.parametrize(
    ("settings", "same"),
    [
        ({}, [False, False, False]),
        ({"every": 2}, [True, False, True]),
        ({"every": 3}, [True, True, False]),
        ({"kind": "fixed"}, [True, True, True]),
    ],
    ids=str,
)
def test_metadata_are_drawn_at_the_given_interval(
    settings: dict[str, Any], same: list[bool], make_trainer: MakeTrainer
) -> None:
    trainer = make_trainer(warmup_epochs=0, **settings)
    drawn = [_metadata(trainer) for _ in range(4)]
    assert [a == b for a, b in itertools.pairwise(drawn)] == same


@pytest.mark.parametrize("kind", ["hierarchical", "random_balanced", "low_loss_only", "random"])
def test_drawn_kinds_give_equally_many_samples(kind: str, make_trainer: MakeTrainer) -> None:
    trainer = make_trainer(warmup_epochs=0, kind=kind)
    metadata = _metadata(trainer)
    counts = torch.bincount(trainer.train.observed_labels)
    each = int(0.25 * counts.min())
    assert len(metadata) == 3 * each
    found = torch.bincount(trainer.train.observed_labels[metadata], minlength=3)
    assert (found == each).all() or kind == "random"


def test_metadata_may_stay_in_the_train_split(make_trainer: MakeTrainer) -> None:
    trainer = make_trainer(warmup_epochs=0, keep_in_train=True)
    _run(trainer, 1)
    trained = [
        b.indices for b in trainer.train.given if b.weak is not None and b.strong is not None
    ]
    assert sorted(torch.cat(trained).tolist()) == list(range(64))


def test_a_clean_set_is_used_with_its_true_labels(make_trainer: MakeTrainer) -> None:
    train = make_trainer().train
    noisy = torch.nonzero(train.observed_labels != train.true_labels).squeeze(1)
    trainer = make_trainer(warmup_epochs=0, kind="clean", clean_set=noisy)
    batches = list(trainer._batches.metadata(noisy))
    labels = torch.cat([batch.labels for batch in batches])
    indices = torch.cat([batch.indices for batch in batches])
    assert torch.equal(labels, trainer.train.true_labels[indices])
    report = _run(trainer, 1)[0]
    assert report["labels/clean_used"] == len(noisy)
    assert report["sampler/metadata_purity"] == 1


@pytest.mark.parametrize("suffix", [".npy", ".csv"])
def test_clean_set_is_found_in_the_split(suffix: str, tmp_path: Any) -> None:
    path = tmp_path / f"clean{suffix}"
    if suffix == ".npy":
        np.save(path, np.array([9, 2, 5]))
    else:
        path.write_text("9\n2\n5\n")
    rows = {"train": np.array([4, 5, 0, 9]), "validation": np.array([1, 3])}
    assert load_clean_set(path, rows, num_images=10, seed=0).tolist() == [1, 3]


@pytest.mark.parametrize(
    ("text", "facts"),
    [
        ("1\n1\n", r"\b1 .*twice"),
        ("0.5\n", "list of whole numbers"),
        ("-1\n", r"in \[0, 80\).*got -1\b"),
        ("3\n80\n", r"in \[0, 80\).*got 80\b"),
        ("cat\n", "list of whole numbers"),
        ("75\n", "none .*1 images .*training split"),
        ("3\n65\n64\n", r"no image .*validation split of seed 2\b.* 64, 65\b"),
        ("3\n66\n67\n68\n69\n70\n71\n",
         r"no image .*test split of seed 2\b.* 66, 67, 68, 69, 70 and 1 more"),
    ],
)  # fmt: skip
def test_a_broken_clean_set_is_refused(text: str, facts: str, tmp_path: Any) -> None:
    path = tmp_path / "clean.csv"
    path.write_text(text)
    rows = {"train": np.arange(64), "validation": np.arange(64, 66), "test": np.arange(66, 72)}
    with pytest.raises(InputError, match=rf"^\[sampler\.path\] '.*/clean\.csv'.*{facts}"):
        load_clean_set(path, rows, num_images=80, seed=2)


# -- switches ---------------------------------------------------------------------------------


def test_pseudo_labels_by_kind(generator: torch.Generator) -> None:
    logits = torch.tensor([[0.0, 1.0, 0.0], [3.0, 0.0, 0.0]], requires_grad=True)
    before = generator.get_state()
    soft = make_pseudo_labels(logits, "soft", generator)
    assert torch.equal(soft, logits.detach().softmax(1))
    assert make_pseudo_labels(logits, "hard", generator).argmax(1).tolist() == [1, 0]
    assert not soft.requires_grad
    assert torch.equal(generator.get_state(), before)


@pytest.mark.parametrize("in_finetune", [True, False])
def test_margin_in_the_pass_over_the_metadata(
    in_finetune: bool, make_loss: Callable[[str], Any]
) -> None:
    loss = make_loss("full", in_finetune=in_finetune)
    expected = loss.margin() if in_finetune else torch.tensor(0.0)
    assert torch.equal(torch.as_tensor(loss.finetune_margins()), expected)


def test_head_look_ahead_leaves_every_weight_trainable(make_trainer: MakeTrainer) -> None:
    full, head = make_trainer(warmup_epochs=0), make_trainer(warmup_epochs=0, hypergradient="head")
    for trainer in (full, head):
        _run(trainer, 1)
    assert all(weight.requires_grad for weight in head.model.parameters())
    assert not torch.equal(_weights(full), _weights(head))


def test_cosine_head_gives_cosines(make_trainer: MakeTrainer) -> None:
    model = make_trainer().model
    weight = last_linear(model).weight
    make_head_cosine(model)
    head = last_linear(model)
    assert isinstance(head, CosineLinear)
    features = torch.randn(4, head.in_features, generator=torch.Generator().manual_seed(0))
    expected = nn.functional.cosine_similarity(features[:, None], weight[None], dim=2)
    torch.testing.assert_close(head(features), expected)


# -- divergence -------------------------------------------------------------------------------


def test_a_weight_broken_in_the_last_step_is_a_divergence(
    make_trainer: MakeTrainer, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer = make_trainer("none", batch_size=64)
    step = trainer._stepper.descend

    def breaking(loss: Tensor) -> Tensor:
        value = step(loss)
        with torch.no_grad():
            next(trainer.model.parameters()).view(-1)[0] = torch.nan
        return value

    monkeypatch.setattr(trainer._stepper, "descend", breaking)
    with pytest.raises(Diverged, match=r"weight .*not finite .*epoch 1, batch 1$"):
        _run(trainer)
    assert trainer.has_diverged


def test_a_loss_broken_over_the_metadata_is_a_divergence(
    make_trainer: MakeTrainer, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer = make_trainer(warmup_epochs=0)
    monkeypatch.setattr(trainer.loss, "finetune_margins", lambda: torch.nan)
    with pytest.raises(Diverged, match=r"training loss .*not finite .*epoch 1, batch 5$"):
        _run(trainer)
