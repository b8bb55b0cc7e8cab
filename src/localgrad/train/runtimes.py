"""Which runtime a Run trains with, as data, and what does not go with it."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, final

import torch

from localgrad.errors import nearest
from localgrad.network import LocalNetwork
from localgrad.placement import Placement, Wire, follows_blocks, placement_problems
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


@final
@dataclass(frozen=True)
class GreedySpec:
    """One unit after the other, each for ``epochs`` epochs, those before it frozen: ``localgrad.Greedy``."""


@final
@dataclass(frozen=True)
class DistributedSpec:
    """Units on many processes (``localgrad.distributed``), all on every mini-batch: what ``"sequential"`` computes.

    ``hosts`` names the stage of each unit, from 0; None balances them by MACs over the processes that there are.
    ``replicas`` processes share the rows of every mini-batch in each stage; BatchNorm statistics are then those of
    replica 0's rows, unless ``sync_batchnorm`` (CUDA only) takes them over all. ``wire`` is the number format of
    outputs between processes; all but float32 lose something. ``labels``: "travel" with the outputs, so that the first
    stage alone reads the data, or come from a "loader" of every stage. ``ema_delay``: parts of auxiliary networks that
    follow blocks of another stage see them as they were so many steps ago (None: refused, since that is not what the
    method says). ``timeout``: seconds without a sign of life after which a process counts as gone. ``save_every``:
    steps between checkpoints, beside those of every epoch's end.
    """

    hosts: tuple[int, ...] | None = None
    replicas: int = 1
    wire: Wire = Wire.FLOAT32
    labels: Literal["travel", "loader"] = "travel"
    ema_delay: int | None = None
    sync_batchnorm: bool = False
    timeout: float = 120.0
    save_every: int | None = None

    def changes(self) -> dict[str, object]:
        """What of it changes the results: nothing for one process per unit or more units, in float32."""
        own = {
            "replicas": self.replicas,
            "wire": str(self.wire),
            "ema_delay": self.ema_delay,
            "sync_batchnorm": self.sync_batchnorm,
        }
        usual = {"replicas": 1, "wire": "float32", "ema_delay": None, "sync_batchnorm": False}
        return {name: value for name, value in own.items() if value != usual[name]}


RuntimeSpec = Literal["sequential"] | QueuedSpec | GreedySpec | DistributedSpec
"""``"sequential"``: all units learn on every mini-batch, as in ``localgrad.Sequential``."""


def kind_problems(runtime: object) -> Iterator[str]:
    """What is wrong with the kind of a runtime."""
    if isinstance(runtime, QueuedSpec | GreedySpec | DistributedSpec) or runtime == "sequential":
        return
    yield f"runtime must be 'sequential', QueuedSpec(...), GreedySpec() or DistributedSpec(...), got {runtime!r}."


def runtime_problems(runtime: RuntimeSpec, settings: Mapping[str, object], net: LocalNetwork) -> Iterator[str]:
    """What does not fit a runtime: ``settings`` of the Run by name, and the units of ``net``."""
    if runtime == "sequential":
        return
    if isinstance(runtime, DistributedSpec):
        yield from _distributed_problems(runtime, settings, net)
        if "pair_similarity" in net.needs and runtime.labels == "travel":
            yield (
                "runtime distributed: similarities of a pretrained network do not travel with the outputs: take "
                "labels='loader', so that every stage reads the data and finds them itself."
            )
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
    """Greedy training judges the newest unit by its own head, which has to classify, if anything does."""
    if not net.classifies:
        return
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


def _distributed_problems(spec: DistributedSpec, settings: Mapping[str, object], net: LocalNetwork) -> Iterator[str]:
    """What can be seen without knowing how many processes there are."""
    for name, only in (("update", "unit"), ("accumulate", 1), ("workers", 1)):
        if settings[name] != only:
            yield (
                f"runtime distributed: {name} must be {only!r}, got {settings[name]!r}: every unit updates on its own, "
                "on whole mini-batches or one part per replica. Leave it out."
            )
    for name in ("replicas", "ema_delay", "save_every"):
        value = getattr(spec, name)
        if value is not None and (type(value) is not int or value < 1):
            yield f"runtime distributed: {name} must be a whole number from 1 on, got {value!r}."
    if spec.ema_delay is not None and not follows_blocks(net.unit_list()):
        yield (
            f"runtime distributed: ema_delay={spec.ema_delay!r} has nothing to delay: no auxiliary network of this "
            "method follows blocks of the network as they train (MLAAN's averaged copies do). Leave it out."
        )
    if not spec.timeout > 0:
        yield f"runtime distributed: timeout must be above 0 seconds, got {spec.timeout!r}."
    if spec.wire not in tuple(Wire):
        yield f"runtime distributed: wire {str(spec.wire)!r} is unknown. {nearest(str(spec.wire), tuple(Wire))}"
    if spec.labels not in ("travel", "loader"):
        yield f"runtime distributed: labels must be 'travel' or 'loader', got {spec.labels!r}."
    if spec.sync_batchnorm and settings["device"] == "cpu":
        yield "runtime distributed: sync_batchnorm needs CUDA, torch has none for the CPU. Leave it out."
    if spec.hosts is not None and isinstance(spec.replicas, int):
        for problem in placement_problems(Placement(tuple(spec.hosts), spec.replicas), net.unit_list()):
            yield f"runtime distributed: {problem}"
    units = net.unit_list()
    last = [place for place, unit in enumerate(units) if unit.spec.index == units[-1].spec.index]
    if spec.hosts is not None and len(spec.hosts) == len(units) and len({spec.hosts[place] for place in last}) > 1:
        yield "runtime distributed: the units of the last module must be on one stage, which judges the network."
