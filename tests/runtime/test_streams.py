"""Units on streams: the order that a GPU would be bound to, checked with queues that only note it."""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from torch import Tensor

from localgrad import Batch, LocalgradError, LocalNetwork, Sequential, equal_blocks, localize
from localgrad.methods import DGL, GNDGL, MLAAN, AugLocal
from localgrad.runtime.speed_checks import working_together
from localgrad.runtime.streams import Streams
from localgrad.unit import Unit

from ..conftest import random_batch, sgd, tiny_resnet, with_dropout

needs_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="CUDA streams need a GPU, and there is none here")


class Noted:
    """A queue as a vector clock: what everything added to it now has to wait for."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.seen: set[str] = set()

    def wait_stream(self, stream: "Noted") -> None:
        self.seen |= stream.seen

    def wait_event(self, event: set[str]) -> None:
        self.seen |= event

    def record_event(self) -> set[str]:
        return set(self.seen)

    def add(self, work: str) -> set[str]:
        before = set(self.seen)
        self.seen.add(work)
        return before


class NotedQueues:
    def __init__(self) -> None:
        self.made: list[Noted] = []
        self.stack = [Noted("caller")]
        self.read: list[tuple[int, str]] = []

    def make(self) -> Noted:
        self.made.append(Noted(f"queue {len(self.made)}"))
        return self.made[-1]

    def current(self) -> Noted:
        return self.stack[-1]

    @contextmanager
    def on(self, queue: Noted) -> Iterator[None]:
        self.stack.append(queue)
        yield
        self.stack.pop()

    def read_by(self, tensor: Tensor, queue: Noted) -> None:
        self.read.append((tensor.data_ptr(), queue.name))


def noted_step(monkeypatch: pytest.MonkeyPatch, count: int) -> tuple[dict[str, set[str]], NotedQueues, list[Unit]]:
    """What every phase of every unit has to wait for, in one step of four units on ``count`` queues."""
    net = localize(tiny_resnet(8), DGL(head="0c1f"))
    loop, units, queues = Sequential(net, sgd), net.unit_list(), NotedQueues()
    queues.current().add("before")
    waited: dict[str, set[str]] = {}
    forward, losses = Unit.forward, Unit.losses

    def noted_forward(self: Unit, h: Tensor) -> Tensor:
        waited[f"forward {self.name}"] = queues.current().add(f"forward {self.name}")
        return forward(self, h)

    def noted_losses(self: Unit, *arguments: Any) -> Any:
        waited[f"learn {self.name}"] = queues.current().add(f"learn {self.name}")
        return losses(self, *arguments)

    monkeypatch.setattr(Unit, "forward", noted_forward)
    monkeypatch.setattr(Unit, "losses", noted_losses)
    loop.streams = Streams(count, queues, private=False)
    loop.step(random_batch(net.backbone))
    return waited, queues, units


def test_nothing_waits_backward(monkeypatch: pytest.MonkeyPatch) -> None:
    """With four queues a unit waits for the outputs before it and for nothing that is learnt."""
    waited, queues, units = noted_step(monkeypatch, 4)
    names = [unit.name for unit in units]
    for place, name in enumerate(names):
        assert waited[f"forward {name}"] == {"before", *(f"forward {before}" for before in names[:place])}
        assert waited[f"learn {name}"] == waited[f"forward {name}"] | {f"forward {name}"}
    # The caller waits for everything.
    assert {f"learn {name}" for name in names} <= queues.current().seen


def test_as_many_units_are_in_flight_as_there_are_queues(monkeypatch: pytest.MonkeyPatch) -> None:
    waited, _, units = noted_step(monkeypatch, 2)
    names = [unit.name for unit in units]
    for place, name in enumerate(names):
        learnt = {work for work in waited[f"forward {name}"] if work.startswith("learn")}
        assert learnt == {f"learn {before}" for before in names[: max(0, place - 1)]}


def test_the_allocator_hears_of_every_reader_on_another_queue(monkeypatch: pytest.MonkeyPatch) -> None:
    _, queues, units = noted_step(monkeypatch, 2)
    readers = [reader for _, reader in queues.read]
    # Each output but the last by the next unit's queue, each loss term by the caller.
    assert readers == ["caller", *["queue 1", "caller"], *["queue 0", "caller"], *["queue 1", "caller"]]
    assert len(units) == 4


@pytest.mark.parametrize("settings", [{}, {"accumulate": 2}, {"update": "fused"}], ids=str)
def test_results_are_those_of_one_queue(settings: dict[str, Any]) -> None:
    """Random draws included: the host still goes through the units in turn."""
    results = []
    for count in (0, 3):
        net = localize(with_dropout(tiny_resnet(8)), AugLocal(depth=2, tail="strict"), seed=3)
        loop = Sequential(net, sgd, **settings)
        if count:
            loop.streams = Streams(count, NotedQueues(), private=False)
        losses = [loop.step(random_batch(net.backbone, seed=step)).losses for step in range(2)]
        results.append((net.state_dict(), losses))
    (one, losses), (other, others) = results
    assert losses == others
    assert all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize(
    ("streams", "text"),
    [
        (2, "streams=2 are queues of a GPU, and the network is on cpu. On the CPU workers=N steps units side by side."),
        (0, "streams must be at least 1, got 0."),
        (True, "streams must be a whole number, got True."),
    ],
)
def test_what_cannot_be(streams: Any, text: str) -> None:
    with pytest.raises(LocalgradError, match=re.escape(text)):
        Sequential(localize(tiny_resnet(8), DGL()), sgd, streams=streams)


def shared_norm() -> LocalNetwork:
    net = localize(tiny_resnet(8), DGL())
    units = net.unit_list()
    units[2].aux[-1].bias = units[1].aux[-1].bias
    return net


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (lambda: localize(tiny_resnet(8), DGL()), None),
        (lambda: localize(tiny_resnet(8), MLAAN(), 4), "cascades"),
        (lambda: localize(tiny_resnet(8), MLAAN(cascade=1), 4), "units that follow each other's weights"),
        (lambda: localize(tiny_resnet(8), GNDGL(), partition=equal_blocks(2), groups=2), "neuron groups"),
        (shared_norm, "units that share parameters"),
    ],
)
def test_units_that_work_together(make: Callable[[], LocalNetwork], expected: str | None) -> None:
    assert working_together(make()) == expected


@needs_cuda
@pytest.mark.parametrize("streams", [2, 4])
def test_on_a_gpu(streams: int) -> None:
    with torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True):
        results = []
        for count in (1, streams):
            net = localize(tiny_resnet(14), AugLocal(depth=2), seed=3).cuda()
            loop = Sequential(net, sgd, streams=count)
            losses = []
            for step in range(4):
                batch = random_batch(net.backbone, seed=step)
                losses.append(loop.step(Batch(x=batch.x.cuda(), y=batch.y.cuda())).losses)
            results.append((net.state_dict(), losses))
        (one, losses), (other, others) = results
        assert losses == others
        assert all(torch.equal(one[name], other[name]) for name in one)
