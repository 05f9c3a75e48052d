"""Time and memory of one meta step by way of computing the hypergradient, against `higher`.

    python benchmarks/meta_step.py [--json FILE] [--repeats N] [--device cpu|cuda]

Every variant runs the same step on the same tensors: look-ahead, outer loss, hypergradient with
respect to a label corrector and a margin generator. `plain` is an ordinary training step without
its optimiser: one forward and one backward pass. Times are medians of interleaved repeats;
memory is the peak above the state before the first step, each variant in a process of its own
(CUDA: the allocator's peak; CPU: the peak resident size). `higher` (Grefenstette et al.,
"Generalized Inner Loop Meta-Learning", arXiv 1910.01727) is used as its documentation means it to
be, so it also tracks the gradient for the initial weights; without the package its row is left
out.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import platform
import statistics
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
from torch.nn import functional as F

from dynaloss.learning.dynamic_loss import DynamicLoss, LabelCorrector, MarginGenerator
from dynaloss.learning.hypergradient import (
    LookAhead,
    batch_statistics,
    hypergradient,
    unrolled_hypergradient,
)
from dynaloss.learning.models import build_model

CASES = [
    ("small_cnn", (1, 8, 8), 128),
    ("small_cnn", (1, 8, 8), 512),
    ("resnet32", (3, 32, 32), 128),
    ("resnet32", (3, 32, 32), 512),
]
VARIANTS = ("plain", "forward", "unrolled", "head", "higher")
C, R = 10, 100
LR, MOMENTUM, WEIGHT_DECAY = 0.1, 0.9, 5e-4


class Problem:
    """One training batch, one metadata batch, a classifier and a loss on a device."""

    def __init__(self, model: str, shape: tuple[int, int, int], batch: int, device: str) -> None:
        generator = torch.Generator().manual_seed(0)
        draw = partial(torch.randn, batch, *shape, generator=generator)
        self.inputs, self.outer_inputs = draw().to(device), draw().to(device)
        labels = partial(torch.randint, C, (batch,), generator=generator)
        self.labels, self.outer_labels = labels().to(device), labels().to(device)
        self.ranks = torch.randint(R, (batch,), generator=generator).to(device)
        self.pseudo = F.one_hot(labels(), C).float().to(device)
        self.model = build_model(model, input_shape=shape, num_classes=C, seed=0).to(device)
        corrector = LabelCorrector(num_ranks=R, num_classes=C, per_class=True)
        self.loss = DynamicLoss(
            corrector=corrector,
            margin=MarginGenerator(num_classes=C),
            pseudo_labels="sampled",
            margin_in_finetune=True,
        ).to(device)
        self.buffers = {n: 0.01 * torch.randn_like(w) for n, w in self.model.named_parameters()}

    def inner(self, logits: torch.Tensor) -> torch.Tensor:
        """The training loss with the parts that phi acts on."""
        loss: torch.Tensor = self.loss(logits, self.labels, self.ranks, self.pseudo)
        return loss

    def outer(self, logits: torch.Tensor) -> torch.Tensor:
        """Cross-entropy on the metadata."""
        return F.cross_entropy(logits, self.outer_labels)


def plain(problem: Problem) -> object:
    """One forward and one backward pass."""
    problem.model.zero_grad(set_to_none=True)
    F.cross_entropy(problem.model(problem.inputs), problem.labels).backward()
    return None


def exact(problem: Problem, way: Callable[..., object]) -> object:
    """The hypergradient in one of our exact ways."""
    look_ahead = LookAhead(
        lr=LR, momentum=MOMENTUM, weight_decay=WEIGHT_DECAY, buffers=problem.buffers
    )
    return way(
        problem.model,
        problem.inputs,
        problem.inner,
        problem.outer_inputs,
        problem.outer,
        list(problem.loss.parameters()),
        look_ahead,
    )


def head(problem: Problem) -> object:
    """The look-ahead step on the last linear layer alone: not exact."""
    for name, weight in problem.model.named_parameters():
        weight.requires_grad_(name.startswith("head"))
    result = exact(problem, hypergradient)
    problem.model.requires_grad_(True)
    return result


def with_higher(problem: Problem) -> object:
    """The same hypergradient by `higher`."""
    import higher

    optimizer = torch.optim.SGD(
        problem.model.parameters(), lr=LR, momentum=MOMENTUM, weight_decay=WEIGHT_DECAY
    )
    for name, weight in problem.model.named_parameters():
        optimizer.state[weight]["momentum_buffer"] = problem.buffers[name]
    with (
        batch_statistics(problem.model),
        higher.innerloop_ctx(problem.model, optimizer) as (fast_model, fast_optimizer),
    ):
        fast_optimizer.step(problem.inner(fast_model(problem.inputs)))
        outer = problem.outer(fast_model(problem.outer_inputs))
        phi = list(problem.loss.parameters())
        return torch.autograd.grad(outer, [*phi, *fast_model.parameters(time=0)])[: len(phi)]


STEPS: dict[str, Callable[[Problem], object]] = {
    "plain": plain,
    "forward": partial(exact, way=hypergradient),
    "unrolled": partial(exact, way=unrolled_hypergradient),
    "head": head,
    "higher": with_higher,
}


def synchronize(device: str) -> None:
    """Waits for the device."""
    if device == "cuda":
        torch.cuda.synchronize()


def median_seconds(
    case: tuple[str, tuple[int, int, int], int], variants: list[str], device: str, repeats: int
) -> dict[str, float]:
    """Median seconds of a step by variant, repeats interleaved; the first one warms up."""
    problem = Problem(*case, device)
    seconds: dict[str, list[float]] = {variant: [] for variant in variants}
    for _ in range(repeats + 1):
        for variant in variants:
            synchronize(device)
            started = time.perf_counter()
            STEPS[variant](problem)
            synchronize(device)
            seconds[variant].append(time.perf_counter() - started)
    return {variant: statistics.median(times[1:]) for variant, times in seconds.items()}


def resident_peak() -> int:
    """Peak resident size of this process in bytes, as Linux counts it."""
    status = Path("/proc/self/status").read_text()
    return 1024 * next(int(li.split()[1]) for li in status.splitlines() if li.startswith("VmHWM"))


def _peak(
    connection: object, case: tuple[str, tuple[int, int, int], int], variant: str, device: str
) -> None:
    problem = Problem(*case, device)
    if device == "cuda":
        torch.cuda.synchronize()
        before = torch.cuda.memory_allocated()
        STEPS[variant](problem)
        torch.cuda.synchronize()
        peak = torch.cuda.max_memory_allocated() - before
    else:
        Path("/proc/self/clear_refs").write_text("5")  # sets the peak back to the present size
        before = resident_peak()
        STEPS[variant](problem)
        peak = resident_peak() - before
    connection.send(peak / 2**20)  # type: ignore[attr-defined] # a multiprocessing connection


def peak_mib(case: tuple[str, tuple[int, int, int], int], variant: str, device: str) -> float:
    """Peak memory of one step in MiB above the state before it, in a new process."""
    receiver, sender = multiprocessing.Pipe(duplex=False)
    context = multiprocessing.get_context("spawn")
    process = context.Process(target=_peak, args=(sender, case, variant, device))
    process.start()
    peak: float = receiver.recv()
    process.join()
    return peak


def measure(device: str, repeats: int, variants: list[str]) -> list[dict[str, object]]:
    """One row per case and variant; prints each as it comes."""
    rows: list[dict[str, object]] = []
    print(f"{'case':22}{'variant':10}{'ms':>9}{'x plain':>9}{'peak MiB':>10}{'above plain':>12}")
    for case in CASES:
        seconds = median_seconds(case, variants, device, repeats)
        memory = {variant: peak_mib(case, variant, device) for variant in variants}
        for variant in variants:
            row = {
                "model": case[0],
                "batch": case[2],
                "variant": variant,
                "milliseconds": 1e3 * seconds[variant],
                "times_plain": seconds[variant] / seconds["plain"],
                "peak_mib": memory[variant],
                "peak_above_plain_mib": memory[variant] - memory["plain"],
            }
            rows.append(row)
            print(
                f"{case[0] + ' ' + str(case[2]):22}{variant:10}{row['milliseconds']:9.1f}"
                f"{row['times_plain']:9.2f}{row['peak_mib']:10.0f}{row['peak_above_plain_mib']:12.0f}"
            )
    return rows


def main() -> None:
    """Parses the arguments, measures and writes the result."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    variants = [v for v in VARIANTS if v != "higher" or _has_higher()]
    environment = {
        "device": torch.cuda.get_device_name()
        if options.device == "cuda"
        else platform.processor(),
        "cpus": os.cpu_count(),
        "torch": torch.__version__,
        "torch_threads": torch.get_num_threads(),
        "python": platform.python_version(),
        "repeats": options.repeats,
    }
    print(json.dumps(environment))
    rows = measure(options.device, options.repeats, variants)
    if options.json:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps({"environment": environment, "rows": rows}, indent=1))


def _has_higher() -> bool:
    from importlib.util import find_spec

    return find_spec("higher") is not None


if __name__ == "__main__":
    main()
