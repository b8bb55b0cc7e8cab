"""Local learning as a schedule: operation by operation what ``distributed.worker`` does with a mini-batch."""

from collections.abc import Iterator
from typing import final

from localgrad.placement import Kind
from localgrad.planning.plan import Link, Plan
from localgrad.planning.simulate_conditions import Conditions
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

GRADIENT_BYTES = 4


TRIPS = 3
"""How often a message of ``distributed.wire`` pays the latency of its link.

gloo sends nothing before the other end has asked for it. The header has been asked for beforehand; when it is there,
all tensors are asked for at once, and come.
"""


def local_schedule(plan: Plan, conditions: Conditions) -> Schedule:
    """What every stage of the plan does with a mini-batch, and the channels between the stages."""
    placement = plan.placement
    channels = tuple(
        Channel(
            transfer.source,
            transfer.target,
            transfer.bytes(plan.batch_size, plan.wire) // transfer.count,
            transfer.count,
            whole=transfer.kind is Kind.WEIGHTS,
            trips=TRIPS,
            lag=(conditions.ema_delay or 0) if transfer.kind is Kind.WEIGHTS else 0,
        )
        for transfer in plan.transfers
    )
    return Schedule(
        "local learning",
        tuple(tuple(Stage(plan, conditions, stage).program()) for stage in range(placement.stages)),
        channels,
        tuple(link_between(plan, conditions, channel.source, channel.target) for channel in channels),
        row_shares(plan.batch_size, placement.replicas) * placement.stages,
        placement.replicas,
        conditions.depth,
    )


def link_between(plan: Plan, conditions: Conditions, source: int, target: int) -> Link:
    """The plan's link, or the one given for these two stages."""
    own = {(one, other): link for one, other, link in conditions.links}
    return own.get((source, target), plan.link)


