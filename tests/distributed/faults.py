"""What goes wrong in a process of the pool, on purpose, while it trains."""

import os
import resource
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import pytest
import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.modules.module import register_module_forward_pre_hook

from localgrad.distributed import Item
from localgrad.spec import Batch
from localgrad.train.ranks import start
from localgrad.train.ranks.walk import RankWalk


@contextmanager
def before_step(count: int, act: Callable[[RankWalk], None]) -> Iterator[None]:
    """``act`` before training step ``count``, from 0, of the whole run."""
    real = RankWalk.train

    def train(walk: RankWalk, item: Item, own: Batch | None) -> None:
        if item.step == count:
            act(walk)
        real(walk, item, own)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(RankWalk, "train", train)
        yield


def sent_to_itself(number: int, step: int) -> AbstractContextManager[None]:
    """A signal."""
    return before_step(step, lambda _: os.kill(os.getpid(), number))


@contextmanager
def slow() -> Iterator[None]:
    """Every step takes a while."""
    real = RankWalk.train

    def train(walk: RankWalk, item: Item, own: Batch | None) -> None:
        time.sleep(0.05)
        real(walk, item, own)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(RankWalk, "train", train)
        yield


@contextmanager
def both(first: AbstractContextManager[None], second: AbstractContextManager[None]) -> Iterator[None]:
    """One inside the other."""
    with first, second:
        yield


@contextmanager
def another_version() -> Iterator[None]:
    """As if another localgrad were installed."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(start, "VERSION", "0.0.1")
        yield


@contextmanager
def no_group() -> Iterator[None]:
    """This process reaches the meeting point, and nobody else."""

    def refused(*_args: Any, **_keywords: Any) -> None:
        raise RuntimeError("Gloo connectFullMesh failed with connection refused\nmore")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(dist, "init_process_group", refused)
        yield


@contextmanager
def another_shape() -> Iterator[None]:
    """This process takes unit 1 for another."""
    real = start.unit_shapes

    def unit_shapes(net: Any) -> list[tuple[int, ...]]:
        found = list(real(net))
        found[1] = (5, *found[1][1:])
        return found

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(start, "unit_shapes", unit_shapes)
        yield


@contextmanager
def no_memory(error: Exception) -> Iterator[None]:
    """The 10th convolution of the training finds no memory."""
    left = [10]

    def forward(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        # Not where memory or MACs are counted, on tensors without values.
        if isinstance(module, nn.Conv2d) and type(inputs[0]) is Tensor and not inputs[0].is_meta:
            left[0] -= 1
            if not left[0]:
                raise error

    handle = register_module_forward_pre_hook(forward)
    try:
        yield
    finally:
        handle.remove()


def _spoil(walk: RankWalk) -> None:
    with torch.no_grad():
        next(walk.worker.units[walk.places[0]].parameters()).fill_(torch.nan)


@contextmanager
def full_disk() -> Iterator[None]:
    """No file may have more than 4000 bytes."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4000, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


FAULTS: dict[str, Callable[[], AbstractContextManager[None]]] = {
    "SIGTERM": lambda: sent_to_itself(signal.SIGTERM, 3),
    "SIGINT": lambda: sent_to_itself(signal.SIGINT, 3),
    "SIGTERM slow": lambda: both(slow(), sent_to_itself(signal.SIGTERM, 3)),
    "SIGINT slow": lambda: both(slow(), sent_to_itself(signal.SIGINT, 3)),
    "SIGSTOP": lambda: sent_to_itself(signal.SIGSTOP, 3),
    "slow": slow,
    "version": another_version,
    "shape": another_shape,
    "group": no_group,
    "CUDA memory": lambda: no_memory(torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.\nMore")),
    "CPU memory": lambda: no_memory(RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried 9 bytes")),
    "Python memory": lambda: no_memory(MemoryError()),
    "not finite": lambda: before_step(4, _spoil),
    "full disk": full_disk,
}
