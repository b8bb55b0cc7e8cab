"""Buffers between units that train at their own pace (asynchronous DGL, arXiv 1901.08164, algorithm 2).

A unit writes the mini-batches that it has made into a ring of slots; the next unit reads from it by ``priority LIFO``:
among the slots read least often, the newest.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, final

import torch
from torch import Tensor

from localgrad.spec import Batch

FIELDS = ("x", "y", "image", "views", "pair_similarity")


def priority_lifo(reads: Sequence[int], pointer: int, *, quirk: bool = False) -> int:
    """The slot to read: among those with the fewest reads, the one written last.

    ``reads`` counts the reads of every slot that holds a batch, ``pointer`` is the slot that will be written next: in
    a full ring, it holds the oldest batch. ``quirk`` takes that slot for the newest one instead, as the released code
    does (methods.md 12, row 35).
    """
    fewest = min(reads)
    written_before = pointer + 1 if quirk else pointer

    def age(slot: int) -> int:
        return slot - len(reads) if slot >= written_before else slot

    return max((slot for slot, count in enumerate(reads) if count == fewest), key=age)


@final
class Buffer:
    """A ring of ``slots`` mini-batches: a Batch each, whose ``x`` is the detached output of the unit that wrote it.

    A batch can be read ``max_reads`` times (None: without limit). ``on_cpu`` keeps the tensors in the CPU's memory.
    The released code counts a write as a first use, so its ``max_buffer_reuse`` is ``max_reads + 1``.
    """

    def __init__(self, slots: int, *, quirk: bool = False, max_reads: int | None = None, on_cpu: bool = False) -> None:
        self.slots = slots
        self.quirk = quirk
        self.max_reads = max_reads
        self.on_cpu = on_cpu
        self.batches: list[Batch] = []
        self.reads: list[int] = []
        self.pointer = 0

    def write(self, batch: Batch) -> None:
        """Put a batch where the oldest one is, or in an empty slot."""
        kept = moved(batch, torch.device("cpu")) if self.on_cpu else batch
        if len(self.batches) < self.slots:
            self.batches.append(kept)
            self.reads.append(0)
        else:
            self.batches[self.pointer] = kept
            self.reads[self.pointer] = 0
        self.pointer = (self.pointer + 1) % self.slots

    def read(self, device: torch.device) -> Batch | None:
        """A batch by priority LIFO; None when there is none that may still be read."""
        if not self.batches or (self.max_reads is not None and min(self.reads) >= self.max_reads):
            return None
        # Not full: all slots with a batch come before the pointer, which is their number.
        slot = priority_lifo(self.reads, self.pointer, quirk=self.quirk)
        self.reads[slot] += 1
        return moved(self.batches[slot], device)

    def state(self) -> tuple[dict[str, Any], dict[str, Tensor]]:
        """All there is to know: plain data, and tensors by ``slot.field``."""
        tensors = {
            f"{slot}.{name}": value
            for slot, batch in enumerate(self.batches)
            for name in FIELDS
            if (value := getattr(batch, name)) is not None
        }
        plain = {
            "pointer": self.pointer,
            "reads": list(self.reads),
            "batches": [{"step": batch.step, "epoch": batch.epoch} for batch in self.batches],
            # A file keeps tensors contiguous; results depend on the memory format to rounding.
            "strides": {name: list(value.stride()) for name, value in tensors.items()},
        }
        return plain, tensors

    def load_state(self, plain: Mapping[str, Any], tensors: Mapping[str, Tensor], device: torch.device) -> None:
        """What ``state`` gave, back; tensors are put on ``device`` (or the CPU)."""
        home = torch.device("cpu") if self.on_cpu else device
        self.pointer, self.reads, self.batches = plain["pointer"], list(plain["reads"]), []
        for slot, facts in enumerate(plain["batches"]):
            fields: dict[str, Any] = {}
            for name in FIELDS:
                if (key := f"{slot}.{name}") in tensors:
                    value = tensors[key]
                    empty = torch.empty_strided(value.shape, plain["strides"][key], dtype=value.dtype, device=home)
                    fields[name] = empty.copy_(value)
            self.batches.append(Batch(**fields, **facts))


def moved(batch: Batch, device: torch.device) -> Batch:
    """The batch on ``device``; itself if it is there already."""
    fields = {name: value for name in FIELDS if (value := getattr(batch, name)) is not None}
    if all(value.device == device for value in fields.values()):
        return batch
    return replace(batch, **{name: value.to(device) for name, value in fields.items()})
