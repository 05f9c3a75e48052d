"""The loss in a training loop of one's own: the public names of `dynaloss.learning`."""

from __future__ import annotations

import copy
import io
import itertools
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dynaloss.config import ScheduleConfig
from dynaloss.errors import InputError
from dynaloss.learning import DynamicLoss, LearnedLoss, MetaStep, MetaWeightNet, rank_bins
from dynaloss.learning.batches import Batch
from dynaloss.learning.steps import learning_rate
from dynaloss.learning.streams import default_generator_seeded
from dynaloss.learning.trainer import Trainer

N, M, C, R = 12, 6, 3, 4
SHAPE = (1, 6, 6)


class Network(nn.Module):
    """Batch norm, and a layer that no logit depends on."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(1, 4, 3, bias=False), nn.BatchNorm2d(4), nn.ReLU())
        self.unused = nn.Linear(2, 2)
        self.head = nn.Linear(4, C)

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.head(self.body(images).mean(dim=(2, 3)))
        return logits


def _network() -> Network:
    with default_generator_seeded(0):
        return Network()


def _sgd(model: nn.Module, **settings: Any) -> torch.optim.SGD:
    return torch.optim.SGD(
        model.parameters(), **{"lr": 0.3, "momentum": 0.9, "weight_decay": 1e-2} | settings
    )


def _loss(**settings: Any) -> DynamicLoss:
    corrector = {"ranks": R, "pseudo_labels": "soft"} | settings
    return DynamicLoss(num_classes=C, corrector=corrector, seed=3)


def _images(number: int, seed: int) -> Tensor:
    return torch.randn(number, *SHAPE, generator=torch.Generator().manual_seed(seed))


LABELS = torch.arange(N) % C
RANKS = torch.arange(N) % R
OUTER_LABELS = torch.arange(M) % C
BATCH = (_images(N, 0), LABELS, RANKS, _images(M, 1), OUTER_LABELS)


def _in_double(batch: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    return tuple(t.double() if t.is_floating_point() else t for t in batch)


def _trained(model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    """Two steps, after which there is momentum."""
    for seed in (2, 3):
        optimizer.zero_grad()
        images = _images(N, seed).to(next(model.parameters()).dtype)
        F.cross_entropy(model(images), LABELS).backward()
        optimizer.step()


def _flat(tensors: Any) -> Tensor:
    return torch.cat([tensor.detach().flatten() for tensor in tensors])


def _groups(model: Network) -> list[dict[str, Any]]:
    return [
        {"params": model.body.parameters(), "lr": 0.1, "weight_decay": 0.0},
        {"params": model.head.parameters(), "lr": 0.4, "momentum": 0.5},
    ]


def _adamw(parameters: Any, **settings: Any) -> torch.optim.AdamW:
    return torch.optim.AdamW(
        parameters, **{"lr": 0.05, "betas": (0.5, 0.9), "eps": 1e-3} | settings
    )


OPTIMIZERS: dict[str, Callable[[Network], torch.optim.Optimizer]] = {
    "AdamW": lambda model: _adamw(model.parameters(), weight_decay=0.1),
    "AdamW, groups": lambda model: _adamw(
        [
            {"params": model.body.parameters(), "lr": 0.1, "weight_decay": 0.0},
            {"params": model.head.parameters(), "betas": (0.9, 0.99)},
        ]
    ),
    "momentum": _sgd,
    "Nesterov": lambda model: _sgd(model, nesterov=True),
    "groups": lambda model: torch.optim.SGD(_groups(model), lr=1.0, momentum=0.9, nesterov=True),
    "head alone": lambda model: torch.optim.SGD(model.head.parameters(), lr=0.3),
    "no momentum": lambda model: _sgd(model, momentum=0.0),
}


def _outer_loss_after_a_real_step(model: Network, optimizer: Any, loss: DynamicLoss) -> float:
    """On copies; the optimizer makes the step that `MetaStep` looks ahead to."""
    model, optimizer, loss = copy.deepcopy((model, optimizer, loss))
    images, labels, ranks, outer_images, outer_labels = _in_double(BATCH)
    logits = model(images)
    optimizer.zero_grad()
    loss(logits, labels, ranks, logits.detach().softmax(dim=1)).backward()
    optimizer.step()
    return F.cross_entropy(model(outer_images), outer_labels).item()


@pytest.mark.parametrize("way", ["forward", "unrolled"])
@pytest.mark.parametrize("mode", [True, False], ids=["train", "eval"])
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_gradient_equals_central_differences_through_a_real_step(
    name: str, mode: bool, way: str
) -> None:
    model, loss = _network().double(), _loss().double()
    optimizer = OPTIMIZERS[name](model)
    _trained(model, optimizer)
    model.train(mode)
    before = copy.deepcopy(loss)
    MetaStep(model, optimizer, loss, hypergradient=way).step(*_in_double(BATCH))
    gradients = [p.grad for p in loss.parameters() if p.grad is not None]
    scale, eps = _flat(gradients).norm(), 1e-5
    losses = []
    for step in (eps, -eps):
        moved = copy.deepcopy(before)
        with torch.no_grad():
            for parameter, gradient in zip(moved.parameters(), gradients, strict=True):
                parameter.add_(gradient / scale, alpha=step)
        losses.append(_outer_loss_after_a_real_step(model, optimizer, moved))
    numeric = (losses[0] - losses[1]) / (2 * eps)
    assert numeric > 1e-5
    assert numeric == pytest.approx(float(scale), rel=1e-5)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_gradient_on_a_gpu_equals_that_on_the_cpu() -> None:
    gradients = []
    for device in ("cpu", "cuda"):
        model, loss = _network().double().to(device), _loss().double().to(device)
        batch = tuple(tensor.to(device) for tensor in _in_double(BATCH))
        MetaStep(model, _sgd(model), loss).step(*batch)
        gradients.append(_flat(p.grad for p in loss.parameters() if p.grad is not None).cpu())
    assert gradients[0].norm() > 1e-5
    torch.testing.assert_close(*gradients)


def test_head_moves_the_last_linear_layer_alone() -> None:
    """As exact as with the rest of the network frozen."""
    gradients = []
    for way, is_frozen in (("head", False), ("forward", True)):
        model, loss = _network(), _loss()
        optimizer = _sgd(model)
        model.body.requires_grad_(not is_frozen)
        MetaStep(model, optimizer, loss, hypergradient=way).step(*BATCH)
        assert all(w.requires_grad != is_frozen for w in model.body.parameters())
        gradients.append(_flat(p.grad for p in loss.parameters() if p.grad is not None))
    assert gradients[0].norm() > 1e-5
    assert torch.equal(*gradients)


def test_step_equals_the_trainers_bit_for_bit(make_trainer: Callable[..., Trainer]) -> None:
    """A warm-up epoch with a warm start and one with meta steps, on the trainer's own batches."""
    trainer = make_trainer("full", meta_every=2)
    settings = trainer.loss.settings.model_dump()
    model, labels = copy.deepcopy(trainer.model), trainer.train.observed_labels
    loss = DynamicLoss(num_classes=C, **settings)
    assert torch.equal(_flat(loss.parameters()), _flat(trainer.loss.parameters()))
    list(itertools.islice(trainer.epochs(), 2))
    optimizer = _sgd(model, weight_decay=5e-4)
    meta = MetaStep(model, optimizer, loss, lr=1e-2)
    _replay(iter(trainer.train.given), labels, model, optimizer, loss, meta)
    for ours, theirs in ((model, trainer.model), (loss, trainer.loss)):
        assert torch.equal(_flat(ours.state_dict().values()), _flat(theirs.state_dict().values()))


