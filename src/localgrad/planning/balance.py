"""Which stage hosts which units: the cut of a list of units that makes the slowest stage as fast as possible."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import product
from operator import add
from typing import Literal, final

from localgrad import cost
from localgrad.errors import LocalgradError
from localgrad.network import LocalNetwork
from localgrad.placement import Placement
from localgrad.planning.costs import MACS_PER_SECOND
from localgrad.planning.links import SAME_MACHINE, Devices
from localgrad.planning.loads import Loads, UnitTraffic
from localgrad.planning.plan import Link, UnitCost
from localgrad.planning.simulate_schedule import ring_seconds

By = Literal["macs", "time"]
"""What a cut makes equal: counted multiply-accumulates, or seconds as they were measured."""

SEARCH_LIMIT = 20_000_000
"""Steps of the search; more kinds of devices than that are refused."""

Counts = tuple[int, ...]
"""How many stages of every kind of device are in use."""


@final
@dataclass(frozen=True)
class Balance:
    """A placement, and the speed of the device of every stage."""

    placement: Placement
    speeds: tuple[float, ...]


def balanced(
    costs: Sequence[UnitCost],
    ranks: int,
    *,
    traffic: Sequence[UnitTraffic] | None = None,
    link: Link = SAME_MACHINE,
    devices: Sequence[Devices] = (),
    replicas: int = 1,
    memory_limit: int | None = None,
    by: By = "macs",
) -> Balance:
    """The placement of units on ``ranks`` processes whose slowest stage is fastest; equal input, equal answer.

    Stages host consecutive units: complete spans, or, where there are more stages than spans, some neuron groups of one
    span (never of the last one, whose stage judges the network). A stage's time is computing by speed, with what it
    must wait for (other groups of its span, its replicas), or that of its link. Among the placements with the same
    slowest stage the times' squares decide. Found by an exact dynamic programme. ``devices`` of several kinds may stand
    in any order along the network: all orders are searched, because a state of the programme is how many of each kind
    are used, not which. Cascades are balanced by computing; what waiting for them costs is ``predict``'s.

    ``traffic`` are the bytes that units send (``unit_traffic``); None sends nothing. ``memory_limit`` is in bytes per
    process. Raises LocalgradError for more stages than units, devices that are not as many as ranks, nothing that fits
    the limit, and too many kinds of devices.
    """
    stages = _stages(costs, ranks, replicas)
    kinds = _kinds(devices, ranks, replicas)
    # Seconds beside those of links: of every unit, or of all together shared out by MACs.
    rate = sum(unit.seconds for unit in costs) / max(1, sum(unit.macs for unit in costs))
    work = [unit.macs * rate if by == "macs" else unit.seconds for unit in costs]
    loads = Loads(
        costs=tuple(costs),
        traffic=tuple(traffic) if traffic is not None else (UnitTraffic(),) * len(costs),
        work=tuple(one / replicas for one in work),
        reduce=tuple(reduce_seconds(unit, replicas, link) for unit in costs),
        link=link,
    )
    split = stages > len({unit.span for unit in costs})
    runs = _runs(loads, stages, split)
    memory = {run: loads.memory(*run) for run in runs}
    fitting = [run for run in runs if memory_limit is None or memory[run] <= memory_limit]
    counts = tuple(count for _, count in kinds)
    seconds = {(run, kind): loads.seconds(*run, speed) for run in fitting for kind, (speed, _) in enumerate(kinds)}
    search = partial(_search, len(costs), counts)
    slowest = search(seconds, max)
    if slowest is None:
        raise _nothing_fits(costs, memory, search, memory_limit, len(kinds))
    worst = max(seconds[key] for key in slowest)
    squares = {key: value * value for key, value in seconds.items() if value <= worst}
    chosen = search(squares, add)
    assert chosen is not None  # the slowest stage's placement is one
    hosts = [stage for stage, ((start, stop), _) in enumerate(chosen) for _ in range(start, stop)]
    return Balance(Placement(tuple(hosts), replicas), tuple(kinds[kind][0] for _, kind in chosen))


def default_placement(net: LocalNetwork, ranks: int, replicas: int = 1) -> Placement:
    """The placement by MACs on equal devices with fast links: the same on every rank, nothing is measured.

    ``net`` may be on the meta device. Raises LocalgradError for more stages than units.
    """
    specs = [unit.spec for unit in net.unit_list()]
    if ranks in (replicas, replicas * len({spec.index for spec in specs})):
        # One stage, or one for each span: there is nothing to choose, and counting takes seconds.
        macs = [1] * len(specs)
    else:
        macs = [part.total for part in cost.macs(net, count="torch").parts.values()]
    costs = [
        UnitCost(spec.name, spec.index, spec.group, macs=own, seconds=own / MACS_PER_SECOND, memory=0)
        for spec, own in zip(specs, macs, strict=True)
    ]
    return balanced(costs, ranks, replicas=replicas).placement


def reduce_seconds(unit: UnitCost, replicas: int, link: Link) -> float:
    """Time in which the replicas of a stage add up a unit's gradients, sent round a ring."""
    return ring_seconds(4 * unit.parameters, replicas, link) if replicas > 1 else 0.0


