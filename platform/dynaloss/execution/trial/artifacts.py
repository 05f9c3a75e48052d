"""The files that a trial leaves in the tracking store: its configuration, and what it learned."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dynaloss.studies.identity import effective_config
from dynaloss.studies.plan import Trial


def write_artifacts(trial: Trial, diagnostics: Mapping[str, Any], folder: Path) -> None:
    """Writes the configuration that gave the key, the diagnostics and their figures.

    Args:
        trial: The trial.
        diagnostics: What it learned, by artifact name; empty where it did not end well.
        folder: Where to; exists.
    """
    from dynaloss.analysis.figures import save_figure, trial_figures

    config = {
        "key": trial.key,
        "seed": trial.seed,
        "base_seed": trial.base_seed,
        "trial": effective_config(trial.config),
    }
    for name, content in {"config": config, **diagnostics}.items():
        (folder / f"{name}.json").write_text(json.dumps(content, indent=1), encoding="utf-8")
    for name, figure in trial_figures(diagnostics).items():
        save_figure(figure, folder / f"{name}.png")


def mib_in(folder: Path) -> float:
    """Size of the files in a folder, in MiB."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / 2**20