def _replay(
    batches: Iterator[Batch],
    labels: Tensor,
    model: nn.Module,
    optimizer: torch.optim.SGD,
    loss: DynamicLoss,
    meta: MetaStep,
) -> None:
    for epoch in range(2):
        schedule = ScheduleConfig(epochs=4, warmup_epochs=1, ramp_epochs=2)
        with torch.no_grad():
            logits = model.eval()(next(batches).weak)
        ranks = loss.ranks(F.cross_entropy(logits, labels, reduction="none"), labels)
        model.train()
        for number, batch in enumerate(itertools.islice(batches, 4)):
            rate = learning_rate(epoch, number / 4, base_lr=0.05, schedule=schedule)
            optimizer.param_groups[0]["lr"] = rate
            sample = batch.weak, batch.labels, ranks[batch.indices]
            criterion: Any = partial(F.cross_entropy, target=batch.labels)
            if epoch == 0:
                meta.warm_start(*sample)
            elif number % 2 == 0:
                outer = next(batches)
                criterion = meta.step(*sample, outer.strong, outer.labels)
            else:
                criterion = meta.criterion(*sample)
            _descend(optimizer, criterion(model(batch.strong)))
    for batch in itertools.takewhile(lambda batch: batch.strong is not None, batches):
        logits = model(batch.strong) + loss.finetune_margins()
        _descend(optimizer, F.cross_entropy(logits, batch.labels))


