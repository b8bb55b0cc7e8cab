"""Time per training step of ResNet-32, K=16, batch 128, on the CPU: local learning against backpropagation.

Targets: with 2 threads, channels_last, float32, as a ratio to backpropagation in the same precision and format in the
same program, DGL at most 1.0, AugLocal d=2 at most 2.3, d=6 at most 2.8. Rows take turns of a few steps each (the first
step of a turn is not counted: it finds the heap and the caches as another network left them), so that what else the
machine does hits all rows alike; the ratio is the median over rounds of the two times of a round. Plain rows run every
operation on all threads, as backpropagation does; "units on N threads" is Sequential(workers=N): the same threads, one
unit each.

    python benchmarks/step_time.py [--rounds 20] [--batch 128] [--out benchmarks/results/FILE.md]
"""

import argparse
import platform
import sys
from datetime import date
from pathlib import Path

import torch

import localgrad as lg
from localgrad.cost import StepTime, step_times

BURST = 4
CONTIGUOUS = "Backprop, contiguous float32"
TARGETS = {"DGL": 1.0, "AugLocal d=2": 2.3, "AugLocal d=6": 2.8}
METHODS = {
    "Backprop": (lg.methods.Backprop(), None),
    "DGL": (lg.methods.DGL(), 16),
    "AugLocal d=2": (lg.methods.AugLocal(depth=2), 16),
    "AugLocal d=6": (lg.methods.AugLocal(depth=6), 16),
}


def make_loop(name: str, precision: str, channels_last: bool, workers: int = 1) -> lg.Sequential:
    method, modules = METHODS[name]
    net = lg.localize(lg.backbones.resnet32(), method, modules=modules)
    if channels_last:
        net.to(memory_format=torch.channels_last)
    return lg.Sequential(net, lg.SGD(lr=0.1), precision=precision, workers=workers)


def measure(rounds: int, batch_size: int, workers: int) -> list[str]:
    """Rows of a Markdown table; the loops of one precision take turns with both backpropagation rows."""
    images = torch.randn(batch_size, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    batch = lg.Batch(x=images.to(memory_format=torch.channels_last), y=torch.arange(batch_size) % 10)
    rows = [
        "| row | ms/step, median (quartiles) | to backprop in the same mode | to contiguous float32 | target |",
        "|---|---|---|---|---|",
    ]
    for precision in ("float32", "bfloat16"):
        loops = {CONTIGUOUS: make_loop("Backprop", "float32", channels_last=False)}
        loops |= {f"{name}, {precision}": make_loop(name, precision, channels_last=True) for name in METHODS}
        for name in TARGETS:
            row = f"{name}, {precision}, units on {workers} threads"
            loops[row] = make_loop(name, precision, channels_last=True, workers=workers)
        times = step_times(loops, batch, repeats=rounds, warmup=1, burst=BURST)
        for row, found in times.items():
            if row == CONTIGUOUS and precision != "float32":
                continue
            same = times[CONTIGUOUS if row == CONTIGUOUS else f"Backprop, {precision}"]
            rows.append(row_text(row, found, found.ratio(same), found.ratio(times[CONTIGUOUS])))
    return rows


def row_text(row: str, found: StepTime, ratio: float, to_contiguous: float) -> str:
    """One row; ratios are medians over the rounds."""
    name, _, precision = row.partition(", ")
    low, high = found.quartiles
    target = ""
    if name in TARGETS and precision.startswith("float32"):
        target = f"{TARGETS[name]} {'met' if ratio <= TARGETS[name] else 'MISSED'}"
    return (
        f"| {row} | {1e3 * found.median:.0f} ({1e3 * low:.0f}-{1e3 * high:.0f}) | {ratio:.3f} | {to_contiguous:.3f} "
        f"| {target} |"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    rows = measure(options.rounds, options.batch, options.threads)
    conditions = (
        f"ResNet-32, K=16, batch {options.batch}, SGD with Nesterov momentum (fused), {options.rounds} interleaved "
        f"rounds of {BURST} steps; {platform.machine()} CPU, {options.threads} threads, torch {torch.__version__}, "
        f"localgrad {lg.__version__}, {date.today().isoformat()}; all rows but the first channels_last; seed 0, random "
        f"images. Command: `python {' '.join(sys.argv)}`."
    )
    text = "\n".join(["# Time per training step on the CPU", "", conditions, "", *rows, ""])
    print(text)
    if options.out is not None:
        options.out.write_text(text)


if __name__ == "__main__":
    main()
