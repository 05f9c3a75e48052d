from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from pydantic import ValidationError
from torch import nn

from dynaloss.config import ModelConfig
from dynaloss.errors import InputError
from dynaloss.learning.models import catalogue
from dynaloss.learning.models.building import build_model, check_model
from dynaloss.learning.models.pretrained import load_pretrained


def _small(num_classes: int = 4, seed: int = 0) -> nn.Module:
    return build_model(
        ModelConfig(name="small_cnn"),
        input_shape=(1, 8, 8),
        num_classes=num_classes,
        seed=seed,
    )


def test_preact_resnet18_has_11_2_million_parameters() -> None:
    model = build_model(
        ModelConfig(name="preact_resnet18"),
        input_shape=(3, 32, 32),
        num_classes=10,
        seed=0,
    )
    count = sum(parameter.numel() for parameter in model.parameters())
    assert count / 1e6 == pytest.approx(11.17, abs=5e-3)
    assert model.stages(model.stem(torch.zeros(1, 3, 32, 32))).shape == (1, 512, 4, 4)


def test_a_torchvision_model_gets_a_head_for_the_classes() -> None:
    model = build_model(
        ModelConfig(name="torchvision/mnasnet0_5"),
        input_shape=(3, 32, 32),
        num_classes=7,
        seed=0,
    )
    assert model.eval()(torch.zeros(2, 3, 32, 32)).shape == (2, 7)


@pytest.mark.parametrize(
    ("name", "num_classes", "expected"),
    [
        ("timm/inception_resnet_v2", 1000, 55_843_464),  # as timm publishes it: 55.8 million
        ("torchvision/resnext50_32x4d", 1000, 25_028_904),  # as torchvision publishes them
        ("torchvision/resnet152", 1000, 60_192_808),
        ("torchvision/vgg19_bn", 1000, 143_678_248),
        # Of PLC on Animal-10N: as torchvision's, whose last layer has 990 classes fewer.
        ("torchvision/vgg19_bn", 10, 143_678_248 - 990 * 4097),
    ],
)
def test_parameters_of_the_networks_of_the_experiments(
    name: str, num_classes: int, expected: int
) -> None:
    assert _num_parameters(name, num_classes) == expected


def test_parameters_of_resnet10() -> None:
    """By hand: two 3 x 3 convolutions a stage, 1 x 1 where the width changes, norms of two."""
    stem, head = 3 * 64 * 49 + 2 * 64, 512 * 1000 + 1000
    first = 2 * (64 * 64 * 9 + 2 * 64)
    stages = [
        a * b * 9 + b * b * 9 + 2 * 2 * b + (a * b + 2 * b)
        for a, b in ((64, 128), (128, 256), (256, 512))
    ]
    assert _num_parameters("resnet10", 1000) == stem + first + sum(stages) + head


def _num_parameters(name: str, num_classes: int) -> int:
    with torch.device("meta"):
        model = build_model(
            ModelConfig(name=name), input_shape=(3, 64, 64), num_classes=num_classes, seed=0
        )
    return sum(parameter.numel() for parameter in model.parameters())


def test_a_timm_model_takes_images_and_classes_as_they_are() -> None:
    model = build_model(
        ModelConfig(name="timm/vit_tiny_patch16_224"),
        input_shape=(1, 32, 32),
        num_classes=7,
        seed=0,
    )
    assert model.eval()(torch.zeros(2, 1, 32, 32)).shape == (2, 7)


def test_without_timm_a_study_can_be_read_and_its_network_asks_for_the_package(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "timm", None)
    monkeypatch.setattr(catalogue, "find_spec", lambda name: None)
    config = ModelConfig(name="timm/any_name")
    with pytest.raises(InputError, match=r"^\[model\.name\] 'timm/any_name'.*`pip install timm`"):
        check_model(config, input_shape=(3, 32, 32), num_classes=7)


@pytest.mark.parametrize("name", ["torchvision/resnet500", "timm/resnet500"])
def test_an_unknown_name_brings_the_nearest(name: str) -> None:
    with pytest.raises(ValidationError, match=r"name of a classifier of"):
        ModelConfig(name=name)


