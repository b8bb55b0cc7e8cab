"""Live bytes of every unit's own step, counted on fake tensors as ``localgrad.cost.memory`` counts a whole step."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from localgrad.cost.fake import fake_tensors
from localgrad.cost.live import Kind, LiveBytes
from localgrad.cost.memory import sgd_nesterov
from localgrad.count import weightless_copy
from localgrad.network import LocalNetwork
from localgrad.planning.alone import Make, Surroundings, batch_of, step_alone, surroundings
from localgrad.runtime import Sequential
from localgrad.runtime.sequential import MakeOptimizer
from localgrad.spec import Batch, Shape
from localgrad.unit import Unit
from localgrad.update import OptimizerUpdate, Precision


@final
@dataclass(frozen=True)
class UnitMemory:
    """Bytes: the ``peak`` of a step, what is ``resident`` between steps, what is ``kept`` beside it while waiting."""

    peak: int
    resident: int
    kept: int


def unit_memory(
    net: LocalNetwork,
    rows: int,
    precision: Precision = Precision.FLOAT32,
    channels_last: bool = False,
    optimizer: MakeOptimizer | None = None,
) -> list[UnitMemory]:
    """Live bytes of every unit in a process of its own, on ``rows`` samples; ``net`` may be on the meta device.

    Counted are what ``cost.memory`` counts, the unit's input and labels, and what other units send. Nothing is
    computed. ``optimizer`` defaults to SGD with Nesterov momentum.
    """
    # A gradient scaler decides by the values of gradients whether to step at all; fake ones have none.
    sizes = Precision.BFLOAT16 if precision is Precision.FLOAT16 else precision

    def make(shape: Shape, dtype: torch.dtype) -> Tensor:
        made = torch.empty((rows, *shape), dtype=dtype)
        last = channels_last and made.ndim == 4
        return made.contiguous(memory_format=torch.channels_last) if last else made

    with fake_tensors():
        copied = weightless_copy(net, "cpu", channels_last=channels_last).train()
        loop = Sequential(copied, optimizer or sgd_nesterov, precision=sizes)
        found: list[UnitMemory] = []
        dtypes = {-1: next(net.parameters()).dtype}
        for unit, others, update in zip(copied.unit_list(), surroundings(net), loop.updates, strict=True):
            h_in = make(others.h_in, dtypes[unit.spec.index - 1])
            own, dtypes[unit.spec.index] = _count(unit, others, h_in, batch_of(copied, unit, h_in, make), update, make)
            found.append(own)
    return found


def _count(
    unit: Unit, others: Surroundings, h_in: Tensor, batch: Batch, update: OptimizerUpdate, make: Make
) -> tuple[UnitMemory, torch.dtype]:
    """Of the second of two steps: the first one makes the optimiser's state. And the number format of the output."""
    tracker, kept = LiveBytes(), [0]
    inputs = [value for value in vars(batch).values() if isinstance(value, Tensor)]
    groups: tuple[tuple[Kind, Iterable[Tensor]], ...] = (
        ("parameters", unit.parameters()),
        ("buffers", unit.buffers()),
        ("input", inputs),
    )
    for kind, tensors in groups:
        for tensor in tensors:
            tracker.mark(tensor, kind)

    def waiting(_: Tensor) -> None:
        kept[0] = tracker.live

    with tracker:
        for _ in range(2):
            start = len(tracker.timeline)
            # Only the number format of the output is kept: a tensor from the step before would be counted.
            dtype = step_alone(unit, others, h_in, batch, update, make, waiting=waiting).dtype
    for state in update.optimizer.state.values():
        for value in state.values():
            if isinstance(value, Tensor):
                tracker.mark(value, "optimizer")
    stays: frozenset[Kind] = frozenset({"parameters", "buffers", "optimizer"})
    resident = sum(storage.nbytes for storage in tracker.storages if storage.kind in stays and storage.died is None)
    peak = tracker.timeline[tracker.peak(start)].live
    return UnitMemory(peak, resident, max(0, kept[0] - resident)), dtype
