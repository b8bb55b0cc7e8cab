"""What a plan's run will do, before it runs: time per mini-batch, speed-ups, bytes, memory, break-even.

field.md C.2: in the steady state a mini-batch takes as long as the slowest stage, pipelines are filled once per epoch
and never flushed. With K equal stages and auxiliary networks that add a share a of work that is K / (1 + a) times as
fast as backpropagation on one device; a 1F1B pipeline of K stages and m micro-batches reaches K m / (m + K - 1). So
local learning is faster while a < (K - 1) / m.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, final

from localgrad.errors import LocalgradError
from localgrad.placement import Kind, Transfer
from localgrad.planning.events import Task, events, stage_seconds
from localgrad.planning.loads import INBOX, OUTBOX, stage_memory
from localgrad.planning.period import first_starts, pace
from localgrad.planning.plan import Plan
from localgrad.planning.simulate_schedule import ring_seconds

MICRO_BATCHES = 8


@final
@dataclass(frozen=True)
class Border:
    """Bytes of one mini-batch from a stage to another, all replicas together. ``messages`` per replica.

    ``pipeline`` are the bytes that backpropagation would move across the same border, there and back: the same outputs
    without labels, and as many gradients.
    """

    source: int
    target: int
    messages: int
    bytes: int
    pipeline: int


@final
@dataclass(frozen=True)
class Bottleneck:
    """What takes as long as a mini-batch does: one stage's computing, the link between two, or stages in turn."""

    kind: Literal["stage", "link", "turns"]
    stages: tuple[int, ...]


@final
@dataclass(frozen=True)
class Prediction:
    """``seconds`` per mini-batch in the steady state, and what follows.

    ``stages`` is the computing of every stage per mini-batch, ``memory`` the bytes of each of its ranks, full queues
    included. An epoch of n mini-batches takes ``fill`` + n * ``seconds``. ``backprop``, ``pipeline`` and ``ddp`` are
    seconds per mini-batch of backpropagation: on the fastest of the devices alone; on all of them as an ideal 1F1B
    pipeline of ``micro_batches``, shares as their speeds, communication free; on all of them with DDP, equal shares,
    gradients summed round a ring of the same links during the backward pass. ``overhead`` is the work that units do
    beyond backpropagation's, as a share of it.
    """

    seconds: float
    fill: float
    bottleneck: Bottleneck
    stages: tuple[float, ...]
    borders: tuple[Border, ...]
    memory: tuple[int, ...]
    backprop: float
    pipeline: float
    ddp: float
    ddp_bytes: int
    overhead: float
    micro_batches: int

    @property
    def break_even(self) -> float:
        """The overhead at which an ideal 1F1B pipeline of as many equal stages is as fast: (K - 1) / m."""
        return (len(self.stages) - 1) / self.micro_batches

    def epoch(self, batches: int) -> float:
        """Seconds of an epoch."""
        return self.fill + batches * self.seconds

    def faster_than(self, seconds: float) -> float:
        """The speed-up over something that takes ``seconds`` per mini-batch."""
        return seconds / self.seconds


def predict(plan: Plan, *, micro_batches: int = MICRO_BATCHES) -> Prediction:
    """The steady state of a plan. Raises LocalgradError for micro-batches below 1."""
    if type(micro_batches) is not int or micro_batches < 1:
        raise LocalgradError(f"plan: micro-batches must be a whole number of at least 1, got {micro_batches!r}.")
    placement, speeds = plan.placement, plan.speeds
    graph = events(plan)
    found = pace(len(graph.tasks), graph.waits)
    starts = first_starts(len(graph.tasks), graph.waits)
    filled = max(start + task.seconds for start, task in zip(starts, graph.tasks, strict=True))
    stages, ranks = placement.stages, placement.ranks
    fill = (micro_batches + stages - 1) / micro_batches
    weights = 4 * plan.backprop_parameters
    ring = ring_seconds(weights, ranks, plan.link)
    share = plan.backprop_seconds / ranks / min(speeds)
    return Prediction(
        seconds=found.period,
        fill=filled - found.period,
        bottleneck=_bottleneck([graph.tasks[task] for task in found.cycle]),
        stages=stage_seconds(plan),
        borders=_borders(plan),
        memory=tuple(rank_memory(plan, stage) for stage in range(stages)),
        backprop=plan.backprop_seconds / max(speeds),
        pipeline=plan.backprop_seconds / sum(speeds) / placement.replicas * fill,
        # A third of a step is the forward pass, before there are gradients.
        ddp=share / 3 + max(2 * share / 3, ring),
        ddp_bytes=2 * (ranks - 1) * weights,
        overhead=sum(unit.seconds for unit in plan.costs) / plan.backprop_seconds - 1,
        micro_batches=micro_batches,
    )


def rank_memory(plan: Plan, stage: int) -> int:
    """Bytes that a rank of a stage holds at most: its units' steps one after the other, full inboxes and outboxes."""
    units = [plan.costs[place] for place in plan.placement.units_of(stage)]
    rows, into, out = plan.rows, 0, dict[tuple[Kind, int], int]()
    for transfer in plan.transfers:
        size = transfer.bytes(rows, plan.wire) // transfer.count
        if transfer.target == stage:
            into += size
        if transfer.source == stage:  # what goes to several stages lies there once
            out[transfer.kind, transfer.unit] = size
    return stage_memory(units) + INBOX * into + OUTBOX * sum(out.values())


def _borders(plan: Plan) -> tuple[Border, ...]:
    between: dict[tuple[int, int], list[Transfer]] = defaultdict(list)
    for transfer in plan.transfers:
        between[transfer.source, transfer.target].append(transfer)

    def moved(transfer: Transfer) -> int:
        copies = plan.placement.replicas if transfer.kind is Kind.WEIGHTS else 1
        return copies * transfer.bytes(plan.batch_size, plan.wire)

    def outputs(transfers: Sequence[Transfer]) -> int:
        plain = (Transfer(Kind.OUTPUT, t.unit, t.source, t.target, t.shape) for t in transfers if t.kind is Kind.OUTPUT)
        return sum(transfer.bytes(plan.batch_size) for transfer in plain)

    return tuple(
        Border(source, target, sum(t.count for t in own), sum(map(moved, own)), 2 * outputs(own))
        for (source, target), own in sorted(between.items())
    )


def _bottleneck(cycle: Sequence[Task]) -> Bottleneck:
    stages = tuple(dict.fromkeys(task.stage for task in cycle if task.stage is not None))
    ways = tuple(dict.fromkeys(task.way for task in cycle if task.way is not None))
    if not ways and len(stages) == 1:
        return Bottleneck("stage", stages)
    if len(ways) == 1 and len(stages) < 2:
        return Bottleneck("link", ways[0])
    return Bottleneck("turns", tuple(sorted({*stages, *(stage for way in ways for stage in way)})))
