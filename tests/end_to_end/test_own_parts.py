"""The example package of own parts: beside its study, installed, killed and continued."""

from __future__ import annotations

import importlib.metadata
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from dynaloss.config import TrialConfig
from dynaloss.config.families import LOSSES, MODELS, NOISES, SAMPLERS, SOURCES
from dynaloss.data.sources import load_source
from dynaloss.execution.trial.runner import StepResult, TrialOrder, TrialRunner
from dynaloss.learning.losses import TrainingFacts
from dynaloss.learning.meta.samplers import Candidates
from dynaloss.learning.streams import Streams
from dynaloss.studies import load_study, make_plan
from dynaloss.studies.overrides import kind_keys
from dynaloss.studies.trial_record import Outcome

CommandLine = Any  # the fixtures' class; importlib mode keeps conftest off the path
WriteModules = Callable[..., Path]

_EXAMPLE = Path(__file__).parents[2] / "examples" / "own_parts"
_DOCUMENT = _EXAMPLE.parents[1] / "docs" / "own-parts.md"
_ENTRIES = tomllib.loads((_EXAMPLE / "pyproject.toml").read_text())["project"]["entry-points"]
_ADDRESSES = {address: name for named in _ENTRIES.values() for name, address in named.items()}
_TINY = {
    "epochs: 15": "epochs: {epochs}",
    "seeds: [0, 1, 2]": "seeds: [0]",
    "cross_entropy, gce": "gce",
}


@pytest.fixture
def beside(write_modules: WriteModules) -> None:
    """Makes the package importable for one test."""
    files = (_EXAMPLE / "own_parts").glob("*.py")
    write_modules({f"own_parts/{path.name}": path.read_text("utf-8") for path in files}, _ENTRIES)


@pytest.mark.usefixtures("beside")
def test_the_study_plans_its_arms_under_their_own_names() -> None:
    study = load_study(_EXAMPLE / "study.yaml")
    plan = make_plan(study, lambda data: data.source)
    arms = list(dict.fromkeys(trial.arm for trial in plan.trials))
    assert arms == ["none", "full", "cross_entropy", "gce", "dynamic"]
    assert {trial.condition for trial in plan.trials} == {"neighbour 0.3 · IR 1"}
    assert plan.components == ("soft",)


@pytest.mark.usefixtures("beside")
def test_names_of_entry_points_and_addresses_make_the_same_trials() -> None:
    def keys(text: str) -> list[str]:
        path = Path("study.yaml")
        path.write_text(text)
        return [trial.key for trial in make_plan(load_study(path), lambda data: "data").trials]

    text = (_EXAMPLE / "study.yaml").read_text()
    named = _named(text)
    assert "own_parts" not in named.partition("study:")[2]
    assert keys(named) == keys(text)


def _named(text: str) -> str:
    """The study with the names of entry points instead of addresses."""
    for address, name in _ADDRESSES.items():
        assert text.count(address) == 1
        text = text.replace(address, name)
    return text


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_the_code_of_the_document_is_that_of_the_example() -> None:
    text = _DOCUMENT.read_text("utf-8")
    blocks = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    code = "".join(path.read_text("utf-8") for path in _EXAMPLE.rglob("*.py"))
    assert blocks
    assert all(block in code for block in blocks)


def test_the_document_has_every_family() -> None:
    rows = re.findall(
        r"^\| .*? \| `([\w.]+)` \| `(dynaloss\.\w+)` \|",
        _DOCUMENT.read_text("utf-8"),
        re.MULTILINE,
    )
    keys = {*kind_keys()} | {"ablation.components"}
    assert dict(rows).keys() == keys
    assert {*dict(rows).values()} == {*_ENTRIES}


# -- each part against its law -------------------------------------------------------------------


def _config(**values: Any) -> TrialConfig:
    return TrialConfig.model_validate(values)


@pytest.mark.usefixtures("beside")
def test_the_loss_divides_by_the_temperature_and_the_running_scale() -> None:
    settings = _config(loss={"name": "tempered", "temperature": 2.0, "momentum": 0.5}).loss
    facts = TrainingFacts(
        class_counts=torch.ones(3), epochs=1, streams=Streams(base_seed=0, seed=0)
    )
    loss = LOSSES["tempered"].build(settings, facts)
    logits, labels = torch.tensor([[3.0, 0.0, 0.0], [0.0, 3.0, 3.0]]), torch.tensor([0, 1])
    scale = 0.5 + 0.5 * np.std(logits.numpy(), ddof=1)
    z = logits.numpy() / (2 * scale)
    expected = np.mean(np.log(np.exp(z).sum(axis=1)) - z[[0, 1], [0, 1]])
    assert loss(logits, labels, labels).item() == pytest.approx(expected, rel=1e-6)
    assert loss.state_dict()["scale"].item() == pytest.approx(scale, rel=1e-6)


