from __future__ import annotations

import pytest
import torch
from torchvision.transforms import v2

from dynaloss.config.families import AUGMENTATIONS
from dynaloss.data.views.operations import OPERATIONS
from dynaloss.data.views.policies import (
    _AUTO,
    _CIFAR10,
    _IMAGENET,
    _RAND,
    _TRIVIAL,
    augment,
    magnitude_table,
    sub_policies,
)

NAMES = list(OPERATIONS)
POLICIES = [name for name in AUGMENTATIONS if name != "none"]


@pytest.mark.parametrize(
    ("text", "policy"),
    [(_CIFAR10, v2.AutoAugmentPolicy.CIFAR10), (_IMAGENET, v2.AutoAugmentPolicy.IMAGENET)],
    ids=["cifar10", "imagenet"],
)
def test_sub_policies_are_those_of_torchvision(text: str, policy: v2.AutoAugmentPolicy) -> None:
    expected = v2.AutoAugment(policy)._policies
    numbers, probs, bins = sub_policies(text)
    assert len(numbers) == len(expected) == 25
    for i, pair in enumerate(expected):
        for step, (name, prob, level) in enumerate(pair):
            assert NAMES[numbers[i, step]] == name
            assert probs[i, step].item() == pytest.approx(prob)
            assert bins[i, step] == (level or 0)


@pytest.mark.parametrize(
    ("ranges", "space"),
    [
        (_AUTO, v2.AutoAugment._AUGMENTATION_SPACE),
        (_RAND, v2.RandAugment._AUGMENTATION_SPACE),
        (_TRIVIAL, v2.TrivialAugmentWide._AUGMENTATION_SPACE),
    ],
    ids=["auto", "rand", "trivial"],
)
def test_magnitudes_are_those_of_torchvision(ranges: object, space: dict[str, tuple]) -> None:
    table = magnitude_table(ranges, 32, 40)  # type: ignore[arg-type]
    for name, (function, _) in space.items():
        magnitudes = function(table.shape[1], 32, 40)
        expected = torch.zeros(table.shape[1]) if magnitudes is None else magnitudes
        torch.testing.assert_close(table[NAMES.index(name)], expected.double())


@pytest.mark.parametrize("policy", POLICIES)
def test_a_policy_follows_its_stream(policy: str) -> None:
    images = torch.randint(
        256, (64, 3, 16, 16), dtype=torch.uint8, generator=torch.Generator().manual_seed(1)
    )
    first, again, other = (
        augment(images, policy, 0, torch.Generator().manual_seed(seed)) for seed in (0, 0, 1)
    )
    assert first.dtype == torch.uint8
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    changed = (first != images).flatten(1).any(dim=1).double().mean()
    assert 0.5 < changed <= 1


@pytest.mark.parametrize("policy", POLICIES)
def test_every_operation_of_a_policy_is_drawn(policy: str) -> None:
    images = torch.zeros(5000, 3, 8, 8, dtype=torch.uint8)
    steps = AUGMENTATIONS[policy].steps(images, torch.Generator().manual_seed(0))
    drawn = {NAMES[number] for operations, _ in steps for number in operations.tolist()}
    names = {
        "autoaugment": set(NAMES) - {"ShearX"},
        "autoaugment_imagenet": set(NAMES) - {"ShearY", "TranslateX", "TranslateY", "Brightness"},
    }
    assert drawn == names.get(policy, set(NAMES) - {"Invert"})
