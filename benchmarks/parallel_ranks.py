"""What each process of ``parallel.py`` does: bursts of training steps of every row, when the launcher asks for them."""

import multiprocessing.synchronize
import os
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import StrEnum
from multiprocessing.connection import Connection
from multiprocessing.sharedctypes import Synchronized
from time import perf_counter, process_time
from typing import TypeVar, final

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.pipelining import PipelineStage, Schedule1F1B
from torch.nn.functional import cross_entropy
from torch.nn.parallel import DistributedDataParallel

import localgrad as lg
from localgrad.distributed import Address, Item, ItemKind, Replicas, Worker, World
from localgrad.distributed.worker import new_group
from localgrad.method import Method
from localgrad.partition import Explicit
from localgrad.placement import Placement, unit_shapes
from localgrad.update import OptimizerUpdate

CPU = torch.device("cpu")
Formatted = TypeVar("Formatted", bound=Tensor | nn.Module)
LR = 0.1
HELD = 5
"""Mini-batches that are between two stages at most: queue and thread's hands of the outbox, the same of the inbox."""
METHODS: dict[str, Method] = {"dgl": lg.methods.DGL(), "auglocal": lg.methods.AugLocal(depth=2)}


class Row(StrEnum):
    """What a burst runs."""

    SEQUENTIAL = "backpropagation in one process, the others idle"
    ALONE = "this process's unit, the others idle"
    BUSY = "this process's unit, all processes at it"
    LOCAL = "local learning, a unit per process"
    PIPELINE = "1F1B, a stage per process"
    DDP = "DDP, a part of the mini-batch per process"


@final
@dataclass(frozen=True)
class Settings:
    """What is measured; the same in all processes."""

    processes: int
    batch: int
    channels_last: bool
    method: str
    cut: str
    microbatches: int
    port: int

    def partition(self) -> lg.Partition:
        """The cut into modules. Raises LocalgradError where the papers have none for so many, or a block is unknown."""
        backbone = lg.backbones.resnet32()
        if self.cut == "paper":
            return METHODS[self.method].cut(backbone, self.processes)(backbone)
        if self.cut == "macs":
            return lg.equal_macs(self.processes)(backbone)
        return Explicit(tuple(self.cut.split(",")))(backbone)

    def network(self) -> lg.LocalNetwork:
        """The network, cut."""
        return lg.localize(lg.backbones.resnet32(), METHODS[self.method], partition=self.partition())

    def formatted(self, what: Formatted) -> Formatted:
        """In the memory format of this run."""
        return what.to(memory_format=torch.channels_last) if self.channels_last else what


@final
@dataclass(frozen=True)
class Burst:
    """Moments in seconds of ``perf_counter``, one clock for all processes: begin, end of every step.

    ``cpu`` are seconds of this process's processor time per step, all threads; ``forward`` is the mean share of a step
    after which a unit's output was handed on; ``sent`` the bytes per step that this process's channels counted.
    """

    start: float
    ends: tuple[float, ...]
    cpu: float
    sent: float = 0.0
    forward: float = 0.0

    def seconds(self, steps: int) -> float:
        """Of a step, from the end of the first, which finds caches and heap as others left them."""
        return (self.ends[steps] - self.ends[0]) / steps


@final
class PlainStage(nn.Module):
    """Blocks of the network as a stage of torch's pipeline, which sends contiguous tensors only."""

    def __init__(self, module: nn.Module, channels_last: bool, last: bool) -> None:
        super().__init__()
        self.module, self.channels_last, self.last = module, channels_last, last

    def forward(self, h: Tensor) -> Tensor:
        """From NCHW to NCHW; the last stage returns logits."""
        if not self.channels_last:
            return self.module(h)
        h = self.module(h.contiguous(memory_format=torch.channels_last))
        return h if self.last else h.contiguous()


