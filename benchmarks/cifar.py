"""Trains ResNet-32 on CIFAR-10 with backpropagation and AugLocal, for as many epochs as the minutes allow.

The images lie on the device and are augmented there (pad 4, crop, flip). Every row trains the same number of epochs
under the papers' schedule squeezed into them (SGD, Nesterov momentum 0.9, weight decay 1e-4, rate 0.8 at batch 1024,
cosine to 0); the number is --epochs, or what fits, by a few timed steps of every row. The headline is the last epoch's
test accuracy of the plain network; every epoch's is in the table. Time is that of training, without evaluation.

Target on a GPU: AugLocal d=6 for 400 epochs in under 8 minutes, here extrapolated from the mean epoch and labelled so.

    python benchmarks/cifar.py --data DIR [--minutes 8] [--rows backprop auglocal2 auglocal6] [--epochs N] [--images N]
        [--batch 1024] [--lr 0.8] [--precision bfloat16] [--compile] [--graph] [--streams N] [--device cuda|cpu]
        [--seed 0] [--out STEM]

DIR holds cifar10_jpeg_train.npz and cifar10_jpeg_test.npz, or train/<class>/ and test/<class>/, or the published files.
On a CPU: --device cpu --images 2000 --epochs 2 --batch 128.
"""

import argparse
import json
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import mean
from time import perf_counter
from typing import Any, final

import torch
from cifar_data import load
from gpu_report import conditions

import localgrad as lg
from localgrad.data import Loader
from localgrad.data.images import ImageSet
from localgrad.train import Cosine

METHODS = {
    "backprop": (lg.methods.Backprop(), None),
    "dgl": (lg.methods.DGL(), 16),
    **{f"auglocal{depth}": (lg.methods.AugLocal(depth=depth), 16) for depth in range(2, 7)},
}
TARGET_EPOCHS, TARGET_MINUTES, LEAST_EPOCHS = 400, 8.0, 20
MIB = 2**20


@final
@dataclass(frozen=True)
class Epoch:
    """Training seconds of the epoch and so far, mean loss of the network's own head, test accuracy in percent."""

    epoch: int
    seconds: float
    total_seconds: float
    loss: float
    accuracy: float


@final
@dataclass
class Curve:
    """A row: its epochs, and what its steps took."""

    name: str
    planned: int
    epochs: list[Epoch] = field(default_factory=list)
    peak_bytes: int = 0

    @property
    def epoch_seconds(self) -> float:
        """Mean of the epochs without the first, which finds everything cold."""
        return mean(one.seconds for one in self.epochs[1:] or self.epochs)


