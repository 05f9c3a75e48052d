"""How far the gradient of a loss's parameters is from that in float64, as a trial trains.

    python benchmarks/exactness.py [--epochs 40] [--output FILE]

Trials on the digits with 40 % noise and imbalance factor 10 train as ever. At the first eight meta
steps of some of their epochs, the hypergradient is computed again, on the same batch and the same
pseudo-labels: in float64, which the others are compared with; in float32; with the network's
passes in bfloat16; and by the step of the last linear layer alone (`hypergradient: head`). Shown
are the length of the difference relative to the float64 one, and for `head` the cosine with it:
medians over the batches of an epoch, the lowest and the highest over the epochs.
"""

from __future__ import annotations

import argparse
import copy
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import product
from pathlib import Path
from statistics import median
from typing import Any, TypeAlias

import torch
from machine import describe
from torch import Tensor, nn
from torch.nn.functional import cosine_similarity

from dynaloss.config import TrialConfig
from dynaloss.data.sources import load_source
from dynaloss.execution.trial.assembly import assemble_trial
from dynaloss.learning import Hypergradient, LookAheadProblem, hypergradient
from dynaloss.learning.meta.hypergradient import HYPERGRADIENTS
from dynaloss.learning.models.heads import last_linear

OUTPUT = Path(__file__).parent / "results" / "tables" / "exactness.json"
LOSSES, MODELS = ("dynamic", "meta_weight_net"), ("small_cnn", "resnet8")
BATCHES = 8
Row: TypeAlias = dict[str, float]


def flat(gradients: Sequence[Tensor]) -> Tensor:
    """All gradients as one vector in float64."""
    return torch.cat([gradient.flatten().double() for gradient in gradients])


def with_labels(problem: LookAheadProblem, loss: nn.Module) -> Callable[[Tensor], Tensor]:
    """The inner loss by `loss`, a copy of the trial's, whose pseudo-labels are drawn once."""
    inner: Any = problem.inner_loss
    own, generator = inner.func.__self__, inner.keywords["generator"]
    if hasattr(own, "_pseudo_labels_of"):
        state = generator.get_state()
        with torch.no_grad():
            drawn = own._pseudo_labels_of(problem.model(problem.inputs), generator)
        generator.set_state(state)
        copied: Any = loss
        copied._pseudo_labels_of = lambda logits, _: None if drawn is None else drawn.to(logits)
    found: Any = loss
    return partial(found.look_ahead_loss, **inner.keywords)


def copied(problem: LookAheadProblem, dtype: torch.dtype) -> LookAheadProblem:
    """The same problem on copies of classifier and loss of a precision."""
    inner: Any = problem.inner_loss
    model = copy.deepcopy(problem.model).to(dtype)
    loss = copy.deepcopy(inner.func.__self__).to(dtype)
    (group,) = problem.look_ahead
    return replace(
        problem,
        model=model,
        network=None,
        inputs=problem.inputs.to(dtype),
        inner_loss=with_labels(problem, loss),
        outer_inputs=problem.outer_inputs.to(dtype),
        loss_parameters=[phi for phi in loss.parameters() if phi.requires_grad],
        look_ahead=[
            replace(
                group,
                weights=dict(model.named_parameters()),
                buffers={name: buffer.to(dtype) for name, buffer in group.buffers.items()},
            )
        ],
    )


def by_head(problem: LookAheadProblem) -> LookAheadProblem:
    """The problem with a step of the last linear layer alone."""
    (group,) = problem.look_ahead
    head = {id(weight) for weight in last_linear(problem.model).parameters()}
    weights = {name: weight for name, weight in group.weights.items() if id(weight) in head}
    for weight in problem.model.parameters():
        weight.requires_grad_(id(weight) in head)
    buffers = {name: group.buffers[name] for name in weights if name in group.buffers}
    return replace(problem, look_ahead=[replace(group, weights=weights, buffers=buffers)])


def compared(problem: LookAheadProblem) -> Row:
    """Differences of one meta step."""
    single = partial(copied, problem, torch.float32)
    half = partial(torch.autocast, "cpu", torch.bfloat16)
    exact = flat(hypergradient(copied(problem, torch.float64)).gradients)
    others = {
        "float32": single(),
        "bfloat16": replace(single(), precision=half),
        "head": by_head(single()),
    }
    found = {way: flat(hypergradient(one).gradients) for way, one in others.items()}
    apart = {way: float((one - exact).norm() / exact.norm()) for way, one in found.items()}
    return {**apart, "cosine": float(cosine_similarity(found["head"], exact, dim=0))}


def trained(loss: str, model: str, epochs: int) -> list[Row]:
    """Medians over the batches of each epoch that is looked at."""
    config = TrialConfig.model_validate(
        {
            "data": {"noise": {"rate": 0.4}, "imbalance_factor": 10},
            "loss": {"name": loss},
            "model": {"name": model},
            "schedule": {"epochs": epochs, "batch_size": 64, "warmup_epochs": 2, "ramp_epochs": 2},
        }
    )
    looked_at = [3, epochs // 4, epochs // 2, epochs - 1]
    rows: list[Row] = []

    def watched(problem: LookAheadProblem) -> Hypergradient:
        if trainer.epoch in looked_at and len(rows) < BATCHES:
            rows.append(compared(problem))
        return hypergradient(problem)

    HYPERGRADIENTS["forward"] = watched
    source, device = load_source(config.data), torch.device("cpu")
    trial = assemble_trial(config, seed=1, base_seed=0, source=source, device=device)
    trainer, found = trial.trainer, []
    for _ in trainer.epochs():
        if rows:
            found.append({name: median(row[name] for row in rows) for name in rows[0]})
            rows.clear()
    HYPERGRADIENTS["forward"] = hypergradient
    return found


def table(rows: Sequence[Mapping[str, Any]], epochs: int) -> list[str]:
    """The rows in Markdown."""
    lines = [
        "| loss, model | float32 | `precision: bfloat16` | `head`: difference | `head`: cosine |",
        "|---|---|---|---|---|",
    ]
    for row in rows:
        spans = [
            f"{min(values):.2g} to {max(values):.2g}"
            for name in ("float32", "bfloat16", "head", "cosine")
            if (values := [one[name] for one in row["medians"]])
        ]
        lines.append(f"| `{row['loss']}`, `{row['model']}` | {' | '.join(spans)} |")
    return [
        *lines,
        "",
        f"Digits, 40 % noise, imbalance factor 10, {epochs} epochs, seed 1: medians over "
        f"{BATCHES} batches after 3, a quarter, half and all but one of the epochs; the lowest "
        "and the highest.<br>",
    ]


def main() -> None:
    """Trains, prints the table and writes it with its numbers."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", type=int, default=40)
    parser.add_argument("--output", type=Path, default=OUTPUT)
    options = parser.parse_args()
    torch.set_num_threads(1)
    made = describe()
    rows = [
        {"loss": loss, "model": model, "medians": trained(loss, model, options.epochs)}
        for loss, model in product(LOSSES, MODELS)
    ]
    content = {"table": table(rows, options.epochs), "rows": rows, **made}
    print("\n".join(content["table"]))
    options.output.write_text(json.dumps(content, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