def _descend(optimizer: torch.optim.Optimizer, value: Tensor) -> None:
    optimizer.zero_grad()
    value.backward()
    optimizer.step()


@pytest.mark.parametrize("way", ["forward", "unrolled", "head"])
def test_changes_nothing_but_the_loss(way: str) -> None:
    model, loss = _network(), _loss(pseudo_labels="sampled")
    optimizer = _sgd(model)
    _trained(model, optimizer)
    model.body[0].weight.requires_grad_(False)
    model.body[1].eval()
    before = copy.deepcopy((model.state_dict(), optimizer.state_dict()))
    facts = [(w.requires_grad, w.grad) for w in model.parameters()]
    random_state, start = torch.get_rng_state(), _flat(loss.parameters())
    meta = MetaStep(model, optimizer, loss, hypergradient=way)
    meta.step(*BATCH)
    meta.criterion(*BATCH[:3])
    after = (model.state_dict(), optimizer.state_dict())
    torch.testing.assert_close(after, before, rtol=0, atol=0)
    for weight, (requires_grad, grad) in zip(model.parameters(), facts, strict=True):
        assert weight.requires_grad == requires_grad
        assert weight.grad is grad
    assert [m.training for m in model.body] == [True, False, True]
    assert torch.equal(torch.get_rng_state(), random_state)
    assert not torch.equal(_flat(loss.parameters()), start)


def test_criterion_of_a_batch_without_a_meta_step_is_the_same() -> None:
    model, loss = _network(), _loss()
    meta = MetaStep(model, _sgd(model), loss)
    after_step, without = meta.step(*BATCH), meta.criterion(*BATCH[:3])
    logits = model(BATCH[0])
    assert torch.equal(after_step(logits), without(logits))
    assert after_step(logits).item() != pytest.approx(F.cross_entropy(logits, LABELS).item())


@pytest.mark.parametrize("call", ["step", "criterion", "warm_start"])
def test_follows_autocast_and_leaves_its_cache_alone(call: str) -> None:
    """A cached weight without a graph would leave the classifier without gradients."""
    updates, dtypes = [], []
    for is_half in (False, True):
        model, loss = _network(), _loss()
        model.head.register_forward_hook(lambda m, i, output: dtypes.append(output.dtype))
        optimizer, start = _sgd(model), _flat(loss.parameters())
        with torch.autocast("cpu", torch.bfloat16, enabled=is_half):
            meta = MetaStep(model, optimizer, loss)
            getattr(meta, call)(*(BATCH if call == "step" else BATCH[:3]))
            F.cross_entropy(model(BATCH[0]), LABELS).backward()
        assert all(w.grad is not None for w in (*model.body.parameters(), model.head.weight))
        updates.append(_flat(loss.parameters()) - start)
    assert {*dtypes} == {torch.float32, torch.bfloat16}
    if call != "criterion":
        assert F.cosine_similarity(*updates, dim=0) > 0.9