@pytest.mark.usefixtures("beside")
def test_the_sampler_keeps_the_middle_of_each_class() -> None:
    settings = _config(sampler={"kind": "middle_loss", "share": 0.5}).sampler
    candidates = Candidates(
        losses=torch.tensor([5.0, 1, 2, 3, 4, 9, 8, 7, 6]),
        labels=torch.tensor([0, 0, 0, 0, 0, 1, 1, 1, 1]),
        clean_set=None,
        generator=torch.Generator(),
    )
    assert SAMPLERS["middle_loss"].draw(settings, candidates).tolist() == [2, 3, 6, 7]


@pytest.mark.usefixtures("beside")
def test_the_source_is_the_same_every_time_and_the_noise_moves_labels() -> None:
    data = {"source": "stripes", "num_images": 4000, "noise": {"kind": "neighbour", "reach": 3}}
    data["noise"]["rate"] = 0.25
    config = _config(data=data).data
    source, again = load_source(config), load_source(config)
    assert source.digest == again.digest == SOURCES["stripes"].digest(config)
    assert np.bincount(source.pool.labels).tolist() == [1000] * 4
    rows = np.arange(4000)
    observed = NOISES["neighbour"].observe(config.noise, source, rows, np.random.default_rng(0))
    moves = np.bincount((observed - source.pool.labels) % 4, minlength=4) / 4000
    assert moves == pytest.approx([0.75, 0, 0, 0.25], abs=0.03)


@pytest.mark.usefixtures("beside")
def test_the_model_has_the_width_of_its_settings() -> None:
    settings = _config(model={"name": "hidden", "width": 5}).model
    model = MODELS["hidden"].build(settings, input_shape=(1, 8, 8), num_classes=4)
    assert sum(weight.numel() for weight in model.parameters()) == 65 * 5 + 6 * 4


@pytest.mark.usefixtures("beside")
def test_a_resumed_trial_continues_with_the_state_of_the_loss(tmp_path: Path) -> None:
    study = load_study(_write_tiny(tmp_path, epochs=4))
    trial = make_plan(study, lambda data: data.source).trials[0]
    assert trial.config.loss.name == "own_parts.losses:TEMPERED"
    source = load_source(trial.config.data)
    whole, first, second = (
        TrialRunner(TrialOrder.of(trial, tmp_path / name), source, gpus=0)
        for name in ("whole", "stopped", "stopped")
    )
    first.step()
    first.step()
    first.save()
    reports = [
        [metrics for result in _run_to_end(runner) for _, metrics in result.reports]
        for runner in (whole, second)
    ]
    losses = [[metrics["train/loss"] for metrics in found] for found in reports]
    assert len(losses[0]) == 4
    assert losses[0] == losses[1]


def _run_to_end(runner: TrialRunner) -> list[StepResult]:
    results = [runner.step()]
    while results[-1].outcome is None:
        results.append(runner.step())
    assert results[-1].outcome is Outcome.COMPLETED
    return results


# -- as a user runs it ---------------------------------------------------------------------------


@pytest.fixture(scope="session")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that the package is installed into, as pip does."""
    folder = tmp_path_factory.mktemp("installed")
    copy = shutil.copytree(_EXAMPLE, tmp_path_factory.mktemp("copy") / "own_parts")
    command = ["uv", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation"]
    where = ["--python", sys.executable, "--target", str(folder), str(copy)]
    subprocess.run([sys.executable, "-m", *command, *where], check=True)
    return folder


@pytest.fixture
def with_package(installed: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Processes that the test starts have the package; returns its installed folder."""
    path = os.pathsep.join(filter(None, [str(installed), os.environ.get("PYTHONPATH")]))
    monkeypatch.setenv("PYTHONPATH", path)
    return installed


def _write_tiny(folder: Path, epochs: int, text: str | None = None) -> Path:
    """The example's study, shortened: one seed, one built-in baseline."""
    text = text or (_EXAMPLE / "study.yaml").read_text()
    for old, new in _TINY.items():
        assert text.count(old) == 1
        text = text.replace(old, new.format(epochs=epochs))
    text = text.replace("baseline: cross_entropy", "baseline: gce")
    path = folder / "study.yaml"
    path.write_text(text)
    return path


