"""Live bytes of a training step, measured on whatever tensors the step runs on."""

from contextlib import ExitStack
from dataclasses import dataclass, field, fields
from typing import final

from torch import Tensor
from torch.optim import Optimizer

from localgrad.cost.live import Kind, LiveBytes, Moment, Storage
from localgrad.runtime import Sequential
from localgrad.spec import Batch


@final
@dataclass(frozen=True)
class Memory:
    """Live bytes of one training step at the moment when they are the most.

    ``peak`` is the sum of the six kinds that follow it. ``peak_unit`` is the index of the unit that was stepping (an
    optimiser step over all units belongs to the last one, the groups of a span that run fused are its first). ``alive``
    are the storages alive at the peak, the largest first; ``timeline`` has one moment per operator of the step.
    """

    peak: int
    parameters: int
    buffers: int
    gradients: int
    optimizer: int
    input: int
    activations: int
    peak_unit: int
    alive: tuple[Storage, ...] = field(repr=False, compare=False)
    timeline: tuple[Moment, ...] = field(repr=False, compare=False)

    def __str__(self) -> str:
        """The peak and its parts in decimal megabytes."""
        parts = ", ".join(f"{name} {getattr(self, name) / 1e6:.1f}" for name in _KINDS)
        return f"peak {self.peak / 1e6:.1f} MB live in unit {self.peak_unit}: {parts}"


_KINDS: tuple[Kind, ...] = ("parameters", "buffers", "gradients", "optimizer", "input", "activations")
assert set(_KINDS) < {entry.name for entry in fields(Memory)}


def live(loop: Sequential, batch: Batch) -> Memory:
    """Live bytes of the second of two steps that ``loop`` makes on ``batch``: it trains the network it is given.

    With real tensors this is a measurement; ``memory`` is the same on a copy made of fake ones.
    """
    net, units = loop.net, loop.net.unit_list()
    tracker = LiveBytes()
    inputs = [value for value in vars(batch).values() if isinstance(value, Tensor)]
    parameters = [*net.parameters(), *(parameter for unit in units for parameter in unit.parameters())]
    buffers = [*net.buffers(), *(buffer for unit in units for buffer in unit.buffers())]
    groups: tuple[tuple[Kind, list[Tensor]], ...] = (
        ("parameters", list(parameters)),
        ("buffers", buffers),
        ("input", inputs),
    )
    for kind, tensors in groups:
        for tensor in tensors:
            tracker.mark(tensor, kind)
    with ExitStack() as stack:
        for index, unit in enumerate(units):
            stack.callback(unit.register_forward_pre_hook(_Enter(tracker, index)).remove)
        for start, span in loop.fused_spans.items():
            for block in span.blocks:
                stack.callback(block.module.register_forward_pre_hook(_Enter(tracker, start)).remove)
        for made in loop.optimizers:
            _mark_states(tracker, made)
            stack.callback(made.register_step_pre_hook(lambda done, *_: _begin_update(tracker, done)).remove)
            stack.callback(made.register_step_post_hook(lambda done, *_: _end_update(tracker, done)).remove)
        stack.enter_context(tracker)
        loop.step(batch)
        start = len(tracker.timeline)
        tracker.unit = 0  # whatever comes before the first unit's forward pass is its own
        loop.step(batch)
    return _summary(tracker, start)


@final
@dataclass(frozen=True)
class _Enter:
    """Tells the tracker which unit runs."""

    tracker: LiveBytes
    index: int

    def __call__(self, *_: object) -> None:
        self.tracker.unit = self.index


def _begin_update(tracker: LiveBytes, optimizer: Optimizer) -> None:
    tracker.updating = True
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            if parameter.grad is not None:
                tracker.mark(parameter.grad, "gradients")


def _end_update(tracker: LiveBytes, optimizer: Optimizer) -> None:
    tracker.updating = False
    _mark_states(tracker, optimizer)


def _mark_states(tracker: LiveBytes, optimizer: Optimizer) -> None:
    for state in optimizer.state.values():
        for value in state.values():
            if isinstance(value, Tensor):
                tracker.mark(value, "optimizer")


def _summary(tracker: LiveBytes, start: int) -> Memory:
    peak = tracker.peak(start)
    alive = sorted((s for s in tracker.storages if s.alive(peak)), key=lambda s: -s.nbytes)
    totals = dict.fromkeys(_KINDS, 0)
    for storage in alive:
        totals[storage.kind] += storage.nbytes
    moment = tracker.timeline[peak]
    assert sum(totals.values()) == moment.live
    return Memory(
        **totals,
        peak=moment.live,
        peak_unit=moment.unit,
        alive=tuple(alive),
        timeline=tuple(tracker.timeline[start:]),
    )
