from __future__ import annotations

import itertools
from collections.abc import Callable

import pytest
import torch

from dynaloss.errors import InputError
from dynaloss.learning.determinism import check_determinism, deterministic_algorithms
from dynaloss.learning.trainer import Trainer


def _flags() -> tuple[bool, bool, bool, bool]:
    cudnn = torch.backends.cudnn
    return (
        torch.are_deterministic_algorithms_enabled(),
        torch.is_deterministic_algorithms_warn_only_enabled(),
        cudnn.benchmark,
        cudnn.deterministic,
    )


@pytest.mark.parametrize("enabled", [True, False])
def test_flags_are_as_before_even_after_an_error(enabled: bool) -> None:
    before, inside = _flags(), []

    def fail() -> None:
        inside.append(_flags())
        raise RuntimeError("inside")

    with pytest.raises(RuntimeError, match="inside"), deterministic_algorithms(enabled):
        fail()
    assert inside == [(True, False, False, True) if enabled else before]
    assert _flags() == before


def test_deterministic_algorithms_are_on_during_a_trial_only(
    make_trainer: Callable[..., Trainer], monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer = make_trainer(deterministic=True)
    seen = []
    forward = trainer.model.forward
    monkeypatch.setattr(trainer.model, "forward", lambda x: seen.append(_flags()) or forward(x))
    before = _flags()
    for _ in itertools.islice(trainer.epochs(), 2):
        assert _flags() == before
    trainer.diagnostics()
    assert _flags() == before
    assert set(seen) == {(True, False, False, True)}


def test_on_a_cpu_it_changes_no_result(make_trainer: Callable[..., Trainer]) -> None:
    trainers = [make_trainer(deterministic=flag) for flag in (True, False)]
    for trainer in trainers:
        list(itertools.islice(trainer.epochs(), 2))
    first, second = (trainer.model.state_dict() for trainer in trainers)
    assert all(torch.equal(first[name], second[name]) for name in first)


@pytest.mark.parametrize("given", [None, ":1024:1"])
def test_a_gpu_needs_a_workspace_that_is_deterministic(
    given: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG", raising=False)
    if given:
        monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", given)
    check_determinism(torch.device("cpu"))
    name = "CUBLAS_WORKSPACE_CONFIG"
    facts = rf" {name} .* :4096:8, :16:8,.*got {given or 'none'}\b.*`{name}=:4096:8 dynaloss "
    with pytest.raises(InputError, match=r"^\[schedule\.deterministic\].*" + facts):
        check_determinism(torch.device("cuda"))
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", ":16:8")
    check_determinism(torch.device("cuda"))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_metrics_have_deterministic_forms_on_a_gpu() -> None:
    from dynaloss.learning.metrics import area_under_curve, expected_calibration_error

    scores, positive = torch.rand(64, device="cuda"), torch.rand(64, device="cuda") < 0.5
    with deterministic_algorithms(True):
        area_under_curve(scores, positive)
        expected_calibration_error(torch.rand(64, 3, device="cuda").softmax(1), positive.long())
