from __future__ import annotations

import itertools
import math
import pickle
import random  # noqa: TID251 - looked at, not drawn from
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from dynaloss.errors import InputError
from dynaloss.learning.batches import Batch
from dynaloss.learning.meta.hypergradient import HYPERGRADIENTS
from dynaloss.learning.meta.ranks import rank_bins
from dynaloss.learning.reports import Diverged, EpochReport
from dynaloss.learning.streams import Streams
from dynaloss.learning.trainer import Trainer

ARMS = ["none", "finetune", "corrector", "margin", "full"]

MakeTrainer = Callable[..., Trainer]


def _run(trainer: Trainer, epochs: int | None = None) -> list[EpochReport]:
    return list(itertools.islice(trainer.epochs(), epochs))


def _facts(reports: list[EpochReport]) -> list[dict[str, float]]:
    """Everything in the reports but the times."""
    return [
        {"epoch": report.epoch}
        | {name: v for name, v in report.metrics.items() if not name.startswith("time/")}
        for report in reports
    ]


def _weights(trainer: Trainer) -> Tensor:
    parameters = [*trainer.model.parameters(), *trainer.loss.parameters()]
    buffers = [buffer.float().flatten() for buffer in trainer.model.buffers()]
    return torch.cat([*(weight.detach().flatten() for weight in parameters), *buffers])


def _given(trainer: Trainer) -> list[Batch]:
    given: list[Batch] = trainer.train.given
    return given


# -- resuming and seeds -----------------------------------------------------------------------


@pytest.mark.parametrize("stop", [1, 3])
@pytest.mark.parametrize("arm", ARMS)
def test_continues_bit_for_bit(
    arm: str, stop: int, make_trainer: MakeTrainer, assert_resumes: Callable[..., None]
) -> None:
    """Stopped inside warm-up's end and two epochs later."""
    assert_resumes(lambda: make_trainer(arm), stop)


def test_random_ranks_continue_bit_for_bit(
    make_trainer: MakeTrainer, assert_resumes: Callable[..., None]
) -> None:
    assert_resumes(lambda: make_trainer("full", ranking="random"))


def test_diagnostics_change_no_result(make_trainer: MakeTrainer) -> None:
    plain, watched = make_trainer(), make_trainer()
    expected = _run(plain)
    reports = []
    for report in watched.epochs():
        reports.append(report)
        watched.diagnostics()
        watched.state_dict()
    assert _facts(reports) == _facts(expected)
    assert torch.equal(_weights(watched), _weights(plain))


@pytest.mark.parametrize("arm", ARMS)
def test_same_seed_same_run_other_seed_other(arm: str, make_trainer: MakeTrainer) -> None:
    runs = [make_trainer(arm, seed=seed) for seed in (0, 0, 1)]
    facts = [_facts(_run(run, 2)) for run in runs]
    assert facts[0] == facts[1]
    assert facts[0] != facts[2]
    assert torch.equal(_weights(runs[0]), _weights(runs[1]))
    assert not torch.equal(_weights(runs[0]), _weights(runs[2]))


def test_leaves_global_random_state_alone(make_trainer: MakeTrainer) -> None:
    def states() -> tuple[bytes, bytes, object]:
        torch_state = torch.random.get_rng_state().numpy().tobytes()
        return torch_state, pickle.dumps(np.random.get_state()), random.getstate()  # noqa: NPY002

    before = states()
    trainer = make_trainer()
    _run(trainer, 2)
    trainer.diagnostics()
    assert states() == before


def test_arms_of_a_seed_share_weights_and_batches_of_warm_up(make_trainer: MakeTrainer) -> None:
    trainers = [make_trainer(arm) for arm in ARMS]
    for trainer in trainers:
        _run(trainer, 1)
    runs = [[b for b in _given(trainer) if b.strong is not None] for trainer in trainers]
    for batches in zip(*runs, strict=True):
        assert all(torch.equal(batch.strong, batches[0].strong) for batch in batches)
    states = [torch.cat([w.flatten() for w in t.model.parameters()]) for t in trainers]
    assert all(torch.equal(state, states[0]) for state in states)


