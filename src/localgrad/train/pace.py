"""How each runtime walks through a run: epochs of steps, each ended by an evaluation, a row and a checkpoint."""

from collections.abc import Callable, Generator
from contextlib import closing
from dataclasses import dataclass
from itertools import count
from typing import Protocol, final

from localgrad.data import Batches
from localgrad.network import LocalNetwork
from localgrad.runtime import Greedy, Queued, Sequential
from localgrad.spec import Batch
from localgrad.train.run import Run
from localgrad.train.runtimes import QueuedSpec
from localgrad.train.schedule import falls
from localgrad.unit import Terms

Runtime = Sequential | Queued | Greedy


@final
@dataclass(frozen=True)
class Taken:
    """One step: loss terms of the units that learnt in it, and of how many samples."""

    terms: dict[int, Terms]
    samples: int


class Pace(Protocol):
    """A runtime in a run. Epochs count rows of the metrics from 0."""

    @property
    def loop(self) -> Runtime:
        """The runtime."""
        ...

    @property
    def steps(self) -> int:
        """Steps of one epoch."""
        ...

    def done(self, epoch: int, step: int) -> bool:
        """Whether nothing is left to do at ``step`` of an epoch, not even a row to write."""
        ...

    def walk(self, epoch: int, start: int) -> Generator[Taken]:
        """Make the steps of an epoch from step ``start`` on. Close it when it is left early."""
        ...

    def title(self, epoch: int) -> str:
        """What a person reads about the epoch."""
        ...

    def position(self, epoch: int, step: int) -> str:
        """How far the run has come, in words that follow "after"."""
        ...

    def row(self, epoch: int) -> dict[str, object]:
        """What the epoch's row says besides losses and accuracies."""
        ...

    def own_epoch(self, epoch: int) -> int:
        """The epoch as what learns in it counts it, from 0."""
        ...

    def ends(self, epoch: int) -> bool:
        """Whether the epoch, now that its steps are made, was the last one of what learns in it."""
        ...

    def judged(self, epoch: int) -> int | None:
        """How many units are evaluated, from the first: those that have learnt something. None: all."""
        ...


@final
class Together:
    """Sequential: every step trains all units on the next mini-batch; the learning rate follows the epoch."""

    def __init__(self, run: Run, loop: Sequential, loader: Batches) -> None:
        self.run = run
        self.loop = loop
        self.loader = loader

    @property
    def steps(self) -> int:
        """Mini-batches of an epoch."""
        return len(self.loader)

    def lr(self, epoch: int) -> float:
        """Learning rate of an epoch."""
        return self.run.schedule.lr(self.run.optimizer.lr, epoch, self.run.epochs)

    def done(self, epoch: int, step: int) -> bool:
        """After the run's epochs."""
        return epoch >= self.run.epochs

    def walk(self, epoch: int, start: int) -> Generator[Taken]:
        """One step per mini-batch."""
        self.loop.set_lr(self.lr(epoch))
        if start == 0:
            forget_where_asked(self.run, self.loop, epoch)
        with closing(self.loader.epoch(epoch, start)) as batches:
            for batch in batches:
                yield Taken(self.loop.step(batch).terms, len(batch.x))

    def title(self, epoch: int) -> str:
        """Epoch of epochs."""
        return f"epoch {epoch + 1}/{self.run.epochs}"

    def position(self, epoch: int, step: int) -> str:
        """Epochs and mini-batches."""
        return f"{epoch} of {self.run.epochs} epochs and {step} of {self.steps} batches"

    def row(self, epoch: int) -> dict[str, object]:
        """The learning rate."""
        return {"lr": self.lr(epoch)}

    def own_epoch(self, epoch: int) -> int:
        """The run's."""
        return epoch

    def ends(self, epoch: int) -> bool:
        """The run's last."""
        return epoch + 1 >= self.run.epochs

    def judged(self, epoch: int) -> int | None:
        """All units."""
        return None


@final
class InTurn:
    """Greedy: the run's epochs for each unit, one unit after the other; the learning rate follows the own epoch.

    A row says whose epoch it was (``unit``, ``unit_epoch`` from 1), and evaluates the units up to that one: ``top1`` is
    the accuracy of its own head.
    """

    def __init__(self, run: Run, loop: Greedy, loader: Batches) -> None:
        self.run = run
        self.loop = loop
        self.loader = loader

    @property
    def steps(self) -> int:
        """Mini-batches of an epoch."""
        return len(self.loader)

    def lr(self, epoch: int) -> float:
        """Learning rate of an epoch."""
        return self.run.schedule.lr(self.run.optimizer.lr, epoch % self.run.epochs, self.run.epochs)

    def done(self, epoch: int, step: int) -> bool:
        """After the run's epochs for every unit."""
        return epoch >= self.run.epochs * len(self.loop.net.units)

    def walk(self, epoch: int, start: int) -> Generator[Taken]:
        """One step of the epoch's unit per mini-batch."""
        while self.loop.active < epoch // self.run.epochs:
            self.loop.advance()
        self.loop.set_lr(self.lr(epoch))
        if start == 0:
            forget_where_asked(self.run, self.loop, epoch % self.run.epochs)
        with closing(self.loader.epoch(epoch, start)) as batches:
            for batch in batches:
                yield Taken(self.loop.step(batch).terms, len(batch.x))

    def title(self, epoch: int) -> str:
        """Unit and its epoch."""
        unit, own = divmod(epoch, self.run.epochs)
        return f"unit {unit + 1}/{len(self.loop.net.units)} epoch {own + 1}/{self.run.epochs}"

    def position(self, epoch: int, step: int) -> str:
        """Epochs of all units together, and mini-batches."""
        total = self.run.epochs * len(self.loop.net.units)
        return f"{epoch} of {total} epochs and {step} of {self.steps} batches"

    def row(self, epoch: int) -> dict[str, object]:
        """Whose epoch it was, and the learning rate."""
        unit, own = divmod(epoch, self.run.epochs)
        return {"unit": unit, "unit_epoch": own + 1, "lr": self.lr(epoch)}

    def own_epoch(self, epoch: int) -> int:
        """The active unit's."""
        return epoch % self.run.epochs

    def ends(self, epoch: int) -> bool:
        """The active unit's last."""
        return (epoch + 1) % self.run.epochs == 0

    def judged(self, epoch: int) -> int | None:
        """The units up to the one that learns."""
        learnt = epoch // self.run.epochs + 1
        return learnt if learnt < len(self.loop.net.units) else None


