from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, reject, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from dynaloss.config.data import DataConfig
from dynaloss.config.families import NOISES
from dynaloss.data.sources import Source
from dynaloss.data.splits import (
    LabelledImages,
    TrialSplits,
    check_bias,
    make_splits,
)
from dynaloss.errors import InputError
from dynaloss.learning.streams import Streams

MakeSource = Callable[..., Source]


def _changed(config: DataConfig, **changes: object) -> DataConfig:
    """`config` with other settings; `noise_rate` is `noise.rate`."""
    values = config.model_dump()
    for name, value in changes.items():
        group, _, key = name.partition("_")
        if group in ("noise", "validation"):
            values[group][key] = value
        else:
            values[name] = value
    return DataConfig.model_validate(values)


PLAIN = _changed(DataConfig(test_fraction=0.2), noise_kind="none")
BIASED = _changed(
    PLAIN, noise_kind="symmetric", noise_rate=0.4, imbalance_factor=5.0, validation_fraction=0.25
)


def _make(source: Source, settings: DataConfig, seed: int = 0) -> TrialSplits:
    return make_splits(source, settings, Streams(base_seed=0, seed=seed))


def _check(source: Source, settings: DataConfig) -> None:
    check_bias(source, settings, Streams(base_seed=0, seed=0))


def _numbers(samples: LabelledImages | None) -> NDArray[np.int64]:
    """The numbers of the images."""
    if samples is None:
        return np.zeros(0, dtype=np.int64)
    pixels = samples.images[:, 0, 0].astype(np.int64)
    numbers: NDArray[np.int64] = pixels[:, 0] * 256 + pixels[:, 1]
    return numbers


def _roles(splits: TrialSplits) -> list[LabelledImages]:
    return list(splits.by_role.values())


@given(
    imbalance_factor=st.floats(1, 30),
    rate=st.floats(0, 1),
    test_fraction=st.floats(0.05, 0.5),
    validation_fraction=st.floats(0, 0.5),
    seed=st.integers(0, 50),
)
@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_roles_share_no_sample_and_keep_true_labels(
    make_source: MakeSource,
    imbalance_factor: float,
    rate: float,
    test_fraction: float,
    validation_fraction: float,
    seed: int,
) -> None:
    source = make_source()
    chosen = _changed(
        BIASED,
        imbalance_factor=imbalance_factor,
        noise_rate=rate,
        test_fraction=test_fraction,
        validation_fraction=validation_fraction,
    )
    try:
        splits = _make(source, chosen, seed)
    except InputError:  # the noise left a class of a few samples without any
        reject()
    numbers = np.concatenate([_numbers(part) for part in _roles(splits)])
    assert len(numbers) == len(np.unique(numbers))
    for part in _roles(splits):
        assert np.array_equal(part.true, source.pool.labels[_numbers(part)])


def test_test_split_is_stratified_and_clean(make_source: MakeSource) -> None:
    splits = _make(make_source(), BIASED)
    assert np.bincount(splits.tests["test"].true).tolist() == [20, 18, 16, 14]
    assert np.array_equal(splits.tests["test"].observed, splits.tests["test"].true)


def test_test_seed_gives_trials_of_all_seeds_one_test_split(make_source: MakeSource) -> None:
    source, shared = make_source(), _changed(BIASED, test_seed=1)
    first, second, own = _make(source, shared, 0), _make(source, shared, 1), _make(source, BIASED)
    assert np.array_equal(first.in_test, second.in_test)
    assert not np.array_equal(first.in_test, own.in_test)
    assert not np.array_equal(first.rows, second.rows)


def test_without_bias_all_the_rest_is_for_training(make_source: MakeSource) -> None:
    splits = _make(make_source(), PLAIN)
    assert splits.validation is None
    assert np.bincount(splits.train.true).tolist() == [80, 72, 64, 56]
    assert np.array_equal(splits.train.observed, splits.train.true)


@pytest.mark.parametrize(
    ("n_max", "counts"), [(50, [50, 29, 17, 10]), (None, [80, 46, 27, 16])], ids=str
)
def test_long_tail_of_the_pool(
    n_max: int | None, counts: list[int], make_source: MakeSource
) -> None:
    """floor(n_max * 5^(-c / 3))."""
    splits = _make(make_source(), _changed(PLAIN, n_max=n_max, imbalance_factor=5.0))
    assert np.bincount(splits.train.true).tolist() == counts


