"""Wall-clock time of every unit's own step on this machine, units taking turns, next to backpropagation."""

import copy
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from statistics import median
from time import perf_counter
from typing import final

import torch
from torch import Tensor

from localgrad.cost.memory import sgd_nesterov
from localgrad.errors import LocalgradError
from localgrad.methods import Backprop
from localgrad.network import LocalNetwork, localize
from localgrad.planning.alone import Make, Surroundings, batch_of, step_alone, surroundings
from localgrad.runtime import Sequential
from localgrad.runtime.sequential import MakeOptimizer
from localgrad.spec import Batch, Shape
from localgrad.unit import Unit
from localgrad.update import Precision, Update


@final
@dataclass(frozen=True)
class UnitSeconds:
    """Medians: seconds of a whole step, and of its beginning, after which the output is handed on."""

    step: float
    forward: float


@final
@dataclass(frozen=True)
class StepSeconds:
    """Time of every unit's step alone, and of a step of the same network trained end to end."""

    units: tuple[UnitSeconds, ...]
    backprop: float


@contextmanager
def one_thread() -> Iterator[None]:
    """Torch computes on one CPU thread inside, as every process of a pipeline on this machine does."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def unit_seconds(
    net: LocalNetwork,
    batch_size: int,
    precision: Precision = Precision.FLOAT32,
    channels_last: bool = False,
    optimizer: MakeOptimizer | None = None,
    *,
    rounds: int = 5,
    burst: int = 2,
) -> StepSeconds:
    """Measure real steps on mini-batches of ``batch_size`` random samples, on the network's device and one thread.

    In every one of ``rounds`` rounds each unit, and backpropagation, makes one step that is not counted (it finds
    caches and heap as others left them) and ``burst`` that are. What other units send is made up. The network given is
    not trained: its copy is. Raises LocalgradError for a network without weights, and for rounds or bursts below 1.
    """
    if any(parameter.is_meta for parameter in net.parameters()):
        raise LocalgradError("measure: the network has no weights (meta device): build it on the device to measure.")
    if min(rounds, burst) < 1:
        raise LocalgradError(f"measure: rounds and burst must be at least 1, got {rounds} and {burst}.")
    device, dtype = next(net.parameters()).device, next(net.parameters()).dtype
    generator = torch.Generator(device).manual_seed(0)
    made: dict[tuple[Shape, torch.dtype], Tensor] = {}

    def make(shape: Shape, dtype: torch.dtype) -> Tensor:
        """One tensor per shape, so that making it is no part of a step."""
        if (shape, dtype) not in made:
            values = torch.rand((batch_size, *shape), generator=generator, device=device).to(dtype)
            last = channels_last and values.ndim == 4
            made[shape, dtype] = values.contiguous(memory_format=torch.channels_last) if last else values
        return made[shape, dtype]

    def loop_of(network: LocalNetwork) -> Sequential:
        own = copy.deepcopy(network).to(device).train()
        if channels_last:
            own.to(memory_format=torch.channels_last)
        return Sequential(own, optimizer or sgd_nesterov, precision=precision)

    dense = loop_of(localize(net.backbone.changed_from or net.backbone, Backprop()))
    labels = torch.zeros(batch_size, dtype=torch.int64, device=device)
    turns: list[Callable[[], float]] = [_Whole(dense, Batch(x=make(net.backbone.image, dtype), y=labels))]
    loop = loop_of(net)
    dtypes = {-1: dtype}
    with one_thread():
        for unit, others, update in zip(loop.net.unit_list(), surroundings(net), loop.updates, strict=True):
            h_in = make(others.h_in, dtypes[unit.spec.index - 1])
            batch = batch_of(net, unit, h_in, make)
            # Also makes the tensors that other units would send.
            dtypes[unit.spec.index] = step_alone(unit, others, h_in, batch, update, make).dtype
            turns.append(_Alone(unit, others, h_in, batch, update, make))
        whole, *units = _interleaved(turns, rounds, burst, device)
    return StepSeconds(tuple(units), whole.step)


@final
@dataclass(frozen=True)
class _Whole:
    """A step of a whole network; returns when it was done."""

    loop: Sequential
    batch: Batch

    def __call__(self) -> float:
        self.loop.step(self.batch)
        return perf_counter()


@final
@dataclass(frozen=True)
class _Alone:
    """A step of one unit; returns when its output was there to be handed on."""

    unit: Unit
    others: Surroundings
    h_in: Tensor
    batch: Batch
    update: Update
    make: Make

    def __call__(self) -> float:
        handed_on: list[float] = []

        def sent(h: Tensor) -> None:
            _wait(h.device)
            handed_on.append(perf_counter())

        step_alone(self.unit, self.others, self.h_in, self.batch, self.update, self.make, sent=sent)
        return handed_on[0]


def _interleaved(
    turns: Sequence[Callable[[], float]], rounds: int, burst: int, device: torch.device
) -> list[UnitSeconds]:
    steps: list[list[float]] = [[] for _ in turns]
    forwards: list[list[float]] = [[] for _ in turns]
    for _ in range(rounds):
        for turn, step, forward in zip(turns, steps, forwards, strict=True):
            turn()
            for _ in range(burst):
                _wait(device)
                start = perf_counter()
                handed_on = turn()
                _wait(device)
                step.append(perf_counter() - start)
                forward.append(handed_on - start)
    return [UnitSeconds(median(step), median(forward)) for step, forward in zip(steps, forwards, strict=True)]


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
