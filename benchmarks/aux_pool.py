"""Cheaper auxiliary networks (``aux_pool``): accuracy against multiply-accumulates, step time and live memory.

ResNet-32 in K=16 modules on the first N images of CIFAR-10: AugLocal d=2 to 6 with aux_pool=1 and 2, backpropagation
and DGL beside it. Every finished training, and every measurement, is appended to a JSONL file at once; a second start
with the same settings leaves out what is there already, so an interrupted table continues. Trainings run in the order
of ``--rows``, the seeds of each two rows together; the accuracy is that of the network after the last epoch, on all
test images that were asked for.

The data folder holds either ``cifar10_jpeg_train.npz`` and ``cifar10_jpeg_test.npz`` (``jpeg``: all files one after
the other; ``offsets``, ``labels``, ``classes``; every prefix has all classes), of which the first images are unpacked
into an image folder under ``--work``, or an image folder itself (train/<class>/, test/<class>/), then taken whole.

    python benchmarks/aux_pool.py --data-root FOLDER --out results.jsonl [--images 10000] [--epochs 12] [--seeds 0 1]
    python benchmarks/aux_pool.py --out results.jsonl --table results.md
"""

import argparse
import json
import platform
import tempfile
import time
from collections.abc import Iterator, Sequence
from datetime import date
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import numpy as np
import torch

import localgrad as lg
from localgrad.cost import macs, memory, step_times
from localgrad.data import Augment, ImageFolder
from localgrad.heap import keep_freed_memory
from localgrad.method import Method
from localgrad.train import Cosine
from localgrad.train.evaluate import evaluate
from localgrad.update import Precision

MODULES = 16
LR = 0.1
Row = dict[str, Any]

METHODS: dict[str, Method] = {
    "backprop": lg.methods.Backprop(),
    "dgl": lg.methods.DGL(),
    "dgl-pool": lg.methods.DGL(aux_pool=2),
    **{f"d{depth}": lg.methods.AugLocal(depth=depth) for depth in range(2, 7)},
    **{f"d{depth}-pool": lg.methods.AugLocal(depth=depth, aux_pool=2) for depth in range(2, 7)},
}
ORDER = ["d2", "d2-pool", "d6", "d6-pool", "backprop", "dgl", "d4", "d4-pool", "d3", "d3-pool", "d5", "d5-pool"]


def network(row: str, seed: int, layers: int) -> lg.LocalNetwork:
    modules = None if row == "backprop" else MODULES if layers == 32 else (layers - 2) // 2 + 1
    net = lg.localize(lg.backbones.cifar_resnet(layers), METHODS[row], modules, seed=seed)
    net.to(memory_format=torch.channels_last)
    return net


def unpacked(root: Path, work: Path, images: int, test_images: int) -> Path:
    """An image folder with the first images of each split."""
    if not (root / "cifar10_jpeg_train.npz").exists():
        return root
    out = work / f"cifar10-{images}-{test_images}"
    if (out / "complete").exists():
        return out
    for split, limit in (("train", images), ("test", test_images)):
        with np.load(root / f"cifar10_jpeg_{split}.npz") as packed:
            jpeg, offsets = packed["jpeg"].tobytes(), packed["offsets"]
            labels, classes = packed["labels"], packed["classes"]
        for name in classes:
            (out / split / str(name)).mkdir(parents=True, exist_ok=True)
        for i in range(min(limit, len(labels))):
            path = out / split / str(classes[labels[i]]) / f"{i:05d}.jpg"
            path.write_bytes(jpeg[offsets[i] : offsets[i + 1]])
    (out / "complete").touch()
    return out


