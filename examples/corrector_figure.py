"""Reads a study from the tracking store and draws what its correctors learned.

python examples/corrector_figure.py quickstart corrector.png [STORAGE]
"""

from __future__ import annotations

import sys
from pathlib import Path

from dynaloss.analysis.figures import corrector_curves, save_figure
from dynaloss.tracking import Workspace


def main(study: str, path: str, storage: str = "results") -> None:
    """Draws the learned weight by loss rank, mean over the seeds, one panel per condition."""
    records = Workspace(Path(storage)).open_store(must_exist=True).records(study, diagnostics=True)
    figure = corrector_curves(records)
    if figure is None:
        sys.exit(f"study {study} has no trial with a corrector")
    save_figure(figure, path)


if __name__ == "__main__":
    main(*sys.argv[1:])
