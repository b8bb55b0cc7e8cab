"""What benchmarks/gpu.py prints and writes: conditions, a table per network, targets."""

import json
import platform
import shutil
import subprocess
import sys
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch
from gpu_measure import CHECKED, MIB, Result, ratio
from gpu_rows import Row

import localgrad as lg

SAME_MODE, FASTEST = 2.5, 1.2
"""Targets on a GPU, ResNet-110, batch 1024: AugLocal d=6 by backpropagation in the same precision and mode, and in its
fastest mode by eager float32 backpropagation (the faster of its two memory layouts)."""

HEAD = (
    "| row | units | ms/step, median (quartiles) | to backprop, same mode | to eager float32 backprop | memory, MiB "
    "| to backprop, same mode | first step, s | loss, update to eager's | remark |",
    "|---|---|---|---|---|---|---|---|---|---|",
)


def output(*command: str) -> str:
    """The first line that a program prints; "unknown" where it is missing or fails."""
    if shutil.which(command[0]) is None:
        return "unknown"
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=Path(__file__).parent)
    return done.stdout.splitlines()[0].strip() if done.returncode == 0 and done.stdout.strip() else "unknown"


def conditions(device: torch.device, commit: str | None) -> dict[str, Any]:
    """Where and with what: everything that numbers depend on and rows do not say."""
    found: dict[str, Any] = {
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "command": f"python {' '.join(sys.argv)}",
        "commit": commit or output("git", "rev-parse", "--short=12", "HEAD"),
        "localgrad": lg.__version__,
        "torch": torch.__version__,
        "python": platform.python_version(),
        "machine": f"{platform.machine()}, {torch.get_num_threads()} CPU threads",
    }
    if device.type == "cuda":
        properties = torch.cuda.get_device_properties(device)
        found |= {
            "device": f"{properties.name}, {properties.total_memory / 2**30:.0f} GiB",
            "driver": output("nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"),
            "cuda": torch.version.cuda,
            "cudnn": torch.backends.cudnn.version(),
            "TF32": f"convolutions {torch.backends.cudnn.allow_tf32}, matrix products "
            f"{torch.backends.cuda.matmul.allow_tf32}",
            "cudnn.benchmark": torch.backends.cudnn.benchmark,
        }
    else:
        found |= {"device": "CPU run: no GPU was used, batches and images are smaller"}
    return found


def memory_of(result: Result) -> int:
    """Bytes to compare rows by: allocated on a GPU, live elsewhere."""
    return result.allocated or result.live


def remark(result: Result) -> str:
    """What a reader should know about a row."""
    return "; ".join(filter(None, [result.error and f"**FAILED** {result.error}", *result.notes])).replace("|", "/")


def line(result: Result, results: Mapping[Row, Result]) -> str:
    """One row of the table."""
    row = result.row
    network = row.network
    time = "" if result.time is None else f"{1e3 * result.time.median:.1f}"
    if result.time is not None:
        low, high = result.time.quartiles
        time += f" ({1e3 * low:.1f}-{1e3 * high:.1f})"
    plain = Row(network, "backprop", "float32", "eager")
    ratios = [
        "" if found is None else f"{found:.2f}"
        for found in (ratio(results, row, row.backprop), ratio(results, row, plain))
    ]
    memory, share = "", ""
    if bytes_ := memory_of(result):
        memory = f"{bytes_ / MIB:.0f}" + (f" ({result.reserved / MIB:.0f} reserved)" if result.reserved else " live")
        other = results.get(row.backprop)
        share = f"{bytes_ / memory_of(other):.3f}" if other is not None and memory_of(other) else ""
    difference = ""
    if result.loss_difference is not None:
        difference = f"{result.loss_difference:.0e}, {result.update_difference:.3f}"
    name = f"{row.method} {row.precision} {row.mode}"
    return (
        "| "
        + " | ".join(
            (
                name,
                str(result.units or ""),
                time,
                ratios[0],
                ratios[1],
                memory,
                share,
                f"{result.first_s:.1f}",
                difference,
                remark(result),
            )
        )
        + " |"
    )