@pytest.mark.parametrize(
    ("name", "shape", "facts"),
    [
        ("alexnet", (3, 32, 32), r"not accept .* 32 x 32 .*too small.* data\.image_size\b"),
        ("resnet18", (1, 32, 32), r" 3 channels.*\b1\b"),
    ],
)
def test_images_that_do_not_fit_are_refused(
    name: str, shape: tuple[int, int, int], facts: str
) -> None:
    with pytest.raises(InputError, match=rf"^\[model\.name\] 'torchvision/{name}'.*{facts}"):
        check_model(ModelConfig(name=f"torchvision/{name}"), input_shape=shape, num_classes=7)


@pytest.mark.parametrize("name", ["torchvision/regnet_x_400mf", "torchvision/vit_b_16", "mlp"])
def test_images_that_fit_are_accepted(name: str) -> None:
    check_model(ModelConfig(name=name), input_shape=(3, 32, 32), num_classes=7)


@pytest.mark.parametrize("wrapped", [False, True])
def test_pretrained_weights_are_loaded(wrapped: bool, tmp_path: Path) -> None:
    given, model = _small(seed=1), _small(seed=0)
    state = {f"module.{name}": tensor for name, tensor in given.state_dict().items()}
    torch.save({"state_dict": state, "epoch": 3} if wrapped else state, tmp_path / "w.pt")
    load_pretrained(model, tmp_path / "w.pt")
    pairs = zip(model.parameters(), given.parameters(), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)


def test_a_head_for_other_classes_is_left_as_it_is(tmp_path: Path) -> None:
    given, model, twin = _small(9, seed=1), _small(4), _small(4)
    torch.save(given.state_dict(), tmp_path / "w.pt")
    load_pretrained(model, tmp_path / "w.pt")
    assert torch.equal(model.head.weight, twin.head.weight)
    assert torch.equal(model.features[0].weight, given.features[0].weight)


def test_weights_of_another_model_are_refused(tmp_path: Path) -> None:
    torch.save(_small().state_dict(), tmp_path / "w.pt")
    other = build_model(ModelConfig(name="mlp"), input_shape=(1, 8, 8), num_classes=4, seed=0)
    counts = r" 14 .*missing, 20 unknown, 0 .*shape"
    with pytest.raises(InputError, match=rf"/w\.pt' .*not fit .*{counts}.*'1\.weight'"):
        load_pretrained(other, tmp_path / "w.pt")


@pytest.mark.parametrize("content", [b"", b"text"], ids=["empty", "text"])
def test_a_file_that_is_not_of_torch_is_refused(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "w.pt").write_bytes(content)
    with pytest.raises(InputError, match=r"/w\.pt' .*read"):
        load_pretrained(_small(), tmp_path / "w.pt")


@pytest.mark.parametrize(
    ("change", "facts"),
    [
        (lambda weight: weight.long(), "real numbers, .*whole numbers"),
        (lambda weight: weight.to(torch.complex64), "complex values"),
        (lambda weight: weight.to("meta"), "no values"),
        (lambda weight: weight.to_sparse(), "sparse values"),
    ],
    ids=["whole", "complex", "meta", "sparse"],
)
def test_weights_of_another_kind_are_refused(
    change: Callable[[torch.Tensor], torch.Tensor], facts: str, tmp_path: Path
) -> None:
    state = _small().state_dict()
    torch.save({**state, "head.weight": change(state["head.weight"])}, tmp_path / "w.pt")
    with pytest.raises(InputError, match=rf"'head\.weight' of '.*/w\.pt' must be .*{facts}"):
        load_pretrained(_small(), tmp_path / "w.pt")


def test_weights_may_have_another_precision(tmp_path: Path) -> None:
    given, model = _small(seed=1), _small(seed=0)
    torch.save({n: t.half() for n, t in given.state_dict().items()}, tmp_path / "w.pt")
    load_pretrained(model, tmp_path / "w.pt")
    assert torch.equal(model.head.weight, given.head.weight.half().float())


def test_a_file_without_tensors_is_refused(tmp_path: Path) -> None:
    torch.save([1, 2], tmp_path / "w.pt")
    with pytest.raises(InputError, match=r"/w\.pt' .*mapping .*tensors"):
        load_pretrained(_small(), tmp_path / "w.pt")
