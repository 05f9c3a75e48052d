"""The example of a training loop of one's own."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import torch
from torch import nn

import dynaloss.learning

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "examples" / "own_loop.py"
DOCUMENT = (ROOT / "docs" / "own-loop.md").read_text("utf-8")
LINES = SCRIPT.read_text("utf-8").splitlines()
MARKED = [line for line in LINES if line.endswith("# +")]


def test_loss_meta_step_and_metadata_take_at_most_twenty_lines() -> None:
    assert 0 < len(MARKED) <= 20
    for document in (DOCUMENT, (ROOT / "README.md").read_text("utf-8")):
        assert f"with {len(MARKED)} lines" in document.replace("\n", " ")


def test_every_line_that_needs_dynaloss_is_marked() -> None:
    needs = re.compile(rf"\b({'|'.join(dynaloss.learning.__all__)}|(loss|meta)\.\w+|ranks)\b")
    needing = [line for line in LINES if needs.search(line)]
    assert len(needing) >= 8
    assert {*needing} <= {*MARKED}


def test_the_loop_of_the_documentation_trains_model_and_loss() -> None:
    (code,) = re.findall(r"^```python\n(.*?)^```", DOCUMENT, re.MULTILINE | re.DOTALL)
    generator = torch.Generator().manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(16, 10))
    weights = model[1].weight.detach().clone()
    names = {
        "model": model,
        "images": torch.randn(150, 1, 4, 4, generator=generator),
        "labels": torch.arange(150) % 10,
        "augment": lambda images: images.flip(3),
    }
    with torch.random.fork_rng():
        exec(compile(code, "own-loop.md", "exec"), names)
    assert not torch.equal(model[1].weight, weights)
    fresh = dynaloss.learning.DynamicLoss(
        num_classes=10, corrector={"ranks": 10, "per_class": False}
    )
    assert not torch.equal(names["loss"].margins(), fresh.margins())


def test_the_loss_beats_cross_entropy_on_the_example() -> None:
    done = subprocess.run(
        [sys.executable, SCRIPT, "1", "20"], capture_output=True, text=True, check=True
    )
    found = {
        name: float(accuracy)
        for name, accuracy in re.findall(r"^(.+): ([\d.]+) % of 450", done.stdout, re.MULTILINE)
    }
    assert {*found} == {"cross-entropy", "Dynamic Loss"}
    assert found["Dynamic Loss"] > max(60, found["cross-entropy"])