@pytest.mark.parametrize("counts", [False, True])
def test_warm_start_may_count_in_the_running_statistics(counts: bool) -> None:
    model, loss = _network(), _loss(warm_start_statistics=counts)
    norm = model.body[1]
    features = model.body[0](BATCH[0]).detach()
    mean, variance = features.mean(dim=(0, 2, 3)), features.var(dim=(0, 2, 3))
    meta = MetaStep(model, _sgd(model), loss)
    meta.warm_start(*BATCH[:3])
    share = norm.momentum if counts else 0.0
    torch.testing.assert_close(norm.running_mean, share * mean)
    torch.testing.assert_close(norm.running_var, (1 - share) + share * variance)
    before = norm.running_mean.clone()
    meta.step(*BATCH)
    meta.criterion(*BATCH[:3])
    assert torch.equal(norm.running_mean, before)


def test_seed_decides_the_pseudo_labels() -> None:
    values = []
    for seed in (0, 0, 1, torch.Generator().manual_seed(5), torch.Generator().manual_seed(5)):
        model, loss = _network(), _loss(pseudo_labels="sampled")
        criterion = MetaStep(model, _sgd(model), loss, seed=seed).criterion(*BATCH[:3])
        with torch.no_grad():
            loss.corrector.layers[-1].bias.zero_()  # type: ignore[union-attr]
        values.append(criterion(model(BATCH[0])).item())
    assert values[0] == values[1]
    assert values[3] == values[4]
    assert len({*values}) == 3


def test_continues_from_the_states_of_loss_and_meta_step() -> None:
    def make() -> tuple[nn.Module, DynamicLoss, MetaStep]:
        model, loss = _network(), _loss(pseudo_labels="sampled")
        return model, loss, MetaStep(model, _sgd(model), loss)

    model, loss, meta = make()
    meta.step(*BATCH)
    file = io.BytesIO()
    torch.save({"loss": loss.state_dict(), "meta": meta.state_dict()}, file)
    expected = meta.step(*BATCH)(model(BATCH[0]))
    file.seek(0)
    state = torch.load(file, weights_only=True)
    other_model, other, continued = make()
    other.load_state_dict(state["loss"])
    continued.load_state_dict(state["meta"])
    assert torch.equal(continued.step(*BATCH)(other_model(BATCH[0])), expected)
    assert torch.equal(_flat(other.parameters()), _flat(loss.parameters()))


def test_meta_weight_net_learns_in_the_same_way() -> None:
    model, loss = _network(), MetaWeightNet(hidden_size=5)
    start = _flat(loss.parameters())
    criterion = MetaStep(model, _sgd(model), loss).step(*BATCH)
    logits = model(BATCH[0])
    assert torch.equal(criterion(logits), loss(logits, LABELS))
    assert not torch.equal(_flat(loss.parameters()), start)


@pytest.mark.parametrize(
    ("make", "facts"),
    [
        (lambda model: torch.optim.Adam(model.parameters()), "torch.optim.SGD.*is Adam"),
        (lambda model: _adamw(model.parameters(), amsgrad=True), "without `amsgrad`"),
        (lambda model: _sgd(model, dampening=0.5), "without `dampening`.*dampening=0.5"),
        (lambda model: _sgd(model, maximize=True), "without `maximize`.*maximize=True"),
        (lambda model: _sgd(_network()), "weights of `model`"),
        (lambda model: _sgd(model.requires_grad_(False)), "weights of `model`"),
    ],
    ids=["Adam", "amsgrad", "dampening", "maximize", "of another model", "frozen"],
)
def test_refuses_an_optimizer_that_it_cannot_look_ahead_for(
    make: Callable[[nn.Module], torch.optim.Optimizer], facts: str
) -> None:
    model = _network()
    with pytest.raises(InputError, match=facts):
        MetaStep(model, make(model), _loss())


def test_refuses_an_option_that_is_set_later() -> None:
    model = _network()
    optimizer = _sgd(model)
    meta = MetaStep(model, optimizer, _loss())
    optimizer.param_groups[0]["maximize"] = True
    with pytest.raises(InputError, match="without `maximize`"):
        meta.step(*BATCH)


