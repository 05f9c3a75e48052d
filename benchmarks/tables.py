"""The tables of README and docs, from the trials of bundled studies.

    python benchmarks/tables.py STUDY ... [--storage results]

Each study must have run (`dynaloss ablate STUDY`). Its comparison is kept as
`benchmarks/results/tables/STUDY.json`: the table in Markdown, every trial's value, machine,
versions, commit and command. `python tests/test_docs.py` writes it into the documents that show
it, between `<!-- result of STUDY -->` and `<!-- end -->`, and a test compares the two.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from machine import describe

import dynaloss

_FOLDER = Path(__file__).parent / "results" / "tables"
_SHOWN = ("test/accuracy", "memorisation/observed_fit_noisy", "time/epoch_seconds")


def keep(study: str, storage: str) -> Path:
    """Writes the comparison of one study, and returns its file."""
    margin = dynaloss.Study.load(study).settings.report.margin
    found = dynaloss.compare(study, margin=margin, extras=["cost"], workspace=storage)
    frame = found.to_frame()
    trials = frame[["condition", "arm", "seed", *(name for name in _SHOWN if name in frame)]]
    content = {
        "study": study,
        "table": found.as_text("markdown").strip().splitlines(),
        "trials": json.loads(trials.round(6).to_json(orient="records")),
        **describe(),
    }
    path = _FOLDER / f"{study}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", "utf-8")
    return path


def main() -> None:
    """Keeps the comparison of each study that is named."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("studies", nargs="+", metavar="STUDY", help="Bundled study that has run.")
    parser.add_argument("--storage", default="results", help="Folder of the trials.")
    options = parser.parse_args()
    for study in options.studies:
        print(keep(study, options.storage))


if __name__ == "__main__":
    main()
