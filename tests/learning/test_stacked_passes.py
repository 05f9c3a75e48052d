"""Stacked passes against those of each network by itself, in double precision."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dynaloss.config import TrialConfig
from dynaloss.learning.meta.hypergradient import batch_statistics
from dynaloss.learning.meta.network import Network, PlainNetwork
from dynaloss.learning.models.building import build_model
from dynaloss.learning.models.heads import make_head_cosine
from dynaloss.learning.stacked_passes import Request, StackedNetwork, StackedPass, can_stack

SHAPE, CLASSES, K, N = (1, 8, 8), 4, 3, 6


def _config(**settings: Any) -> TrialConfig:
    return TrialConfig.model_validate({"model": {"name": "mlp"}, **settings})


def _models(config: TrialConfig, *, cosine: bool = False) -> list[nn.Module]:
    models = []
    for seed in range(K):
        model = build_model(config.model, input_shape=SHAPE, num_classes=CLASSES, seed=seed)
        if cosine:
            make_head_cosine(model)
        models.append(model.double())
    return models


def _random(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def _together(networks: list[StackedNetwork], call: Callable[[StackedNetwork, int], Any]) -> Any:
    """What the calls return if their requests are answered together.

    Each network is called once to learn what it asks for, and once more with the answer.
    """
    requests: list[Request] = []

    class _Asked(Exception):  # noqa: N818 # no error
        pass

    def ask(request: Request) -> Any:
        requests.append(request)
        raise _Asked

    for index, network in enumerate(networks):
        network.ask = ask
        with pytest.raises(_Asked):
            call(network, index)
    assert len({request.key for request in requests}) == 1
    answers = requests[0].together(requests)
    found = []
    for index, network in enumerate(networks):
        network.ask = lambda _, index=index: answers[index]  # type: ignore[misc]
        found.append(call(network, index))
    return found


class _Follow:
    """A pass whose next request goes through the network's present `ask`."""

    def __init__(self, network: StackedNetwork, one: StackedPass) -> None:
        self.one = one
        one._ask = lambda request: network.ask(request)


@pytest.mark.parametrize(
    ("name", "cosine"),
    [("mlp", False), ("mlp", True), ("small_cnn", False), ("resnet8", False), ("resnet8", True)],
)
def test_stacked_passes_are_those_of_each_network(name: str, cosine: bool) -> None:
    config = _config(model={"name": name})
    models = _models(config, cosine=cosine)
    plain = [PlainNetwork(copy.deepcopy(model)) for model in models]
    networks = [StackedNetwork(model, config, lambda _: None) for model in models]
    inputs, direction = _random(K, N, *SHAPE), _random(K, 1)

    for one, model in zip(plain, models, strict=True):
        one.model.train()
        model.train()
    with torch.no_grad():
        expected = [one(x) for one, x in zip(plain, inputs, strict=True)]
    found = _together(networks, lambda network, k: network(inputs[k]))
    torch.testing.assert_close(found, expected)
    for one, model in zip(plain, models, strict=True):  # the statistics saw one batch
        torch.testing.assert_close(model.state_dict(), one.model.state_dict())

    def loss(logits: Tensor) -> Tensor:
        return F.cross_entropy(logits, torch.arange(N) % CLASSES)

    def all_of(network: Network, k: int) -> tuple[Tensor, dict[str, Tensor], Tensor]:
        with batch_statistics(plain[k].model):
            first = network.linearized(inputs[k])
            weights = dict(plain[k].model.named_parameters())
            gradients = first.gradients(loss(first.logits), weights)
            along = {n: direction[k] * w.detach().cos() for n, w in weights.items()}
            return first.logits.detach(), gradients, first.derivative(along)

    wanted = [all_of(one, k) for k, one in enumerate(plain)]
    with batch_statistics(models[0]), batch_statistics(models[1]), batch_statistics(models[2]):
        passes = _together(networks, lambda network, k: network.linearized(inputs[k]))
        follows = [_Follow(network, one) for network, one in zip(networks, passes, strict=True)]
        weights = [dict(model.named_parameters()) for model in models]
        gradients = _together(
            networks,
            lambda _, k: follows[k].one.gradients(loss(follows[k].one.logits), weights[k]),
        )
        derivatives = _together(
            networks,
            lambda _, k: follows[k].one.derivative(
                {n: direction[k] * w.detach().cos() for n, w in weights[k].items()}
            ),
        )
    for k, (logits, by_weights, derivative) in enumerate(wanted):
        torch.testing.assert_close(passes[k].logits.detach(), logits)
        torch.testing.assert_close(gradients[k], by_weights)
        torch.testing.assert_close(derivatives[k], derivative)
        assert derivative.abs().max() > 1e-3


