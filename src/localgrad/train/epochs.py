"""Training: the epochs of one run. Follow one mini-batch: loader -> runtime.step -> sums -> row of metrics.jsonl."""

import math
import time
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, final

import torch
from torch import Tensor

from localgrad.analysis.features import unit_features
from localgrad.data import Batches
from localgrad.errors import DivergedError
from localgrad.train.checkpoint import CHECKPOINT_FILE, Progress, save_checkpoint
from localgrad.train.empty import empty_lines, some, with_epoch
from localgrad.train.evaluate import Evaluation, evaluate
from localgrad.train.frozen import KNN, LINEAR, due, frozen_row, frozen_words
from localgrad.train.interrupt import Interrupt, Interrupted
from localgrad.train.pace import Runtime, make_pace
from localgrad.train.progress import Reporter
from localgrad.train.record import MetricsLog
from localgrad.train.run import Run
from localgrad.train.setup import Loaders
from localgrad.unit import Unit

KEPT = ("unit", "test", "val", KNN, LINEAR)
"""What of an epoch's row the end of the run says again."""


@final
class Training:
    """The state of one call of ``train``: what is fixed, and the Progress that is saved."""

    def __init__(
        self,
        run: Run,
        folder: Path,
        loaders: Loaders,
        loop: Runtime,
        progress: Progress,
        reporter: Reporter,
        interrupt: Interrupt,
    ) -> None:
        self.run = run
        self.folder = folder
        self.loaders = loaders
        self.loop = loop
        self.pace = make_pace(run, loop, loaders.train)
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
        while not self.pace.done(self.progress.epoch, self.progress.batch):
            self.run_epoch()
        if not self.progress.finished:
            self.progress.finished = True
            row = {"kind": "end", "epochs": self.progress.epoch, "seconds": self.seconds()}
            empty = {"empty": found} if (found := some(self.progress.empty)) else {}
            self.log.append({**row, "last": self.progress.last, "best": self.progress.best, **empty})
            self.save()
        assert self.progress.last is not None
        for line in empty_lines(self.progress.empty, self.loop.net.unit_list()):
            self.reporter.line(line)
        self.reporter.line(finished_line(self.progress.last, self.folder))

    def run_epoch(self) -> None:
        """The rest of the current epoch, its evaluation, its row, and the checkpoint.

        Raises DivergedError when the loss of a unit is not finite; the checkpoint stays the one before.
        """
        progress, pace = self.progress, self.pace
        bar = self.reporter.epoch(pace.title(progress.epoch), pace.steps)
        with bar, closing(pace.walk(progress.epoch, progress.batch)) as walk:
            for taken in walk:
                self.add(taken.terms, taken.samples)
                progress.batch += 1
                progress.step += 1
                self.reporter.step(progress.batch)
                self.stop_if_asked()
        row = self.measure()
        self.log.append(row)
        if "diverged" in row:
            raise DivergedError(diverged_text(row, progress.epoch, self.folder))
        self.sums = {}
        progress.empty = with_epoch(progress.empty, row.get("figures", {}), progress.seen)
        progress.seen, progress.batch = {}, 0
        progress.epoch += 1
        progress.last = {"epoch": progress.epoch, **{k: row[k] for k in KEPT if k in row}}
        if better(progress.last, progress.best):
            progress.best = progress.last
        self.save()
        if self.interrupt.signal is not None and not pace.done(progress.epoch, progress.batch):
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
            self.progress.seen[str(unit)] = self.progress.seen.get(str(unit), 0) + samples
            for name, value in named.items():
                own[name] = own.get(name, 0.0) + value.double() * samples

    def measure(self) -> dict[str, Any]:
        """The epoch's row: training loss of every unit, accuracy on test (and validation), time."""
        progress = self.progress
        means = {
            unit: {name: float(value) / progress.seen[unit] for name, value in self.sums[unit].items()}
            for unit in sorted(self.sums, key=int)
        }
        seconds = self.seconds()
        judged = self.loop.net.classifies
        test = {"test": self.evaluated(self.loaders.test).row()} if judged else {}
        row: dict[str, Any] = {
            "kind": "epoch",
            "epoch": progress.epoch + 1,
            "step": progress.step,
            **self.pace.row(progress.epoch),
            **train_and_figures(means, self.loop.net.unit_list()),
            **test,
            "seconds": seconds,
        }
        diverged = [unit for unit, terms in means.items() if not all(map(math.isfinite, terms.values()))]
        if diverged:
            row["diverged"] = diverged
        if self.loaders.val is not None and judged:
            row["val"] = self.evaluated(self.loaders.val).row()
        if not diverged:
            row |= self.frozen()
        self.reporter.line(epoch_line(row, self.pace.title(progress.epoch)))
        return row

    def evaluated(self, loader: Batches) -> Evaluation:
        """Accuracies on one split, unless a signal arrives."""
        judged, precision = self.pace.judged(self.progress.epoch), self.run.precision
        return evaluate(self.loop.net, loader, precision=precision, units=judged, before_batch=self.stop_if_asked)

    def frozen(self) -> dict[str, Any]:
        """The part of the row that the units' frozen features give, in the epochs where that is asked for."""
        run, epoch = self.run, self.progress.epoch
        own, last = self.pace.own_epoch(epoch), self.pace.ends(epoch)
        knn, linear = (due(every, own, last=last) for every in (run.knn_every, run.linear_every))
        if not knn and not linear:
            return {}
        assert self.loaders.bare is not None
        train, test = (
            unit_features(
                self.loop.net,
                loader,
                units=self.pace.judged(epoch),
                precision=run.precision,
                before_batch=self.stop_if_asked,
            )
            for loader in (self.loaders.bare, self.loaders.test)
        )
        classes = run.backbone.num_classes
        return frozen_row(train, test, classes=classes, knn=knn, linear=linear, before_pass=self.stop_if_asked)

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


