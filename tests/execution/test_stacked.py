"""Trials whose networks are computed as one, against the same trials one after the other."""

from __future__ import annotations

import gc
import os
import shutil
import signal
import weakref
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

import dynaloss
from dynaloss import Search, Study
from dynaloss.config import DataConfig, TrialConfig
from dynaloss.data.sources import Source, load_source
from dynaloss.errors import InputError
from dynaloss.execution.backends import Work, open_backend, shortages
from dynaloss.execution.probe import trials_at_once
from dynaloss.execution.trial import assembly
from dynaloss.execution.trial.runner import StepResult, TrialOrder, TrialRunner
from dynaloss.learning import stacked_passes
from dynaloss.learning.trainer import Trainer
from dynaloss.studies import ResourcesConfig
from dynaloss.studies.identity import trial_key
from dynaloss.studies.trial_record import Outcome

_RANKS = {"ranks": 10, "per_class": False}
ARMS: dict[str, dict[str, Any]] = {
    "full": {"loss": {"corrector": _RANKS}},
    "corrector": {"loss": {"corrector": _RANKS, "margin": {"enabled": False}}},
    "margin": {"loss": {"corrector": {"enabled": False}}, "optimizer": {"lr": 0.03}},
    "every": {"loss": {"corrector": _RANKS}, "meta": {"every": 2}},
    "head": {"loss": {"corrector": _RANKS}, "meta": {"hypergradient": "head"}},
    "cross_entropy": {"loss": {"name": "cross_entropy"}},
    "gce": {"loss": {"name": "gce"}, "optimizer": {"lr": 0.05}},
    "weights": {"loss": {"name": "meta_weight_net"}, "optimizer": {"name": "adamw", "lr": 1e-3}},
}
EPOCHS = 3
_SHORT = {"epochs": EPOCHS, "warmup_epochs": 1, "batch_size": 32}


@pytest.fixture(scope="module")
def source() -> Source:
    return load_source(DataConfig())


@pytest.fixture
def passes(monkeypatch: pytest.MonkeyPatch) -> Counter[int]:
    """Counts the passes of several networks as one, by their number."""
    counts: Counter[int] = Counter()
    together = stacked_passes.Forward.together

    def counted(self: stacked_passes.Forward, requests: list[stacked_passes.Forward]) -> Any:
        counts[len(requests)] += 1
        return together(self, requests)

    monkeypatch.setattr(stacked_passes.Forward, "together", counted)
    return counts


class Log:
    """Keeps what it receives; `stops` are epochs after which a trial is stopped."""

    def __init__(self, stops: Mapping[str, int] | None = None) -> None:
        self.metrics: dict[tuple[str, int], dict[str, float]] = {}
        self.outcomes: dict[str, Outcome] = {}
        self.notes: list[str] = []
        self.stops = stops or {}
        self.at: dict[tuple[str, int], Callable[[], object]] = {}

    def take(self, key: str, result: StepResult) -> bool:
        for epoch, metrics in result.reports:
            self.metrics[key, epoch] = metrics
            self.at.get((key, epoch), lambda: None)()
        if result.outcome is not None:
            self.outcomes[key] = result.outcome
        is_stopped = any(epoch >= self.stops.get(key, EPOCHS) for epoch, _ in result.reports)
        return result.outcome is None and not is_stopped

    def end(self, key: str, outcome: Outcome, message: str) -> None:
        self.outcomes[key] = outcome

    def note(self, key: str | None, text: str) -> None:
        self.notes.append(text)


def order(
    key: str, folder: Path, settings: dict[str, Any], seed: int, model: str = "mlp"
) -> TrialOrder:
    config = TrialConfig.model_validate(
        {
            "data": {"n_max": 12, "noise": {"rate": 0.1 * (seed % 4)}},
            "model": {"name": model},
            "schedule": _SHORT,
            **settings,
        }
    )
    return TrialOrder(
        key=key,
        config=config.model_dump(),
        source="digits",
        seed=seed,
        base_seed=0,
        checkpoints=str(folder),
        keeps_model=True,
    )


