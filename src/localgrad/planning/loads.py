"""What a stage has to do and to hold for a run of consecutive units: the numbers that a cut is chosen by."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

from localgrad.network import LocalNetwork
from localgrad.placement import Kind, Placement, Transfer, Wire, transfers
from localgrad.planning.plan import Link, UnitCost
from localgrad.planning.simulate_local import TRIPS

INBOX, OUTBOX = 2, 3
"""Messages that wait at the two ends of a channel at most, those in its threads' hands included."""


@final
@dataclass(frozen=True)
class UnitTraffic:
    """Bytes that a unit sends per step, to one process each, where the receiver is another process.

    ``output`` to the next span, ``features`` and ``logits`` to another group of its span, ``below`` the gradients of
    cascades to the unit before. ``trips`` is how often an output pays the latency of its link until it is there,
    ``sideways`` how often features and logits do.
    """

    output: int = 0
    features: int = 0
    logits: int = 0
    below: int = 0
    trips: int = 0
    sideways: int = 0


def unit_traffic(
    net: LocalNetwork, rows: int, wire: Wire = Wire.FLOAT32, *, labels: bool = True
) -> tuple[UnitTraffic, ...]:
    """That of every unit for ``rows`` samples, by default with labels; ``net`` may be on the meta device."""
    count = len(net.unit_list())
    # Every unit on a stage of its own: all channels that there can be.
    everything = transfers(net, Placement(tuple(range(count))), labels=labels)
    found: list[dict[Kind, Transfer]] = [{} for _ in range(count)]
    for transfer in everything:
        found[transfer.unit][transfer.kind] = transfer

    def size(place: int, kind: Kind) -> int:
        return found[place][kind].bytes(rows, wire) if kind in found[place] else 0

    def latencies(place: int, kind: Kind) -> int:
        return TRIPS if kind in found[place] else 0

    return tuple(
        UnitTraffic(
            output=size(place, Kind.OUTPUT),
            features=size(place, Kind.FEATURES),
            logits=size(place, Kind.LOGITS),
            # A COTANGENT transfer is about the unit that receives it.
            below=size(place - 1, Kind.COTANGENT) if place else 0,
            trips=latencies(place, Kind.OUTPUT),
            sideways=max(latencies(place, Kind.FEATURES), latencies(place, Kind.LOGITS)),
        )
        for place in range(count)
    )


@final
@dataclass(frozen=True)
class Loads:
    """Units in order with what they send: knows the time and the memory of any run of them on one stage.

    ``work`` are the seconds of each unit's step on a device of speed 1, on the rows that one replica gets; ``reduce``
    the seconds in which its replicas add up their gradients.
    """

    costs: tuple[UnitCost, ...]
    traffic: tuple[UnitTraffic, ...]
    work: tuple[float, ...]
    reduce: tuple[float, ...]
    link: Link

    def whole(self, start: int, stop: int) -> bool:
        """Whether units ``start`` to ``stop`` (exclusive) are complete spans."""
        spans = [unit.span for unit in self.costs]
        return (start == 0 or spans[start - 1] != spans[start]) and (
            stop == len(spans) or spans[stop - 1] != spans[stop]
        )

    def hostable(self, start: int, stop: int) -> bool:
        """Whether one stage may host them: complete spans, or some groups of one span, which is not the last.

        The last span is not divided: its stage judges the network.
        """
        span = self.costs[start].span
        return self.whole(start, stop) or span == self.costs[stop - 1].span < self.costs[-1].span

    def of_span(self, span: int) -> list[UnitTraffic]:
        """What the units of a span send."""
        return [traffic for unit, traffic in zip(self.costs, self.traffic, strict=True) if unit.span == span]

    def sideways(self, start: int, stop: int) -> list[UnitTraffic]:
        """What the other groups of the first unit's span send, if they are on other stages."""
        span = self.costs[start].span
        return [
            traffic
            for place, (unit, traffic) in enumerate(zip(self.costs, self.traffic, strict=True))
            if unit.span == span and not start <= place < stop
        ]

    def seconds(self, start: int, stop: int, speed: float) -> float:
        """Time per mini-batch of a stage: its computing with what it waits for, or its link where that is slower.

        It waits for the features and for the logits of groups that other stages host, and for its replicas. Outputs
        travel while it computes.
        """
        others = self.sideways(start, stop)
        waits = (sum(one.features for one in others), sum(one.logits for one in others))
        busy = sum(self.work[start:stop]) / speed + sum(self.reduce[start:stop])
        late = max((one.sideways for one in others), default=0) * self.link.latency
        busy += sum(late + size / self.link.bytes_per_second for size in waits if size)
        sent = self.leaving(start, stop)
        there = max(one.trips for one in sent) * self.link.latency
        there += sum(one.output for one in sent) / self.link.bytes_per_second
        return max(busy, there, self.traffic[start].below / self.link.bytes_per_second)

    def leaving(self, start: int, stop: int) -> list[UnitTraffic]:
        """What the units of the last span among them send."""
        last = self.costs[stop - 1].span
        pairs = zip(self.costs[start:stop], self.traffic[start:stop], strict=True)
        return [traffic for unit, traffic in pairs if unit.span == last]

    def memory(self, start: int, stop: int) -> int:
        """Bytes that a process holds at most: units one after the other, and full queues."""
        others, own = self.sideways(start, stop), self.leaving(start, stop)
        into = sum(one.output for one in self.of_span(self.costs[start].span - 1))
        into += self.traffic[stop].below if stop < len(self.traffic) else 0
        out = self.traffic[start].below + sum(one.output for one in own)
        if others:
            into += sum(one.features + one.logits for one in others)
            out += sum(one.features + one.logits for one in own)
        return stage_memory(self.costs[start:stop]) + INBOX * into + OUTBOX * out


def stage_memory(units: Sequence[UnitCost]) -> int:
    """Peak of a process without its queues: what stays of all its units, and the largest step of one of them.

    Units that wait while another one works, groups of its span and those that its cascades come down to, count with
    what they keep.
    """
    reach = max((reach for unit in units for reach in unit.reaches), default=1)
    peaks = []
    for place, unit in enumerate(units):
        waiting = [
            other.kept
            for there, other in enumerate(units)
            if there != place and (other.span == unit.span or place - reach < there < place)
        ]
        peaks.append(unit.memory - unit.resident + sum(waiting))
    return sum(unit.resident for unit in units) + max(peaks)
