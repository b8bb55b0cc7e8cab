"""A whole training step, all units and optimisers, captured once in a CUDA graph and replayed.

The first steps are ordinary ones on a side stream: libraries find their kernels and optimisers make their state. Then a
step is captured, which computes nothing, and replayed; every later mini-batch is copied into the tensors that the
captured step reads. All that a graph holds by address or by value is watched: where a weight or an optimiser's state
is no longer the tensor that was captured, or a setting has another value, the step is captured anew. The learning rate
is a tensor on the device, filled before a replay.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, Protocol, TypeVar, final

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from localgrad.errors import LocalgradError
from localgrad.spec import Batch
from localgrad.unit import Terms

T = TypeVar("T")
Signature = dict[str, tuple[tuple[int, ...], torch.dtype] | None]

WARM_UP = 3
"""Ordinary steps before the capture; PyTorch's documentation makes as many."""


class Device(Protocol):
    """What captures and replays: a GPU, or a test."""

    def warm(self, work: Callable[[], T]) -> T:
        """Do the work, outside of a graph but where a capture would."""
        ...

    def capture(self, work: Callable[[], T]) -> T:
        """Note the work without doing it; returns tensors that every ``replay`` fills."""
        ...

    def replay(self) -> None:
        """Do the noted work."""
        ...


@final
class CudaGraphs:
    """One CUDA graph of a device at a time."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
        self.graph: torch.cuda.CUDAGraph | None = None

    def warm(self, work: Callable[[], T]) -> T:
        """Do the work on the stream that captures; the caller's stream waits for it."""
        caller = torch.cuda.current_stream(self.device)
        self.stream.wait_stream(caller)
        with torch.cuda.stream(self.stream):
            result = work()
        caller.wait_stream(self.stream)
        return result

    def capture(self, work: Callable[[], T]) -> T:
        """Capture the work; a graph from before is freed first. Other threads may use the device meanwhile."""
        self.graph = None
        graph = torch.cuda.CUDAGraph()
        with (
            torch.cuda.device(self.device),
            torch.cuda.graph(graph, stream=self.stream, capture_error_mode="thread_local"),
        ):
            result = work()
        self.graph = graph
        return result

    def replay(self) -> None:
        """Launch the graph on the caller's stream."""
        assert self.graph is not None
        self.graph.replay()


@final
@dataclass(frozen=True)
class Captured:
    """A captured step: the batch that it reads, the terms that it fills, and what it holds besides."""

    batch: Batch
    names: tuple[tuple[int, str], ...]
    values: Tensor
    holds: tuple[object, ...]


def make_capturable(optimizers: Sequence[Optimizer]) -> None:
    """Have optimisers step on the GPU alone. Raises LocalgradError for those that cannot.

    A graph would repeat in every replay what the host knew once, such as the number of steps.
    """
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            if group.get("capturable") is False:
                group["capturable"] = True
                for weight in group["params"]:  # a count of steps, loaded, may lie on the host
                    step = optimizer.state.get(weight, {}).get("step")
                    if isinstance(step, Tensor):
                        optimizer.state[weight]["step"] = step.to(weight.device)
            elif "capturable" not in group and not group.get("fused"):
                raise LocalgradError(
                    f"Sequential: graph=True needs optimisers that step on the GPU alone, and "
                    f"{type(optimizer).__name__} reads its learning rate on the host. Give fused=True where the "
                    "optimiser has that (torch.optim.SGD(parameters, lr=0.1, fused=True)), or localgrad's own lg.SGD()."
                )


def signature(batch: Batch) -> Signature:
    """Shape and dtype of every tensor of a batch."""
    values = {field.name: getattr(batch, field.name) for field in fields(batch)}
    return {
        name: (tuple(value.shape), value.dtype) if isinstance(value, Tensor) else None for name, value in values.items()
    }


def copy_into(own: Batch, batch: Batch) -> None:
    """Overwrite the tensors of ``own`` with those of a batch of the same signature."""
    for field in fields(batch):
        value, kept = getattr(batch, field.name), getattr(own, field.name)
        if isinstance(value, Tensor):
            kept.copy_(value, non_blocking=True)


