"""``train(run)``: the training loop. Follow one mini-batch: loader -> runtime.step -> sums -> row of metrics.jsonl."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from signal import Signals
from typing import Any, final

import torch
from torch import Tensor

from localgrad.data import ImageSet, Loader, Split, split_validation
from localgrad.errors import LocalgradError, RunError
from localgrad.facts import plain
from localgrad.runtime import Sequential
from localgrad.train.checkpoint import CHECKPOINT_FILE, Progress, load_checkpoint, save_checkpoint
from localgrad.train.evaluate import Evaluation, evaluate
from localgrad.train.interrupt import Interrupt, watch
from localgrad.train.progress import Reporter, Silent
from localgrad.train.record import RUN_FILE, MetricsLog, write_run
from localgrad.train.run import Run, fit_problems
from localgrad.train.weights import load_initial_weights

EVAL_BATCH = 1000


@final
@dataclass(frozen=True)
class Result:
    """Outcome of ``train``: summaries of the last and the best epoch, and the signal that stopped it, if one did."""

    folder: Path
    last: dict[str, Any] | None
    best: dict[str, Any] | None
    interrupted: str | None = None


@final
class Interrupted(Exception):
    """A signal arrived; everything is saved."""

    def __init__(self, signal: int) -> None:
        super().__init__(Signals(signal).name)
        self.signal = signal


@final
@dataclass(frozen=True)
class Loaders:
    """The splits of a run on its device."""

    train: Loader
    val: Loader | None
    test: Loader


def make_loaders(run: Run, images: ImageSet, device: torch.device) -> Loaders:
    """Put the splits on the device, the validation split held out of train. Raises DataError, LocalgradError."""
    train, val = images.train, None
    if run.val_fraction > 0:
        train, val = split_validation(train, run.val_fraction, run.seed, len(images.classes))
    if len(train) % run.batch_size == 1 and run.batch_size > 1:
        fitting = next(size for size in range(run.batch_size + 1, len(train) + 2) if len(train) % size != 1)
        raise LocalgradError(
            f"batch_size={run.batch_size} leaves a last batch of one of {len(train)} samples, over which BatchNorm has "
            f"no variance. Take another, e.g. {fitting}."
        )
    needs = run.method.needs

    def loader(split: Split, training: bool) -> Loader:
        return Loader(
            split,
            mean=images.mean,
            std=images.std,
            batch_size=run.batch_size if training else EVAL_BATCH,
            seed=run.seed,
            device=device,
            augment=images.augment if training else None,
            shuffle=training,
            needs=needs if training else frozenset(),
            channels_last=run.channels_last,
        )

    return Loaders(loader(train, True), None if val is None else loader(val, False), loader(images.test, False))


def make_loop(run: Run, device: torch.device) -> Sequential:
    """The network with its initial weights and optimisers, on the device."""
    net = run.network()
    if run.init_from is not None:
        load_initial_weights(net, run.init_from)
    net.to(device)
    if run.channels_last:
        net.to(memory_format=torch.channels_last)
    return Sequential(
        net, run.optimizer, update=run.update, precision=run.precision, accumulate=run.accumulate, clip=run.clip
    )


@contextmanager
def deterministic_kernels() -> Iterator[None]:
    """Have cuDNN choose the same kernels each time; nothing changes on the CPU."""
    with torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True):
        yield


def train(run: Run, *, resume: bool = False, reporter: Reporter | None = None) -> Result:
    """Train ``run`` in its folder ``run.out``, evaluating and saving after every epoch.

    ``resume`` continues from the folder's checkpoint, bit for bit; a finished run is returned as it is. SIGINT and
    SIGTERM save, also in the middle of an epoch, and return with ``interrupted`` set.

    Raises RunError with all problems found before any work, DataError for unreadable data, LocalgradError for a folder
    that holds another run, an unfit checkpoint, or a full disk.
    """
    reporter = reporter or Silent()
    run.check()
    if run.out is None:
        raise LocalgradError("Run.out is None: give the folder that the run is written to (--out DIR).")
    folder, device = run.out, run.torch_device()
    if (folder / RUN_FILE).exists() and not resume:
        raise LocalgradError(
            f"{folder} already holds a run. Continue it with `localgrad train --resume {folder}`, or give another "
            "--out."
        )
    images = run.data.load()
    shape = tuple(images.train.images_NCHW.shape[1:])
    problems = list(fit_problems(run.backbone, images.name, (shape[0], shape[1], shape[2]), len(images.classes)))
    if problems:
        raise RunError(problems)
    loaders, loop = make_loaders(run, images, device), make_loop(run, device)
    folder.mkdir(parents=True, exist_ok=True)
    progress = Progress()
    if resume and (folder / CHECKPOINT_FILE).exists():
        progress = load_checkpoint(folder / CHECKPOINT_FILE, loop, plain(run.facts()))
    else:
        write_run(folder, run, device)
    training = Training(run, folder, loaders, loop, progress, reporter)
    training.log.truncate(progress.metrics_bytes)
    with watch() as interrupt, deterministic_kernels():
        try:
            training.run_epochs(interrupt)
        except Interrupted as stop:
            name = Signals(stop.signal).name
            reporter.line(f"{name}: saved at epoch {progress.epoch + 1}, batch {progress.batch}. Continue with:")
            reporter.line(f"  localgrad train --resume {folder}")
            return Result(folder, progress.last, progress.best, name)
    return Result(folder, progress.last, progress.best)


@final
class Training:
    """The state of one call of ``train``: what is fixed, and the Progress that is saved."""

    def __init__(
        self, run: Run, folder: Path, loaders: Loaders, loop: Sequential, progress: Progress, reporter: Reporter
    ) -> None:
        self.run = run
        self.folder = folder
        self.loaders = loaders
        self.loop = loop
        self.progress = progress
        self.reporter = reporter
        self.log = MetricsLog(folder)
        # Sums stay on the device: reading them would make every step wait.
        self.sums: dict[str, dict[str, Tensor]] = {}

    def run_epochs(self, interrupt: Interrupt) -> None:
        """All epochs from where the run stands."""
        while self.progress.epoch < self.run.epochs:
            self.run_epoch(interrupt)
        if not self.progress.finished:
            self.progress.finished = True
            row = {"kind": "end", "epochs": self.run.epochs, "seconds": self.progress.seconds}
            self.log.append({**row, "last": self.progress.last, "best": self.progress.best})
            self.save()
        last = self.progress.last
        if last is not None:
            self.reporter.line(f"finished: test top-1 {last['test']['top1']:.2f} % (last epoch), in {self.folder}")

    def run_epoch(self, interrupt: Interrupt) -> None:
        """The rest of the current epoch, its evaluation, its row, and the checkpoint."""
        run, progress, device = self.run, self.progress, self.run.torch_device()
        lr = run.schedule.lr(run.optimizer.lr, progress.epoch, run.epochs)
        self.loop.set_lr(lr)
        self.sums = {
            unit: {name: torch.tensor(value, dtype=torch.float64, device=device) for name, value in terms.items()}
            for unit, terms in progress.sums.items()
        }
        started = time.perf_counter()
        before = progress.seconds
        steps = len(self.loaders.train)
        with self.reporter.epoch(f"epoch {progress.epoch + 1}/{run.epochs}", steps):
            for batch in self.loaders.train.epoch(progress.epoch, progress.batch):
                self.add(self.loop.step(batch).terms, len(batch.x))
                progress.batch += 1
                progress.step += 1
                progress.seen += len(batch.x)
                progress.seconds = before + time.perf_counter() - started
                self.reporter.step(progress.batch)
                if interrupt.signal is not None and progress.batch < steps:
                    self.save()
                    raise Interrupted(interrupt.signal)
        row = self.evaluate(lr)
        self.log.append(row)
        progress.sums, progress.seen, progress.batch = {}, 0, 0
        self.sums = {}
        progress.epoch += 1
        progress.last = {"epoch": progress.epoch, **{k: row[k] for k in ("test", "val") if k in row}}
        if better(progress.last, progress.best):
            progress.best = progress.last
        progress.seconds = before + time.perf_counter() - started
        self.save()
        if interrupt.signal is not None and progress.epoch < run.epochs:
            raise Interrupted(interrupt.signal)

    def add(self, terms: dict[int, dict[str, Tensor]], samples: int) -> None:
        """Add a step's loss terms, weighted by its samples."""
        for unit, named in terms.items():
            own = self.sums.setdefault(str(unit), {})
            for name, value in named.items():
                own[name] = own.get(name, 0.0) + value.double() * samples

    def evaluate(self, lr: float) -> dict[str, Any]:
        """The epoch's row: training loss of every unit, accuracy on test (and validation), time."""
        progress, precision = self.progress, self.run.precision
        means = {
            unit: {name: float(value) / progress.seen for name, value in terms.items()}
            for unit, terms in self.sums.items()
        }
        test = evaluate(self.loop.net, self.loaders.test, precision=precision)
        row: dict[str, Any] = {
            "kind": "epoch",
            "epoch": progress.epoch + 1,
            "step": progress.step,
            "lr": lr,
            "train": means,
            "test": test.row(),
            "seconds": progress.seconds,
        }
        if self.loaders.val is not None:
            row["val"] = evaluate(self.loop.net, self.loaders.val, precision=precision).row()
        self.reporter.line(epoch_line(row, test, self.run.epochs))
        return row

    def save(self) -> None:
        """Write the checkpoint of this moment."""
        self.progress.sums = {
            unit: {name: float(value) for name, value in terms.items()} for unit, terms in self.sums.items()
        }
        self.progress.metrics_bytes = self.log.size()
        save_checkpoint(self.folder / CHECKPOINT_FILE, self.loop, self.run.facts(), self.progress)


def better(last: dict[str, Any], best: dict[str, Any] | None) -> bool:
    """Whether an epoch is the best so far: on the validation split where there is one, else on test."""
    split = "val" if "val" in last else "test"
    return best is None or last[split]["top1"] > best[split]["top1"]


def epoch_line(row: dict[str, Any], test: Evaluation, epochs: int) -> str:
    """One line for a person."""
    losses = [sum(terms.values()) for terms in row["train"].values()]
    val = f"  val {row['val']['top1']:.2f} %" if "val" in row else ""
    return (
        f"epoch {row['epoch']}/{epochs}  loss {losses[-1]:.4f}{val}  test {test.top1:.2f} %  "
        f"lr {row['lr']:.4g}  {row['seconds']:.1f} s"
    )