# -- the order of an epoch --------------------------------------------------------------------


def test_metadata_are_left_out_of_the_epochs_training_batches(make_trainer: MakeTrainer) -> None:
    trainer = make_trainer("full")
    drawn = []
    for epoch in range(4):
        _given(trainer).clear()
        _run(trainer, 1)
        batches = [b for b in _given(trainer) if b.strong is not None]
        trained = torch.cat([b.indices for b in batches if b.weak is not None])
        metadata = {i for b in batches if b.weak is None for i in b.indices.tolist()}
        assert len(trained) == len(set(trained.tolist()))
        assert not metadata & set(trained.tolist())
        assert len(metadata) + len(trained) == 64
        assert bool(metadata) is (epoch >= 1)
        drawn.append(metadata)
    assert drawn[1] != drawn[2] != drawn[3]


@pytest.mark.parametrize("finetune", [True, False])
def test_epoch_ends_with_one_pass_over_the_metadata(
    finetune: bool, make_trainer: MakeTrainer
) -> None:
    trainer = make_trainer("full", warmup_epochs=0, meta_every=100, finetune=finetune)
    _run(trainer, 1)
    ranking, first, meta, *rest, fit = _given(trainer)
    assert (len(fit.indices), fit.strong) == (64, None)
    assert (len(ranking.indices), ranking.strong) == (64, None)
    assert first.weak is not None
    assert meta.weak is None  # of the one meta step
    assert all(batch.weak is not None for batch in rest[:3])
    passed = [i for batch in rest[3:] for i in batch.indices.tolist()]
    assert all(batch.weak is None for batch in rest[3:])
    metadata = 64 - sum(len(batch.indices) for batch in (first, *rest[:3]))
    assert len(passed) == len(set(passed)) == (metadata if finetune else 0)
    assert set(meta.indices.tolist()) <= set(passed) or not finetune


def test_random_ranks_are_drawn_anew_each_epoch(make_trainer: MakeTrainer) -> None:
    trainer = make_trainer("full", ranking="random")
    labels, true = trainer.train.observed_labels, trainer.train.true_labels
    tables = []
    for epoch in range(2):
        stream = Streams(base_seed=0, seed=0).torch(f"ranks/{epoch}")
        ranks = rank_bins(torch.zeros(64), labels, 5, stream)
        clean = torch.zeros(5, 3, dtype=torch.int64)
        for sample in torch.nonzero(labels == true).flatten():
            clean[ranks[sample], labels[sample]] += 1
        tables.append(trainer.diagnostics()["corrector"]["clean"])
        assert tables[-1] == clean.tolist()
        _run(trainer, 1)
    assert tables[0] != tables[1]


@pytest.mark.parametrize("view", ["weak", "strong"])
def test_look_ahead_and_warm_start_see_the_chosen_view(
    view: str, make_trainer: MakeTrainer
) -> None:
    trainer = make_trainer("full", look_ahead_view=view, meta_every=1)
    seen: list[Tensor] = []
    trainer.model.register_forward_pre_hook(
        lambda model, inputs: seen.append(inputs[0]) if model.training else None
    )
    _run(trainer, 2)
    names = {id(getattr(b, name)): name for b in _given(trainer) for name in ("weak", "strong")}
    order = [names[id(images)] for images in seen]
    assert (
        order[:8] == [view, "strong"] * 4
    )  # in warm-up, each batch is looked at, then trained on
    assert ("weak" in order[8:]) is (view == "weak")


def test_batches_may_be_full_but_for_the_last(make_trainer: MakeTrainer) -> None:
    """64 images in batches of 30, of which 3 x 3 become metadata in the second epoch."""
    settings = {"batch_size": 30, "meta_batch_size": 5, "meta_every": 1}
    trainer = make_trainer("full", equal_batches=False, **settings)
    _run(trainer, 2)
    sizes = [
        len(b.indices) for b in _given(trainer) if b.weak is not None and b.strong is not None
    ]
    metadata = [len(b.indices) for b in _given(trainer) if b.weak is None]
    assert sizes == [30, 30, 4, 30, 64 - 9 - 30]
    assert metadata == [5, 4, 5, 4]


