"""Time and memory of one meta step by way of computing the hypergradient, against two peers.

    python benchmarks/meta_step.py [--case MODEL:BATCH ...] [--json FILE] [--repeats N]
                                   [--device cpu|cuda] [--clock wall|cpu] [--profile]

The kept numbers, which docs/training.md shows, are those of
`--repeats 3 --clock cpu --profile --json benchmarks/results/tables/meta_step.json`.

Every variant runs the same step on the same tensors: look-ahead, outer loss, hypergradient with
respect to a label corrector and a margin generator. `plain` is an ordinary training step without
its optimiser: one forward and one backward pass. Times are medians of interleaved repeats;
memory is the peak above the state before the first step, each variant in a process of its own
(CUDA: the allocator's peak; CPU: the peak resident size). `--clock cpu` counts processor time,
which is what to use with one thread on a machine that does other work as well. `--profile` adds
where the time of `plain` and `forward` goes, by operator. `higher` (Grefenstette et al.,
"Generalized Inner Loop Meta-Learning", arXiv 1910.01727) is used as its documentation means it to
be, so it also tracks the gradient for the initial weights; without the package its row is left
out. `mixed` is mixed-mode differentiation as in MixFlow-MG (Kemaev et al., ICML 2025,
arXiv 2505.00793) by `torch.func`: the derivative in forward mode of the loss's gradient in reverse
mode, for any loss, without what the first pass has computed.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any, TypeAlias

import torch
from machine import describe
from torch.func import functional_call, grad, jvp
from torch.nn import functional as F

from dynaloss.config import ModelConfig
from dynaloss.learning import (
    DynamicLoss,
    Hypergradient,
    LookAhead,
    LookAheadProblem,
    hypergradient,
)
from dynaloss.learning.meta.hypergradient import batch_statistics, unrolled_hypergradient
from dynaloss.learning.models.building import build_model
from dynaloss.learning.models.heads import last_linear

SHAPES = {"small_cnn": (1, 8, 8), "resnet8": (3, 32, 32), "resnet32": (3, 32, 32)}
CASES = ["small_cnn:128", "small_cnn:512", "resnet32:128", "resnet32:512"]
CLOCKS = {"wall": time.perf_counter, "cpu": time.process_time}
C, R = 10, 100
Weights: TypeAlias = dict[str, torch.Tensor]
LR, MOMENTUM, WEIGHT_DECAY = 0.1, 0.9, 5e-4


class Problem:
    """One training batch, one metadata batch, a classifier and a loss on a device."""

    def __init__(self, case: str, device: str) -> None:
        model, batch = case.split(":")[0], int(case.split(":")[1])
        shape = SHAPES[model]
        generator = torch.Generator().manual_seed(0)
        draw = partial(torch.randn, batch, *shape, generator=generator)
        self.inputs, self.outer_inputs = draw().to(device), draw().to(device)
        labels = partial(torch.randint, C, (batch,), generator=generator)
        self.labels, self.outer_labels = labels().to(device), labels().to(device)
        self.ranks = torch.randint(R, (batch,), generator=generator).to(device)
        self.pseudo = F.one_hot(labels(), C).float().to(device)
        self.model = build_model(
            ModelConfig(name=model), input_shape=shape, num_classes=C, seed=0
        ).to(device)
        self.loss = DynamicLoss(num_classes=C).to(device)
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


def exact(problem: Problem, way: Callable[[LookAheadProblem], Hypergradient]) -> object:
    """The hypergradient in one of our exact ways."""
    step = LookAheadProblem(
        model=problem.model,
        inputs=problem.inputs,
        inner_loss=problem.inner,
        outer_inputs=problem.outer_inputs,
        outer_loss=problem.outer,
        loss_parameters=list(problem.loss.parameters()),
        look_ahead=[
            LookAhead(
                weights={n: w for n, w in problem.model.named_parameters() if w.requires_grad},
                lr=LR,
                momentum=MOMENTUM,
                weight_decay=WEIGHT_DECAY,
                buffers=problem.buffers,
            )
        ],
    )
    return way(step)


def head(problem: Problem) -> object:
    """The look-ahead step on the last linear layer alone: not exact."""
    problem.model.requires_grad_(False)
    last_linear(problem.model).requires_grad_(True)
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


def mixed(problem: Problem) -> object:
    """The same hypergradient by forward mode over reverse mode, both by `torch.func`."""
    weights = {name: weight.detach() for name, weight in problem.model.named_parameters()}
    phi = {name: value.detach() for name, value in problem.loss.named_parameters()}
    of_loss = (problem.labels, problem.ranks, problem.pseudo)

    def inner(weights: Weights, phi: Weights) -> torch.Tensor:
        logits = functional_call(problem.model, weights, problem.inputs)
        loss: torch.Tensor = functional_call(problem.loss, phi, (logits, *of_loss))
        return loss

    def outer(weights: Weights) -> torch.Tensor:
        return problem.outer(functional_call(problem.model, weights, problem.outer_inputs))

    with batch_statistics(problem.model):
        gradients = grad(inner)(weights, phi)
        step = LookAhead(
            weights=weights,
            lr=LR,
            momentum=MOMENTUM,
            weight_decay=WEIGHT_DECAY,
            buffers=problem.buffers,
        )
        direction = grad(outer)(step.step(gradients))
        by_phi = grad(inner, argnums=1)
        _, tangents = jvp(lambda weights: by_phi(weights, phi), (weights,), (direction,))
    return [-LR * tangents[name] for name in phi]


STEPS: dict[str, Callable[[Problem], object]] = {
    "plain": plain,
    "forward": partial(exact, way=hypergradient),
    "unrolled": partial(exact, way=unrolled_hypergradient),
    "head": head,
    "mixed": mixed,
    "higher": with_higher,
}


def synchronize(device: str) -> None:
    """Waits for the device."""
    if device == "cuda":
        torch.cuda.synchronize()


def median_seconds(
    case: str, variants: list[str], options: argparse.Namespace
) -> dict[str, float]:
    """Median seconds of a step by variant, repeats interleaved; the first one warms up."""
    clock = CLOCKS[options.clock]
    problem = Problem(case, options.device)
    seconds: dict[str, list[float]] = {variant: [] for variant in variants}
    for _ in range(options.repeats + 1):
        for variant in variants:
            synchronize(options.device)
            started = clock()
            STEPS[variant](problem)
            synchronize(options.device)
            seconds[variant].append(clock() - started)
    return {variant: statistics.median(times[1:]) for variant, times in seconds.items()}


def by_operator(case: str, variant: str, device: str) -> dict[str, float]:
    """Milliseconds of a step by operator, the eight largest and the rest."""
    problem = Problem(case, device)
    STEPS[variant](problem)
    with torch.profiler.profile() as profiler:
        STEPS[variant](problem)
        synchronize(device)
    on_device = "self_device_time_total" if device == "cuda" else "self_cpu_time_total"
    times = {event.key: getattr(event, on_device) / 1e3 for event in profiler.key_averages()}
    largest = dict(sorted(times.items(), key=lambda item: -item[1])[:8])
    return largest | {"rest": sum(times.values()) - sum(largest.values())}


def resident_peak() -> int:
    """Peak resident size of this process in bytes, as Linux counts it."""
    status = Path("/proc/self/status").read_text()
    return 1024 * next(int(li.split()[1]) for li in status.splitlines() if li.startswith("VmHWM"))


def _peak(connection: object, case: str, variant: str, device: str) -> None:
    # What a first step imports and builds once is not its memory.
    STEPS[variant](Problem(f"{case.split(':')[0]}:4", device))
    problem = Problem(case, device)
    if device == "cuda":
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
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


def peak_mib(case: str, variant: str, device: str) -> float:
    """Peak memory of one step in MiB above the state before it, in a new process."""
    receiver, sender = multiprocessing.Pipe(duplex=False)
    context = multiprocessing.get_context("spawn")
    process = context.Process(target=_peak, args=(sender, case, variant, device))
    process.start()
    peak: float = receiver.recv()
    process.join()
    return peak


def measure(case: str, variants: list[str], options: argparse.Namespace) -> dict[str, object]:
    """The rows of one case, printed as they come."""
    seconds = median_seconds(case, variants, options)
    memory = {variant: peak_mib(case, variant, options.device) for variant in variants}
    rows = [
        {
            "variant": variant,
            "milliseconds": round(1e3 * seconds[variant], 2),
            "times_plain": round(seconds[variant] / seconds["plain"], 3),
            "peak_mib": round(memory[variant], 1),
            "peak_above_plain_mib": round(memory[variant] - memory["plain"], 1),
        }
        for variant in variants
    ]
    for row in rows:
        print(
            f"{case:16}{row['variant']:10}{row['milliseconds']:9.1f}{row['times_plain']:9.2f}"
            f"{row['peak_mib']:10.0f}{row['peak_above_plain_mib']:12.0f}",
            flush=True,
        )
    result: dict[str, object] = {"case": case, "rows": rows}
    if options.profile:
        profiles = {v: by_operator(case, v, options.device) for v in ("plain", "forward")}
        result["milliseconds_by_operator"] = profiles
        for variant, times in profiles.items():
            print(f"{case:16}{variant}: " + ", ".join(f"{k} {t:.1f}" for k, t in times.items()))
    return result


def table(cases: Sequence[Mapping[str, Any]], clock: str) -> list[str]:
    """The cases as a table in Markdown: each way relative to a plain step, and to the peers."""
    ways = [row["variant"] for row in cases[0]["rows"][1:]]
    peers = [way for way in ("mixed", "higher") if way in ways]
    columns = ["model, batch", *ways, *(f"forward / {p}: time, memory" for p in peers)]
    lines = [f"| {' | '.join(columns)} |", "|---" * len(columns) + "|"]
    for case in cases:
        rows = {row["variant"]: row for row in case["rows"]}
        cells = [
            f"{rows[way]['times_plain']:.2f} ({rows[way]['peak_mib']:.0f} MiB)" for way in ways
        ]
        for peer in peers:
            time, memory = (
                rows["forward"][k] / rows[peer][k] for k in ("milliseconds", "peak_mib")
            )
            cells.append(f"{time:.2f}, {memory:.2f}")
        model, batch = case["case"].split(":")
        lines.append(f"| `{model}`, {batch} | {' | '.join(cells)} |")
    unit = {"cpu": "processor", "wall": "wall"}[clock]
    return [
        *lines,
        "",
        f"Times a plain step (forward and backward pass), medians by {unit} time, and peak memory "
        "above the state before the step.<br>",
    ]


def main() -> None:
    """Parses the arguments, measures and writes the result after every case."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--case", action="append", help="MODEL:BATCH; all four unless given")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--clock", choices=CLOCKS, default="wall")
    parser.add_argument("--profile", action="store_true", help="add the time by operator")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    variants = [v for v in STEPS if v != "higher" or find_spec("higher") is not None]
    environment = describe(options.device) | {"repeats": options.repeats, "clock": options.clock}
    print(json.dumps(environment))
    print(f"{'case':16}{'variant':10}{'ms':>9}{'x plain':>9}{'peak MiB':>10}{'above plain':>12}")
    cases: list[dict[str, object]] = []
    for case in options.case or CASES:
        cases.append(measure(case, variants, options))
        if options.json:
            options.json.parent.mkdir(parents=True, exist_ok=True)
            content = {"table": table(cases, options.clock), "cases": cases, **environment}
            options.json.write_text(json.dumps(content, indent=1) + "\n")


if __name__ == "__main__":
    main()