def accuracy(row: str, seed: int, images: Any, options: argparse.Namespace) -> Row:
    """Train once; the accuracy of the network after the last epoch, and how long it took."""
    net, precision = network(row, seed, options.layers), Precision(options.precision)
    loop = lg.Sequential(net, lg.SGD(lr=LR), precision=precision)
    common = {"seed": seed, "device": torch.device("cpu"), "channels_last": True}
    train = images.loader("train", training=True, batch_size=options.batch, needs=METHODS[row].needs, **common)
    test = images.loader("test", training=False, batch_size=500, **common)
    schedule, start = Cosine(warmup_epochs=0, from_zero=True), time.process_time()
    for epoch in range(options.epochs):
        loop.set_lr(schedule.lr(LR, epoch, options.epochs))
        for batch in train.epoch(epoch):
            step = loop.step(batch)
        last = next(iter(step.losses[len(net.units) - 1].values()))
        print(f"  {row} seed {seed}: epoch {epoch + 1} of {options.epochs}, last unit's loss {last:.3f}", flush=True)
    seconds = time.process_time() - start  # of all threads: what else the machine does counts little
    return {"top1": evaluate(net, test, precision=precision).top1, "cpu_seconds": seconds}


def costs(row: str, options: argparse.Namespace) -> Row:
    """MACs per sample in both conventions, parameters of auxiliary networks, live bytes of a step in float32."""
    net = network(row, 0, options.layers)
    papers = macs(net)
    return {
        "macs": papers.total,
        "step_macs": macs(net, count="torch").total,
        "aux_params": sum(part.aux_params for part in papers.parts.values()),
        "live": memory(net, options.cost_batch, channels_last=True).peak,
        "live_batch": options.cost_batch,
    }


