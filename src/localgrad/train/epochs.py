"""Training: the epochs of one run. Follow one mini-batch: loader -> runtime.step -> sums -> row of metrics.jsonl."""

import time
from pathlib import Path
from typing import Any, final

import torch
from torch import Tensor

from localgrad.data import Loader
from localgrad.runtime import Sequential
from localgrad.train.checkpoint import CHECKPOINT_FILE, Progress, save_checkpoint
from localgrad.train.evaluate import Evaluation, evaluate
from localgrad.train.interrupt import Interrupt, Interrupted
from localgrad.train.progress import Reporter
from localgrad.train.record import MetricsLog
from localgrad.train.run import Run
from localgrad.train.setup import Loaders


@final
class Training:
    """The state of one call of ``train``: what is fixed, and the Progress that is saved."""

    def __init__(
        self,
        run: Run,
        folder: Path,
        loaders: Loaders,
        loop: Sequential,
        progress: Progress,
        reporter: Reporter,
        interrupt: Interrupt,
    ) -> None:
        self.run = run
        self.folder = folder
        self.loaders = loaders
        self.loop = loop
        self.progress = progress
        self.reporter = reporter
        self.interrupt = interrupt
        self.log = MetricsLog(folder)
        self.started = time.perf_counter() - progress.seconds
        # Sums stay on the device: reading them would make every step wait.
        self.sums: dict[str, dict[str, Tensor]] = {
            unit: {
                name: torch.tensor(value, dtype=torch.float64, device=loaders.train.device)
                for name, value in terms.items()
            }
            for unit, terms in progress.sums.items()
        }

    def run_epochs(self) -> None:
        """All epochs from where the run stands. Raises Interrupted when a signal arrived before the end."""
        while self.progress.epoch < self.run.epochs:
            self.run_epoch()
        if not self.progress.finished:
            self.progress.finished = True
            row = {"kind": "end", "epochs": self.run.epochs, "seconds": self.seconds()}
            self.log.append({**row, "last": self.progress.last, "best": self.progress.best})
            self.save()
        last = self.progress.last
        assert last is not None
        self.reporter.line(f"finished: test top-1 {last['test']['top1']:.2f} % (last epoch), in {self.folder}")

    def run_epoch(self) -> None:
        """The rest of the current epoch, its evaluation, its row, and the checkpoint."""
        run, progress = self.run, self.progress
        lr = run.schedule.lr(run.optimizer.lr, progress.epoch, run.epochs)
        self.loop.set_lr(lr)
        with self.reporter.epoch(f"epoch {progress.epoch + 1}/{run.epochs}", len(self.loaders.train)):
            for batch in self.loaders.train.epoch(progress.epoch, progress.batch):
                self.add(self.loop.step(batch).terms, len(batch.x))
                progress.batch += 1
                progress.step += 1
                progress.seen += len(batch.x)
                self.reporter.step(progress.batch)
                self.stop_if_asked()
        row = self.measure(lr)
        self.log.append(row)
        self.sums = {}
        progress.seen, progress.batch = 0, 0
        progress.epoch += 1
        progress.last = {"epoch": progress.epoch, **{k: row[k] for k in ("test", "val") if k in row}}
        if better(progress.last, progress.best):
            progress.best = progress.last
        self.save()
        if self.interrupt.signal is not None and progress.epoch < run.epochs:
            raise Interrupted

    def stop_if_asked(self) -> None:
        """Save and raise Interrupted when a signal has arrived. Between any two batches, also of an evaluation."""
        if self.interrupt.signal is not None:
            self.save()
            raise Interrupted

    def add(self, terms: dict[int, dict[str, Tensor]], samples: int) -> None:
        """Add a step's loss terms, weighted by its samples."""
        for unit, named in terms.items():
            own = self.sums.setdefault(str(unit), {})
            for name, value in named.items():
                own[name] = own.get(name, 0.0) + value.double() * samples

    def measure(self, lr: float) -> dict[str, Any]:
        """The epoch's row: training loss of every unit, accuracy on test (and validation), time."""
        progress = self.progress
        means = {
            unit: {name: float(value) / progress.seen for name, value in terms.items()}
            for unit, terms in self.sums.items()
        }
        seconds = self.seconds()
        test = self.evaluated(self.loaders.test)
        row: dict[str, Any] = {
            "kind": "epoch",
            "epoch": progress.epoch + 1,
            "step": progress.step,
            "lr": lr,
            "train": means,
            "test": test.row(),
            "seconds": seconds,
        }
        if self.loaders.val is not None:
            row["val"] = self.evaluated(self.loaders.val).row()
        self.reporter.line(epoch_line(row, self.run.epochs))
        return row

    def evaluated(self, loader: Loader) -> Evaluation:
        """Accuracies on one split, unless a signal arrives."""
        return evaluate(self.loop.net, loader, precision=self.run.precision, before_batch=self.stop_if_asked)

    def seconds(self) -> float:
        """Time that the run has taken so far, all its parts together."""
        return time.perf_counter() - self.started

    def save(self) -> None:
        """Write the checkpoint of this moment."""
        self.progress.sums = {
            unit: {name: float(value) for name, value in terms.items()} for unit, terms in self.sums.items()
        }
        self.progress.seconds = self.seconds()
        self.progress.metrics_bytes = self.log.size()
        save_checkpoint(self.folder / CHECKPOINT_FILE, self.loop, self.run.facts(), self.progress)


def better(last: dict[str, Any], best: dict[str, Any] | None) -> bool:
    """Whether an epoch is the best so far: on the validation split where there is one, else on test."""
    split = "val" if "val" in last else "test"
    return best is None or last[split]["top1"] > best[split]["top1"]


def epoch_line(row: dict[str, Any], epochs: int) -> str:
    """One line for a person: the last unit's loss is the network's."""
    losses = [sum(terms.values()) for terms in row["train"].values()]
    val = f"  val {row['val']['top1']:.2f} %" if "val" in row else ""
    return (
        f"epoch {row['epoch']}/{epochs}  loss {losses[-1]:.4f}{val}  test {row['test']['top1']:.2f} %  "
        f"lr {row['lr']:.4g}  {row['seconds']:.1f} s"
    )
