"""What local learning competes with, on the same nodes: a 1F1B pipeline and data parallel training."""

from collections.abc import Iterator
from math import prod

from localgrad.errors import LocalgradError
from localgrad.placement import Kind
from localgrad.planning.plan import Plan
from localgrad.planning.simulate_conditions import FORWARD_SHARE, Conditions
from localgrad.planning.simulate_local import GRADIENT_BYTES, link_between
from localgrad.planning.simulate_schedule import (
    Channel,
    Compute,
    Op,
    Receive,
    Reduce,
    Schedule,
    Send,
    ring_bytes,
    ring_seconds,
    row_shares,
)


def pipeline_schedule(plan: Plan, conditions: Conditions, microbatches: int = 8) -> Schedule:
    """The same network trained end to end, one stage per stage of the plan, ``microbatches`` per replica, 1F1B.

    Kind to the rival: the network is cut where every stage takes the same time on its device, small micro-batches
    cost no more per sample, and queues never hold a stage back. Replicas add up gradients after the last micro-batch.
    Raises LocalgradError for fewer than 1 micro-batch.
    """
    if type(microbatches) is not int or microbatches < 1:
        raise LocalgradError(f"simulate: microbatches must be a whole number of at least 1, got {microbatches!r}.")
    placement = plan.placement
    stages, replicas = placement.stages, placement.replicas
    seconds = plan.backprop_seconds / sum(plan.speeds)
    borders = [border_bytes(plan, stage) // microbatches for stage in range(stages - 1)]
    forward = [Channel(stage, stage + 1, size, microbatches) for stage, size in enumerate(borders)]
    backward = [Channel(stage + 1, stage, size, microbatches) for stage, size in enumerate(borders)]
    channels = (*forward, *backward)
    link = conditions.replica_link or plan.link
    size = GRADIENT_BYTES * plan.backprop_parameters // stages
    update = (Reduce(ring_seconds(size, replicas, link), ring_bytes(size, replicas)),) if replicas > 1 else ()
    return Schedule(
        f"1F1B, {microbatches} micro-batches",
        tuple((*_one_forward_one_backward(stage, stages, microbatches, seconds), *update) for stage in range(stages)),
        channels,
        tuple(link_between(plan, conditions, channel.source, channel.target) for channel in channels),
        row_shares(plan.batch_size, replicas) * stages,
        replicas,
        depth=max(2, microbatches),
    )


def _one_forward_one_backward(stage: int, stages: int, count: int, seconds: float) -> Iterator[Op]:
    """Stage s runs ahead by K - s - 1 forward passes, then backward and forward in turn, then backward passes."""
    borders = stages - 1
    first, last = stage == 0, stage == borders

    def forward() -> Iterator[Op]:
        if not first:
            yield Receive(stage - 1)
        yield Compute(FORWARD_SHARE * seconds / count)
        if not last:
            yield Send(stage)

    def backward() -> Iterator[Op]:
        if not last:
            yield Receive(borders + stage)
        yield Compute((1 - FORWARD_SHARE) * seconds / count)
        if not first:
            yield Send(borders + stage - 1)

    ahead = min(borders - stage, count)
    for _ in range(ahead):
        yield from forward()
    for _ in range(count - ahead):
        yield from forward()
        yield from backward()
    for _ in range(ahead):
        yield from backward()


def border_bytes(plan: Plan, stage: int) -> int:
    """Bytes of the feature map behind the last span that begins on ``stage`` or before, float32, whole mini-batch.

    A span whose outputs stay on their stage is passed over for the nearest one whose outputs travel.
    """
    span = max(cost.span for cost, host in zip(plan.costs, plan.placement.hosts, strict=True) if host <= stage)
    sizes: dict[int, dict[int, int]] = {}
    for one in plan.transfers:
        if one.kind is Kind.OUTPUT:
            sizes.setdefault(plan.costs[one.unit].span, {})[one.unit] = 4 * plan.batch_size * prod(one.shape)
    if not sizes:
        return 0
    return sum(sizes[min(sizes, key=lambda index: abs(index - span))].values())


def ddp_schedule(plan: Plan, conditions: Conditions) -> Schedule:
    """The same network whole on every node, each with its part of the rows, one all-reduce of all gradients per step.

    Kind to the rival: the all-reduce runs beside the backward pass, only what is longer shows. Nodes beyond the number
    of samples in a mini-batch compute nothing.
    """
    nodes = plan.placement.ranks
    link = conditions.replica_link or plan.link
    size = GRADIENT_BYTES * plan.backprop_parameters
    shares = row_shares(plan.batch_size, nodes)
    hidden = (1 - FORWARD_SHARE) * plan.backprop_seconds * max(shares) / max(plan.speeds)
    update = Reduce(max(0.0, ring_seconds(size, nodes, link) - hidden), ring_bytes(size, nodes))
    return Schedule(
        "data parallel",
        tuple((Compute(plan.backprop_seconds / speed), update) for speed in plan.speeds),
        (),
        (),
        shares,
        plan.placement.replicas,
        conditions.depth,
        together=True,
    )
