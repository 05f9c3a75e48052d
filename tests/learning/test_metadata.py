from __future__ import annotations

from fractions import Fraction
from typing import Any

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from torch import Tensor

from dynaloss.config import SamplerConfig
from dynaloss.config.families import SAMPLERS
from dynaloss.errors import InputError
from dynaloss.learning import MetadataSampler
from dynaloss.learning.meta.samplers._candidates import Candidates, samples_per_class
from dynaloss.learning.streams import Streams

RATIOS = st.integers(1, 10).map(lambda tenths: tenths / 10)


@st.composite
def labelled(draw: st.DrawFn) -> tuple[Tensor, Tensor]:
    """Losses, with ties, and labels of five classes, of which some may be empty."""
    sizes = draw(st.lists(st.sampled_from([0, 3, 8, 13, 20]), min_size=5, max_size=5).filter(any))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 1000)))
    labels = torch.repeat_interleave(torch.arange(5), torch.tensor(sizes))
    labels = labels[torch.randperm(len(labels), generator=generator)]
    return torch.randint(50, (len(labels),), generator=generator) / 10, labels


def _counts(smallest: int, random_ratio: float, low_loss_ratio: float) -> tuple[int, int]:
    drawn = Fraction(str(random_ratio)) * smallest
    return max(1, int(drawn)), max(1, int(drawn * Fraction(str(low_loss_ratio))))


def _plain_loop(
    losses: Tensor, labels: Tensor, random_ratio: float, low_loss_ratio: float, seed: int
) -> list[int]:
    noise = torch.rand(len(labels), generator=torch.Generator().manual_seed(seed)).tolist()
    classes = [[i for i, label in enumerate(labels.tolist()) if label == c] for c in range(5)]
    classes = [members for members in classes if members]
    drawn, kept = _counts(min(map(len, classes)), random_ratio, low_loss_ratio)
    chosen = []
    for members in classes:
        candidates = sorted(sorted(members, key=lambda i: noise[i])[:drawn])
        chosen += sorted(candidates, key=lambda i: losses[i].item())[:kept]
    return sorted(chosen)


def hierarchical_sample(
    losses: Tensor,
    labels: Tensor,
    *,
    random_ratio: float,
    low_loss_ratio: float,
    generator: torch.Generator,
) -> Tensor:
    config = SamplerConfig(random_ratio=random_ratio, low_loss_ratio=low_loss_ratio)
    candidates = Candidates(losses=losses, labels=labels, clean_set=None, generator=generator)
    return SAMPLERS[config.kind].draw(config, candidates)


@given(labelled(), RATIOS, RATIOS, st.integers(0, 1000))
@settings(max_examples=80, deadline=None)
def test_equals_a_plain_loop_on_the_same_random_numbers(
    data: tuple[Tensor, Tensor], random_ratio: float, low_loss_ratio: float, seed: int
) -> None:
    found = hierarchical_sample(
        *data,
        random_ratio=random_ratio,
        low_loss_ratio=low_loss_ratio,
        generator=torch.Generator().manual_seed(seed),
    )
    assert found.tolist() == _plain_loop(*data, random_ratio, low_loss_ratio, seed)


@given(labelled(), RATIOS, RATIOS, st.integers(0, 1000))
@settings(max_examples=60, deadline=None)
def test_is_balanced_and_without_repetition(
    data: tuple[Tensor, Tensor], random_ratio: float, low_loss_ratio: float, seed: int
) -> None:
    losses, labels = data
    found = hierarchical_sample(
        losses,
        labels,
        random_ratio=random_ratio,
        low_loss_ratio=low_loss_ratio,
        generator=torch.Generator().manual_seed(seed),
    )
    assert set(found.tolist()) <= set(range(len(labels)))
    assert (found.diff() > 0).all()
    classes, counts = labels[found].unique(return_counts=True)
    assert torch.equal(classes, labels.unique())
    smallest = int(labels.unique(return_counts=True)[1].min())
    assert (counts == _counts(smallest, random_ratio, low_loss_ratio)[1]).all()


@given(st.integers(1, 10_000), RATIOS, RATIOS)
@example(90, 0.7, 1.0)  # 62.99999999999999 in floating point
@example(100, 0.9, 0.7)
def test_counts_are_exact_in_decimal_arithmetic(
    smallest: int, random_ratio: float, low_loss_ratio: float
) -> None:
    assert samples_per_class(smallest, random_ratio, low_loss_ratio) == _counts(
        smallest, random_ratio, low_loss_ratio
    )