class _Mean(nn.Module):
    """Keeps a mean by binding its buffer anew."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(2, 2)
        self.register_buffer("mean", torch.zeros(2))

    def forward(self, x: Tensor) -> Tensor:
        self.mean = 0.9 * self.mean + x.mean(0)
        logits: Tensor = self.linear(x)
        return logits


def test_a_buffer_that_is_bound_anew_is_kept() -> None:
    models = [_Mean().double() for _ in range(K)]
    networks = [StackedNetwork(model, _config(), lambda _: None) for model in models]
    inputs = _random(K, N, 2)
    _together(networks, lambda network, k: network.step(inputs[k]))
    for model, x in zip(models, inputs, strict=True):
        torch.testing.assert_close(model.mean, x.mean(0))


def test_a_pass_that_cannot_be_answered_is_repeated_without_a_trace() -> None:
    config = _config()
    models = _models(config)
    networks = [StackedNetwork(model, config, lambda _: None) for model in models]
    x = _random(N, *SHAPE)
    one = _together(networks, lambda network, _: network.step(x))[0]
    state = copy.deepcopy(models[0].state_dict())
    one._ask = lambda _: None
    weights = dict(models[0].named_parameters())
    found = one.gradients(one.logits.square().sum(), weights)
    plain = PlainNetwork(models[0]).linearized(x)
    torch.testing.assert_close(found, plain.gradients(plain.logits.square().sum(), weights))
    along = one.derivative(weights)
    with batch_statistics(models[0]):
        torch.testing.assert_close(
            along, PlainNetwork(models[0]).linearized(x).derivative(weights)
        )
    fresh = copy.deepcopy(models[1])
    fresh.load_state_dict(state)
    fresh(x)  # the pass that was made here for comparison
    torch.testing.assert_close(models[0].state_dict(), fresh.state_dict())


def test_a_network_that_is_left_out_leaves_the_others_as_they_are() -> None:
    config = _config()
    models = _models(config)
    networks = [StackedNetwork(model, config, lambda _: None) for model in models]
    x = _random(N, *SHAPE)
    passes = _together(networks, lambda network, _: network.step(x))
    follows = [_Follow(n, one) for n, one in zip(networks, passes, strict=True)]
    weights = [dict(model.named_parameters()) for model in models]

    def gradients(_: StackedNetwork, k: int) -> dict[str, Tensor]:
        return follows[k].one.gradients(follows[k].one.logits.square().sum(), weights[k])

    whole = _together(networks, gradients)
    passes = _together(networks, lambda network, _: network.step(x))
    follows = [_Follow(n, one) for n, one in zip(networks, passes, strict=True)]
    torch.testing.assert_close(_together(networks[:2], gradients), whole[:2])


def test_networks_that_compute_otherwise_are_not_stacked() -> None:
    plain, cosine = _models(_config())[0], _models(_config(), cosine=True)[0]
    plain[-1].bias = None  # equal names and shapes
    signatures = {StackedNetwork(m, _config(), lambda _: None).signature for m in (plain, cosine)}
    assert len(signatures) == 2


@pytest.mark.parametrize(
    ("settings", "is_fit"),
    [
        ({}, True),
        ({"schedule": {"compile": True}}, False),
        ({"schedule": {"precision": "bfloat16"}}, False),
        ({"schedule": {"deterministic": True}}, False),
        ({"meta": {"hypergradient": "unrolled"}}, False),
        ({"meta": {"hypergradient": "head"}}, True),
    ],
    ids=str,
)
def test_what_a_network_by_itself_is_promised_is_not_stacked(
    settings: dict[str, Any], is_fit: bool
) -> None:
    assert can_stack(_config(**settings)) is is_fit


def test_networks_that_differ_beside_weights_and_buffers_are_not_stacked() -> None:
    config = _config()
    signatures = []
    own = ({}, {"projection": torch.ones(1)}, {"scale": 2})
    for model, values in zip(_models(config), own, strict=True):
        vars(model).update(values)
        signatures.append(StackedNetwork(model, config, lambda _: None).signature)
    assert len({*signatures}) == K
    plain = [StackedNetwork(model, config, lambda _: None) for model in _models(config)]
    assert len({network.signature for network in plain}) == 1
