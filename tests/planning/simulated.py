"""Plans made by hand, for simulations whose result is known."""

from collections.abc import Sequence
from math import inf

from localgrad.placement import Kind, Placement, Transfer, Wire
from localgrad.planning.plan import Link, Plan, UnitCost

FREE = Link(inf)
"""Messages take no time."""


def chain(
    seconds: Sequence[float],
    *,
    forward: float = 1.0,
    link: Link = FREE,
    hosts: Sequence[int] | None = None,
    replicas: int = 1,
    speeds: Sequence[float] | None = None,
    reaches: Sequence[tuple[int, ...]] | None = None,
    rows: int = 8,
    numbers: int = 10,
    parameters: int = 0,
    backprop: float | None = None,
) -> Plan:
    """Units one behind the other, each on a stage of its own; outputs are ``numbers`` float32 per sample."""
    count = len(seconds)
    hosts = range(count) if hosts is None else hosts
    reaches = [(1,)] * count if reaches is None else reaches
    costs = tuple(
        UnitCost(f"unit{place}", place, 0, 1, taken, 1, parameters, reaches[place], forward=forward)
        for place, taken in enumerate(seconds)
    )
    outputs = [
        Transfer(Kind.OUTPUT, place, hosts[place], hosts[place + 1], (numbers,))
        for place in range(count - 1)
        if hosts[place] != hosts[place + 1]
    ]
    down = []
    for place in range(1, count):
        cascades = sum(last - reach + 1 < place for last in range(place, count) for reach in reaches[last])
        if cascades and hosts[place] != hosts[place - 1]:
            shape = (numbers,)
            down.append(Transfer(Kind.COTANGENT, place - 1, hosts[place], hosts[place - 1], shape, cascades))
    return make(costs, hosts, (*outputs, *down), link, replicas, speeds, rows, backprop, parameters * count)


def groups(seconds: Sequence[float], *, kinds: Sequence[Kind] = (Kind.LOGITS,), forward: float = 0.25) -> Plan:
    """One span of neuron groups, each on a stage of its own, which send each other features or logits."""
    costs = tuple(UnitCost(f"g{group}", 0, group, 1, t, 1, forward=forward) for group, t in enumerate(seconds))
    places = range(len(seconds))
    sent = tuple(
        Transfer(kind, source, source, target, (10,))
        for kind in kinds
        for source in places
        for target in places
        if source != target
    )
    return make(costs, places, sent, FREE, 1, None, 8, None, 0)


def make(
    costs: tuple[UnitCost, ...],
    hosts: Sequence[int],
    transfers: tuple[Transfer, ...],
    link: Link,
    replicas: int,
    speeds: Sequence[float] | None,
    rows: int,
    backprop: float | None,
    backprop_parameters: int,
) -> Plan:
    """The plan of these units."""
    placement = Placement(tuple(hosts), replicas)
    total = sum(cost.seconds for cost in costs)
    return Plan(
        recipe="exp.py:tiny",
        network="tiny",
        method="DGL",
        batch_size=rows,
        placement=placement,
        costs=costs,
        transfers=transfers,
        speeds=tuple(speeds or [1.0] * placement.stages),
        link=link,
        wire=Wire.FLOAT32,
        measured=True,
        backprop_seconds=total if backprop is None else backprop,
        backprop_macs=1,
        backprop_parameters=backprop_parameters,
    )