@final
class Rank:
    """One process: its unit, its stage of the pipeline, its replica of the whole network."""

    def __init__(
        self, world: World, settings: Settings, barrier: multiprocessing.synchronize.Barrier, done: "Synchronized[int]"
    ) -> None:
        self.rank, self.settings, self.barrier, self.done = world.rank, settings, barrier, done
        self.generator = torch.Generator().manual_seed(world.rank)
        shape = (settings.batch, *lg.backbones.resnet32().image)
        self.images = settings.formatted(torch.randn(shape, generator=torch.Generator().manual_seed(0)))
        # Groups of their own, so that messages of rows never meet; made before the worker listens at the default one.
        pipeline, replicas = (new_group() for _ in range(2))
        whole = lg.localize(lg.backbones.resnet32(), lg.methods.Backprop())
        self.sequential = lg.Sequential(settings.formatted(whole), lg.SGD(lr=LR))
        self._make_pipeline(pipeline)
        self._make_ddp(replicas)
        self._make_worker(world)
        self.step = 0
        self.rows: dict[Row, Callable[[int], Burst]] = {
            Row.SEQUENTIAL: lambda steps: self._burst(1 + steps, self._sequential_step),
            Row.ALONE: self._alone,
            Row.BUSY: self._busy,
            Row.LOCAL: self._local,
            Row.PIPELINE: lambda steps: self._burst(1 + steps, self._pipeline_step),
            Row.DDP: lambda steps: self._burst(1 + steps, self._ddp_step),
        }

    def run(self, row: Row, steps: int) -> Burst:
        """One step that is not counted, and ``steps`` that are."""
        if row in (Row.SEQUENTIAL, Row.ALONE):
            return self.rows[row](steps)
        self.barrier.wait()
        found = self.rows[row](steps)
        self.barrier.wait()
        return found

    def close(self) -> None:
        """End the channels."""
        self.worker.pass_on(Item(ItemKind.FINISHED), {})

    def _labels(self) -> Tensor:
        # New ones in every step: nothing can be learnt, so losses and gradients keep their size.
        return torch.randint(0, 10, (self.settings.batch,), generator=self.generator)

    def _batch(self, x: Tensor) -> lg.Batch:
        self.step += 1
        return lg.Batch(x=x, y=self._labels(), step=self.step)

    def _burst(self, count: int, step: Callable[[], object]) -> Burst:
        start, ends, cpu = perf_counter(), list[float](), list[float]()
        for _ in range(count):
            step()
            ends.append(perf_counter())
            cpu.append(process_time())
        return Burst(start, tuple(ends), (cpu[-1] - cpu[0]) / (count - 1))

    # Local learning

    def _make_worker(self, world: World) -> None:
        settings, place = self.settings, self.rank
        h = self.images
        with torch.no_grad():
            for unit in settings.formatted(settings.network()).unit_list()[:place]:
                h = unit(h)
        self.h_in = h
        with torch.device("meta"):
            whole = settings.network()
        specs = [unit.spec for unit in whole.unit_list()]
        net = settings.formatted(lg.LocalNetwork(whole.backbone, specs, seed=0, only=[place])).train()
        self.unit = net.unit_list()[place]
        self.update = OptimizerUpdate(lg.SGD(lr=LR)(self.unit.trained_parameters()))
        placement = Placement(tuple(range(settings.processes)))
        self.worker = Worker(world, net, placement, {place: self.update}, Replicas(world, (place,), None), device=CPU)

    def _alone(self, steps: int) -> Burst:
        handed: list[float] = []
        found = self._burst(1 + steps, lambda: self._unit_step(lambda _: handed.append(perf_counter())))
        shares = [(h - s) / (e - s) for s, h, e in zip(found.ends[:-1], handed[1:], found.ends[1:], strict=True)]
        return replace(found, forward=sum(shares) / len(shares))

    def _unit_step(self, send: Callable[[Tensor], None]) -> None:
        self.unit.step(self.h_in, self._batch(self.h_in), self.update, send=send)

    def _busy(self, steps: int) -> Burst:
        found = self._alone(steps)
        with self.done.get_lock():
            self.done.value += 1
        while self.done.value < self.settings.processes:
            self._unit_step(lambda _: None)
        return found

    def _local(self, steps: int) -> Burst:
        # More than are counted: those before the last stage go on as in a long run while it makes the last steps.
        count = 1 + steps + HELD * (self.settings.processes - 1)
        before = self._sent()
        found = self._burst(count, self._local_step)
        self.barrier.wait()
        return replace(found, sent=(self._sent() - before) / count)

    def _local_step(self) -> None:
        if self.worker.is_source:
            batch = self._batch(self.images)
            self.worker.train(Item(ItemKind.TRAIN, step=self.step, rows=len(batch.x)), batch)
        else:
            self.worker.train(self.worker.next_item(), None)

    def _sent(self) -> int:
        return sum(box.bytes for boxes in self.worker.out.values() for _, box in boxes)

    # What it is compared with

    def _sequential_step(self) -> None:
        self.sequential.step(self._batch(self.images))

    def _make_pipeline(self, group: dist.ProcessGroup) -> None:
        settings, place = self.settings, self.rank
        net = settings.formatted(settings.network()).train()
        unit, last = net.unit_list()[place], place == settings.processes - 1
        # The last unit's auxiliary network is the network's own head.
        body = nn.Sequential(unit.body, unit.aux) if last else unit.body
        shapes = [net.backbone.image, *unit_shapes(net)]
        rows = settings.batch // settings.microbatches
        stage = PipelineStage(
            PlainStage(body, settings.channels_last, last),
            place,
            settings.processes,
            CPU,
            input_args=torch.empty(rows, *shapes[place], requires_grad=place > 0),
            output_args=torch.empty((rows, 10) if last else (rows, *shapes[place + 1]), requires_grad=True),
            group=group,
        )
        self.schedule = Schedule1F1B(stage, settings.microbatches, loss_fn=cross_entropy)
        self.stage_optimizer = lg.SGD(lr=LR)(body.parameters())

    def _pipeline_step(self) -> None:
        inputs = (self.images,) if self.rank == 0 else ()
        if self.rank == self.settings.processes - 1:
            self.schedule.step(*inputs, target=self._labels(), losses=[], return_outputs=False)
        else:
            self.schedule.step(*inputs, return_outputs=False)
        self.stage_optimizer.step()
        self.stage_optimizer.zero_grad(set_to_none=True)

    def _make_ddp(self, group: dist.ProcessGroup) -> None:
        (unit,) = lg.localize(lg.backbones.resnet32(), lg.methods.Backprop()).unit_list()
        whole = self.settings.formatted(nn.Sequential(unit.body, unit.aux)).train()
        self.replica = DistributedDataParallel(whole, process_group=group)
        self.replica_optimizer = lg.SGD(lr=LR)(whole.parameters())

    def _ddp_step(self) -> None:
        x, y = (all_rows.tensor_split(self.settings.processes)[self.rank] for all_rows in (self.images, self._labels()))
        cross_entropy(self.replica(x), y).backward()
        self.replica_optimizer.step()
        self.replica_optimizer.zero_grad(set_to_none=True)


def end_with_parent() -> None:
    """End this process at once when the launcher is gone, whatever it waits for."""
    launcher = multiprocessing.parent_process()
    assert launcher is not None
    launcher.join()
    os._exit(1)


def serve(
    rank: int,
    settings: Settings,
    connection: Connection,
    barrier: multiprocessing.synchronize.Barrier,
    done: "Synchronized[int]",
) -> None:
    """What a process does: bursts, until it is asked for none."""
    threading.Thread(target=end_with_parent, daemon=True).start()
    torch.set_num_threads(1)
    lg.keep_freed_memory()  # as `localgrad train` does
    with World(Address(rank, settings.processes, "127.0.0.1", settings.port), timeout=60, device=CPU) as world:
        mine = Rank(world, settings, barrier, done)
        connection.send("ready")
        while (task := connection.recv()) is not None:
            connection.send(mine.run(*task))
        mine.close()
