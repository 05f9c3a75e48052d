"""Runs a small ablation from Python, and looks at it as a table and as pandas frames.

python examples/python_api.py [FOLDER]
"""

from __future__ import annotations

import sys
from pathlib import Path

import dynaloss


def run_study(folder: Path) -> dynaloss.Result:
    """Runs the bundled quickstart, shortened, and saves its comparison in the folder."""
    study = dynaloss.Study.load("quickstart").with_(
        {"model.name": "mlp", "schedule.epochs": 6, "schedule.warmup_epochs": 2},
        study="python-api",
        conditions={"data.imbalance_factor": [1, 10]},
        seeds=[0, 1],
    )
    print(study.plan().to_frame()[["condition", "arm", "seed"]])
    run: dynaloss.AblationSummary = study.run(folder / "results", in_process=True)
    if run.interrupted:
        sys.exit(run.exit_status)
    print(run.compare(extras=["effects"]).as_text())
    result = run.compare()
    result.save(folder / "arms.csv")
    return result


def main(folder: str = ".") -> None:
    """Prints the mean accuracy by epoch of every arm, under each condition."""
    curves = run_study(Path(folder)).curves("test/accuracy")
    means = curves.groupby(["condition", "arm", "epoch"])["test/accuracy"].mean()
    print(means.unstack("epoch").round(3).to_string())


if __name__ == "__main__":
    main(*sys.argv[1:])