def test_own_test_set_of_a_source_is_used_whole(make_source: MakeSource) -> None:
    source = make_source(test=True)
    splits = _make(source, BIASED)
    assert source.test is not None
    assert np.array_equal(splits.tests["test"].images, source.test.images)
    assert _numbers(splits.train).max() < 10_000


def test_validation_is_stratified_by_observed_label(make_source: MakeSource) -> None:
    splits = _make(make_source(), BIASED)
    assert splits.validation is not None
    held_out = np.bincount(splits.validation.observed, minlength=4)
    rest = np.bincount(splits.train.observed, minlength=4)
    assert held_out.tolist() == np.rint(0.25 * (held_out + rest)).tolist()
    assert held_out.sum() > 20


@pytest.mark.parametrize("kind", ["observed", "clean"])
def test_validation_is_scored_against_the_configured_labels(
    kind: str, make_source: MakeSource
) -> None:
    splits = _make(make_source(), _changed(BIASED, validation_labels=kind))
    other = _make(make_source(), BIASED)
    assert splits.validation is not None
    assert np.array_equal(_numbers(splits.validation), _numbers(other.validation))
    same = np.array_equal(splits.validation.observed, splits.validation.true)
    assert same is (kind == "clean")


def test_same_seed_same_splits_other_seed_others(make_source: MakeSource) -> None:
    first, again, other = (_make(make_source(), BIASED, seed) for seed in (0, 0, 1))
    assert first.record == again.record
    for a, b, c in zip(_roles(first), _roles(again), _roles(other), strict=True):
        assert np.array_equal(a.images, b.images)
        assert np.array_equal(a.observed, b.observed)
        assert set(_numbers(a).tolist()) != set(_numbers(c).tolist())
    for digest in ("tail_digest", "noise_digest"):
        assert first.record[digest] != other.record[digest]


@pytest.mark.parametrize(
    "change",
    [{"noise_rate": 0.1}, {"imbalance_factor": 2.0}, {"n_max": 30}, {"validation_fraction": 0.0}],
    ids=str,
)
def test_conditions_of_a_seed_share_the_test_split(
    change: dict[str, float], make_source: MakeSource
) -> None:
    one, other = (_make(make_source(), s) for s in (BIASED, _changed(BIASED, **change)))
    assert np.array_equal(one.tests["test"].images, other.tests["test"].images)


