"""The ring between two units against a slow one that remembers when every batch was written."""

import random
from dataclasses import dataclass

import pytest
import torch

from localgrad import Batch
from localgrad.runtime.buffers import Buffer, priority_lifo

CPU = torch.device("cpu")


@dataclass
class Slot:
    written: int
    reads: int = 0


class Slow:
    """methods.md 3, read literally: a list of slots, a pointer to the one written next, and a clock."""

    def __init__(self, slots: int, quirk: bool) -> None:
        self.slots: list[Slot | None] = [None] * slots
        self.pointer = 0
        self.quirk = quirk

    def write(self, time: int) -> None:
        self.slots[self.pointer] = Slot(time)
        self.pointer = (self.pointer + 1) % len(self.slots)

    def read(self) -> int:
        held = {index: slot for index, slot in enumerate(self.slots) if slot is not None}
        fewest = min(slot.reads for slot in held.values())
        least = [index for index, slot in held.items() if slot.reads == fewest]
        if self.quirk:
            # The released code's arithmetic: whatever lies behind the pointer counts from the right.
            index = max(i - len(held) if i > self.pointer else i for i in least) % len(held)
        else:
            index = max(least, key=lambda i: held[i].written)
        held[index].reads += 1
        return held[index].written


@pytest.mark.parametrize("quirk", [False, True])
@pytest.mark.parametrize("slots", [1, 2, 3, 5])
def test_reads_and_writes_in_any_order(slots: int, quirk: bool) -> None:
    for seed in range(20):
        draw = random.Random(seed)  # noqa: S311
        buffer, slow = Buffer(slots, quirk=quirk), Slow(slots, quirk)
        for time in range(60):
            if time == 0 or draw.random() < 0.4:
                buffer.write(Batch(x=torch.tensor([float(time)]), step=time))
                slow.write(time)
            else:
                batch = buffer.read(CPU)
                assert batch is not None
                assert batch.step == slow.read() == int(batch.x)


def test_where_the_rules_differ() -> None:
    """Four slots, two more written: the pointer is at slot 2, which holds the oldest batch."""
    assert priority_lifo([0, 0, 0, 0], 2) == 1
    assert priority_lifo([0, 0, 0, 0], 2, quirk=True) == 2
    assert priority_lifo([1, 1, 0, 0], 2) == priority_lifo([1, 1, 1, 0], 2, quirk=True) == 3
    assert priority_lifo([0, 0, 0], 3) == priority_lifo([0, 0, 0], 3, quirk=True) == 2


def test_max_reads() -> None:
    buffer = Buffer(2, max_reads=2)
    assert buffer.read(CPU) is None
    for step in range(2):
        buffer.write(Batch(x=torch.zeros(1), step=step))
    found = [buffer.read(CPU) for _ in range(5)]
    assert [None if batch is None else batch.step for batch in found] == [1, 0, 1, 0, None]
    buffer.write(Batch(x=torch.zeros(1), step=2))
    assert [buffer.read(CPU) is None for _ in range(3)] == [False, False, True]


def test_state_keeps_memory_format_and_fields() -> None:
    buffer, other = Buffer(2), Buffer(2)
    x = torch.randn(4, 3, 5, 5).to(memory_format=torch.channels_last)
    buffer.write(Batch(x=torch.zeros(1)))
    buffer.write(Batch(x=x, y=torch.arange(4), step=7, epoch=2))
    buffer.read(CPU)
    plain, tensors = buffer.state()
    # As a file does it.
    other.load_state(plain, {name: value.clone().contiguous() for name, value in tensors.items()}, CPU)
    assert (other.pointer, other.reads) == (buffer.pointer, buffer.reads)
    assert other.batches[0].y is None
    kept = other.batches[1]
    assert (kept.step, kept.epoch, kept.x.stride()) == (7, 2, x.stride())
    assert torch.equal(kept.x, x) and kept.y is not None and torch.equal(kept.y, torch.arange(4))
