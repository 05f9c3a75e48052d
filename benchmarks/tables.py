"""The tables of README and docs, from the trials of bundled studies.

    python benchmarks/tables.py STUDY[@BASELINE] ... [--storage results] [--where KEY=VALUE]

Each study must have run (`dynaloss ablate STUDY`). Its comparison, with its own baseline or the
arm BASELINE, is kept as `benchmarks/results/tables/STUDY[@BASELINE][,VALUE].json`: the table in
Markdown, every trial's value, machine, versions, commit and command. `python tests/test_docs.py`
writes it into the documents that show it, between `<!-- result of ... -->` and `<!-- end -->`, and
a test compares the two. With `--seeds N` the study is first run with the seeds 0 to N - 1, as
STUDY-N.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from machine import describe

import dynaloss

_FOLDER = Path(__file__).parent / "results" / "tables"
_SHOWN = ("test/accuracy", "memorisation/observed_fit_noisy", "time/epoch_seconds")


def keep(name: str, storage: str, where: str | None = None, seeds: int | None = None) -> Path:
    """Writes the comparison of one study, and returns its file."""
    study, _, baseline = name.partition("@")
    loaded = dynaloss.Study.load(study)
    if seeds:
        study = name = f"{study}-{seeds}"
        loaded = loaded.with_(study=study, seeds=[*range(seeds)])
        loaded.run(storage)
    margin = loaded.settings.report.margin
    found = dynaloss.compare(
        study,
        baseline=baseline or None,
        margin=margin,
        where=[where] if where else (),
        extras=["cost"],
        workspace=storage,
    )
    frame = found.to_frame()
    shown = frame[["condition", "arm", "seed", *(name for name in _SHOWN if name in frame)]]
    trials = json.loads(shown.round(6).to_json(orient="records"))
    kept = ",".join(filter(None, [name, (where or "").partition("=")[2]]))
    path = _FOLDER / f"{kept}.json"
    made_on = describe()
    if path.exists() and (before := json.loads(path.read_text("utf-8")))["trials"] == trials:
        made_on = {of: before[of] for of in made_on}  # what trained them, not what renders them
    command = f"dynaloss ablate {study}; python benchmarks/tables.py {name}"
    if seeds:
        command = f"python benchmarks/tables.py {study.removesuffix(f'-{seeds}')} --seeds {seeds}"
    content = {
        "study": study,
        "table": found.as_text("markdown").strip().splitlines(),
        "trials": trials,
        **made_on,
        "command": command + (f" --where {where}" if where else ""),
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", "utf-8")
    return path


def main() -> None:
    """Keeps the comparison of each study that is named."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="+", metavar="STUDY[@BASELINE]", help="Study that has run.")
    parser.add_argument("--storage", default="results", help="Folder of the trials.")
    parser.add_argument("--where", metavar="KEY=VALUE", help="Setting of the trials to keep.")
    parser.add_argument("--seeds", type=int, metavar="N", help="Run it with so many seeds first.")
    options = parser.parse_args()
    for name in options.names:
        print(keep(name, options.storage, options.where, options.seeds))


if __name__ == "__main__":
    main()
