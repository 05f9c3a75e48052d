from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import NormalDist

import pytest
from click.testing import CliRunner, Result

from dynaloss import __version__
from dynaloss.analysis.selection import SELECTION_RULES
from dynaloss.cli.main import main
from dynaloss.config import families
from dynaloss.config.registry import Registry
from dynaloss.studies.components import COMPONENTS

Run = Callable[..., Result]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.delenv("DYNALOSS_STORAGE", raising=False)

    def invoke(*arguments: str) -> Result:
        return CliRunner().invoke(main, arguments)

    return invoke


def test_help_loads_nothing_heavy() -> None:
    code = (
        "import sys\n"
        "from dynaloss.cli.main import main\n"
        "try: main(['--help'])\n"
        "except SystemExit: pass\n"
        "heavy = {'torch', 'ray', 'mlflow', 'optuna', 'sklearn', 'numpy', 'pydantic'}\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_version(run: Run) -> None:
    assert run("--version").stdout == f"dynaloss, version {__version__}\n"


def test_plan_lists_every_trial_and_makes_no_store(run: Run, tmp_path: Path) -> None:
    plan = json.loads(run("ablate", "quickstart", "--plan", "--format", "json").stdout)
    assert {"study", "hash", "trials", "done", "remaining", "cost", "warnings"} <= set(plan)
    assert (plan["done"], plan["remaining"], plan["cost"]) == (0, 84, None)
    assert len(plan["trials"]) == 84
    assert set(plan["trials"][0]) == {"key", "condition", "arm", "seed"}
    keys = {trial["key"] for trial in plan["trials"]}
    assert len(keys) == 84
    short, long = (
        run("ablate", "quickstart", "--plan", *more).stdout for more in ((), ("--trials",))
    )
    assert short.startswith("study quickstart, plan ")
    assert len(short.splitlines()) < 20
    assert keys <= {line.partition(" ")[0] for line in long.splitlines()}
    refused = run("ablate", "quickstart", "--trials")
    assert (refused.exit_code, "require `--plan`" in refused.stderr) == (2, True)
    assert list(tmp_path.iterdir()) == []


def test_probe_prints_the_cost_and_records_nothing(run: Run, tmp_path: Path) -> None:
    Path("small.yaml").write_text(
        "study: small\n"
        "trial:\n"
        "  data: {source: digits, n_max: 20}\n"
        "  model: {name: mlp}\n"
        "  schedule: {epochs: 30, warmup_epochs: 1, batch_size: 128}\n"
        "arms: {ce: {loss.name: cross_entropy}, gce: {loss.name: gce}, full: {}}\n"
        "seeds: [0, 1]\n"
    )
    result = run("ablate", "small.yaml", "--plan", "--probe")
    assert result.exit_code == 0, result.output
    assert "CPU hours, about 0:" in result.stdout
    assert "memory: at most" in result.stdout
    assert "of checkpoints" in result.stdout
    assert result.stderr.count("probe ") == 2  # ce and gce cost alike
    assert [path.name for path in tmp_path.iterdir()] == ["small.yaml"]


def test_spread_and_effect_of_a_plan_are_in_points(run: Run, tmp_path: Path) -> None:
    """Six seeds find one difference where all six agree in sign, in four tables of five."""
    (tmp_path / "two.yaml").write_text(
        "study: two\n"
        "trial: {}\n"
        "arms: {ce: {loss.name: cross_entropy}, gce: {loss.name: gce}}\n"
        "seeds: [0, 1, 2, 3, 4, 5]\n"
        "ablation: {baseline: ce}\n"
    )
    options = ("--spread", "1.5", "--effect", "50", "--format", "json")
    plan = json.loads(run("ablate", "two.yaml", "--plan", *options).stdout)
    in_spreads = NormalDist().inv_cdf(0.8 ** (1 / 6))
    assert plan["detectable"] == pytest.approx(0.015 * 2**0.5 * in_spreads, rel=0.05)
    assert plan["seeds_needed"] == 6


def test_plan_reports_an_unreachable_store(run: Run) -> None:
    result = run("ablate", "quickstart", "--plan", "--tracking-uri", "http://127.0.0.1:1")
    assert result.exit_code == 2
    assert re.search(r"store http://127\.0\.0\.1:1 .*opened", result.stderr)


def test_options_of_a_plan_require_it(run: Run) -> None:
    result = run("ablate", "quickstart", "--probe")
    assert result.exit_code == 2
    assert re.search("`--probe`, `--trials`, `--spread` and `--effect`.*`--plan`", result.stderr)


def test_options_of_a_launch_are_refused_by_a_plan(run: Run) -> None:
    result = run("ablate", "quickstart", "--plan", "--where", "arm=full")
    assert (result.exit_code, "not for `--plan`" in result.stderr) == (2, True)


def test_every_problem_of_a_study_file_is_printed_without_traceback(
    run: Run, tmp_path: Path
) -> None:
    (tmp_path / "bad.yaml").write_text(
        "study: bad\n"
        "trial:\n"
        "  data: {imbalance_factor: 0.1}\n"
        "  optimiser: {lr: 0.1}\n"
        "seeds: [0, 0]\n"
    )
    result = run("ablate", "bad.yaml")
    assert result.exit_code == 2
    expected = (
        r"bad\.yaml:3: \[trial\.data\.imbalance_factor\].*at least 1\b.*got 0\.1;.*n_max / n_min",
        r"bad\.yaml:4: \[trial\.optimiser\].*'optimizer'",
        r"bad\.yaml:5: \[seeds\].*got 0 twice",
    )
    for line, facts in zip(result.stderr.splitlines(), expected, strict=True):
        assert re.search(facts, line)


def test_unknown_study_names_the_nearest(run: Run) -> None:
    result = run("ablate", "quikstart")
    assert result.exit_code == 2
    assert re.search("quikstart.*'quickstart'", result.stderr)


@pytest.mark.parametrize(
    ("arguments", "facts"),
    [
        pytest.param(("ablate", "a" * 5000), "there is no such file", id="a long name"),
        pytest.param(("ablate", "pipe.yaml"), "pipe.yaml: must be a plain file", id="a pipe"),
        pytest.param(
            ("ablate", "quickstart", "--plan", "--storage", "a" * 5000),
            "File name too long",
            id="a long folder",
        ),
        pytest.param(
            ("ablate", "quickstart", "--plan", "--tracking-uri", f"sqlite:///{'a' * 5000}"),
            "File name too long",
            id="a long address",
        ),
    ],
)
def test_a_path_that_cannot_be_used_gives_one_clear_error(
    run: Run, arguments: Sequence[str], facts: str
) -> None:
    os.mkfifo("pipe.yaml")
    result = run(*arguments)
    assert result.exit_code == 2
    (line,) = result.stderr.splitlines()
    assert facts in line


def test_a_home_that_does_not_exist_is_a_folder_that_does_not_exist(run: Run) -> None:
    Path("study.yaml").write_text(
        "study: s\ntrial: {data: {source: image_folder, root: ~nobody-here/images}}\nseeds: [0]\n"
    )
    result = run("ablate", "study.yaml", "--plan", "--storage", "~nobody-here/results")
    assert result.exit_code == 0, result.output
    assert re.search(r"'/.*/~nobody-here/images' does not exist", " ".join(result.output.split()))


def test_a_plan_says_what_the_machine_does_not_have(run: Run) -> None:
    Path("study.yaml").write_text("study: s\ntrial: {}\nseeds: [0]\nresources: {cpu: 10000}\n")
    result = run("ablate", "study.yaml", "--plan")
    assert result.exit_code == 0, result.output
    told = " ".join(result.output.split())
    assert re.search(r"note: resources\.cpu is 10000, but this machine has \d+( |$)", told)


def test_of_very_many_problems_the_first_are_printed(run: Run) -> None:
    keys = "".join(f"key{i}: 1\n" for i in range(1000))
    Path("study.yaml").write_text(f"study: s\ntrial: {{}}\nseeds: [0]\n{keys}")
    lines = run("ablate", "study.yaml").stderr.splitlines()
    assert lines[0].startswith("error: study.yaml:4: [key0] is not a known key")
    assert (len(lines), lines[-1]) == (51, "error: and 950 more")


def test_compare_reports_a_missing_store(run: Run, tmp_path: Path) -> None:
    result = run("compare", "quickstart")
    assert result.exit_code == 2
    assert re.search(r"no tracking store at .*/mlflow\.db ", result.stderr)
    assert list(tmp_path.iterdir()) == []


def test_unknown_arm_names_the_arms(run: Run) -> None:
    result = run("train", "quickstart", "--arm", "ful")
    assert result.exit_code == 2
    assert re.search("--arm .* none, corrector-only, margin-only, full.*got 'ful'", result.stderr)


def test_list_shows_every_kind_of_every_family(run: Run) -> None:
    lines = run("list").stdout.splitlines()
    registries = [kinds for kinds in vars(families).values() if isinstance(kinds, Registry)]
    assert len(registries) >= 9
    names = [name for kinds in (*registries, COMPONENTS, SELECTION_RULES) for name in kinds]
    for name in ("quickstart", "torchvision/NAME", *names):
        assert any(line.startswith(f"  {name} ") for line in lines), name
    # 7 arms, 2 conditions, 6 seeds; 2 conditions, 9 trials each.
    assert [line.strip() for line in lines if line.endswith(" quickstart")] == [
        "84 trials: dynaloss ablate quickstart", "18 trials: dynaloss search quickstart",
    ]  # fmt: skip


def test_train_records_a_trial_that_compare_shows(run: Run) -> None:
    Path("small.yaml").write_text(
        "study: small\n"
        "trial:\n"
        "  data: {source: digits, noise: {rate: 0.2}}\n"
        "  model: {name: mlp}\n"
        "  schedule: {epochs: 2, warmup_epochs: 1, batch_size: 128}\n"
        "seeds: [3]\n"
    )
    result = run("train", "small.yaml")
    assert result.exit_code == 0, result.output
    assert "test/accuracy" in result.stdout
    speed = r"\n[\d,]+ training images per second, [\d.e-]+ s .*, [\d,]+ MiB of memory"
    assert re.search(speed, result.stdout)
    table = run("compare", "small", "--format", "csv")
    assert table.exit_code == 0, table.output
    assert "as-written" in table.stdout


def test_list_shows_installed_kinds_and_what_is_wrong_with_them(
    run: Run, write_modules: Callable[..., Path]
) -> None:
    text = """
        from dynaloss.studies.components import ComponentKind
        FAST = ComponentKind(name="fast", description="a high rate", on={}, off={})
        """
    files = {"own_fast.py": text, "own_broken.py": "raise OSError('no disk')"}
    entries = {"fast": "own_fast:FAST", "broken": "own_broken:B", "margin": "own_fast:FAST"}
    write_modules(files, {"dynaloss.components": entries})
    result = run("list")
    assert result.exit_code == 0, result.stderr
    lines = [line.split(None, 1) for line in result.stdout.splitlines()]
    start = next(i for i, line in enumerate(lines) if line[1:] == ["(ablation.components):"])
    shown = {first: i for i, (first, *_) in enumerate(lines[start:], start)}
    assert lines[shown["fast"]] == ["fast", "a high rate"]
    assert lines[shown["fast"] + 1] == ["from", "own_fast:FAST"]
    assert "OSError: no disk" in lines[shown["broken"] + 1][1]
    assert "margin per class" in lines[shown["margin"]][1]
    assert "is named 'margin'" in " ".join(lines[shown["margin"] + 2])


def test_a_changed_setting_makes_a_study_of_its_own_name(run: Run) -> None:
    options = ("--set", "schedule.epochs=20", "--set", "optimizer.lr=1e-2", "--plan")
    plain = json.loads(run("ablate", "quickstart", "--plan", "--format", "json").stdout)
    changed = run("ablate", "quickstart", *options, "--format", "json")
    assert changed.exit_code == 0, changed.output
    assert "study quickstart-epochs-20-lr-0.01: quickstart with " in changed.stderr
    found = json.loads(changed.stdout)
    assert found["study"] == "quickstart-epochs-20-lr-0.01"
    assert len(found["trials"]) == len(plain["trials"])
    assert not {one["key"] for one in found["trials"]} & {one["key"] for one in plain["trials"]}


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ("schedule.epoch=5", "'schedule.epoch' is not a setting of the trial; did you mean"),
        ("epochs", "--set must be KEY=VALUE, but got 'epochs'"),
        ("schedule.epochs=many", "schedule.epochs"),
    ],
)
def test_a_change_that_cannot_be_is_refused(run: Run, change: str, problem: str) -> None:
    done = run("ablate", "quickstart", "--set", change)
    assert (done.exit_code, problem in done.stderr) == (2, True), done.stderr


@pytest.mark.parametrize("name", main.commands)
def test_help_fits_80_columns_and_has_an_example_that_can_be_given(name: str) -> None:
    shown = CliRunner().invoke(main, [name, "--help"], terminal_width=80)
    assert shown.exit_code == 0
    assert max(map(len, shown.stdout.splitlines())) <= 80
    (example,) = re.findall(
        r"^  Example: dynaloss (.+?)\n\n", shown.stdout, re.MULTILINE | re.DOTALL
    )
    command, *arguments = shlex.split(example.partition(" > ")[0])
    assert command == name
    main.commands[name].make_context(name, arguments)
