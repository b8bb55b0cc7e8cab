"""Channels: a detached tensor goes from one process to another, in one direction, in order, with a bounded queue.

Every channel has a thread at both ends, so that sending and receiving go on while this process computes. An end takes
at most ``depth`` messages more than the other has used: a slow stage holds those before it back. The threads block in
torch.distributed; the training never does, it waits for its queue and asks in between whether the others live.
"""

import queue
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from typing import final

import torch
import torch.distributed as dist
from torch import Tensor

from localgrad.distributed.world import World

DEPTH = 2
PATIENCE = 0.2
"""Seconds between two questions whether the others live."""

DTYPES = (torch.float32, torch.bfloat16, torch.float16, torch.int8, torch.int64, torch.uint8, torch.float64)
FIELDS = ("h", "scale", "y", "image", "logits", "ids", "text")
MOST_AXES = 4
SLOT = 3 + MOST_AXES
"""Numbers that describe one tensor: field, type, memory format, sizes."""
FIXED = 6
HEADER = FIXED + SLOT * len(FIELDS)


class ItemKind(IntEnum):
    """What the stages of a pipeline work on, one after the other."""

    TRAIN = 1
    VAL = 2
    TEST = 3
    EPOCH_END = 4
    STOP = 5
    FINISHED = 6
    BARE = 7
    """Training images as they are, to look at the features of all units; then the test images, for the same."""
    BARE_TEST = 8


@final
@dataclass(frozen=True)
class Item:
    """One piece of work in the stream that runs through all stages.

    ``step`` counts training steps over the whole run, ``rows`` the samples of the whole mini-batch (all replicas).
    """

    kind: ItemKind
    epoch: int = 0
    index: int = 0
    step: int = 0
    rows: int = 0

    @property
    def ends(self) -> bool:
        """Whether nothing comes after it."""
        return self.kind in (ItemKind.STOP, ItemKind.FINISHED)


@final
@dataclass(frozen=True)
class Message:
    """What one stage says to another about an item: tensors by field."""

    item: Item
    tensors: dict[str, Tensor] = field(default_factory=dict)


def described(message: Message) -> Tensor:
    """The header: item, and for each tensor what the other end has to allocate."""
    item = message.item
    numbers = [item.kind, item.epoch, item.index, item.step, item.rows, len(message.tensors)]
    for name, tensor in message.tensors.items():
        sizes = list(tensor.shape) + [-1] * (MOST_AXES - tensor.ndim)
        numbers += [FIELDS.index(name), DTYPES.index(tensor.dtype), int(is_channels_last(tensor)), *sizes]
    return torch.tensor(numbers + [0] * (HEADER - len(numbers)))


ON_CPU = ("ids", "text")
"""Fields that only Python reads."""


def allocated(header: Tensor, device: torch.device) -> tuple[Message, list[Tensor]]:
    """The message that a header describes, not filled yet, and the dense tensors to fill."""
    kind, epoch, index, step, rows, count = header[:FIXED].tolist()
    tensors, dense = dict[str, Tensor](), list[Tensor]()
    for slot in header[FIXED:].view(-1, SLOT)[:count].tolist():
        index_of_field, dtype, channels_last, *sizes = slot
        name = FIELDS[index_of_field]
        place = torch.device("cpu") if name in ON_CPU else device
        shape = [size for size in sizes if size >= 0]
        if channels_last:
            batch, channels, height, width = shape
            made = torch.empty((batch, height, width, channels), dtype=DTYPES[dtype], device=place)
            dense.append(made)
            tensors[name] = made.permute(0, 3, 1, 2)
        else:
            made = torch.empty(shape, dtype=DTYPES[dtype], device=place)
            dense.append(made)
            tensors[name] = made
    return Message(Item(ItemKind(kind), epoch, index, step, rows), tensors), dense


def is_channels_last(tensor: Tensor) -> bool:
    """Whether the tensor is in that memory format and in no other: the next unit has to find it as it was."""
    return (
        tensor.ndim == MOST_AXES
        and not tensor.is_contiguous()
        and tensor.is_contiguous(memory_format=torch.channels_last)
    )


def as_sent(tensor: Tensor) -> Tensor:
    """The tensor as a dense block of memory."""
    return tensor.permute(0, 2, 3, 1) if is_channels_last(tensor) else tensor.contiguous()


def wait_for(works: Sequence[dist.Work | None]) -> None:
    """Wait until all of these have been sent or have arrived."""
    for work in works:
        assert work is not None  # torch gives None to processes outside of the group
        work.wait()