def run(
    folder: Path,
    source: Source,
    stack: int,
    *,
    log: Log | None = None,
    arms: Mapping[str, dict[str, Any]] = ARMS,
    model: str = "mlp",
    retries: int = 0,
) -> Log:
    folder.mkdir(exist_ok=True)
    log = log or Log()
    orders = (order(key, folder, arm, n, model) for n, (key, arm) in enumerate(arms.items()))
    with open_backend(ResourcesConfig(stack=stack), in_process=True) as backend:
        assert backend.slots == stack
        work = Work(orders=orders, sources={"digits": source}, retries=retries)
        backend.run(work, log)
    return log


def assert_equal(one: Log, other: Log, *keys: str, **tolerance: float) -> None:
    """Compares all but times, within what may become of rounding in single precision."""
    assert keys
    for (key, epoch), metrics in one.metrics.items():
        if key in keys:
            values = {n: v for n, v in metrics.items() if n.partition("/")[0] not in _COSTS}
            found = {name: other.metrics[key, epoch][name] for name in values}
            assert found == pytest.approx(values, **{"rel": 1e-3, "abs": 2e-2, **tolerance})


_COSTS = ("time", "memory", "disk")


class Double(nn.Module):
    """A network that computes in double precision."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network.double()

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.network(images.double()).float()
        return logits


@pytest.mark.parametrize("model", ["mlp", "resnet8"])
def test_stacked_trials_are_the_trials_by_themselves(
    tmp_path: Path,
    source: Source,
    passes: Counter[int],
    model: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """In double precision, since Adam makes a whole step of a rounding error."""
    build = assembly._build_model
    monkeypatch.setattr(assembly, "_build_model", lambda *args: Double(build(*args)))
    before = torch.get_rng_state()
    single = run(tmp_path / "single", source, 1, model=model)
    assert not passes
    together = run(tmp_path / "stacked", source, len(ARMS), model=model)
    assert passes[len(ARMS)] > 2 * EPOCHS
    assert together.outcomes == dict.fromkeys(ARMS, Outcome.COMPLETED)
    assert not together.notes
    assert_equal(single, together, *ARMS, rel=1e-5, abs=1e-5)
    for key in ARMS:
        weights, found = (
            load_file(tmp_path / folder / f"{key}.safetensors") for folder in ("single", "stacked")
        )
        torch.testing.assert_close(found, weights, rtol=1e-4, atol=1e-5)
    assert torch.equal(torch.get_rng_state(), before)


def test_a_free_place_is_given_to_the_next_trial(
    tmp_path: Path, source: Source, passes: Counter[int]
) -> None:
    single = run(tmp_path / "single", source, 1)
    stops = {"full": 1, "margin": 2}
    together = run(tmp_path / "stacked", source, 3, log=Log(stops))
    assert_equal(single, together, *(ARMS.keys() - stops.keys()))
    assert ("full", 2) not in together.metrics
    assert together.outcomes.keys() == ARMS.keys() - stops.keys()
    assert max(passes) == 3


def test_a_trial_that_fails_or_diverges_leaves_the_others_as_they_are(
    tmp_path: Path, source: Source, monkeypatch: pytest.MonkeyPatch
) -> None:
    arms = {key: ARMS[key] for key in ("full", "corrector", "gce")}
    single = run(tmp_path / "single", source, 1, arms=arms)
    step = Trainer._plain_step

    def fail_in_between(trainer: Trainer, batch: Any) -> Any:
        if trainer._config.optimizer.momentum == 0.5 and trainer.epoch == 1:
            trainer._classifier(batch.strong)  # so that the others have a pass with it
            raise ValueError("a bug")
        return step(trainer, batch)

    monkeypatch.setattr(Trainer, "_plain_step", fail_in_between)
    broken = {
        "diverges": {"loss": {"name": "cross_entropy"}, "optimizer": {"lr": 1e38}},
        "fails": {"loss": {"name": "cross_entropy"}, "optimizer": {"momentum": 0.5}},
    }
    together = run(tmp_path / "stacked", source, 5, arms=arms | broken)
    ends = {"diverges": Outcome.DIVERGED, "fails": Outcome.FAILED}
    assert together.outcomes == dict.fromkeys(arms, Outcome.COMPLETED) | ends
    assert_equal(single, together, *arms)


@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_trials_continue_from_their_checkpoints(
    tmp_path: Path, source: Source, stop: signal.Signals
) -> None:
    arms = dict.fromkeys("abc", ARMS["gce"])
    whole = run(tmp_path / "whole", source, 3, arms=arms)
    log = Log()
    log.at["c", 2] = lambda: os.kill(os.getpid(), stop)
    folder = tmp_path / "stopped"
    run(folder, source, 3, log=log, arms=arms)
    assert not log.outcomes
    assert sorted(path.name for path in folder.iterdir()) == ["a.pt", "b.pt", "c.pt"]
    rest = run(folder, source, 3, arms=arms)
    assert rest.outcomes == dict.fromkeys(arms, Outcome.COMPLETED)
    assert_equal(whole, rest, *arms)


def test_a_trial_is_tried_again_where_that_may_help(
    tmp_path: Path, source: Source, fail_once: Callable[[Exception], None]
) -> None:
    fail_once(OSError("disk away"))
    arms = dict.fromkeys("ab", ARMS["gce"])
    log = run(tmp_path, source, 2, arms=arms, retries=1)
    assert log.outcomes == dict.fromkeys(arms, Outcome.COMPLETED)
    assert ["disk away" in note for note in log.notes] == [True]


def test_a_network_that_cannot_be_stacked_is_computed_by_itself(
    tmp_path: Path, source: Source, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Dropout draws from the global generator, whose state follows the trial."""

    def with_dropout(build: Callable[..., nn.Module]) -> Callable[..., nn.Module]:
        return lambda *args: nn.Sequential(build(*args), nn.Dropout(0.3))

    monkeypatch.setattr(assembly, "_build_model", with_dropout(assembly._build_model))
    arms = {key: ARMS[key] for key in ("full", "cross_entropy", "gce")}
    single = run(tmp_path / "single", source, 1, arms=arms)
    together = run(tmp_path / "stacked", source, 3, arms=arms)
    assert_equal(single, together, *arms, rel=0, abs=0)
    assert len(together.notes) == 1
    assert "random" in together.notes[0]


