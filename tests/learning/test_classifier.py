from __future__ import annotations

import copy
import shutil
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch._inductor import config as inductor
from torch.nn import functional as F

from dynaloss.config import ModelConfig, ScheduleConfig
from dynaloss.learning.classifier import Classifier
from dynaloss.learning.losses._dynamic_loss import DynamicLoss
from dynaloss.learning.meta.hypergradient import (
    LookAhead,
    LookAheadProblem,
    batch_statistics,
    hypergradient,
    unrolled_hypergradient,
)
from dynaloss.learning.models.building import build_model
from dynaloss.learning.trainer import Trainer

MakeTrainer = Callable[..., Trainer]
CPU = torch.device("cpu")


def _classifier(model: nn.Module, **settings: Any) -> Classifier:
    return Classifier(model, ScheduleConfig(**settings), CPU)


def _small(seed: int = 0) -> nn.Module:
    return build_model(
        ModelConfig(name="small_cnn"),
        input_shape=(1, 8, 8),
        num_classes=3,
        seed=seed,
    )


def _images(size: int = 16) -> Tensor:
    return torch.randn(size, 1, 8, 8, generator=torch.Generator().manual_seed(0))


# -- precision --------------------------------------------------------------------------------


def test_bfloat16_is_that_of_autocast_with_float32_logits() -> None:
    model, images = _small().eval(), _images()
    with torch.autocast("cpu", torch.bfloat16):
        expected = model(images)
    assert expected.dtype == torch.bfloat16
    logits = _classifier(model, precision="bfloat16")(images)
    assert logits.dtype == torch.float32
    assert torch.equal(logits, expected.float())
    assert not torch.equal(logits, _small().eval()(images))


def test_float32_is_the_model_itself_even_inside_autocast() -> None:
    model, images = _small().eval(), _images()
    with torch.autocast("cpu", torch.bfloat16):
        logits = _classifier(model)(images)
    assert torch.equal(logits, model(images))


@pytest.mark.parametrize("way", [hypergradient, unrolled_hypergradient])
def test_hypergradient_of_bfloat16_passes_is_near_that_of_float32(
    way: Callable[..., Any], make_loss: Callable[..., DynamicLoss]
) -> None:
    loss, labels = make_loss("full"), torch.arange(16) % 3
    ranks, pseudo = torch.arange(16) % 5, torch.full((16, 3), 1 / 3)
    dtypes = set()

    def outer_loss(logits: Tensor) -> Tensor:
        dtypes.add((logits.dtype, torch.is_autocast_enabled("cpu")))
        return F.cross_entropy(logits, labels)

    def inner_loss(logits: Tensor) -> Tensor:
        dtypes.add((logits.dtype, torch.is_autocast_enabled("cpu")))
        return loss(logits, labels, ranks, pseudo)

    def gradients(precision: str) -> Tensor:
        model = _small().train()
        classifier = _classifier(model, precision=precision)
        step = LookAheadProblem(
            model=model,
            inputs=_images(),
            inner_loss=inner_loss,
            outer_inputs=_images().flip(3),
            outer_loss=outer_loss,
            loss_parameters=list(loss.parameters()),
            look_ahead=[
                LookAhead(
                    weights=dict(model.named_parameters()),
                    lr=0.5,
                    momentum=0.9,
                    weight_decay=0.0,
                    buffers={},
                )
            ],
            precision=classifier.precision,
        )
        return torch.cat([gradient.flatten() for gradient in way(step).gradients])

    exact, rounded = gradients("float32"), gradients("bfloat16")
    assert rounded.dtype == torch.float32
    assert not torch.equal(exact, rounded)
    assert F.cosine_similarity(exact, rounded, dim=0) > 0.99
    assert dtypes == {(torch.float32, False)}


@pytest.mark.parametrize("hypergradient", ["forward", "unrolled", "head"])
def test_bfloat16_trains_with_weights_in_float32(
    hypergradient: str, make_trainer: MakeTrainer
) -> None:
    settings = {"hypergradient": hypergradient, "epochs": 12}
    half, full = (make_trainer(precision=p, **settings) for p in ("bfloat16", "float32"))
    last, expected = (list(t.epochs())[-1].metrics["train/loss"] for t in (half, full))
    assert last != expected
    assert last == pytest.approx(expected, rel=0.2)
    state = half.state_dict()
    momenta = [entry["momentum_buffer"] for entry in state["optimizer"]["state"].values()]
    tensors = [*state["model"].values(), *state["loss"].values(), *momenta]
    assert {tensor.dtype for tensor in tensors} <= {torch.float32, torch.int64}


def test_bfloat16_continues_bit_for_bit(
    make_trainer: MakeTrainer, assert_resumes: Callable[..., None]
) -> None:
    assert_resumes(lambda: make_trainer(precision="bfloat16"))


# -- compilation ------------------------------------------------------------------------------


@pytest.mark.skipif(shutil.which("g++") is None, reason="needs a C++ compiler")
def test_compiled_passes_equal_eager_ones_at_any_batch_size() -> None:
    # Little to compile: the time goes into the compiler's start.
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 3), nn.BatchNorm1d(3)).train()
    twin, state = copy.deepcopy(model), copy.deepcopy(model.state_dict())
    classifier = _classifier(model, compile=True).train()
    random_state = torch.get_rng_state()
    for size in (16, 15):
        images = _images(size)
        logits, expected = classifier(images), twin(images)
        torch.testing.assert_close(logits, expected, rtol=1e-4, atol=1e-5)
        for network, output in ((model, logits), (twin, expected)):
            network.zero_grad()
            output.square().sum().backward()
        for ours, theirs in zip(model.parameters(), twin.parameters(), strict=True):
            torch.testing.assert_close(ours.grad, theirs.grad, rtol=1e-3, atol=1e-4)
    for name, value in twin.state_dict().items():  # trying it out counted no batch
        torch.testing.assert_close(model.state_dict()[name], value, rtol=1e-4, atol=1e-5)
    assert list(model.state_dict()) == list(state)
    assert torch.equal(torch.get_rng_state(), random_state)


# Once a process, of the setting below.
@pytest.mark.filterwarnings("ignore:dynamo_pgo force disabled:UserWarning")
def test_without_a_compiler_training_continues_with_a_warning(
    make_trainer: MakeTrainer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inductor.cpp, "cxx", ("/nonexistent/g++",))
    monkeypatch.setattr(inductor, "force_disable_caches", True)
    plain, compiled = make_trainer(), make_trainer(compile=True)
    with pytest.warns(RuntimeWarning, match=r"torch\.compile .*not work .*C\+\+ compiler"):
        losses = [r.metrics["train/loss"] for r in compiled.epochs()]
    assert losses == [r.metrics["train/loss"] for r in plain.epochs()]
    assert not any("_orig_mod" in name for name in compiled.state_dict()["model"])


def test_evaluation_and_passes_without_gradients_are_never_compiled(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(call: object) -> None:
        raise AssertionError("compiled")

    monkeypatch.setattr(torch, "compile", refuse)
    classifier = _classifier(_small(), compile=True)
    assert classifier.eval()(_images()).shape == (16, 3)
    with torch.no_grad(), batch_statistics(classifier.model):
        assert classifier.train()(_images()).shape == (16, 3)