@final
class Outbox:
    """The sending end of a channel. ``bytes`` counts what was sent, without headers."""

    def __init__(
        self, world: World, target: int, tag: int, group: dist.ProcessGroup | None = None, *, depth: int = DEPTH
    ) -> None:
        self.world, self.target, self.tag, self.group = world, target, tag, group
        self.bytes = 0
        self._error: BaseException | None = None
        self._queue: queue.Queue[Message] = queue.Queue(depth)
        self._thread = threading.Thread(target=self._run, name=f"send to {target}", daemon=True)
        world.uses(target, group, self._thread)
        self._thread.start()

    def put(self, message: Message) -> None:
        """Hand a message over; waits while the queue is full. Raises LocalgradError when the other end is gone."""
        while True:
            self._check()
            try:
                self._queue.put(message, timeout=PATIENCE)
                return
            except queue.Full:
                continue

    def close(self) -> None:
        """Wait until everything is sent; the last message ended the stream."""
        while self._thread.is_alive():
            self._check()
            self._thread.join(timeout=PATIENCE)
        self._check()

    def _check(self) -> None:
        if self._error is not None:
            raise self.world.lost(self.target, self._error) from self._error
        self.world.check()

    def _next(self) -> Message | None:
        while not self.world.over.is_set():
            try:
                return self._queue.get(timeout=PATIENCE)
            except queue.Empty:
                continue
        return None

    def _run(self) -> None:
        try:
            while True:
                message = self._next()
                if message is None:
                    return
                sent = [as_sent(tensor) for tensor in message.tensors.values()]
                # All at once: each would wait for the way there and back by itself.
                going = [dist.isend(described(message), self.target, self.group, 2 * self.tag)]
                going += [dist.isend(tensor, self.target, self.group, 2 * self.tag + 1) for tensor in sent]
                wait_for(going)
                self.bytes += sum(tensor.numel() * tensor.element_size() for tensor in sent)
                del sent
                ends = message.item.ends
                del message
                if ends:
                    return
        except BaseException as error:  # noqa: BLE001 -- raised by whoever hands the next message over
            self._error = error


@final
class Inbox:
    """The receiving end of a channel; tensors are allocated just before they arrive."""

    def __init__(
        self,
        world: World,
        source: int,
        tag: int,
        device: torch.device,
        group: dist.ProcessGroup | None = None,
        *,
        depth: int = DEPTH,
    ) -> None:
        self.world, self.source, self.tag, self.device, self.group = world, source, tag, device, group
        self._error: BaseException | None = None
        self._seen: Message | None = None
        self._queue: queue.Queue[Message] = queue.Queue(max(1, depth - 1))  # one more is in the thread's hands
        self._thread = threading.Thread(target=self._run, name=f"receive from {source}", daemon=True)
        world.uses(source, group, self._thread)
        self._thread.start()

    def peek(self) -> Message:
        """The next message, which stays. Raises LocalgradError when the other end is gone."""
        while self._seen is None:
            try:
                self._seen = self._queue.get(timeout=PATIENCE)
            except queue.Empty:
                if self._error is not None:
                    raise self.world.lost(self.source, self._error) from self._error
                self.world.check()
        return self._seen

    def take(self) -> Message:
        """The next message."""
        message = self.peek()
        self._seen = None
        return message

    def take_end(self, item: Item) -> None:
        """Take what ends the stream, on a channel that carries nothing else about it."""
        while self.take().item != item:
            continue

    def _keep(self, message: Message) -> None:
        while not self.world.over.is_set():
            try:
                self._queue.put(message, timeout=PATIENCE)
                return
            except queue.Full:
                continue

    def _expect(self) -> tuple[Tensor, list[dist.Work | None]]:
        header = torch.empty(HEADER, dtype=torch.int64)
        return header, [dist.irecv(header, self.source, self.group, 2 * self.tag)]

    def _run(self) -> None:
        try:
            header, coming = self._expect()
            while True:
                wait_for(coming)
                message, dense = allocated(header, self.device)
                ends = message.item.ends
                arriving = [dist.irecv(tensor, self.source, self.group, 2 * self.tag + 1) for tensor in dense]
                if not ends:
                    # The way of the next header is over when its message is wanted.
                    header, coming = self._expect()
                wait_for(arriving)
                del dense
                self._keep(message)
                del message
                if ends:
                    return
        except BaseException as error:  # noqa: BLE001 -- raised by whoever takes the next message
            self._error = error