def copy_of(batch: Batch) -> Batch:
    """The batch with tensors of its own, in the same memory format."""
    copies: dict[str, Any] = {
        field.name: value.clone() for field in fields(batch) if isinstance(value := getattr(batch, field.name), Tensor)
    }
    return replace(batch, **copies)


@final
class GraphedStep:
    """``step`` as a graph of ``device``, for batches of one signature; others run as they are.

    ``step`` trains ``net`` on a batch, all of it, with ``optimizers``, and draws no random numbers. The largest batch
    seen decides the signature, so the short last batch of an epoch is an ordinary step.
    """

    def __init__(
        self,
        net: nn.Module,
        optimizers: Sequence[Optimizer],
        step: Callable[[Batch], dict[int, Terms]],
        device: Device,
    ) -> None:
        make_capturable(optimizers)
        self.net = net
        self.optimizers = optimizers
        self.step = step
        self.device = device
        self.kind: Signature | None = None
        self.rows = 0
        self.warm = 0
        self.captured: Captured | None = None
        self.rates: list[Tensor] = []
        self.keep_rates()

    def keep_rates(self) -> None:
        """Have every learning rate in the tensor that the graph reads, also one that somebody has set since."""
        groups = [group for optimizer in self.optimizers for group in optimizer.param_groups]
        if len(groups) != len(self.rates):
            weights = [group["params"][0] for group in groups]
            self.rates = [torch.zeros((), dtype=torch.float32, device=weight.device) for weight in weights]
        for group, rate in zip(groups, self.rates, strict=True):
            if group["lr"] is not rate:
                rate.fill_(float(group["lr"]))
                group["lr"] = rate

    def holds(self) -> tuple[object, ...]:
        """Addresses of weights, buffers and optimiser states, and the optimisers' settings."""
        found: list[object] = [value.data_ptr() for value in (*self.net.parameters(), *self.net.buffers())]
        for optimizer in self.optimizers:
            for state in optimizer.state.values():
                found += [held(value) for value in state.values()]
            for group in optimizer.param_groups:
                found += [(name, held(value)) for name, value in group.items() if name != "params"]
        return tuple(found)

    def __call__(self, batch: Batch) -> dict[int, Terms]:
        """Train on a batch; the loss terms are the caller's own."""
        make_capturable(self.optimizers)  # the state of an optimiser that was not may have been loaded
        self.keep_rates()
        kind = signature(batch)
        if kind != self.kind:
            if len(batch.x) <= self.rows:
                return self.step(batch)
            self.kind, self.rows, self.warm, self.captured = kind, len(batch.x), 0, None
        if self.captured is not None and self.captured.holds != self.holds():
            self.warm, self.captured = 0, None
        if self.captured is None:
            if self.warm < WARM_UP:
                self.warm += 1
                return self.device.warm(lambda: self.step(batch))
            self.captured = self.capture(copy_of(batch))
        else:
            copy_into(self.captured.batch, batch)
        self.device.replay()
        terms: dict[int, Terms] = {}
        for (unit, name), value in zip(self.captured.names, self.captured.values.clone().unbind(), strict=True):
            terms.setdefault(unit, {})[name] = value
        return terms

    def capture(self, batch: Batch) -> Captured:
        """Capture a step on ``batch``. Raises LocalgradError for a step that needs the host."""
        names: list[tuple[int, str]] = []

        def work() -> Tensor:
            terms = self.step(batch)
            names.extend((unit, name) for unit, own in terms.items() for name in own)
            # One tensor, so that one copy takes them out of the way of the next replay.
            return torch.stack([value for own in terms.values() for value in own.values()])

        try:
            values = self.device.capture(work)
        except RuntimeError as error:
            raise LocalgradError(
                f"Sequential: graph=True could not capture the training step: {str(error).splitlines()[0]} A loss or "
                "a layer that reads numbers on the host (item(), nonzero(), a branch on a value) cannot be in a CUDA "
                "graph. Leave graph out."
            ) from error
        return Captured(batch, tuple(names), values, self.holds())


def held(value: object) -> object:
    """What a graph holds of a value: the address of a tensor, anything else as it is."""
    return value.data_ptr() if isinstance(value, Tensor) else value