@final
class Stage:
    """What one stage does with a mini-batch."""

    def __init__(self, plan: Plan, conditions: Conditions, stage: int) -> None:
        self.plan, self.conditions, self.stage = plan, conditions, stage
        self.mine = plan.placement.units_of(stage)
        self.cascades = any(reach > 1 for cost in plan.costs for reach in cost.reaches)

    def program(self) -> Iterator[Op]:
        """All operations, in order."""
        yield from self._sends(Kind.WEIGHTS)
        if self.cascades:
            yield from self._cascades()
        else:
            for index in sorted({self.plan.costs[unit].span for unit in self.mine}):
                yield from self._span(index)

    def _span(self, index: int) -> Iterator[Op]:
        """The hosted units of a span: one after the other, or in phases where groups share."""
        yield from self._input(index)
        costs, mine = self.plan.costs, [unit for unit in self.mine if self.plan.costs[unit].span == index]
        members = {unit for unit, cost in enumerate(costs) if cost.span == index}
        shared = {one.kind for one in self.plan.transfers if one.unit in members} & {Kind.FEATURES, Kind.LOGITS}
        if not shared:
            for unit in mine:
                yield from self._forward(unit)
                yield self._compute(unit, 1 - self._share(unit))
                yield from self._update(unit)
            return
        for unit in mine:
            yield from self._forward(unit)
        yield from self._exchange(Kind.FEATURES, members)
        look = self.conditions.look_share
        for unit in mine:
            yield self._compute(unit, (1 - self._share(unit)) * look)
        yield from self._exchange(Kind.LOGITS, members)
        for unit in mine:
            yield self._compute(unit, (1 - self._share(unit)) * (1 - look))
            yield from self._update(unit)

    def _cascades(self) -> Iterator[Op]:
        """As ``distributed.cascades``: forward through the hosted units, then what comes down from later stages."""
        costs, top = self.plan.costs, self.mine[-1]
        yield from self._input(costs[self.mine[0]].span)
        for unit in self.mine:
            yield self._compute(unit, self._body(unit))
            yield from self._sends(Kind.OUTPUT, unit)
            yield self._compute(unit, 1 - self._passes(unit) * self._body(unit))
            for reach in costs[unit].reaches:
                yield from self._descend(unit, unit, reach)
            yield from self._finish(unit)
        for last in range(top + 1, len(costs)):
            for reach in costs[last].reaches:
                if last - reach + 1 <= top:
                    yield from self._receives(Kind.COTANGENT, {top})
                    yield from self._descend(last, top, reach)
            yield from self._finish(last)

    def _descend(self, last: int, place: int, reach: int) -> Iterator[Op]:
        """A cascade on its way down from the output of ``place`` to the lowest hosted unit it reaches."""
        for unit in range(place, max(last - reach + 1, self.mine[0] - 1), -1):
            yield self._compute(unit, self._body(unit))
        if last - reach + 1 < self.mine[0]:
            yield from self._sends(Kind.COTANGENT, self.mine[0] - 1)

    def _finish(self, last: int) -> Iterator[Op]:
        """Parameter gradients and update of the units over which the cascades of ``last`` are the last ones."""
        low = [other - max(cost.reaches, default=1) + 1 for other, cost in enumerate(self.plan.costs)]
        for unit in self.mine:
            if last == max(other for other in range(unit, len(low)) if other == unit or low[other] <= unit):
                yield self._compute(unit, self._body(unit))
                yield from self._update(unit)

    def _body(self, unit: int) -> float:
        """Share of the unit's time for one pass over its body in a cascade.

        Its forward pass, the gradient at its input for every cascade that goes on below it, and that of its parameters
        take about as many operations; what is left are the auxiliary networks.
        """
        return min(self._share(unit), 1 / self._passes(unit))

    def _passes(self, unit: int) -> int:
        costs = self.plan.costs
        return 2 + sum(last - reach + 1 < unit for last in range(unit, len(costs)) for reach in costs[last].reaches)

    def _share(self, unit: int) -> float:
        return self.conditions.forward_of(unit, self.plan.costs[unit])

    def _compute(self, unit: int, share: float) -> Compute:
        return Compute(share * self.plan.costs[unit].seconds / self.plan.speeds[self.stage])

    def _forward(self, unit: int) -> Iterator[Op]:
        yield self._compute(unit, self._share(unit))
        yield from self._sends(Kind.OUTPUT, unit)

    def _input(self, index: int) -> Iterator[Op]:
        return self._receives(Kind.OUTPUT, {u for u, cost in enumerate(self.plan.costs) if cost.span == index - 1})

    def _exchange(self, kind: Kind, members: set[int]) -> Iterator[Op]:
        for unit in sorted(members):
            yield from self._sends(kind, unit)
        yield from self._receives(kind, members)

    def _sends(self, kind: Kind, unit: int | None = None) -> Iterator[Op]:
        for place, one in enumerate(self.plan.transfers):
            if one.kind is kind and one.source == self.stage and unit in (None, one.unit):
                yield Send(place)

    def _receives(self, kind: Kind, units: set[int]) -> Iterator[Op]:
        for place, one in enumerate(self.plan.transfers):
            if one.kind is kind and one.target == self.stage and one.unit in units:
                yield Receive(place, (self.conditions.ema_delay or 0) if kind is Kind.WEIGHTS else 0)

    def _update(self, unit: int) -> Iterator[Op]:
        """What the update waits for, of replicas and of later blocks; the update itself is part of the computing."""
        members = self.plan.placement.replicas
        if members > 1:
            size = GRADIENT_BYTES * self.plan.costs[unit].parameters
            link = self.conditions.replica_link or self.plan.link
            yield Reduce(ring_seconds(size, members, link), ring_bytes(size, members))
        if unit == self.mine[-1]:
            # Every stage's copies follow blocks as they were before this step (``UnitSpec.follows``).
            yield from self._receives(Kind.WEIGHTS, set(range(len(self.plan.costs))))