@pytest.mark.parametrize("arm", ["margin", "full"])
def test_warm_up_makes_no_meta_step_and_has_no_margin(
    arm: str, make_trainer: MakeTrainer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*args: object) -> None:
        raise AssertionError("no part of warm-up")

    monkeypatch.setitem(HYPERGRADIENTS, "forward", refuse)
    trainer, plain = make_trainer(arm), make_trainer("none")
    assert trainer.loss.margin is not None
    monkeypatch.setattr(trainer.loss, "margins", refuse)
    before = [p.clone() for p in trainer.loss.margin.parameters()]
    assert _run(trainer, 1)[0].metrics["train/loss"] == _run(plain, 1)[0].metrics["train/loss"]
    unmoved = zip(trainer.loss.margin.parameters(), before, strict=True)
    assert all(torch.equal(a, b) for a, b in unmoved)


@pytest.mark.parametrize("warm_start", [True, False])
def test_warm_start_alone_fits_the_corrector_in_warm_up(
    warm_start: bool, make_trainer: MakeTrainer
) -> None:
    trainer = make_trainer("corrector", warm_start_epochs=int(warm_start))
    before = nn.utils.parameters_to_vector(trainer.loss.parameters()).clone()
    _run(trainer, 1)
    after = nn.utils.parameters_to_vector(trainer.loss.parameters())
    assert torch.equal(before, after) is not warm_start


@pytest.mark.parametrize(("meta_every", "steps"), [(1, 4), (2, 2), (3, 2), (4, 1), (50, 1)])
def test_loss_is_updated_at_the_given_interval(
    meta_every: int, steps: int, make_trainer: MakeTrainer
) -> None:
    trainer = make_trainer("full", warmup_epochs=0, meta_every=meta_every)
    _run(trainer, 1)
    state = trainer.state_dict()["meta_optimizer"]["state"]
    assert {int(entry["step"]) for entry in state.values()} == {steps}


# -- reports ----------------------------------------------------------------------------------


def test_reports_of_the_arms(make_trainer: MakeTrainer) -> None:
    names = {arm: set(_run(make_trainer(arm), 2)[1].metrics) for arm in ARMS}
    groups = ("many_shot", "medium_shot", "few_shot")
    accuracies = ("accuracy", "balanced_accuracy", "worst_class_accuracy")
    tested = (*accuracies, "expected_calibration_error", *(f"{g}_accuracy" for g in groups))
    fits = {f"memorisation/{n}" for n in ("fit_clean", "observed_fit_noisy", "true_fit_noisy")}
    times = {"time/epoch_seconds", "time/images_per_second"}
    always = {"train/loss", "labels/clean_used"} | times | fits
    always |= {f"test/{name}{suffix}" for name in tested for suffix in ("", "_last10")}
    purity = "sampler/metadata_purity"
    drawn = {purity, *(f"{purity}_{group}" for group in groups)}
    learned = drawn | {"time/meta_share"}
    margin = {"margin/range", "margin/frequency_correlation"}
    corrector = {
        f"corrector/{name}"
        for name in ("auc", "weight_clean", "weight_noisy", "target_accuracy", "saturated")
    }
    assert names == {
        "none": always,
        "finetune": always | drawn,
        "margin": always | learned | margin,
        "corrector": always | learned | corrector,
        "full": always | learned | corrector | margin,
    }


def test_mean_of_the_last_ten_epochs(make_trainer: MakeTrainer) -> None:
    trainer = make_trainer("none", epochs=13)
    reports = _run(trainer, 5)
    trainer.load_state_dict(trainer.state_dict())
    reports += _run(trainer)
    accuracies = [report.metrics["test/accuracy"] for report in reports]
    means = [report.metrics["test/accuracy_last10"] for report in reports]
    assert means == pytest.approx(
        [np.mean(accuracies[max(0, end - 10) : end]) for end in range(1, 14)]
    )
    assert len(set(accuracies)) > 3