def test_trials_that_must_be_by_themselves_run_beside_the_stack(
    tmp_path: Path, source: Source, passes: Counter[int]
) -> None:
    arms = {
        "a": ARMS["gce"],
        "half": ARMS["gce"] | {"schedule": _SHORT | {"precision": "bfloat16"}},
        "exact": ARMS["gce"] | {"schedule": _SHORT | {"deterministic": True}},
        "b": ARMS["gce"],
    }
    single = run(tmp_path / "single", source, 1, arms=arms)
    together = run(tmp_path / "stacked", source, 4, arms=arms)
    assert_equal(single, together, "a", "b")
    assert_equal(single, together, "half", "exact", rel=0, abs=0)
    assert passes.keys() == {2}


def test_stacked_trials_have_keys_of_their_own() -> None:
    def key(**resources: float) -> str:
        return trial_key(TrialConfig(), 0, 0, "data", ResourcesConfig.model_validate(resources))

    assert key(stack=1) == key()
    assert key(stack=4) == key(stack=8) != key()
    assert len({key(stack=4), key(stack=4, gpu=1), key(gpu=1), key(stack=4, cpu=2)}) == 4


def test_a_plan_counts_on_the_whole_stack() -> None:
    assert trials_at_once(ResourcesConfig(stack=16, cpu=0.5)) == 16
    with open_backend(ResourcesConfig(stack=16), in_process=False, slots=3) as backend:
        assert backend.slots == 3