def times(rows: Sequence[str], options: argparse.Namespace) -> Iterator[tuple[str, Row]]:
    """Ratios of step times, all networks taking turns."""
    nets = {row: network(row, 0, options.layers) for row in rows}
    loops = {
        row: lg.Sequential(net, lg.SGD(lr=LR), precision=Precision(options.precision)) for row, net in nets.items()
    }
    x = torch.randn(options.cost_batch, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    batch = lg.Batch(x=x.to(memory_format=torch.channels_last), y=torch.arange(options.cost_batch) % 10)
    found = step_times(loops, batch, repeats=options.rounds, warmup=1, burst=2)
    for row, time_ in found.items():
        plain = found.get(row.removesuffix("-pool"), time_)
        yield (
            row,
            {
                "ms": 1e3 * time_.median,
                "to_backprop": time_.ratio(found["backprop"]) if "backprop" in found else None,
                "to_unpooled": time_.ratio(plain),
                "rounds": options.rounds,
            },
        )


def settings(kind: str, options: argparse.Namespace) -> Row:
    """What must be equal for a row of the file to count as done."""
    own = {"layers": options.layers}
    if kind != "costs":
        own["precision"] = options.precision
    if kind == "train":
        own |= {name: getattr(options, name) for name in ("images", "test_images", "epochs", "batch")}
        own |= {"lr": LR}
    return {"kind": kind, **own}


def read(path: Path) -> list[Row]:
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def work(options: argparse.Namespace) -> None:
    """Measure and train what the file does not have yet."""

    def done(kind: str, row: str, **more: Any) -> bool:
        wanted = {**settings(kind, options), "row": row, **more}
        return any(all(one.get(key) == value for key, value in wanted.items()) for one in read(options.out))

    def write(kind: str, row: str, found: Row, **more: Any) -> None:
        facts = {"threads": options.threads, "torch": torch.__version__, "date": date.today().isoformat()}
        entry = {**settings(kind, options), "row": row, **more, **found, **facts, "machine": platform.machine()}
        with options.out.open("a") as file:
            file.write(json.dumps(entry) + "\n")
        print(json.dumps(entry), flush=True)

    for row in options.rows:
        if "costs" in options.parts and not done("costs", row):
            write("costs", row, costs(row, options))
    if "times" in options.parts and not all(done("times", row) for row in options.rows):
        for row, found in times(options.rows, options):
            write("times", row, found)
    if "train" not in options.parts:
        return
    folder = unpacked(options.data_root, options.work, options.images, options.test_images)
    images = ImageFolder(folder, augment=Augment(4, "zero", flip=True)).load()
    # All seeds of one pair of rows come together, so that an early end leaves whole comparisons.
    pairs = [options.rows[i : i + 2] for i in range(0, len(options.rows), 2)]
    for row, seed in ((row, seed) for pair in pairs for seed in options.seeds for row in pair):
        if not done("train", row, seed=seed):
            write("train", row, accuracy(row, seed, images, options), seed=seed)


def table(path: Path) -> str:
    """One Markdown table per setting of trainings that the file has, costs and times beside the accuracies."""
    rows, keys = read(path), ("layers", "precision", "images", "test_images", "epochs", "batch")
    trained = [one for one in rows if one["kind"] == "train"]
    texts = []
    for setting in dict.fromkeys(tuple(one[key] for key in keys) for one in trained):
        layers, precision, images, test_images, epochs, batch = setting
        texts += [
            f"ResNet-{layers}, {precision}, {images} training images, {epochs} epochs, batch {batch}, {test_images} "
            "test images:",
            "",
            "| row | top-1, last epoch, % (n) | training, CPU s | MACs forward | MACs of a step | live MB, float32 "
            "| step time to backprop | step time to aux_pool=1 |",
            "|---|---|---|---|---|---|---|---|",
        ]
        for row in METHODS:
            found = [one for one in trained if one["row"] == row and tuple(one[key] for key in keys) == setting]
            if found:
                measured = [one for one in rows if one["row"] == row and one["layers"] == layers]
                texts.append(
                    _line(row, found, [one for one in measured if one.get("precision", precision) == precision])
                )
        texts.append("")
    return "\n".join(texts)


def _line(row: str, trained: Sequence[Row], rows: Sequence[Row]) -> str:
    """A row of the table; the spread is the standard deviation over the seeds."""
    top1, seconds = [one["top1"] for one in trained], mean(one["cpu_seconds"] for one in trained)
    cost = next((one for one in rows if one["kind"] == "costs"), None)
    timed = next((one for one in reversed(rows) if one["kind"] == "times"), None)
    spread = f" ± {stdev(top1):.2f}" if len(top1) > 1 else ""
    cells = [row, f"{mean(top1):.2f}{spread} ({len(top1)})", f"{seconds:.0f}"]
    cells += ["", "", ""] if cost is None else [
        f"{cost['macs'] / 1e6:.0f} M", f"{cost['step_macs'] / 1e6:.0f} M", f"{cost['live'] / 1e6:.0f}"
    ]  # fmt: skip
    cells += ["", ""] if timed is None else [f"{timed['to_backprop']:.2f}", f"{timed['to_unpooled']:.2f}"]
    return f"| {' | '.join(cells)} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-root", type=Path)
    parser.add_argument("--work", type=Path, default=Path(tempfile.gettempdir()) / "localgrad-aux-pool")
    parser.add_argument("--out", type=Path, required=True, help="the JSONL file")
    parser.add_argument("--table", type=Path, help="only write the table of what --out has to this file")
    parser.add_argument("--parts", nargs="+", default=["costs", "times", "train"], choices=["costs", "times", "train"])
    parser.add_argument("--rows", nargs="+", default=ORDER, choices=sorted(METHODS))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1])
    parser.add_argument("--images", type=int, default=10000)
    parser.add_argument("--test-images", type=int, default=10000)
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--layers", type=int, default=32)
    parser.add_argument("--precision", choices=[str(one.value) for one in Precision], default="float32")
    parser.add_argument("--cost-batch", type=int, default=128, help="batch size of live memory and step times")
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    if options.table is not None:
        options.table.write_text(table(options.out))
        return
    if "train" in options.parts and options.data_root is None:
        parser.error("--data-root is needed to train; --parts costs times measures without data.")
    torch.set_num_threads(options.threads)
    keep_freed_memory()
    work(options)


if __name__ == "__main__":
    main()