@pytest.mark.parametrize(
    ("settings", "fact"),
    [
        ({"lr": 0.0}, "greater than 0"),
        ({"hypergradient": "backward"}, "'forward', 'unrolled' or 'head'"),
    ],
    ids=["lr", "hypergradient"],
)
def test_refuses_a_setting_out_of_range(settings: dict[str, Any], fact: str) -> None:
    model = _network()
    with pytest.raises(ValueError, match=fact):
        MetaStep(model, _sgd(model), _loss(), **settings)


@pytest.mark.parametrize(
    ("position", "value", "facts"),
    [
        (1, LABELS[:5], r"`labels` must have the shape \(12,\).*has \(5,\)"),
        (1, F.one_hot(LABELS), r"`labels` must have the shape \(12,\).*has \(12, 3\)"),
        (2, RANKS[:5], r"`ranks` must have the shape \(12,\).*has \(5,\)"),
        (4, LABELS, r"`outer_labels` must have the shape \(6,\).*has \(12,\)"),
    ],
    ids=["labels", "one-hot labels", "ranks", "labels of metadata"],
)
def test_refuses_a_wrong_shape(position: int, value: Tensor, facts: str) -> None:
    model, batch = _network(), list(BATCH)
    batch[position] = value
    with pytest.raises(InputError, match=facts):
        MetaStep(model, _sgd(model), _loss()).step(*batch)


@pytest.mark.parametrize("call", ["step", "criterion", "warm_start"])
def test_refuses_logits_of_another_number_of_classes(call: str) -> None:
    model, loss = _network(), DynamicLoss(num_classes=7)
    meta = MetaStep(model, _sgd(model), loss)
    with pytest.raises(InputError, match=r"shape \(12, 7\).*have \(12, 3\)"):
        getattr(meta, call)(*(BATCH if call == "step" else BATCH[:3]))


def test_refuses_a_loss_without_parameters() -> None:
    model, off = _network(), {"enabled": False}
    loss = DynamicLoss(num_classes=C, corrector=off, margin=off)
    with pytest.raises(InputError, match="`loss` must have parameters"):
        MetaStep(model, _sgd(model), loss)


def test_refuses_a_warm_start_of_a_loss_that_has_none() -> None:
    model = _network()
    margin = DynamicLoss(num_classes=C, corrector={"enabled": False})
    with pytest.raises(InputError, match="no corrector"):
        MetaStep(model, _sgd(model), margin).warm_start(*BATCH[:3])
    with pytest.raises(NotImplementedError, match="MetaWeightNet has no warm start"):
        MetaStep(model, _sgd(model), MetaWeightNet()).warm_start(*BATCH[:3])


def test_ranks_are_the_bins_of_the_settings() -> None:
    losses = torch.linspace(1, 0, N)
    assert torch.equal(_loss().ranks(losses, LABELS), rank_bins(losses, LABELS, R))


@pytest.mark.parametrize(
    ("labels", "facts"),
    [
        (LABELS + 1, r"in \[0, 3\), but got 3"),
        (LABELS - 1, r"in \[0, 3\), but got -1"),
        (LABELS[1:], r"\(12,\) and \(11,\)"),
    ],
    ids=["too large", "negative", "too few"],
)
def test_ranks_refuse_labels_that_do_not_hold(labels: Tensor, facts: str) -> None:
    with pytest.raises(InputError, match=facts):
        _loss().ranks(torch.zeros(N), labels)


@pytest.mark.parametrize(
    ("settings", "fact"),
    [
        ({"corrector": {"ranks": 1}}, "greater than or equal to 2"),
        ({"temperature": 2.0}, "temperature"),
    ],
    ids=["range", "unknown"],
)
def test_refuses_a_setting_of_the_loss(settings: dict[str, Any], fact: str) -> None:
    with pytest.raises(ValueError, match=fact):
        DynamicLoss(num_classes=C, **settings)


def test_settings_are_those_of_a_study() -> None:
    values = {"name": "dynamic", "corrector": {"ranks": 7}, "margin": {"enabled": False}}
    loss = DynamicLoss(num_classes=C, **values)
    assert isinstance(loss, LearnedLoss)
    assert loss.margin is None
    assert loss.corrector is not None
    assert loss.corrector.table().shape == (7, C)
