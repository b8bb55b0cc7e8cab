"""Time per training step of ResNet-32, K=16, batch 128, on the CPU: local learning against backpropagation.

Targets: with 2 threads, channels_last, as a ratio to backpropagation in the same precision and format in the same
program: in float32 DGL at most 1.0, AugLocal d=2 at most 2.3, d=6 at most 2.8; in bfloat16, compiled where that is
faster, 1.05, 2.2 and 2.8. Rows take turns of a few steps each (the first step of a turn is not counted: it finds the
heap and the caches as another network left them), so that what else the machine does hits all rows alike; the ratio is
the median over rounds of the two times of a round. Plain rows run every operation on all threads, as backpropagation
does; "one optimiser" is Sequential(update="fused"); "units on N threads" is Sequential(workers=N), the same threads,
one unit each. Freed memory is kept, as `localgrad train` keeps it; --give-memory-back leaves that to the C library, as
a Python program does by itself. The last column is what the convolutions and BatchNorms of a step take alone
(``step_kernels.py``), as a ratio to the whole step of backpropagation: where it is above the target, no engine on these
kernels can meet it.

    python benchmarks/step_time.py [--rounds 20] [--batch 128] [--rows float32 bfloat16 bfloat16+compile]
        [--methods DGL "AugLocal d=2" "AugLocal d=6"] [--give-memory-back] [--out benchmarks/results/FILE.md]
"""

import argparse
import platform
import shlex
import sys
from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import Any

import torch
from step_kernels import kernel_seconds

import localgrad as lg
from localgrad.cost import StepTime, step_times
from localgrad.heap import keep_freed_memory

BURST = 4
CONTIGUOUS = "Backprop, contiguous float32"
MODES = ("float32", "bfloat16", "float32+compile", "bfloat16+compile")
TARGETS = {
    "float32": {"DGL": 1.0, "AugLocal d=2": 2.3, "AugLocal d=6": 2.8},
    "bfloat16": {"DGL": 1.05, "AugLocal d=2": 2.2, "AugLocal d=6": 2.8},
}
METHODS = {
    "Backprop": (lg.methods.Backprop(), None),
    "DGL": (lg.methods.DGL(), 16),
    "AugLocal d=2": (lg.methods.AugLocal(depth=2), 16),
    "AugLocal d=6": (lg.methods.AugLocal(depth=6), 16),
}
LOCAL = tuple(name for name in METHODS if name != "Backprop")


def make_loop(name: str, mode: str, channels_last: bool, **engine: Any) -> lg.Sequential:
    precision, _, compiled = mode.partition("+")
    method, modules = METHODS[name]
    net = lg.localize(lg.backbones.resnet32(), method, modules=modules)
    if channels_last:
        net.to(memory_format=torch.channels_last)
    return lg.Sequential(net, lg.SGD(lr=0.1), precision=precision, compile=bool(compiled), **engine)


def measure(
    rounds: int, batch_size: int, workers: int, modes: Sequence[str], methods: Sequence[str]
) -> tuple[list[str], list[str]]:
    """Rows of a Markdown table, and what ran eagerly in compiled rows.

    The loops of one mode take turns with both backpropagation rows.
    """
    images = torch.randn(batch_size, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    batch = lg.Batch(x=images.to(memory_format=torch.channels_last), y=torch.arange(batch_size) % 10)
    rows = [
        "| row | ms/step, median (quartiles) | to backprop in the same mode | to contiguous float32 | target "
        "| kernels alone |",
        "|---|---|---|---|---|---|",
    ]
    reasons: list[str] = []
    for number, mode in enumerate(modes):
        loops = {CONTIGUOUS: make_loop("Backprop", "float32", channels_last=False)}
        loops |= {f"{name}, {mode}": make_loop(name, mode, channels_last=True) for name in ("Backprop", *methods)}
        for name in methods:
            loops[f"{name}, {mode}, one optimiser"] = make_loop(name, mode, channels_last=True, update="fused")
            if "+" not in mode:  # threads and compiled units exclude each other
                row = f"{name}, {mode}, units on {workers} threads"
                loops[row] = make_loop(name, mode, channels_last=True, workers=workers)
        times = step_times(loops, batch, repeats=rounds, warmup=1, burst=BURST)
        for row, found in times.items():
            if row == CONTIGUOUS and number:
                continue
            same = times[CONTIGUOUS if row == CONTIGUOUS else f"Backprop, {mode}"]
            alone = (
                kernel_seconds(loops[row], batch) / same.median
                if loops[row].overlap is None and not loops[row].fused and "+" not in mode
                else None
            )
            rows.append(row_text(row, found, found.ratio(same), found.ratio(times[CONTIGUOUS]), alone))
            reasons += [f"{row}: {reason}" for reason in loops[row].reasons]
        print(f"{mode} done", file=sys.stderr, flush=True)
    return rows, reasons


def row_text(row: str, found: StepTime, ratio: float, to_contiguous: float, alone: float | None) -> str:
    """One row; ratios are medians over the rounds, ``alone`` the kernels' share where it was counted."""
    name, _, rest = row.partition(", ")
    low, high = found.quartiles
    targets = TARGETS.get(rest.partition(",")[0].partition("+")[0], {})
    target = f"{targets[name]} {'met' if ratio <= targets[name] else 'MISSED'}" if name in targets else ""
    return (
        f"| {row} | {1e3 * found.median:.0f} ({1e3 * low:.0f}-{1e3 * high:.0f}) | {ratio:.3f} | {to_contiguous:.3f} "
        f"| {target} | {'' if alone is None else f'{alone:.3f}'} |"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rows", nargs="+", choices=MODES, default=("float32", "bfloat16", "bfloat16+compile"))
    parser.add_argument("--methods", nargs="+", choices=LOCAL, default=LOCAL)
    parser.add_argument("--give-memory-back", action="store_true")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    kept = not options.give_memory_back and keep_freed_memory()
    rows, reasons = measure(options.rounds, options.batch, options.threads, options.rows, options.methods)
    conditions = (
        f"ResNet-32, K=16, batch {options.batch}, SGD with Nesterov momentum (fused), {options.rounds} interleaved "
        f"rounds of {BURST} steps; {platform.machine()} CPU, {options.threads} threads, torch {torch.__version__}, "
        f"localgrad {lg.__version__}, {date.today().isoformat()}; all rows but the first channels_last; freed memory "
        f"{'kept' if kept else 'given back'}; seed 0, random images. Command: `python {shlex.join(sys.argv)}`."
    )
    eager = ["", "Eager in compiled rows:", "", *(f"- {reason}" for reason in reasons)] if reasons else []
    text = "\n".join(["# Time per training step on the CPU", "", conditions, "", *rows, *eager, ""])
    print(text)
    if options.out is not None:
        options.out.write_text(text)


if __name__ == "__main__":
    main()