def test_every_step_draws_from_a_stream_of_its_own(
    make_source: MakeSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    names: list[str] = []
    numpy_stream = Streams.numpy

    def spy(streams: Streams, name: str) -> np.random.Generator:
        names.append(name)
        return numpy_stream(streams, name)

    monkeypatch.setattr(Streams, "numpy", spy)
    _make(make_source(), BIASED)
    assert len(names) == len(set(names)) == 4


def test_noise_does_not_move_the_tail(make_source: MakeSource) -> None:
    one, other = (_make(make_source(), _changed(BIASED, noise_rate=r)) for r in (0.1, 0.7))
    assert one.record["tail_digest"] == other.record["tail_digest"]
    assert one.record["noise_digest"] != other.record["noise_digest"]


def test_record_agrees_with_counting(make_source: MakeSource) -> None:
    splits = _make(make_source(), BIASED)
    train, record = splits.train, splits.record
    pairs = list(zip(train.true.tolist(), train.observed.tolist(), strict=True))
    assert splits.validation is not None
    assert record["splits"] == {
        "train": len(pairs),
        "validation": len(splits.validation.true),
        "test": len(splits.tests["test"].true),
    }
    assert record["true_class_counts"] == [sum(t == c for t, _ in pairs) for c in range(4)]
    assert record["observed_class_counts"] == [sum(o == c for _, o in pairs) for c in range(4)]
    assert record["flip_rate"] == pytest.approx(sum(t != o for t, o in pairs) / len(pairs))
    assert 0.1 < record["flip_rate"] < 0.4
    for i, j in np.ndindex(4, 4):
        share = pairs.count((i, j)) / sum(t == i for t, _ in pairs)
        assert record["transition_matrix"][i][j] == pytest.approx(share)


def test_record_names_the_data(make_source: MakeSource) -> None:
    source = make_source()
    record = _make(source, PLAIN).record
    assert (record["source"], record["digest"]) == ("numbered", source.digest)
    assert record["class_names"] == ["a", "b", "c", "d"]


# Flip rate of classes of 100, 100, 100 and 100 images at rate 0.4, own label kept or not.
FLIP_RATES = {"symmetric": 0.3, "uniform": 0.3, "flip": 0.4, "asymmetric": 0.4, "instance": 0.4}


@pytest.mark.parametrize("kind", FLIP_RATES)
def test_each_kind_of_noise_flips_its_share(kind: str, make_source: MakeSource) -> None:
    source = make_source((400, 400, 400, 400), test=True)
    splits = _make(source, _changed(PLAIN, noise_kind=kind, noise_rate=0.4))
    assert splits.record["flip_rate"] == pytest.approx(FLIP_RATES[kind], abs=0.05)


@pytest.mark.parametrize("kind", [name for name in NOISES if "path" not in NOISES[name].uses])
def test_no_noise_at_rate_zero(kind: str, make_source: MakeSource) -> None:
    splits = _make(make_source(), _changed(PLAIN, noise_kind=kind))
    assert splits.record["flip_rate"] == 0


def test_asymmetric_noise_follows_the_map(make_source: MakeSource) -> None:
    noisy = _changed(PLAIN, noise_kind="asymmetric", noise_rate=0.4, noise_map="a<>b, 2>3")
    matrix = np.array(_make(make_source(), noisy).record["transition_matrix"])
    assert {(i, j) for i, j in np.argwhere(matrix > 0).tolist() if i != j} == {
        (0, 1), (1, 0), (2, 3),
    }  # fmt: skip


def test_labels_of_a_file_stay_with_their_images(make_source: MakeSource, tmp_path: Path) -> None:
    source = make_source()
    in_file = np.roll(source.pool.labels, 1)
    np.save(tmp_path / "a.npy", in_file)
    settings = _changed(
        BIASED, noise_kind="file", noise_rate=0.0, noise_path=str(tmp_path / "a.npy")
    )
    splits = _make(source, settings)
    assert splits.validation is not None
    for role, part in (("train", splits.train), ("validation", splits.validation)):
        assert np.array_equal(part.observed, in_file[_numbers(part)])
        assert np.array_equal(splits.positions[role], _numbers(part))


@pytest.mark.parametrize(
    ("imbalance", "counts"), [("step", [50, 50, 10, 10]), ("none", [50, 50, 50, 50])]
)
def test_other_imbalances(imbalance: str, counts: list[int], make_source: MakeSource) -> None:
    settings = _changed(PLAIN, imbalance=imbalance, imbalance_factor=5.0, n_max=50)
    assert np.bincount(_make(make_source(), settings).train.true).tolist() == counts


@pytest.mark.parametrize("refuse", [_check, _make], ids=["check", "splits"])
def test_a_class_left_empty_is_named(
    refuse: Callable[[Source, DataConfig], object], make_source: MakeSource
) -> None:
    settings = _changed(PLAIN, imbalance_factor=100.0)
    key = r"\[data\.imbalance_factor\]"
    facts = rf"^{key} .*training image.* 100 .*class 'd' \(3\).* lower {key}"
    with pytest.raises(InputError, match=facts):
        refuse(make_source(), settings)


@pytest.mark.parametrize(
    ("change", "facts"),
    [
        ({"noise_kind": "asymmetric", "noise_map": "a>z"}, r"\[data\.noise\.map\].*got 'z'"),
        ({"noise_kind": "file", "noise_path": "/none.npy"}, "'/none.npy'.*not exist"),
    ],
    ids=["map", "file"],
)
def test_a_bias_that_does_not_fit_is_refused_beforehand(
    change: dict[str, str], facts: str, make_source: MakeSource
) -> None:
    _check(make_source(), PLAIN)
    with pytest.raises(InputError, match=facts):
        _check(make_source(), _changed(PLAIN, **change))


def test_images_in_both_train_and_test_are_counted(make_source: MakeSource) -> None:
    source = make_source(test=True)
    assert set(_make(source, PLAIN).record["equal_images"].values()) == {0}
    overlapping = replace(source, test=source.pool.take(np.arange(340) < 7))
    assert _make(overlapping, PLAIN).record["equal_images"]["train_test"] == 7


def test_each_split_has_a_digest_of_its_images_and_labels(make_source: MakeSource) -> None:
    source = make_source()

    def digests(settings: DataConfig, seed: int = 0) -> dict[str, str]:
        found: dict[str, str] = _make(source, settings, seed).record["split_digests"]
        return found

    plain = digests(PLAIN)
    assert plain == digests(PLAIN)
    assert plain.keys() == {"train", "test"}
    noisy = digests(_changed(PLAIN, noise_kind="symmetric", noise_rate=0.4))
    assert noisy["train"] != plain["train"]
    assert noisy["test"] == plain["test"]
    other_seed = digests(PLAIN, seed=1)
    assert other_seed["train"] != plain["train"]
    assert other_seed["test"] != plain["test"]
    held_out = digests(_changed(PLAIN, validation_fraction=0.2))
    assert held_out.keys() == {"train", "validation", "test"}
    assert held_out["train"] != plain["train"]


def _with_twins(source: Source) -> Source:
    """Each odd image of the pool is the one before it."""
    images = source.pool.images.copy()
    images[1::2] = images[: len(images) - 1 : 2]
    return replace(source, pool=replace(source.pool, images=images))


def test_equal_images_across_roles_are_counted_by_their_content(make_source: MakeSource) -> None:
    splits = _make(_with_twins(make_source()), BIASED)
    train, validation, test = (_numbers(part).tolist() for part in _roles(splits))
    assert splits.record["equal_images"] == {
        "train_test": sum(number in test for number in train),
        "train_validation": sum(number in validation for number in train),
        "validation_test": sum(number in test for number in validation),
        "source": 340 // 2,
    }
    assert min(splits.record["equal_images"].values()) > 0


def test_training_can_leave_out_images_of_validation_and_test(
    make_source: MakeSource,
) -> None:
    source, dropped = _with_twins(make_source()), _changed(BIASED, equal_images="drop")
    splits = _make(source, dropped)
    train, validation, test = (set(_numbers(part).tolist()) for part in _roles(splits))
    assert not train & validation
    assert not (train | validation) & test
    assert set(splits.record["equal_images"].values()) == {0, 340 // 2}


def test_without_equal_images_there_is_nothing_to_drop(make_source: MakeSource) -> None:
    kept, dropped = (
        _make(make_source(), _changed(BIASED, equal_images=choice)) for choice in ("keep", "drop")
    )
    assert kept.record == dropped.record


@pytest.mark.parametrize(
    "change",
    [
        {"noise_kind": "asymmetric", "noise_rate": 1.0, "noise_map": "b>0"},
        {"imbalance_factor": 80.0, "validation_fraction": 0.6},
    ],
    ids=["noise", "validation"],
)
def test_class_without_an_observed_training_label_is_refused(
    change: dict[str, Any], make_source: MakeSource
) -> None:
    changed = _changed(PLAIN, **change)
    name = r"'b' \(1\)" if "noise_map" in change else r"'d' \(3\)"
    remedies = r"lower \[data\.noise\.rate\].*raise \[data\.n_max\]"
    facts = rf"^\[data\.noise\].*observed training label.* class {name}.*{remedies}"
    with pytest.raises(InputError, match=facts):
        _check(make_source(), changed)


def test_costly_noise_is_not_drawn_beforehand(make_source: MakeSource) -> None:
    changed = _changed(
        PLAIN, noise_kind="instance", imbalance_factor=80.0, validation_fraction=0.6
    )
    _check(make_source(), changed)
    with pytest.raises(InputError, match=r"class 'd' \(3\)"):
        _make(make_source(), changed)


def test_positions_are_those_of_the_images(make_source: MakeSource) -> None:
    splits = _make(make_source(), _changed(BIASED, validation_fraction=0.2), 3)
    rows = splits.positions
    assert rows.keys() == splits.by_role.keys() == {"train", "validation", "test"}
    for role, samples in splits.by_role.items():
        assert np.array_equal(rows[role], _numbers(samples)), role
    assert len(np.unique(np.concatenate([*rows.values()]))) == sum(map(len, rows.values()))