@final
class OwnPace:
    """Queued: an epoch is as many ticks as all units together need for one epoch of updates each.

    So a unit that is slowed down makes less than an epoch of its own in it, and the run takes more epochs than ``run``
    says: it ends when every unit has made ``run.epochs`` of its own. A row says how many ``updates`` every unit has
    made, and how many turns it has ``skipped``; ``lr`` is by unit, that of its newest update.
    """

    def __init__(self, run: Run, loop: Queued, loader: Batches) -> None:
        self.run = run
        self.loop = loop
        self.loader = loader

    @property
    def steps(self) -> int:
        """Ticks of an epoch."""
        return len(self.loader) * len(self.loop.counts)

    def done(self, epoch: int, step: int) -> bool:
        """After the own epochs of every unit, and the row about them."""
        return self.loop.finished and step == 0

    def walk(self, epoch: int, start: int) -> Generator[Taken]:
        """One tick after the other, until the epoch is over or every unit has learnt enough."""
        with closing(endless(self.loader, self.loop.drawn)) as batches:
            for _ in range(start, self.steps):
                if self.loop.finished:
                    return
                tick = self.loop.tick(lambda: next(batches))
                yield Taken({tick.unit: tick.terms} if tick.did == "learnt" else {}, tick.samples)

    def title(self, epoch: int) -> str:
        """Epoch, and the own epoch of the slowest unit."""
        slowest = min(self.loop.counts) / len(self.loader)
        return f"epoch {epoch + 1} (slowest unit {slowest:.1f}/{self.run.epochs})"

    def position(self, epoch: int, step: int) -> str:
        """Epochs and ticks; how many epochs it will be depends on the draws."""
        return f"{epoch} epochs and {step} of {self.steps} ticks"

    def row(self, epoch: int) -> dict[str, object]:
        """Updates, skipped turns and learning rate of every unit."""
        rate = own_lr(self.run, len(self.loader))
        counts = self.loop.counts
        return {
            "lr": {str(unit): rate(max(count - 1, 0)) for unit, count in enumerate(counts)},
            "updates": {str(unit): count for unit, count in enumerate(counts)},
            "skipped": {str(unit): count for unit, count in enumerate(self.loop.skipped)},
        }

    def own_epoch(self, epoch: int) -> int:
        """The row's: units have epochs of their own."""
        return epoch

    def ends(self, epoch: int) -> bool:
        """The run's last: every unit has learnt enough."""
        return self.loop.finished

    def judged(self, epoch: int) -> int | None:
        """All units."""
        return None


def forget_where_asked(run: Run, loop: Runtime, epoch: int) -> None:
    """Empty the optimisers at the start of an own epoch, if the run wants that and its learning rate falls there."""
    if run.reset_optimizer and falls(run.schedule, run.optimizer.lr, epoch, run.epochs):
        for optimizer in loop.optimizers:
            optimizer.state.clear()


def own_lr(run: Run, batches: int) -> Callable[[int], float]:
    """The run's schedule as a function of a unit's own updates, ``batches`` per epoch."""
    return lambda update: run.schedule.lr(run.optimizer.lr, update // batches, run.epochs)


def endless(loader: Batches, start: int) -> Generator[Batch]:
    """The batches of all epochs one after the other, from batch ``start`` of the first epoch on."""
    first, index = divmod(start, len(loader))
    for epoch in count(first):
        with closing(loader.epoch(epoch, index if epoch == first else 0)) as batches:
            yield from batches


def make_pace(run: Run, loop: Runtime, loader: Batches) -> Pace:
    """How ``loop`` walks through ``run`` on the batches of ``loader``."""
    if isinstance(loop, Queued):
        return OwnPace(run, loop, loader)
    if isinstance(loop, Greedy):
        return InTurn(run, loop, loader)
    return Together(run, loop, loader)


def make_queued(run: Run, queue: QueuedSpec, net: LocalNetwork, batches: int) -> Queued:
    """The runtime of units at their own pace: ``run.epochs`` own epochs of ``batches`` updates for each."""
    return Queued(
        net,
        run.optimizer,
        buffer=queue.buffer,
        order=queue.order,
        slowdown=dict(queue.slowdown),
        max_reuse=queue.max_reuse,
        quirk=queue.quirk,
        home=queue.home,
        updates=run.epochs * batches,
        lr=own_lr(run, batches),
        reset_optimizer=run.reset_optimizer,
        precision=run.precision,
        clip=run.clip,
    )
