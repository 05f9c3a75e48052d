"""Tuning each arm before the comparison, with real trials."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console

from dynaloss.execution.ablation import plan_study
from dynaloss.execution.search.confirmation import with_stored_tuning
from dynaloss.execution.search.launching import launch_search
from dynaloss.studies import load_study
from dynaloss.studies.search.arm_tuning import tuning_search
from dynaloss.tracking import Workspace

STUDY = """
study: tiny
trial:
  data: {source: digits, noise: {rate: 0.4}, n_max: 20}
  model: {name: mlp}
  schedule: {epochs: 2, warmup_epochs: 1, batch_size: 64, ramp_epochs: 1}
ablation: {components: [margin], tuning: per_arm}
tuning:
  space: {optimizer.lr: {choice: [0.01, 0.05]}}
  search: {sampler: grid, trials: 2}
  scheduler: {name: none}
seeds: [0, 1]
"""


def test_each_arm_gets_the_settings_that_won_its_own_search(tmp_path: Path) -> None:
    path = tmp_path / "tiny.yaml"
    path.write_text(STUDY)
    study = load_study(path)
    workspace = Workspace(storage=tmp_path, tracking_uri=f"sqlite:///{tmp_path}/mlflow.db")
    assert with_stored_tuning(study, workspace) == study
    summary = launch_search(
        tuning_search(study), workspace, Console(quiet=True), in_process=True, confirm=False
    )
    assert summary.exit_status == 0
    best = {
        arm: max(
            (t for t in summary.trials if t.trial.arm == arm),
            key=lambda t: (t.last("val/balanced_accuracy"), -t.number),
        )
        for arm in ("none", "full")
    }
    plan = plan_study(with_stored_tuning(study, workspace))
    assert len(plan.trials) == 4
    for trial in plan.trials:
        assert trial.config.optimizer.lr == best[trial.arm].trial.config.optimizer.lr
        assert trial.config.data.validation.fraction == 0
