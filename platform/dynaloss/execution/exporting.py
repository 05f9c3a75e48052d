"""A trained classifier out of the tracking store."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from dynaloss.errors import InputError
from dynaloss.execution.recording import MODEL
from dynaloss.learning.models.saved import load_model
from dynaloss.tracking.registry import register_model

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
            f"{record.key} has kept no classifier: with `limits: {{models: best}}` in the study, "
            "those that are the best of their condition and arm do, with `all` every one; "
            "finished trials run again with --fresh"
        )
    folder.mkdir(parents=True, exist_ok=True)
    model, study = (folder / f"{record.key}{suffix}" for suffix in (".safetensors", ".yaml"))
    with tempfile.TemporaryDirectory(prefix="dynaloss-export-") as name:
        shutil.move(client.download_artifacts(record.run_id, MODEL, name), model)
    content = {
        "study": f"{record.study}-{record.key}",
        "trial": load_model(model).settings,
        "seeds": [record.seed],
        "base_seed": int(record.parameters.get("base_seed", 0)),
    }
    head = f"# {record.arm} · {record.condition} · seed {record.seed} of {record.study}\n"
    study.write_text(head + yaml.safe_dump(content, sort_keys=False, allow_unicode=True), "utf-8")
    return model, study


def register_exported(model: Path, record: TrialRecord, workspace: Workspace, name: str) -> int:
    """Registers an exported classifier in MLflow under a name; returns its version there.

    Its tags are the study, arm, condition and seed, the settings of the data, and the classes.
    """
    trained = load_model(model)
    tags: dict[str, Any] = {
        "study": record.study,
        "arm": record.arm,
        "condition": record.condition,
        "seed": record.seed,
        "key": record.key,
        "classes": ", ".join(trained.class_names),
        **{key: text for key, text in record.parameters.items() if key.startswith("data.")},
    }
    return register_model(
        workspace.open_store(must_exist=True).client,
        record.run_id,
        trained.of_images(),
        input_shape=trained.input_shape,
        num_classes=len(trained.class_names),
        name=name,
        tags=tags,
    )
