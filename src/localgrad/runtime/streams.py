"""Units side by side on the streams of a GPU: unit k + 1 starts when unit k has made its output, not later.

Unit k runs on stream k mod N: forward, auxiliary network, backward pass and update, so at most N units are in flight.
Between streams there is one dependence, an event behind every unit's output; nothing waits backward. The caller's
stream waits for all at the end. Kernels are the same and so are the results: only what runs at the same time differs.
Launched one by one, kernels hardly overlap, since the host is slower than the GPU; captured in a CUDA graph they do.
"""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol, final

import torch
from torch import Tensor

from localgrad.spec import Batch
from localgrad.unit import Terms, Unit, network_input
from localgrad.update import Part, Update


class Queue(Protocol):
    """A stream of a device: work in it runs in order."""

    def wait_stream(self, stream: Any) -> None:
        """Work added from now on waits for all that is in ``stream`` now."""
        ...

    def wait_event(self, event: Any) -> None:
        """Work added from now on waits for ``event``."""
        ...

    def record_event(self) -> Any:
        """An event behind all that is in the stream now."""
        ...


class Queues(Protocol):
    """What makes streams: a GPU, or a test."""

    def make(self) -> Queue:
        """A new stream."""
        ...

    def current(self) -> Queue:
        """The stream that work is added to now."""
        ...

    def on(self, queue: Any) -> AbstractContextManager[object]:
        """Add work to ``queue`` inside the block."""
        ...

    def read_by(self, tensor: Tensor, queue: Any) -> None:
        """Keep the memory of ``tensor``, made elsewhere, until what is in ``queue`` when it is freed is done."""
        ...


@final
class CudaQueues:
    """The streams of a CUDA device."""

    def __init__(self, device: torch.device) -> None:
        self.device = device

    def make(self) -> Queue:
        """A new stream."""
        stream: Queue = torch.cuda.Stream(self.device)  # type: ignore[no-untyped-call]
        return stream

    def current(self) -> Queue:
        """The stream that work is added to now."""
        stream: Queue = torch.cuda.current_stream(self.device)
        return stream

    def on(self, queue: Any) -> AbstractContextManager[object]:
        """Add work to ``queue`` inside the block."""
        return torch.cuda.stream(queue)

    def read_by(self, tensor: Tensor, queue: Any) -> None:
        """Tell the allocator who reads a tensor."""
        tensor.record_stream(queue)


@final
class Streams:
    """Steps units on ``count`` streams in turn. ``private`` hands every unit a copy of its input.

    The copy is for foreign networks, whose body may change its input in place while the unit before still reads it.
    """

    def __init__(self, count: int, queues: Queues, *, private: bool) -> None:
        self.queues = queues
        self.private = private
        self.own = [queues.make() for _ in range(count)]

    def step(
        self, units: Sequence[Unit], updates: Sequence[Update], batch: Batch, part: Part, *, draws: bool = True
    ) -> dict[int, Terms]:
        """Add a step of every unit to the streams; returns when all is added, the caller's stream waits for it.

        ``draws=False``: no unit draws random numbers, and the random state is left alone.
        """
        caller = self.queues.current()
        for own in self.own:
            own.wait_stream(caller)
        try:
            return self._step(units, updates, batch, part, caller, draws=draws)
        finally:
            for own in self.own:
                caller.wait_stream(own)

    def _step(
        self, units: Sequence[Unit], updates: Sequence[Update], batch: Batch, part: Part, caller: Queue, *, draws: bool
    ) -> dict[int, Terms]:
        queues, terms = self.queues, dict[int, Terms]()
        h, made = network_input(units, batch), None
        for index, (unit, update) in enumerate(zip(units, updates, strict=True)):
            queue = self.own[index % len(self.own)]
            sent: list[Any] = []

            def send(_: Tensor, queue: Queue = queue, sent: list[Any] = sent) -> None:
                sent.append(queue.record_event())

            with queues.on(queue):
                if made is not None:
                    queue.wait_event(made)
                    queues.read_by(h, queue)
                    h = h.clone() if self.private else h
                h, terms[index] = unit.step(h, batch, update, part, send=send, draws=draws)
            for value in terms[index].values():
                queues.read_by(value, caller)
            (made,) = sent
        return terms
