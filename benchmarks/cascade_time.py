"""Time per training step of MLAAN's cascades (k=3, no leaps) on ResNet-32, K=16, batch 128: engine against naive loop.

Target: the engine at most 0.5 of the naive loop's time, float32, contiguous; channels_last is reported beside it. The
naive loop is what the paper's code does: every module runs once for its own loss and k times for the cascades over it,
and every loss is differentiated from scratch; same network, losses and optimiser (one over all parameters, as there).
Before anything is timed, one step of both must give the same weights. Rows take turns, and the ratio is the median over
rounds of the two times of a round, as in ``step_time.py``. The numbers of convolutions say where the difference comes
from; they are exact.

All rows run as ``localgrad train`` runs on the CPU: the C library keeps freed memory in the process
(``localgrad.keep_freed_memory``). --give-memory-back leaves that to the C library.

    python benchmarks/cascade_time.py [--rounds 20] [--batch 128] [--threads 2] [--give-memory-back] [--out FILE.md]
"""

import argparse
import copy
import platform
import sys
from collections import Counter
from datetime import date
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

import localgrad as lg
from localgrad.cost import StepTime, step_times

BURST = 2
TARGET = 0.5


class Loop(Protocol):
    """What is timed."""

    def step(self, batch: lg.Batch) -> object: ...


class Naive:
    """The paper's loop: every cascade from its detached input, one optimiser step after all of them."""

    def __init__(self, net: lg.LocalNetwork) -> None:
        self.net = net.train()
        self.units = net.unit_list()
        self.optimizer = lg.SGD(lr=0.1)([p for p in net.parameters() if p.requires_grad])

    def step(self, batch: lg.Batch) -> list[Tensor]:
        """One step; the loss of every module."""
        self.optimizer.zero_grad(set_to_none=True)
        x = y = batch.x
        losses = []
        for last, unit in enumerate(self.units):
            x = unit.body(x)
            total = x.new_zeros(())
            for objective in unit.spec.objectives:
                z = x
                if objective.reach > 1:
                    first, *rest = self.units[last - objective.reach + 1 : last + 1]
                    z = y = first.body(y)
                    for other in rest:
                        z = other.body(z)
                outputs = unit.auxnets[objective.name](z)
                named = {"logits": outputs} if isinstance(outputs, Tensor) else outputs
                total = total + objective.weight * objective.loss(named, batch)["ce"]
            total.backward()
            losses.append(total.detach())
            x, y = x.detach(), y.detach()
        self.optimizer.step()
        return losses


class CountConvolutions(TorchDispatchMode):
    """Convolutions by what they compute: forward, gradient of the input, of the weight, of both."""

    def __init__(self) -> None:
        super().__init__()
        self.counts: Counter[str] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is torch.ops.aten.convolution.default:
            self.counts["forward"] += 1
        if func is torch.ops.aten.convolution_backward.default:
            wants_input, wants_weight, _ = args[10]
            self.counts["input"] += wants_input
            self.counts["weight"] += wants_weight
        return func(*args, **(kwargs or {}))


def make(kind: str, channels_last: bool) -> Loop:
    """A fresh loop; all start from the same weights."""
    net = lg.localize(lg.backbones.resnet32(), lg.methods.MLAAN(cascade=3, leaps=False), modules=16)
    if channels_last:
        net.to(memory_format=torch.channels_last)
    return Naive(net) if kind == "naive loop" else lg.Sequential(net, lg.SGD(lr=0.1))


def check_equal(batch: lg.Batch) -> float:
    """The largest difference of weights after one step of both in float64; raises if it is more than rounding."""
    net = lg.localize(lg.backbones.resnet32(), lg.methods.MLAAN(cascade=3, leaps=False), modules=16).double()
    nets = [net, copy.deepcopy(net)]
    few = lg.Batch(x=batch.x[:8].double(), y=batch.y[:8])
    lg.Sequential(nets[0], lg.SGD(lr=0.1)).step(few)
    Naive(nets[1]).step(few)
    ours, naive = (torch.nn.utils.parameters_to_vector(net.parameters()).detach() for net in nets)
    difference = float((ours - naive).abs().max())
    if difference > 1e-10:
        raise SystemExit(f"engine and naive loop train differently: weights differ by {difference:.1e} after one step.")
    return difference


def measure(rounds: int, batch_size: int) -> list[str]:
    """Rows of a Markdown table; all four loops take turns."""
    images = torch.randn(batch_size, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    batch = lg.Batch(x=images, y=torch.arange(batch_size) % 10)
    difference = check_equal(batch)
    loops: dict[str, Any] = {
        f"{kind}, {layout}": make(kind, layout == "channels_last")
        for layout in ("contiguous", "channels_last")
        for kind in ("naive loop", "engine")
    }
    few = lg.Batch(x=images[:2], y=batch.y[:2])
    counts: dict[str, Counter[str]] = {}
    for kind in ("naive loop", "engine"):
        with CountConvolutions() as counting:
            make(kind, False).step(few)
        counts[kind] = counting.counts
    times = step_times(loops, batch, repeats=rounds, warmup=1, burst=BURST)
    rows = [
        "| row | ms/step, median (quartiles) | to the naive loop | target | convolutions forward, input, weight |",
        "|---|---|---|---|---|",
    ]
    rows += [row_text(name, found, times, counts) for name, found in times.items()]
    return [*rows, "", f"Weights after one step in float64 differ by at most {difference:.1e}."]


def row_text(name: str, found: StepTime, times: dict[str, StepTime], counts: dict[str, Counter[str]]) -> str:
    """One row; the ratio is a median over the rounds."""
    kind, layout = name.split(", ")
    ratio = found.ratio(times[f"naive loop, {layout}"])
    low, high = found.quartiles
    target = ""
    if name == "engine, contiguous":
        target = f"{TARGET} {'met' if ratio <= TARGET else 'MISSED'}"
    called = ", ".join(str(counts[kind][what]) for what in ("forward", "input", "weight"))
    return (
        f"| {name} | {1e3 * found.median:.0f} ({1e3 * low:.0f}-{1e3 * high:.0f}) | {ratio:.3f} | {target} | {called} |"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--give-memory-back", action="store_true")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    if not options.give_memory_back and not lg.keep_freed_memory():
        raise SystemExit("this C library cannot be told to keep freed memory: give --give-memory-back.")
    torch.set_num_threads(options.threads)
    rows = measure(options.rounds, options.batch)
    conditions = (
        f"MLAAN, cascades of 3, no leaps, plain heads; ResNet-32, K=16 (15 modules), batch {options.batch}, SGD with "
        f"Nesterov momentum (naive loop: one optimiser, engine: one per unit), float32, {options.rounds} interleaved "
        f"rounds of {BURST} steps; {platform.machine()} CPU, {options.threads} threads, torch {torch.__version__}, "
        f"localgrad {lg.__version__}, {date.today().isoformat()}; seed 0, random images; freed memory "
        f"{'goes as the C library has it' if options.give_memory_back else 'stays with the process'}. "
        f"Command: `python {' '.join(sys.argv)}`."
    )
    text = "\n".join(["# Time per training step of cascades on the CPU", "", conditions, "", *rows, ""])
    print(text)
    if options.out is not None:
        options.out.write_text(text)


if __name__ == "__main__":
    main()
