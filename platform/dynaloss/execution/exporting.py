"""A trained classifier out of the tracking store."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import yaml

from dynaloss.errors import InputError
from dynaloss.execution.recording import MODEL
from dynaloss.learning.models.saved import load_model

if TYPE_CHECKING:
    from dynaloss.studies.trial_record import TrialRecord
    from dynaloss.tracking import Workspace


def export_model(record: TrialRecord, workspace: Workspace, folder: Path) -> tuple[Path, Path]:
    """Writes the classifier of a run, and the study of its trial alone; returns their paths.

    Raises:
        InputError: If the run has kept no classifier.
    """
    client = workspace.open_store(must_exist=True).client
    if MODEL not in {file.path for file in client.list_artifacts(record.run_id)}:
        raise InputError(
            f"{record.key} has kept no classifier: its study needs `limits: {{models: best}}` or "
            "`all`, and the best are those of their condition and arm"
        )
    folder.mkdir(parents=True, exist_ok=True)
    model, study = (folder / f"{record.key}{suffix}" for suffix in (".safetensors", ".yaml"))
    with tempfile.TemporaryDirectory(prefix="dynaloss-export-") as name:
        shutil.move(client.download_artifacts(record.run_id, MODEL, name), model)
    content = {
        "study": f"{record.study}-{record.key}",
        "trial": load_model(model).config.model_dump(mode="json"),
        "seeds": [record.seed],
        "base_seed": int(record.parameters.get("base_seed", 0)),
    }
    head = f"# {record.arm} · {record.condition} · seed {record.seed} of {record.study}\n"
    study.write_text(head + yaml.safe_dump(content, sort_keys=False, allow_unicode=True), "utf-8")
    return model, study
