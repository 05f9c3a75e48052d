"""What is refused before any trial of a launch starts."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from dynaloss.config import ModelConfig, TrialConfig
from dynaloss.errors import InputError
from dynaloss.execution.trial.inputs import Sources
from dynaloss.learning.models.building import build_model
from dynaloss.studies import override


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two classes of 16 x 16 images, weights of other networks, and index files."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DYNALOSS_CACHE", str(tmp_path / "cache"))
    for number, name in enumerate(_FILES):
        path = tmp_path / "images" / f"{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (16, 16), (number, 0, 0)).save(path)
    torch.save({"a": torch.zeros(3)}, "other.pt")
    model = build_model(ModelConfig(name="mlp"), input_shape=(1, 8, 8), num_classes=4, seed=0)
    torch.save(model.state_dict(), "four-classes.pt")
    np.save("negative.npy", [-1, 3])
    np.save("digits.npy", np.arange(1797))
    np.save("images.npy", np.arange(4))
    return tmp_path


_FILES = [
    f"{part}/{name}/{n}" for part in ("train", "test") for name in ("cat", "dog") for n in "ab"
]
_IMAGES = {"data.source": "image_folder", "data.root": "images", "data.image_size": 16}
_DIGITS = {"model.name": "mlp"}
_CLEAN = {**_DIGITS, "sampler.kind": "clean"}
_CLEAN_IMAGES = {**_IMAGES, "model.name": "resnet8", "sampler.kind": "clean",
                 "sampler.path": "images.npy"}  # fmt: skip


def _check(*overrides: dict[str, Any]) -> None:
    trials = [(override(TrialConfig(), chosen), 0, 0) for chosen in overrides]
    Sources().check(trials)


@pytest.mark.parametrize(
    ("overrides", "facts"),
    [
        ({"model.name": "torchvision/resnet18"},
         r"^\[model\.name\] 'torchvision/resnet18'.* 3 channels.*\b1\b"),
        ({**_IMAGES, "model.name": "torchvision/alexnet"},
         r"^\[model\.name\] 'torchvision/alexnet'.*not accept .* 16 x 16 .* data\.image_size\b"),
        ({**_IMAGES, "model.name": "torchvision/vit_b_16", "data.image_size": 20},
         r"^\[model\.name\] 'torchvision/vit_b_16'.*not accept .* 20 x 20 .* data\.image_size\b"),
        ({**_DIGITS, "model.pretrained_path": "none.pt"},
         r"^\[model\.pretrained_path\].*/none\.pt' does not exist"),
        ({**_DIGITS, "model.pretrained_path": "other.pt"},
         r"^\[model\.pretrained_path\].*/other\.pt' .* 14 .*missing, 1 unknown, 0 .*'1\.weight'"),
        ({**_CLEAN, "sampler.path": "none.npy"}, r"^\[sampler\.path\] '.*/none\.npy' .*not exist"),
        ({**_CLEAN, "sampler.path": "negative.npy"},
         r"/negative\.npy' .*in \[0, 1797\).*got -1\b"),
        ({**_CLEAN, "sampler.path": "digits.npy"},
         r"/digits\.npy' .*no image .* test split of seed 0\b.* 445 more"),
        ({**_CLEAN_IMAGES, "data.validation.fraction": 0.5},
         r"/images\.npy' .*no image .* validation split of seed 0\b.* \d, \d\b"),
        ({**_DIGITS, "data.noise.kind": "asymmetric", "data.noise.map": "9>1",
          "data.noise.rate": 1.0},
         r"^\[data\.noise\].*observed training label.*class '9' \(9\)"),
    ],
    ids=["channels", "size", "patches", "no-weights", "weights", "no-set", "set", "set-tests",
         "set-validates", "noise"],
)  # fmt: skip
@pytest.mark.usefixtures("folder")
def test_a_problem_is_reported_once(overrides: dict[str, Any], facts: str) -> None:
    with pytest.raises(InputError, match=facts) as caught:
        _check(overrides, _DIGITS, {**overrides, "optimizer.lr": 0.2})
    assert len(caught.value.problems) == 1


@pytest.mark.usefixtures("folder")
def test_all_problems_are_named_at_once() -> None:
    wrong = [{**_DIGITS, "model.pretrained_path": "other.pt"}, {"model.name": "torchvision/vgg11"}]
    with pytest.raises(InputError) as caught:
        _check(*wrong)
    assert len(caught.value.problems) == 2


_LABELS = {"data.noise.kind": "file", "data.noise.path": "labels.npy"}
_NOWHERE = {"data.source": "cifar10", "data.root": "nowhere", "data.download": True}


def _warnings(*overrides: dict[str, Any]) -> tuple[str, ...]:
    return Sources().warnings(override(TrialConfig(), chosen).data for chosen in overrides)


@pytest.mark.usefixtures("folder")
def test_labels_of_a_file_are_checked_and_warned_of_once() -> None:
    np.save("labels.npy", [1, 1, 0, 0])
    (warning,) = _warnings(
        {**_IMAGES, **_LABELS}, {**_IMAGES, **_LABELS, "data.validation.fraction": 0.5}, _IMAGES
    )
    assert re.search(r"/labels\.npy': 100\.0 % ", warning)
    with pytest.raises(InputError, match=r"/labels\.npy' must hold .* 1797 images .*holds 4$"):
        _warnings(_LABELS, {**_LABELS, "data.imbalance_factor": 2.0})


@pytest.mark.usefixtures("folder")
def test_labels_for_missing_data_are_not_checked_and_nothing_is_fetched() -> None:
    assert _warnings({**_NOWHERE, **_LABELS}) == ()


@pytest.mark.usefixtures("folder")
def test_valid_trials_pass_without_touching_global_random_state() -> None:
    before = torch.get_rng_state()
    _check(
        {**_DIGITS, "model.pretrained_path": "four-classes.pt"},
        _CLEAN_IMAGES,
        {**_IMAGES, "model.name": "torchvision/resnet18"},
        {**_DIGITS, "data.noise.kind": "instance", "data.noise.rate": 0.4},
    )
    assert torch.equal(torch.get_rng_state(), before)
