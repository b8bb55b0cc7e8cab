"""One process of a run: it takes the items of the stream one after the other, and saves when its own count says so.

Follow one mini-batch: item -> ``Worker.train`` -> sums on the device -> (end of epoch) this process's row, its shard of
the checkpoint, and, on the last stage, the run's row with what all stages told along the pipeline.
"""

import math
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, final

import torch
from torch import Tensor

from localgrad.distributed import Item, ItemKind, Worker, World, train_cascades
from localgrad.errors import LocalgradError
from localgrad.spec import Batch
from localgrad.train.checkpoint import Progress
from localgrad.train.empty import empty_lines, some, with_epoch
from localgrad.train.epochs import KEPT, better, diverged_text, epoch_line, finished_line, train_and_figures
from localgrad.train.evaluate import Evaluation
from localgrad.train.frozen import FROZEN, due, frozen_row
from localgrad.train.interrupt import Interrupted
from localgrad.train.newest import forget_older
from localgrad.train.progress import Reporter
from localgrad.train.ranks.looked import Looked
from localgrad.train.ranks.tally import Tally, evaluation, unit_accuracies
from localgrad.train.record import MetricsLog, RankLog
from localgrad.train.run import Run
from localgrad.train.schedule import falls
from localgrad.train.shards import save_shard

SPLITS = {ItemKind.TEST: "test", ItemKind.VAL: "val"}