@pytest.mark.parametrize(
    ("smallest", "counts"), [(100, (50, 25)), (7, (3, 1)), (3, (1, 1)), (1, (1, 1))], ids=str
)
def test_counts_with_the_ratios_of_the_paper(smallest: int, counts: tuple[int, int]) -> None:
    assert samples_per_class(smallest, 0.5, 0.5) == counts


def test_a_stricter_low_loss_stage_gives_purer_metadata() -> None:
    """Half of the samples are mislabelled and have higher losses by 1 on average."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(2000) % 4
    noisy = torch.rand(2000, generator=generator) < 0.5
    losses = torch.randn(2000, generator=generator) + noisy
    purities = [
        1
        - noisy[
            hierarchical_sample(
                losses, labels, random_ratio=0.5, low_loss_ratio=ratio, generator=generator
            )
        ]
        .double()
        .mean()
        .item()
        for ratio in (1.0, 0.5, 0.1)
    ]
    assert purities[0] == pytest.approx(0.5, abs=0.05)
    assert purities[0] + 0.1 < purities[1] < purities[2] - 0.05


def test_same_seed_same_metadata_other_seed_other() -> None:
    losses, labels = torch.linspace(0, 1, 200), torch.arange(200) % 4
    draws = [
        hierarchical_sample(
            losses,
            labels,
            random_ratio=0.5,
            low_loss_ratio=0.5,
            generator=torch.Generator().manual_seed(seed),
        )
        for seed in (0, 0, 1)
    ]
    assert torch.equal(draws[0], draws[1])
    assert not torch.equal(draws[0], draws[2])


LABELS = torch.arange(40) % 4
LOSSES = torch.linspace(1, 0, 40)


def test_sampler_draws_hierarchically_by_default_and_leaves_the_rest() -> None:
    metadata, rest = MetadataSampler(LABELS).draw(0, LOSSES)
    generator = Streams(base_seed=0, seed=0).torch("metadata")
    expected = hierarchical_sample(
        LOSSES, LABELS, random_ratio=0.5, low_loss_ratio=0.5, generator=generator
    )
    assert torch.equal(metadata, expected)
    assert sorted([*metadata.tolist(), *rest.tolist()]) == [*range(40)]
    assert len(metadata) == 8


def test_sampler_keeps_metadata_in_the_training_set_where_asked_to() -> None:
    _, rest = MetadataSampler(LABELS, keep_in_train=True).draw(0, LOSSES)
    assert torch.equal(rest, torch.arange(40))


def test_sampler_draws_when_it_is_due() -> None:
    sampler = MetadataSampler(LABELS, every=2)
    draws = [sampler.draw(epoch, LOSSES)[0].tolist() for epoch in range(5, 9)]
    assert draws[0] == draws[1]
    assert draws[1] != draws[2]
    assert draws[2] == draws[3]


def test_sampler_continues_from_its_state() -> None:
    whole, part, other = (MetadataSampler(LABELS, seed=seed) for seed in (0, 0, 1))
    expected = [whole.draw(epoch, LOSSES)[0].tolist() for epoch in range(4)]
    found = [part.draw(epoch, LOSSES)[0].tolist() for epoch in range(2)]
    other.load_state_dict(part.state_dict())
    found += [other.draw(epoch, LOSSES)[0].tolist() for epoch in range(2, 4)]
    assert found == expected


@pytest.mark.parametrize(
    ("settings", "fact"),
    [({"random_ratio": 1.5}, "less than or equal to 1"), ({"kind": "best"}, "hierarchical")],
    ids=["range", "kind"],
)
def test_sampler_refuses_settings_out_of_range(settings: dict[str, Any], fact: str) -> None:
    with pytest.raises(ValueError, match=fact):
        MetadataSampler(LABELS, **settings)


def test_sampler_needs_a_loss_of_each_sample() -> None:
    with pytest.raises(InputError, match=r"shape \(40,\).*has \(39,\)"):
        MetadataSampler(LABELS).draw(0, LOSSES[1:])


def test_sampler_leaves_a_sample_to_train_on() -> None:
    with pytest.raises(InputError, match="leaves no sample to train on"):
        MetadataSampler(LABELS, random_ratio=1.0, low_loss_ratio=1.0).draw(0, LOSSES)
