"""A trained classifier is kept, taken along and rebuilt: it predicts as its trial did."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import mlflow
import numpy as np
import pytest
import torch
from click.testing import CliRunner
from safetensors.torch import load_file, save_file
from torch import nn

import dynaloss
from dynaloss.cli.main import main
from dynaloss.config import ModelConfig, TrialConfig
from dynaloss.config.data import DataConfig
from dynaloss.config.families import MODELS
from dynaloss.data.sources import load_source
from dynaloss.data.splits import make_splits
from dynaloss.learning import load_model
from dynaloss.learning.models.saved import save_model
from dynaloss.learning.streams import Streams

pytestmark = pytest.mark.xdist_group("exporting")

_STUDY = {
    "study": "kept",
    "trial": {
        "data": {"source": "digits", "noise": {"rate": 0.2}},
        "model": {"name": "small_cnn"},
        "schedule": {"epochs": 3, "warmup_epochs": 1, "batch_size": 64},
    },
    "arms": {"plain": {"loss.name": "cross_entropy"}, "ldam": {"loss.name": "ldam"}},
    "ablation": {"baseline": "plain"},
    "seeds": [0, 1, 2],
    "limits": {"models": "best"},
}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, empty_storage: Path) -> dynaloss.AblationSummary:
    storage = tmp_path_factory.mktemp("kept") / "results"
    shutil.copytree(empty_storage, storage)
    study = dynaloss.Study.load(_STUDY)
    return study.run(storage, in_process=True, progress=False)


def _export(
    run: dynaloss.AblationSummary, key: str, folder: Path, *options: str
) -> tuple[int, str]:
    where = ["--to", str(folder), "--storage", str(run.workspace.storage)]
    done = CliRunner().invoke(main, ["export", key, *where, *options])
    return done.exit_code, done.output


@pytest.mark.parametrize("arm", ["plain", "ldam"])
def test_the_best_of_an_arm_predicts_as_its_trial_did(
    arm: str, run: dynaloss.AblationSummary, tmp_path: Path
) -> None:
    """`ldam` has another last layer."""
    frame = run.to_frame()
    best = frame[frame["arm"] == arm].sort_values("test/accuracy").iloc[-1]
    assert _export(run, best["key"], tmp_path)[0] == 0
    trained = load_model(tmp_path / f"{best['key']}.safetensors")
    data = DataConfig(source="digits", noise={"rate": 0.2})
    streams = Streams(base_seed=0, seed=int(best["seed"]))
    test = make_splits(load_source(data), data, streams).tests["test"]
    images, labels = torch.as_tensor(test.images), torch.as_tensor(test.true)
    accuracy = (trained.predict(images).argmax(dim=1) == labels).double().mean()
    assert accuracy.item() == pytest.approx(best["test/accuracy"], abs=1e-9)
    assert trained.class_names == [str(digit) for digit in range(10)]


def test_the_study_of_a_run_has_its_key(run: dynaloss.AblationSummary, tmp_path: Path) -> None:
    frame = run.to_frame()
    best = frame[frame["arm"] == "ldam"].sort_values("test/accuracy").iloc[-1]
    _export(run, best["key"], tmp_path)
    study = dynaloss.Study.load(tmp_path / f"{best['key']}.yaml")
    assert [trial.key for trial in study.plan().trials] == [best["key"]]


def test_a_registered_one_predicts_alike_in_mlflow_and_has_one_version(
    run: dynaloss.AblationSummary, tmp_path: Path
) -> None:
    frame = run.to_frame()
    best = frame[frame["arm"] == "ldam"].sort_values("test/accuracy").iloc[-1]
    for _ in range(2):
        _, told = _export(run, best["key"], tmp_path, "--register", "digits")
        assert told.splitlines()[-1] == "models:/digits/1"
    client = run.workspace.open_store().client.raw
    version = client.get_model_version("digits", "1")
    assert client.get_run(version.run_id).data.tags["dynaloss.key"] == best["key"]
    facts = {"arm": "ldam", "condition": best["condition"], "data.noise.rate": "0.2"}
    assert facts.items() <= version.tags.items()
    folder = client.download_artifacts(version.run_id, "model", str(tmp_path))
    served = mlflow.pyfunc.load_model(folder)
    images = np.random.default_rng(0).integers(0, 256, (7, 1, 8, 8), np.uint8)
    expected = load_model(tmp_path / f"{best['key']}.safetensors").predict(torch.tensor(images))
    np.testing.assert_allclose(served.predict(images), expected, atol=1e-5)


def test_only_the_best_so_far_are_kept_and_nothing_is_left(
    run: dynaloss.AblationSummary, tmp_path: Path
) -> None:
    frame = run.to_frame()
    for arm, trials in frame.groupby("arm", sort=False):
        so_far = trials["test/accuracy"].cummax()
        kept = trials["test/accuracy"].gt(so_far.shift(fill_value=-1.0))
        for key, is_kept in zip(trials["key"], kept, strict=True):
            status, told = _export(run, key, tmp_path / arm)
            assert status == (0 if is_kept else 2)
            assert is_kept or "limits: {models: best}" in told
    assert not [*run.workspace.checkpoints("kept").glob("*")]


class _Tied(nn.Module):
    """Two names of one weight."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.other = nn.Linear(3, 3), nn.Linear(3, 3)
        self.other.weight = self.one.weight