def finished_line(last: dict[str, Any], folder: Path) -> str:
    """What a person reads at the end of a run."""
    accuracy = f"test top-1 {last['test']['top1']:.2f} % (last epoch), " if "test" in last else ""
    if not accuracy and (found := frozen_words(last)):
        accuracy = f"{found.strip().replace('  ', ', ')} of the frozen features (last epoch), "
    return f"finished: {accuracy}in {folder}"


def train_and_figures(means: dict[str, dict[str, float]], units: Sequence[Unit]) -> dict[str, Any]:
    """The part of a row that comes from the steps: loss terms by unit, and what units tell of themselves besides."""
    found: dict[str, dict[str, dict[str, float]]] = {"train": {}, "figures": {}}
    for unit, terms in means.items():
        told = units[int(unit)].figures
        for name, value in terms.items():
            found["figures" if name in told else "train"].setdefault(unit, {})[name] = value
    return {kind: own for kind, own in found.items() if own or kind == "train"}


def diverged_text(row: dict[str, Any], saved: int, folder: Path) -> str:
    """Which losses are not finite after an epoch, what is left of the run, and what to try."""
    first, *more = row["diverged"]
    others = f" and {len(more)} more" if more else ""
    kept = f"The checkpoint of epoch {saved} is kept in" if saved else "No checkpoint was written to"
    return (
        f"epoch {row['epoch']}: the training loss of unit {first}{others} is not a finite number, training has "
        f"diverged and was stopped. {kept} {folder}. Try a lower learning rate, a longer warm-up or clip=1 (--clip 1) "
        "in another folder; resuming this run would diverge again."
    )


def better(last: dict[str, Any], best: dict[str, Any] | None) -> bool:
    """Whether an epoch is the best so far: on the validation split where there is one, else on test.

    Of greedy training, among the epochs of one unit: accuracies of another unit are those of another head. Without an
    accuracy no epoch is better than another.
    """
    split = "val" if "val" in last else "test"
    if split not in last:
        return False
    return best is None or last.get("unit") != best.get("unit") or last[split]["top1"] > best[split]["top1"]


def epoch_line(row: dict[str, Any], title: str) -> str:
    """One line for a person: loss and learning rate of the last unit that is evaluated, if it learnt in this epoch."""
    # In an epoch of ticks it may be that nothing learnt.
    by_unit = row["lr"] if isinstance(row["lr"], dict) else {}
    last = max((row["test"]["units"] if "test" in row else row["train"]) or by_unit, key=int)
    loss = f"  loss {sum(row['train'][last].values()):.4f}" if last in row["train"] else ""
    lr = row["lr"][last] if isinstance(row["lr"], dict) else row["lr"]
    val = f"  val {row['val']['top1']:.2f} %" if "val" in row else ""
    test = (f"  test {row['test']['top1']:.2f} %" if "test" in row else "") + frozen_words(row)
    return f"{title}{loss}{val}{test}  lr {lr:.4g}  {row['seconds']:.1f} s"