def test_a_plan_says_that_a_stack_does_not_use_the_cluster(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("RAY_ADDRESS", "10.0.0.1:6379")
    assert not [*shortages(ResourcesConfig(cpu=10_000))]
    cluster, cores = shortages(ResourcesConfig(cpu=10_000, stack=4))
    assert "10.0.0.1:6379" in cluster
    assert "resources.cpu is 10000" in cores


def test_a_stack_has_one_device() -> None:
    with pytest.raises(ValueError, match=r"must be 1 where resources.gpu is above 1 \(2\)"):
        ResourcesConfig(stack=2, gpu=2)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_gpu_that_is_not_there_is_refused(tmp_path: Path, source: Source) -> None:
    with open_backend(ResourcesConfig(stack=2, gpu=1), in_process=False) as backend:
        work = Work(orders=iter([]), sources={"digits": source})
        with pytest.raises(InputError, match=r"resources\.gpu must be at most the 0"):
            backend.run(work, Log())


STUDY: dict[str, Any] = {
    "study": "stacked",
    "trial": {
        "data": {"source": "digits", "noise": {"rate": 0.4}, "n_max": 12},
        "model": {"name": "mlp"},
        "loss": {"corrector": _RANKS},
        "schedule": {"epochs": 2, "warmup_epochs": 1, "batch_size": 64, "ramp_epochs": 1},
    },
    "conditions": {"data.noise.rate": [0.2, 0.4]},
    "ablation": {"components": ["margin"], "baseline": "none"},
    "seeds": [0, 1],
}


@pytest.fixture
def storage(empty_storage: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    return shutil.copytree(empty_storage, tmp_path / "results")


def test_an_ablation_runs_stacked(storage: Path, passes: Counter[int]) -> None:
    single = Study.load(STUDY).run(storage, in_process=True, progress=False)
    assert not passes
    study = Study.load(STUDY | {"resources": {"stack": 4}, "study": "together"})
    together = study.run(storage, progress=False)
    assert passes[4]
    columns = ["condition", "arm", "seed", "test/accuracy"]
    frames: Iterator[Any] = (one.to_frame()[columns] for one in (single, together))
    one, other = (frame.sort_values(columns[:3]).reset_index(drop=True) for frame in frames)
    assert len(one) == 8
    assert one[columns[:3]].equals(other[columns[:3]])
    assert other["test/accuracy"].to_numpy() == pytest.approx(one["test/accuracy"], abs=0.02)


def test_a_search_prunes_stacked_trials(storage: Path, passes: Counter[int]) -> None:
    data = {**STUDY["trial"]["data"], "validation": {"fraction": 0.25}}
    schedule = STUDY["trial"]["schedule"] | {"epochs": 8}
    search = Search.load(
        {
            "study": "stacked-search",
            "trial": STUDY["trial"] | {"data": data, "schedule": schedule},
            "space": {"optimizer.lr": {"loguniform": [1e-4, 1]}},
            "search": {"sampler": "random", "trials": 8, "race": None},
            "scheduler": {"name": "asha", "grace_epochs": 3, "reduction_factor": 2},
            "resources": {"stack": 4},
        }
    )
    found = dynaloss.search(search, storage, confirm=False, progress=False)
    ends = Counter(trial.outcome for trial in found.trials)
    assert ends[Outcome.COMPLETED]
    assert ends[Outcome.PRUNED]
    assert sum(ends.values()) == 8
    assert passes[4]


def test_a_trial_that_has_ended_leaves_no_memory(
    tmp_path: Path, source: Source, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without Python's collector of circles, which nothing calls where a GPU's memory is short."""
    runners: list[weakref.ref[TrialRunner]] = []
    begin = TrialRunner.__init__

    def noted(self: TrialRunner, *arguments: Any) -> None:
        runners.append(weakref.ref(self))
        begin(self, *arguments)

    monkeypatch.setattr(TrialRunner, "__init__", noted)
    gc.disable()
    try:
        run(tmp_path, source, 2)
        assert [runner() for runner in runners] == [None] * len(ARMS)
    finally:
        gc.enable()


def test_passes_that_lack_memory_in_evaluation_leave_those_of_training_stacked(
    tmp_path: Path, source: Source, passes: Counter[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    together = stacked_passes.Forward.together
    trained: list[bool] = []

    def short(self: stacked_passes.Forward, requests: list[stacked_passes.Forward]) -> Any:
        trained.append(self.model.training)
        if not self.model.training:
            raise torch.OutOfMemoryError("no room")
        return together(self, requests)

    monkeypatch.setattr(stacked_passes.Forward, "together", short)
    log = run(tmp_path, source, 2, arms={key: ARMS[key] for key in ("cross_entropy", "gce")})
    assert {*log.outcomes.values()} == {Outcome.COMPLETED}
    assert "no room" in log.notes[0]
    first = trained.index(False)
    assert any(trained[first:])