def test_weights_under_two_names_are_kept(tmp_path: Path) -> None:
    path, model = tmp_path / "tied.safetensors", _Tied()
    facts = {"input_shape": (1, 4, 4), "mean": [0.0], "std": [1.0], "class_names": ["a", "b", "c"]}
    save_model(path, model, TrialConfig(), **facts)
    kept = load_file(path)
    assert kept.keys() == model.state_dict().keys()
    assert torch.equal(kept["other.weight"], model.one.weight)


def test_other_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "some.safetensors"
    path.write_bytes(b"no")
    with pytest.raises(dynaloss.InputError, match=r"some\.safetensors: is no model"):
        load_model(path)
    with pytest.raises(dynaloss.InputError, match="absent"):
        load_model(tmp_path / "absent.safetensors")


_FACTS = {
    "config": TrialConfig(model={"name": "mlp"}).model_dump(mode="json"),
    "cosine_head": False, "input_shape": [1, 4, 4], "mean": [0.5], "std": [0.2],
    "class_names": ["a", "b"],
}  # fmt: skip


@pytest.mark.parametrize("changed", [{"input_shape": None}, {"mean": "x"}, {"class_names": ["a"]}])
def test_files_of_other_facts_or_weights_are_refused(
    changed: dict[str, object], tmp_path: Path
) -> None:
    path = tmp_path / "some.safetensors"
    facts = {name: json.dumps(fact) for name, fact in (_FACTS | changed).items()}
    save_file({"weight": torch.zeros(1)}, path, metadata=facts)
    with pytest.raises(dynaloss.InputError, match=r"some\.safetensors: is no model"):
        load_model(path)


def test_a_classifier_of_an_own_loss_is_rebuilt_without_it(tmp_path: Path) -> None:
    path = tmp_path / "own.safetensors"
    kind, model = MODELS["mlp"], ModelConfig(name="mlp")
    built = kind.build(model, input_shape=(1, 4, 4), num_classes=2)
    facts = _FACTS | {"config": {"model": {"name": "mlp"}, "loss": {"name": "absent:LOSS"}}}
    texts = {name: json.dumps(fact) for name, fact in facts.items()}
    save_file(built.state_dict(), path, metadata=texts)
    trained = load_model(path)
    assert trained.settings["loss"] == {"name": "absent:LOSS"}
    images = torch.zeros(3, 1, 4, 4, dtype=torch.uint8)
    assert torch.equal(trained.predict(images), built.eval()((images / 255 - 0.5) / 0.2))
