"""Which runtime a Run trains with, as data, and what does not go with it."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, final

import torch

from localgrad.network import LocalNetwork
from localgrad.runtime.apart import alone_problem
from localgrad.runtime.queued import Home, Order, queue_problems
from localgrad.unit import forward_units


@final
@dataclass(frozen=True)
class QueuedSpec:
    """Units at their own pace, with buffers between them: ``localgrad.Queued``, which says what the settings mean.

    ``slowdown`` holds (unit, factor) pairs. Every unit makes ``epochs`` epochs of own updates.
    """

    buffer: int = 30
    order: Order = "random"
    slowdown: tuple[tuple[int, float], ...] = ()
    max_reuse: int | None = None
    quirk: bool = False
    home: Home = "device"
    reset_optimizer: bool = False


@final
@dataclass(frozen=True)
class GreedySpec:
    """One unit after the other, each for ``epochs`` epochs, those before it frozen: ``localgrad.Greedy``."""


RuntimeSpec = Literal["sequential"] | QueuedSpec | GreedySpec
"""``"sequential"``: all units learn on every mini-batch, as in ``localgrad.Sequential``."""


def kind_problems(runtime: object) -> Iterator[str]:
    """What is wrong with the kind of a runtime."""
    if isinstance(runtime, QueuedSpec | GreedySpec) or runtime == "sequential":
        return
    yield f"runtime must be 'sequential', QueuedSpec(...) or GreedySpec(), got {runtime!r}."


def runtime_problems(runtime: RuntimeSpec, settings: Mapping[str, object], net: LocalNetwork) -> Iterator[str]:
    """What does not fit a runtime: ``settings`` of the Run by name, and the units of ``net``."""
    if runtime == "sequential":
        return
    who = "queued" if isinstance(runtime, QueuedSpec) else "greedy"
    for name, only in (("update", "unit"), ("accumulate", 1), ("workers", 1)):
        if settings[name] != only:
            yield (
                f"runtime {who} steps units one at a time, each on whole mini-batches: {name} must be {only!r}, got "
                f"{settings[name]!r}. Leave it out, or train with runtime='sequential'."
            )
    units = net.unit_list()
    together = alone_problem(units)
    if together is not None:
        yield f"runtime {who}: the units of this method {together}. Train with runtime='sequential'."
    elif isinstance(runtime, GreedySpec):
        yield from _unjudged(net)
    if isinstance(runtime, QueuedSpec):
        yield from (f"runtime queued: {problem}" for problem in _queue_problems(runtime, len(units)))


@torch.no_grad()
def _unjudged(net: LocalNetwork) -> Iterator[str]:
    """Greedy training judges the newest unit by its own head, which has to classify."""
    images = torch.zeros((2, *net.backbone.image), device=next(net.parameters()).device)
    for unit, h, features in forward_units(net.unit_list(), images):
        if net.class_logits(unit, h, features) is None:
            yield (
                f"runtime greedy: accuracy is that of the newest unit's own head, and unit {unit.name!r} has none that "
                "classifies. Give its loss classes (InfoPro: loss='softmax', PredSim: loss='predsim'), or train with "
                "runtime='sequential'."
            )
            return


def _queue_problems(queue: QueuedSpec, units: int) -> Sequence[str]:
    pairs = queue.slowdown
    if not isinstance(pairs, tuple) or not all(isinstance(pair, tuple) and len(pair) == 2 for pair in pairs):
        return [f"slowdown must hold pairs (unit, factor), such as ((3, 2.0),), got {pairs!r}."]
    found = queue_problems(units, queue.buffer, queue.order, dict(pairs), queue.max_reuse, queue.home)
    if len(dict(pairs)) < len(pairs):
        found.append(f"slowdown: give every unit once, got {pairs!r}.")
    return found