def _stages(costs: Sequence[UnitCost], ranks: int, replicas: int) -> int:
    for name, value in (("ranks", ranks), ("replicas", replicas)):
        if type(value) is not int or value < 1:
            raise LocalgradError(f"plan: {name} must be a whole number of at least 1, got {value!r}.")
    if ranks % replicas:
        raise LocalgradError(
            f"plan: {ranks} ranks cannot be shared by stages of {replicas} replicas. Take a multiple of {replicas}."
        )
    # The last span is not divided.
    stages, units = ranks // replicas, 1 + sum(unit.span < costs[-1].span for unit in costs)
    if stages > units:
        raise LocalgradError(
            f"plan: {ranks} ranks with {replicas} {'replicas' if replicas > 1 else 'replica'} of every stage are "
            f"{stages} stages, but there are only {units} units and a stage hosts at least one. Take ranks="
            f"{units * replicas} or less, cut the network into more modules, or take more replicas, which share the "
            "mini-batches of a stage."
        )
    return stages


def _kinds(devices: Sequence[Devices], ranks: int, replicas: int) -> list[tuple[float, int]]:
    """(speed, number of stages) of every kind of device; one kind for every speed."""
    if not devices:
        return [(1.0, ranks // replicas)]
    total = sum(kind.count for kind in devices)
    if total != ranks:
        told = ", ".join(f"{kind.count} {kind.name}" for kind in devices)
        raise LocalgradError(f"plan: {ranks} ranks need as many devices, got {total}: {told}.")
    for kind in devices:
        if kind.count % replicas:
            raise LocalgradError(
                f"plan: the {replicas} replicas of a stage need devices of one kind; {kind.count} {kind.name} cannot "
                f"be shared by them. Take a multiple of {replicas} of every kind."
            )
    speeds: dict[float, int] = {}
    for kind in devices:
        speeds[kind.speed] = speeds.get(kind.speed, 0) + kind.count // replicas
    return list(speeds.items())


Run = tuple[int, int]
"""Units start to stop (exclusive)."""


def _runs(loads: Loads, stages: int, split: bool) -> list[Run]:
    """All runs of units that one stage may host, so that every other stage has a unit left."""
    count = len(loads.costs)
    longest = count - stages + 1
    return [
        (start, stop)
        for start in range(count)
        for stop in range(start + 1, min(count, start + longest) + 1)
        if (loads.hostable(start, stop) if split else loads.whole(start, stop))
    ]


Step = tuple[Run, int]
"""A run of units, on a device of this kind."""


def _search(
    units: int, counts: Counts, values: dict[Step, float], combine: Callable[[float, float], float]
) -> list[Step] | None:
    """The stages, in order, whose values combined (max, or add) are least; None where units cannot be hosted so."""
    ending: dict[int, list[tuple[int, int, float]]] = {}
    for ((start, stop), kind), value in values.items():
        ending.setdefault(stop, []).append((start, kind, value))
    states = list(product(*(range(count + 1) for count in counts)))
    if len(states) * len(values) > SEARCH_LIMIT:
        raise LocalgradError(
            f"plan: {len(counts)} kinds of devices can stand in too many orders along {units} units to search all. "
            "Give devices of nearly the same speed one name and one speed."
        )
    best: dict[tuple[int, Counts], tuple[float, tuple[int, int] | None]] = {(0, (0,) * len(counts)): (0.0, None)}
    for used in states:  # in an order in which fewer of every kind come first
        without = [(*used[:k], used[k] - 1, *used[k + 1 :]) for k in range(len(used))]
        for stop in range(sum(used), units + 1):
            found: tuple[float, tuple[int, int] | None] | None = None
            for start, kind, value in ending.get(stop, ()):
                before = best.get((start, without[kind])) if used[kind] else None
                if before is not None:
                    total = combine(before[0], value)
                    if found is None or total < found[0]:
                        found = total, (start, kind)
            if found is not None:
                best[stop, used] = found
    if (units, counts) not in best:
        return None
    chosen: list[Step] = []
    stop, used = units, counts
    while stop:
        link = best[stop, used][1]
        assert link is not None
        start, kind = link
        chosen.append(((start, stop), kind))
        stop, used = start, (*used[:kind], used[kind] - 1, *used[kind + 1 :])
    return chosen[::-1]


def _nothing_fits(
    costs: Sequence[UnitCost],
    memory: dict[Run, int],
    search: Callable[[dict[Step, float], Callable[[float, float], float]], list[Step] | None],
    limit: int | None,
    kinds: int,
) -> LocalgradError:
    least = search({(run, kind): float(size) for run, size in memory.items() for kind in range(kinds)}, max)
    assert least is not None and limit is not None  # there are at least as many units as stages
    (start, stop), _ = max(least, key=lambda step: memory[step[0]])
    needed = memory[start, stop]
    largest = max(range(len(costs)), key=lambda place: costs[place].memory)
    alone = costs[largest].memory > limit
    hosted = [f"{place} ({costs[place].name})" for place in range(start, stop)]
    if alone:
        who = f"unit {largest} ({costs[largest].name}) alone needs {in_bytes(costs[largest].memory, up=True)}"
    elif len(hosted) == 1:
        who = f"unit {hosted[0]} needs {in_bytes(needed, up=True)}, queues included"
    else:
        who = f"units {hosted[0]} to {hosted[-1]} together need {in_bytes(needed, up=True)}, queues included"
    return LocalgradError(
        f"plan: nothing fits a memory limit of {in_bytes(limit)} per rank: {who}. A limit of "
        f"{in_bytes(needed, up=True)} would do; or take {'' if alone else 'more ranks, '}a smaller batch or more "
        "modules."
    )


def in_bytes(size: int, *, up: bool = False) -> str:
    """A size for people; ``up`` never shows less than there is."""
    sizes = ((2**30, "GiB"), (2**20, "MiB"), (2**10, "KiB"))
    unit, name = next((pair for pair in sizes if size >= pair[0]), (1, "B"))
    shown = size / unit
    if up:
        shown = -(-size * 100 // unit) / 100
    return f"{shown:.2f} {name}"
