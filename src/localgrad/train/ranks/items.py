"""The stream of work of a run: every stage takes the same items in the same order.

Stages that read the data make the stream themselves; the others hear it from the stage before. It ends when the run
does, or at an item on which the stages that make it have agreed, after a signal.
"""

from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from typing import final

from localgrad.data import Batches
from localgrad.distributed import Item, ItemKind, Worker, World
from localgrad.errors import LocalgradError
from localgrad.spec import Batch
from localgrad.train.setup import Loaders

AHEAD = 16
"""Items after which a stop comes. More than one stage may be ahead of another that makes the stream: they are joined by
queues of a few items."""

Work = tuple[Item, Batch | None]


def planned(
    loaders: Loaders,
    epochs: int,
    epoch: int,
    batch: int,
    *,
    judged: bool = True,
    looks: Callable[[int], bool] = lambda _: False,
) -> Generator[tuple[Item, Batch | None]]:
    """All items of a run from a mini-batch on, with the loaders' batches; evaluations where there is an accuracy.

    ``looks``: whether frozen features are looked at after an epoch.
    """
    steps = len(loaders.train)
    for current in range(epoch, epochs):
        with closing(loaders.train.epoch(current, batch if current == epoch else 0)) as batches:
            for index, made in enumerate(batches, batch if current == epoch else 0):
                yield Item(ItemKind.TRAIN, current, index, current * steps + index, len(made.x)), made
        done = (current + 1) * steps
        for kind, split in ((ItemKind.TEST, loaders.test), (ItemKind.VAL, loaders.val)):
            if split is not None and judged:
                yield from _evaluated(kind, split, current, done)
        if looks(current):
            for kind, split in ((ItemKind.BARE, loaders.bare), (ItemKind.BARE_TEST, loaders.test)):
                assert split is not None  # made where a run looks at features
                yield from _evaluated(kind, split, current, done)
        yield Item(ItemKind.EPOCH_END, current, step=done), None
    yield Item(ItemKind.FINISHED, epochs, step=epochs * steps), None


def _evaluated(kind: ItemKind, split: Batches, epoch: int, step: int) -> Iterator[tuple[Item, Batch | None]]:
    with closing(split.epoch(0)) as batches:
        for index, made in enumerate(batches):
            yield Item(kind, epoch, index, step, len(made.x)), made


@final
class Stops:
    """Decides, on the stages that make the stream, after which item it ends when a signal has arrived anywhere.

    The first process sets the item, the others look for it before each of theirs. ``alone``: there are no others.
    """

    def __init__(self, world: World, *, alone: bool) -> None:
        self.world, self.alone = world, alone
        self.at: int | None = None

    def here(self, count: int, signalled: bool) -> bool:
        """Whether the stream ends now, after ``count`` items."""
        asked = signalled or self.world.beat.stop_asked.is_set()
        if self.at is None and self.world.rank == 0 and asked:
            self.at = count if self.alone else count + AHEAD
            if not self.alone:
                self.world.tell("stop at", str(self.at))
        elif self.at is None and not self.alone and self.world.rank != 0:
            self.at = self.world.told_number("stop at")
        return self.at is not None and count >= self.at


def heard(worker: Worker, expected: Iterator[Work] | None) -> Generator[Work]:
    """The items as the stage before says them; with a loader of its own, the batches of ``expected`` with them.

    Raises LocalgradError when the loader has something else.
    """
    while True:
        item = worker.next_item()
        batch = None
        if expected is not None and item.kind is not ItemKind.STOP:
            own, batch = next(expected)
            if own != item:
                raise LocalgradError(
                    f"the stage before is at {item}, this stage's own data at {own}: their data sets differ. Use the "
                    "same data everywhere, or labels='travel'."
                )
        yield item, batch
        if item.ends:
            return


def made(worker: Worker, items: Iterator[Work], stops: Stops, signalled: Callable[[], bool]) -> Generator[Work]:
    """The items as this stage makes them, cut short when a signal asks for it."""
    last = Item(ItemKind.STOP)
    for count, (item, batch) in enumerate(items):
        if not item.ends and stops.here(count, signalled()):
            yield Item(ItemKind.STOP, item.epoch, item.index, item.step), None
            return
        last = item
        yield item, batch
    assert last.ends