def test_reported_test_accuracy_is_that_of_the_model(make_trainer: MakeTrainer) -> None:
    trainer = make_trainer("full")
    report = _run(trainer, 2)[-1]
    test = trainer.evaluations["test"]
    with torch.no_grad():
        predictions = trainer.model.eval()(test.images).argmax(1)
    hits = predictions == test.observed_labels
    assert report.metrics["test/accuracy"] == pytest.approx(hits.double().mean().item())
    matrix = torch.tensor(trainer.diagnostics()["confusion"]["matrix"])
    assert matrix.diagonal().sum() == hits.sum()


def test_learns_something(make_trainer: MakeTrainer) -> None:
    first, *_, last = _run(make_trainer("full", epochs=12))
    assert last.metrics["train/loss"] < first.metrics["train/loss"]
    assert last.metrics["train/loss"] > 0


def test_metadata_must_leave_samples_to_train_on(make_trainer: MakeTrainer) -> None:
    trainer = make_trainer("full", warmup_epochs=0, kind="clean", clean_set=torch.arange(64))
    remedies = "lower .*`random_ratio`.*`low_loss_ratio`.*`keep_in_train` to true"
    with pytest.raises(InputError, match=rf"^\[sampler\].*no sample .*{remedies}"):
        _run(trainer)


# -- divergence -------------------------------------------------------------------------------


@pytest.mark.parametrize("arm", ARMS)
@pytest.mark.parametrize("epoch", [1, 2], ids=["warm-up", "meta"])
def test_infinite_inputs_are_a_divergence(arm: str, epoch: int, make_trainer: MakeTrainer) -> None:
    trainer = make_trainer(arm)
    _run(trainer, epoch - 1)
    trainer.train.images[:] = math.inf
    facts = rf"training loss .*not finite .*epoch {epoch}, batch 1$"
    with pytest.raises(Diverged, match=facts) as caught:
        _run(trainer)
    assert (caught.value.epoch, caught.value.batch) == (epoch, 1)
    assert trainer.epoch == epoch - 1


def test_divergence_names_the_first_broken_batch(make_trainer: MakeTrainer) -> None:
    trainer, twin = make_trainer("none"), make_trainer("none")
    _run(twin, 1)
    third = _given(twin)[2].indices
    trainer.train.images[third[0]] = math.nan
    with pytest.raises(Diverged, match=r"epoch 1, batch 3$"):
        _run(trainer)


def test_divergence_survives_pickling() -> None:
    """It crosses from a Ray worker to the driver."""
    error = pickle.loads(pickle.dumps(Diverged(3, 7)))
    assert (error.epoch, error.batch, str(error)) == (3, 7, str(Diverged(3, 7)))


@pytest.mark.parametrize("hypergradient", ["forward", "unrolled", "head"])
def test_adamw_resumes_with_its_means(
    hypergradient: str,
    make_trainer: Callable[..., Trainer],
    assert_resumes: Callable[..., None],
) -> None:
    assert_resumes(
        lambda: make_trainer(name="adamw", lr=0.01, beta2=0.99, hypergradient=hypergradient)
    )


def test_both_hypergradients_train_the_same_under_adamw(
    make_trainer: Callable[..., Trainer],
) -> None:
    forward, unrolled = (
        make_trainer(name="adamw", lr=0.01, hypergradient=way, dtype=torch.float64)
        for way in ("forward", "unrolled")
    )
    for trainer in (forward, unrolled):
        assert len([*trainer.epochs()]) == 4
    pairs = zip(forward.loss.parameters(), unrolled.loss.parameters(), strict=True)
    assert all(torch.allclose(one, other, rtol=1e-6, atol=1e-8) for one, other in pairs)