@final
class Trainer:
    """Loaders on the device, and what all rows share."""

    def __init__(self, images: ImageSet, options: argparse.Namespace, say: Callable[[str], None]) -> None:
        self.options, self.say = options, say
        self.device = torch.device(options.device)
        settings: dict[str, Any] = {"seed": options.seed, "device": self.device, "channels_last": True}
        train = images.loader("train", training=True, batch_size=options.batch, **settings)
        test = images.loader("test", training=False, batch_size=2048, **settings)
        assert train is not None and test is not None
        self.train: Loader = train
        self.test: Loader = test

    def loop(self, name: str) -> lg.Sequential:
        """A fresh network and its runtime."""
        method, modules = METHODS[name]
        net = lg.localize(lg.backbones.resnet32(), method, modules, seed=self.options.seed)
        net.to(self.device).to(memory_format=torch.channels_last)
        speed: dict[str, Any] = {
            name: getattr(self.options, name) for name in ("compile", "graph", "streams") if getattr(self.options, name)
        }
        return lg.Sequential(net, lg.SGD(lr=self.options.lr), precision=self.options.precision, **speed)

    def wait(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize()

    def epoch_cost(self, name: str) -> float:
        """Seconds of an epoch with its evaluation, from at most 8 steps of a network that is thrown away."""
        loop = self.loop(name)
        steps = min(len(self.train), 8)
        loop.step(self.train.batch(0, 0))
        self.wait()
        start = perf_counter()
        for index in range(steps):
            loop.step(self.train.batch(0, index))
        self.wait()
        training = (perf_counter() - start) / steps * len(self.train)
        start = perf_counter()
        self.accuracy(loop.net)
        return training + perf_counter() - start

    @torch.inference_mode()
    def accuracy(self, net: lg.LocalNetwork) -> float:
        """Test accuracy of the plain network in percent."""
        net.eval()
        right = torch.zeros((), dtype=torch.int64, device=self.device)
        for batch in self.test.epoch(0):
            with lg.Precision(self.options.precision).autocast(self.device):
                logits_BK = net(batch.x)
            right += (logits_BK.argmax(1) == batch.y).sum()
        net.train()
        return 100.0 * int(right) / len(self.test.split)

    def run(self, name: str, epochs: int, until: float) -> Curve:
        """Train a row for ``epochs``, or until the clock says ``until``."""
        loop, curve = self.loop(name), Curve(name, epochs)
        # The papers' code ends at rate 0: a whole epoch, which a short training does not have.
        schedule = Cosine(warmup_epochs=min(10, epochs // 5), from_zero=epochs < 20)
        last = len(loop.net.unit_list()) - 1
        if self.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats()
        total = 0.0
        for epoch in range(epochs):
            loop.set_lr(schedule.lr(self.options.lr, epoch, epochs))
            self.wait()
            start, losses = perf_counter(), []
            for batch in self.train.epoch(epoch):
                losses.append(loop.step(batch).terms[last]["ce"].clone())
            self.wait()
            seconds = perf_counter() - start
            total += seconds
            loss = float(torch.stack(losses).mean())
            curve.epochs.append(Epoch(epoch + 1, seconds, total, loss, self.accuracy(loop.net)))
            if epoch + 1 == epochs or (epoch + 1) % max(1, epochs // 10) == 0:
                self.say(
                    f"  {name} epoch {epoch + 1}/{epochs}: loss {loss:.3f}, test {curve.epochs[-1].accuracy:.2f} %"
                )
            if perf_counter() > until:
                break
        if self.device.type == "cuda":
            curve.peak_bytes = torch.cuda.max_memory_allocated()
        return curve


def as_markdown(facts: dict[str, Any], curves: list[Curve], *, on_gpu: bool) -> str:
    """Headline, time, curve."""
    text = ["# ResNet-32 on CIFAR-10: accuracy by epoch" + ("" if on_gpu else " (a CPU run)"), ""]
    text += [f"- {name}: {value}" for name, value in facts.items()]
    text += [
        "",
        f"| row | epochs | last-epoch test accuracy, % (best) | s/epoch | training, min | {TARGET_EPOCHS} epochs, min "
        "(extrapolated) | allocated at most, MiB |",
        "|---|---|---|---|---|---|---|",
    ]
    for curve in curves:
        last = curve.epochs[-1]
        best = max(one.accuracy for one in curve.epochs)
        stopped = "" if last.epoch == curve.planned else f" of {curve.planned}, stopped: time was over"
        text.append(
            f"| {curve.name} | {last.epoch}{stopped} | {last.accuracy:.2f} ({best:.2f}) | {curve.epoch_seconds:.2f} | "
            f"{last.total_seconds / 60:.2f} | {curve.epoch_seconds * TARGET_EPOCHS / 60:.1f} | "
            f"{f'{curve.peak_bytes / MIB:.0f}' if on_gpu else ''} |"
        )
    text += ["", target(curves, on_gpu=on_gpu, whole=facts["training images"] == 50_000), ""]
    text += ["| epoch | " + " | ".join(f"{c.name}: test %, at s of training" for c in curves) + " |"]
    text += ["|---|" + "---|" * len(curves)]
    for epoch in range(max(len(curve.epochs) for curve in curves)):
        cells = [
            f"{curve.epochs[epoch].accuracy:.2f}, {curve.epochs[epoch].total_seconds:.0f}"
            if epoch < len(curve.epochs)
            else ""
            for curve in curves
        ]
        text.append(f"| {epoch + 1} | " + " | ".join(cells) + " |")
    return "\n".join([*text, ""])


def target(curves: list[Curve], *, on_gpu: bool, whole: bool) -> str:
    """The project's target for AugLocal d=6."""
    found = [curve for curve in curves if curve.name == "auglocal6"]
    if not found:
        return "Target (AugLocal d=6): not run."
    minutes, epochs = found[0].epoch_seconds * TARGET_EPOCHS / 60, len(found[0].epochs)
    text = f"Target: AugLocal d=6, {TARGET_EPOCHS} epochs in under {TARGET_MINUTES:.0f} minutes on a GPU: "
    if not on_gpu or not whole or epochs < LEAST_EPOCHS:
        return text + f"not judged (it takes a GPU, all images and at least {LEAST_EPOCHS} epochs)."
    verdict = "met" if minutes < TARGET_MINUTES else "MISSED"
    how = "measured" if epochs == TARGET_EPOCHS else f"extrapolated from {epochs} epochs, evaluation not counted"
    return text + f"{minutes:.1f} minutes ({how}): {verdict}."


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=8.0, help="for everything, reading the images included")
    parser.add_argument("--rows", nargs="+", default=["backprop", "auglocal2", "auglocal6"], choices=METHODS)
    parser.add_argument("--epochs", type=int, help="of every row, instead of what fits")
    parser.add_argument("--images", type=int, help="only the first ones of each split")
    parser.add_argument("--batch", type=int, default=1024)
    parser.add_argument("--lr", type=float, help="0.8 for a batch of 1024, in proportion for others")
    parser.add_argument("--precision", choices=[*lg.Precision], help="bfloat16 on a GPU, float32 on the CPU")
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--graph", action="store_true")
    parser.add_argument("--streams", type=int, default=0)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--commit", help="printed where there is no git repository")
    parser.add_argument("--out", type=Path, metavar="STEM", help="write STEM.md and STEM.json")
    options = parser.parse_args()
    on_gpu = options.device.startswith("cuda")
    if on_gpu and not torch.cuda.is_available():
        parser.error("this machine's torch finds no CUDA device; --device cpu --images 2000 --epochs 2 runs a prefix.")
    options.lr = options.lr or 0.8 * options.batch / 1024
    options.precision = options.precision or ("bfloat16" if on_gpu else "float32")
    torch.backends.cudnn.benchmark = True
    begin = perf_counter()

    def say(text: str) -> None:
        print(f"[{perf_counter() - begin:5.0f} s] {text}", flush=True)

    images, how = load(options.data, options.images)
    say(f"{len(images.train)} training and {len(images.test)} test images, from {how}")
    trainer = Trainer(images, options, say)
    until = begin + 60 * options.minutes
    epochs = options.epochs
    if epochs is None:
        costs = {name: trainer.epoch_cost(name) for name in options.rows}
        say("one epoch and its evaluation: " + ", ".join(f"{name} {cost:.2f} s" for name, cost in costs.items()))
        epochs = min(TARGET_EPOCHS, max(1, int(0.95 * (until - perf_counter()) / sum(costs.values()))))
    speed = [word for word in ("compile", "graph") if getattr(options, word)]
    speed += [f"streams={options.streams}"] if options.streams else []
    facts = {
        **conditions(torch.device(options.device), options.commit),
        "training images": len(images.train),
        "test images": len(images.test),
        "data": f"{how}; pad 4 by reflection, crop, flip; on the device as uint8",
        "training": f"K=16, batch {options.batch}"
        + f", lr {options.lr:g}, {options.precision}, channels_last, {' + '.join(speed) or 'eager'}, "
        f"seed {options.seed} (n=1)",
        "schedule": f"cosine over {epochs} epochs, ramp of {min(10, epochs // 5)}",
    }
    curves = []
    for place, name in enumerate(options.rows):
        now = perf_counter()
        # A row that is slower than it seemed takes nothing from those behind it; given epochs are run to the end.
        mine = float("inf") if options.epochs else now + (until - now) / (len(options.rows) - place) * 1.5
        curves.append(trainer.run(name, epochs, mine))
        text = as_markdown(facts, curves, on_gpu=on_gpu)
        if options.out is not None:
            options.out.parent.mkdir(parents=True, exist_ok=True)
            options.out.with_name(f"{options.out.name}.md").write_text(text)
            data = {"conditions": facts, "rows": [asdict(curve) for curve in curves]}
            options.out.with_name(f"{options.out.name}.json").write_text(json.dumps(data, indent=1) + "\n")
    print("\n" + text)
    say("done" + (f", written to {options.out}.md" if options.out else ""))
    return 0


if __name__ == "__main__":
    sys.exit(main())