def test_the_wheel_has_the_entry_points_of_the_project(installed: Path) -> None:
    (found,) = importlib.metadata.distributions(name="own-parts", path=[str(installed)])
    entries = {(entry.group, entry.name): entry.value for entry in found.entry_points}
    assert entries == {(g, n): a for g, named in _ENTRIES.items() for n, a in named.items()}


@pytest.mark.usefixtures("with_package")
def test_list_describes_the_installed_parts(command_line: CommandLine) -> None:
    shown = command_line.run("list")
    assert shown.returncode == 0, shown.stderr
    lines = [line.strip() for line in shown.stdout.splitlines()]
    for address, name in _ADDRESSES.items():
        position = lines.index(f"from {address}")
        assert lines[position - 1].startswith(f"{name} ")


@pytest.mark.slow
@pytest.mark.ray
@pytest.mark.usefixtures("with_package")
def test_a_killed_launch_of_installed_parts_ends_with_the_same_result(
    command_line_in: Callable[[Path], CommandLine],
    end_after: Callable[[subprocess.Popen[str]], subprocess.Popen[str]],
    tmp_path: Path,
) -> None:
    whole, broken = (command_line_in(tmp_path / name) for name in ("whole", "broken"))
    named = _named((_EXAMPLE / "study.yaml").read_text())
    for line in (whole, broken):
        line.folder.mkdir()
        _write_tiny(line.folder, epochs=60, text=named)
    done = whole.run("ablate", "study.yaml")
    assert done.returncode == 0, done.stderr
    assert "4 completed" in done.stdout

    killed = end_after(broken.start("ablate", "study.yaml"))
    assert killed.stderr is not None
    for line in killed.stderr:
        if ": completed" in line:
            break
    killed.send_signal(signal.SIGKILL)
    killed.communicate(timeout=60)
    rest = broken.run("ablate", "study.yaml")
    assert rest.returncode == 0, rest.stderr
    assert broken.last_values() == whole.last_values()

    table = json.loads(broken.run("compare", "own-parts", "--format", "json").stdout)
    assert [cell["arm"] for cell in table["cells"]] == ["none", "full", "gce", "dynamic"]
    assert all(len(cell["seeds"]) == 1 for cell in table["cells"])


@pytest.mark.slow
@pytest.mark.ray
def test_parts_beside_the_study_run_in_ray_and_an_edit_makes_new_trials(
    command_line: CommandLine, tmp_path: Path
) -> None:
    elsewhere = tmp_path / "studies"
    shutil.copytree(_EXAMPLE, elsewhere)
    _write_tiny(elsewhere, epochs=2)
    done = command_line.run("ablate", "studies/study.yaml")
    assert done.returncode == 0, done.stderr
    assert "4 completed" in done.stdout
    again = command_line.run("ablate", "studies/study.yaml")
    assert "4 finished before" in again.stdout, again.stderr

    before = _keys(command_line)
    losses = elsewhere / "own_parts" / "losses.py"
    losses.write_text(losses.read_text().replace("temperature * self.scale", "temperature"))
    edited = command_line.run("ablate", "studies/study.yaml")
    assert "4 completed" in edited.stdout, edited.stderr
    after = _keys(command_line)
    assert not {*before.values()} & {*after.values()}

    keys = (before["none"], after["none"])
    text = command_line.run("diff", *keys).stdout
    origin = r"own_parts\.losses:TEMPERED [0-9a-f]{12}"
    assert re.search(rf"loss\.from .*{origin}.*{origin}", text)


def _keys(command_line: CommandLine) -> dict[str, str]:
    shown = command_line.run("ablate", "studies/study.yaml", "--plan", "--format", "json")
    return {trial["arm"]: trial["key"] for trial in json.loads(shown.stdout)["trials"]}


def test_a_part_that_cannot_be_imported_is_a_problem_of_the_file(
    command_line: CommandLine, tmp_path: Path
) -> None:
    _write_tiny(tmp_path, epochs=2)
    done = command_line.run("ablate", "study.yaml")
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    lines = done.stderr.splitlines()
    assert len(lines) == 6
    assert lines[0].startswith(
        "error: study.yaml:6: [trial.data.source] 'own_parts.sources:STRIPES'"
    )
    assert all(
        "ModuleNotFoundError: No module named 'own_parts'; install it" in line for line in lines
    )