def targets(results: Mapping[Row, Result], *, judged: bool) -> list[str]:
    """The issue's two targets for ResNet-110, and whether they are met; not ``judged`` on a CPU or other batches."""
    lines = []
    mine = [row for row in results if (row.network, row.method) == ("resnet110", "auglocal6")]

    def verdict(found: float, limit: float) -> str:
        return "not judged" if not judged else "met" if found <= limit else "MISSED"

    for row in mine:
        found = ratio(results, row, row.backprop)
        if found is not None:
            lines.append(
                f"- AugLocal d=6 to backprop, {row.precision} {row.mode}: {found:.2f}, at most {SAME_MODE}: "
                f"{verdict(found, SAME_MODE)}"
            )
    timed = [row for row in mine if results[row].time is not None]
    plain = [
        found
        for mode in ("eager", "eager+contiguous")
        if (found := results.get(Row("resnet110", "backprop", "float32", mode))) is not None and found.time is not None
    ]
    if timed and plain:
        fastest = min(timed, key=lambda row: results[row].time.median)  # type: ignore[union-attr]
        other = min(plain, key=lambda result: result.time.median)  # type: ignore[union-attr]
        found = ratio(results, fastest, other.row)
        if found is not None:
            lines.append(
                f"- AugLocal d=6 in its fastest mode ({fastest.precision} {fastest.mode}) to {other.row.mode} float32 "
                f"backprop: {found:.2f}, at most {FASTEST}: {verdict(found, FASTEST)}"
            )
    return lines or ["- no ResNet-110 rows with times for AugLocal d=6 and backprop"]


def as_markdown(facts: Mapping[str, Any], headings: Mapping[str, str], results: Mapping[Row, Result]) -> str:
    """The whole result."""
    on_gpu = "driver" in facts
    text = ["# Step time and memory" + (" on a GPU" if on_gpu else ": a CPU run"), ""]
    text += [f"- {name}: {value}" for name, value in facts.items()]
    text += [
        "- Training steps of Sequential with SGD (Nesterov momentum, fused kernel), an optimiser per unit, random "
        "images on the device, seed 0, channels_last unless the row says contiguous. Rows of a network take turns; "
        "ratios are medians over the rounds of two times of one round.",
        "- Memory: "
        + (
            "peak of torch.cuda.max_memory_allocated in the steps after the first three (the capture of a graph is "
            "one of them) beyond what the other rows hold, batch included; reserved likewise."
            if on_gpu
            else "live bytes by localgrad.cost (eager rows), not what an allocator takes."
        ),
        "- First step: with compilation. Loss, update to eager's: largest relative difference of a unit's loss in "
        "the first step to the eager row of the same method and precision; difference of all weights after "
        f"{CHECKED['cuda' if on_gpu else 'cpu']} steps as a share of how far eager weights have moved.",
    ]
    for name, heading in headings.items():
        mine = [result for row, result in results.items() if row.network == name]
        text += ["", f"## {heading}", "", *HEAD, *(line(result, results) for result in mine)]
    judged = on_gpu and facts.get("resnet110 batch") == 1024
    return "\n".join(
        [*text, "", "## Targets, ResNet-110, batch 1024, on a GPU", "", *targets(results, judged=judged), ""]
    )


def write(
    stem: Path, facts: Mapping[str, Any], headings: Mapping[str, str], results: Iterable[Result], text: str
) -> None:
    """STEM.md and STEM.json."""
    stem.parent.mkdir(parents=True, exist_ok=True)
    stem.with_name(f"{stem.name}.md").write_text(text)
    rows = [{**asdict(result), "row": str(result.row)} for result in results]
    data = {"conditions": dict(facts), "networks": dict(headings), "rows": rows}
    stem.with_name(f"{stem.name}.json").write_text(json.dumps(data, indent=1) + "\n")
