"""Step time and memory of every method on one GPU: ResNet-32 and ResNet-110 (batch 1024), ResNet-50 (224 pixels).

Every method runs eagerly in float32 and bfloat16; backpropagation, DGL and AugLocal d=6 also compiled, as a CUDA graph,
and as both. Each row is built and makes a few steps: losses and weights must be the eager row's to rounding, and its
memory is that of the last ones. Then the rows of a network take turns until its share of the time is over, at least
three rounds. A row that fails, or is not ready in time, is printed with the reason, and the exit status is 1. Targets
of the project are printed at the end, met or missed.

    python benchmarks/gpu.py [--minutes 8] [--row-seconds 90] [--device cuda|cpu] [--batch N] [--out [STEM]]
        [--rows PATTERN ...]    e.g. 'resnet32/*', default, or a row of your own: NETWORK/METHOD/PRECISION/MODE, where
                                MODE joins eager, compile, graph, fused, recompute, contiguous, streamsN by +
        [--list]                print the rows and stop

It needs torch, numpy, torchvision (ResNet-50 only) and what localgrad itself needs: PYTHONPATH=src is enough. With
--device cpu everything is smaller, nothing is graphed, and memory is counted in live bytes.
"""

import argparse
import sys
from datetime import UTC, datetime
from pathlib import Path
from time import perf_counter

import torch
from gpu_measure import Bench, Result
from gpu_report import as_markdown, conditions, write
from gpu_rows import NETWORKS, Row, select

ROUNDS = 5
"""Rounds that preparing more rows leaves time for."""


def out_stem(given: str | None, device: torch.device) -> Path | None:
    """Where to write; without a name under benchmarks/results, with date and device."""
    if given is None or given:
        return None if given is None else Path(given)
    name = torch.cuda.get_device_name(device).lower().replace(" ", "-") if device.type == "cuda" else "cpu"
    return Path(__file__).parent / "results" / f"{datetime.now(UTC):%Y-%m-%d-%H%M}-gpu-bench-{name}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=8.0)
    parser.add_argument("--row-seconds", type=float, default=90.0, help="what building and checking a row may take")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--batch", type=int, help="instead of every network's own")
    parser.add_argument("--rows", nargs="+", default=["default"])
    parser.add_argument("--burst", type=int, default=2, help="steps of a turn that are counted")
    parser.add_argument("--rounds", type=int, default=15, help="at most")
    parser.add_argument("--threads", type=int, help="CPU threads")
    parser.add_argument("--commit", help="printed where there is no git repository")
    parser.add_argument("--out", nargs="?", const="", metavar="STEM", help="write STEM.md and STEM.json")
    parser.add_argument("--list", action="store_true")
    options = parser.parse_args()
    device = torch.device(options.device)
    if device.type == "cuda" and not torch.cuda.is_available():
        parser.error("this machine's torch finds no CUDA device; --device cpu runs smaller numbers.")
    try:
        rows = select(options.rows, on_gpu=device.type == "cuda")
    except argparse.ArgumentTypeError as error:
        parser.error(f"--rows: {error}")
    if options.list:
        print("\n".join(map(str, rows)))
        return 0
    if options.threads:
        torch.set_num_threads(options.threads)
    torch.backends.cudnn.benchmark = True
    return run(rows, device, options)


def run(rows: list[Row], device: torch.device, options: argparse.Namespace) -> int:
    """Measure, print, write; the exit status."""
    begin = perf_counter()
    facts = conditions(device, options.commit)
    stem = out_stem(options.out, device)

    def say(text: str) -> None:
        print(f"[{perf_counter() - begin:5.0f} s] {text}", flush=True)

    if device.type == "cpu":
        say("CPU run: no GPU is used, batches and images are smaller, nothing is graphed; memory is live bytes.")
    headings: dict[str, str] = {}
    results: dict[Row, Result] = {}
    names = list(dict.fromkeys(row.network for row in rows))
    for place, name in enumerate(names):
        # What an earlier network left over goes to the later ones.
        left = options.minutes * 60 - (perf_counter() - begin)
        share = left * NETWORKS[name].share / sum(NETWORKS[later].share for later in names[place:])
        bench = Bench(name, device, options.batch, say)
        headings[name] = (
            f"{name}, batch {bench.batch_size}, {bench.pixels} x {bench.pixels} pixels, K={bench.network.modules}"
        )
        facts[f"{name} batch"] = bench.batch_size
        say(f"{headings[name]}: {share:.0f} s")
        start = perf_counter()
        for row in (row for row in rows if row.network == name):
            turns = ROUNDS * (options.burst + 1) * sum(running.step_s for running in bench.running.values())
            spare = start + share - turns - perf_counter()
            if spare <= 0:
                bench.results[row] = Result(row, error="not run: no time left (--minutes, fewer --rows)")
                say(f"  {row}: {bench.results[row].error}")
                continue
            bench.prepare(row, min(options.row_seconds, spare))
        rounds = bench.time(start + share, options.burst, (3, options.rounds))
        facts[f"{name} rounds"] = f"{rounds} of {options.burst} steps"
        bench.free()
        results |= bench.results
        text = as_markdown(facts, headings, results)
        if stem is not None:
            write(stem, facts, headings, results.values(), text)
    print("\n" + text)
    failed = [result for result in results.values() if result.error is not None]
    for result in failed:
        print(f"FAILED {result.row}: {result.error}", file=sys.stderr)
    say(f"{len(results) - len(failed)} of {len(results)} rows measured" + (f", written to {stem}.md" if stem else ""))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