@final
class RankWalk:
    """The state of one process in a run: what is fixed, and the Progress that is saved."""

    def __init__(
        self,
        run: Run,
        folder: Path,
        world: World,
        worker: Worker,
        progress: Progress,
        reporter: Reporter,
        *,
        batches: int,
        save_every: int | None,
    ) -> None:
        self.run, self.folder, self.world, self.worker = run, folder, world, worker
        self.progress, self.reporter = progress, reporter
        self.batches, self.save_every = batches, save_every
        self.first = worker.replica == 0
        self.judge = worker.is_tail and self.first
        self.places = sorted(worker.inner)
        self.log = MetricsLog(folder) if self.judge else None
        self.own_log = RankLog(folder, world.rank, progress.step)
        self.cascades = any(unit.spec.reach > 1 for unit in worker.units)
        self.started = time.perf_counter() - progress.seconds
        # The shares of all replicas are in what the first one saved.
        self.sums: dict[str, dict[str, Tensor]] = {
            unit: {
                name: torch.tensor(value if self.first else 0.0, dtype=torch.float64, device=worker.device)
                for name, value in terms.items()
            }
            for unit, terms in progress.sums.items()
            if int(unit) in worker.inner
        }
        progress.seen = {unit: count for unit, count in progress.seen.items() if int(unit) in worker.inner}
        progress.empty = {unit: pair for unit, pair in progress.empty.items() if int(unit) in worker.inner}
        self.tallies: dict[ItemKind, Tally] = {}
        self.looked: dict[ItemKind, Looked] = {}
        self.waited = 0.0
        self.epoch: int | None = None

    def lr(self, epoch: int) -> float:
        """Learning rate of an epoch."""
        return self.run.schedule.lr(self.run.optimizer.lr, epoch, self.run.epochs)

    def walk(self, items: Iterator[tuple[Item, Batch | None]]) -> None:
        """All items. Raises Interrupted after an early end of the stream, LocalgradError for a loss not finite."""
        before = time.perf_counter()
        for item, batch in items:
            self.waited += time.perf_counter() - before
            own = None if batch is None else self.worker.own_rows(batch)
            match item.kind:
                case ItemKind.TRAIN:
                    self.train(item, own)
                case ItemKind.TEST | ItemKind.VAL:
                    self.evaluate(item, own)
                case ItemKind.BARE | ItemKind.BARE_TEST:
                    self.look(item, own)
                case ItemKind.EPOCH_END:
                    self.end_epoch(item)
                case ItemKind.FINISHED:
                    self.finish(item)
                case ItemKind.STOP:
                    self.worker.pass_on(item, {})
                    self.save()
                    raise Interrupted
            before = time.perf_counter()

    def train(self, item: Item, own: Batch | None) -> None:
        """One step."""
        self._begin(item)
        step = train_cascades if self.cascades else Worker.train
        for place, terms in step(self.worker, item, own).items():
            sums = self.sums.setdefault(str(place), {})
            self.progress.seen[str(place)] = self.progress.seen.get(str(place), 0) + item.rows
            rows = item.rows * self.worker.part(item.rows).weight
            for name, value in terms.items():
                sums[name] = sums.get(name, 0.0) + value.double() * rows
        self.progress.step = item.step + 1
        self.progress.batch = item.index + 1
        self.reporter.step(self.progress.batch)
        if self.save_every is not None and self.progress.step % self.save_every == 0:
            self.save()

    def _begin(self, item: Item) -> None:
        if self.epoch == item.epoch:
            return
        self.epoch = item.epoch
        forgets = item.index == 0 and self.run.reset_optimizer
        for update in self.worker.inner.values():
            for group in update.optimizer.param_groups:
                group["lr"] = self.lr(item.epoch)
            if forgets and falls(self.run.schedule, self.run.optimizer.lr, item.epoch, self.run.epochs):
                update.optimizer.state.clear()
        self.worker.net.train()

    def evaluate(self, item: Item, own: Batch | None) -> None:
        """One batch of a split."""
        if item.kind not in self.tallies:
            self._judge_from_here()
            self.tallies[item.kind] = Tally(self.worker.net, self.worker.device, tail=self.worker.is_tail)
        batch, mine, seen = self.worker.evaluate(item, own)
        assert batch.y is not None
        self.tallies[item.kind].add(batch.y, mine, seen)

    def look(self, item: Item, own: Batch | None) -> None:
        """The frozen features of one batch."""
        if item.kind not in self.looked:
            self._judge_from_here()
            self.looked[item.kind] = Looked(self.worker.net, self.worker.replicas)
        batch, outputs = self.worker.look(item, own)
        assert batch.y is not None
        self.looked[item.kind].add(item.rows, batch.y, outputs)

    def _judge_from_here(self) -> None:
        """Evaluation mode, from the first evaluation after an epoch's steps on."""
        if not self.tallies and not self.looked:
            self._follow_first()
            self.worker.net.eval()

    def _frozen(self, epoch: int) -> dict[str, Any]:
        """What the features of the hosted units say, where they were looked at."""
        if not self.looked:
            return {}
        train, test = (self.looked[kind].features() for kind in (ItemKind.BARE, ItemKind.BARE_TEST))
        if not self.first:
            return {}
        run, last = self.run, epoch + 1 >= self.run.epochs
        knn, linear = (due(every, epoch, last=last) for every in (run.knn_every, run.linear_every))
        return frozen_row(train, test, classes=run.backbone.num_classes, knn=knn, linear=linear)

    def _follow_first(self) -> None:
        for place in self.places:
            self.worker.replicas.follow_first(self.worker.units[place])

    def end_epoch(self, item: Item) -> None:
        """This process's row and shard; on the last stage the run's row. Raises LocalgradError on a loss not finite."""
        self._join_sums()
        means = {
            unit: {name: float(value) / self.progress.seen[unit] for name, value in terms.items()}
            for unit, terms in sorted(self.sums.items(), key=lambda pair: int(pair[0]))
        }
        counted = {SPLITS[kind]: tally.gathered(self.worker.replicas) for kind, tally in self.tallies.items()}
        accuracies = {split: {"units": unit_accuracies(sums)} for split, sums in counted.items()}
        diverged = [unit for unit, terms in means.items() if not all(map(math.isfinite, terms.values()))]
        frozen = {} if diverged else self._frozen(item.epoch)
        own = {**train_and_figures(means, self.worker.units), **accuracies, **frozen}
        told = self.worker.pass_on(item, own)
        if diverged:
            raise LocalgradError(
                diverged_text({"epoch": item.epoch + 1, "diverged": diverged}, item.epoch, self.folder)
            )
        self.sums, self.tallies, self.looked, self.epoch = {}, {}, {}, None
        progress = self.progress
        progress.empty = with_epoch(progress.empty, own.get("figures", {}), progress.seen)
        progress.seen, progress.batch, progress.epoch = {}, 0, item.epoch + 1
        self.own_log.append({"kind": "rank", "epoch": item.epoch + 1, "step": progress.step, **self._account(), **own})
        if self.judge:
            self._judge(item, told, counted)
        self.save()

    def _account(self) -> dict[str, object]:
        """What this process did: seconds it waited for work since the last row, bytes sent so far, what a wire lost."""
        worker = self.worker
        sent = {
            f"{channel.kind} of unit {channel.unit} to stage {channel.target}": box.bytes
            for boxes in worker.out.values()
            for channel, box in boxes
        }
        row: dict[str, object] = {
            "rank": self.world.rank,
            "units": [worker.units[place].name for place in self.places],
            "seconds": self.seconds(),
            "waited": self.waited,
            "sent_bytes": sent,
        }
        if worker.replicas.count > 1:
            row["reduced_bytes"] = worker.replicas.bytes
        if worker.codec.error is not None:
            row["wire_error"] = worker.codec.error
        worker.codec.reset()
        self.waited = 0.0
        return row

    def _judge(self, item: Item, told: dict[str, Any], counted: dict[str, dict[str, float]]) -> None:
        """The run's row, from what all stages told."""
        assert self.log is not None
        found: dict[str, Evaluation] = {
            split: evaluation(sums, told[split]["units"]) for split, sums in counted.items()
        }
        row: dict[str, Any] = {
            "kind": "epoch",
            "epoch": item.epoch + 1,
            "step": self.progress.step,
            "lr": self.lr(item.epoch),
            **{
                kind: dict(sorted(told[kind].items(), key=lambda pair: int(pair[0])))
                for kind in ("train", "figures")
                if kind in told
            },
            **({"test": found["test"].row()} if "test" in found else {}),
            "seconds": self.seconds(),
        }
        if "val" in found:
            row["val"] = found["val"].row()
        for name in FROZEN:
            if name in told:
                row[name] = dict(sorted(told[name].items(), key=lambda pair: int(pair[0])))
        self.reporter.line(epoch_line(row, f"epoch {item.epoch + 1}/{self.run.epochs}"))
        self.log.append(row)
        last: dict[str, Any] = {"epoch": item.epoch + 1, **{k: row[k] for k in KEPT if k in row}}
        self.progress.last = last
        if better(last, self.progress.best):
            self.progress.best = last

    def finish(self, item: Item) -> None:
        """The end of the run."""
        progress = self.progress
        told = self.worker.pass_on(item, {"empty": progress.empty})
        if self.judge:
            progress.empty = dict(sorted(told["empty"].items(), key=lambda pair: int(pair[0])))
        if not progress.finished:
            progress.finished = True
            if self.log is not None:
                row = {"kind": "end", "epochs": progress.epoch, "seconds": self.seconds()}
                empty = {"empty": found} if (found := some(progress.empty)) else {}
                self.log.append({**row, "last": progress.last, "best": progress.best, **empty})
            self.save()
        if self.judge and progress.last is not None:
            for line in empty_lines(progress.empty, self.worker.units):
                self.reporter.line(line)
            self.reporter.line(finished_line(progress.last, self.folder))

    def seconds(self) -> float:
        """Time that the run has taken so far, all its parts together."""
        return time.perf_counter() - self.started

    def _join_sums(self) -> None:
        """Sums of all replicas on the first one, and none on the others."""
        replicas = self.worker.replicas
        if replicas.count == 1:
            return
        names = [(unit, name) for unit in sorted(self.sums) for name in sorted(self.sums[unit])]
        if not names:
            return
        values = torch.stack([self.sums[unit][name] for unit, name in names])
        replicas.add_up(values)
        for (unit, name), value in zip(names, values, strict=True):
            self.sums[unit][name] = value

    def save(self) -> None:
        """This process's shard of the checkpoint at its own step; older ones go when a newer one is complete."""
        self._join_sums()
        self._follow_first()
        progress = self.progress
        if self.first:
            late = self.worker.late.state(progress.step)
            progress.sums = {
                unit: {name: float(value) for name, value in terms.items()} for unit, terms in self.sums.items()
            }
            progress.seconds = self.seconds()
            progress.metrics_bytes = 0 if self.log is None else self.log.size()
            save_shard(
                self.folder,
                step=progress.step,
                rank=self.world.rank,
                ranks=self.world.size,
                net=self.worker.net,
                units=self.places,
                updates=[self.worker.inner[place] for place in self.places],
                facts=self.run.facts(),
                progress=progress,
                runtime=late,
            )
            placement = self.worker.placement
            savers = [placement.rank(stage, 0) for stage in range(placement.stages)]
            complete = self.world.reached("saved", progress.step, savers)
            if complete is not None:
                forget_older(self.folder, self.world.rank, complete)
        else:
            # Their share is in the first replica's sums now.
            self.sums = {unit: {n: torch.zeros_like(v) for n, v in terms.items()} for unit, terms in self.sums.items()}
