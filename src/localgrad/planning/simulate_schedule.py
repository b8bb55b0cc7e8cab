"""A schedule: what every node does with a mini-batch, one operation after the other, and the channels between them.

Data only. Local learning, 1F1B and data parallel training are schedules of one engine (``simulate_engine``).
"""

from dataclasses import dataclass
from typing import final

from localgrad.planning.plan import Link


@final
@dataclass(frozen=True)
class Compute:
    """Compute for ``seconds``, on the whole mini-batch; a node with a share of the rows takes that share of it."""

    seconds: float


@final
@dataclass(frozen=True)
class Receive:
    """Take the next message of a channel; wait until there is one. Not in the first ``lag`` mini-batches."""

    channel: int
    lag: int = 0


@final
@dataclass(frozen=True)
class Send:
    """Put a message into a channel's outbox; wait until there is room."""

    channel: int


@final
@dataclass(frozen=True)
class Reduce:
    """An all-reduce: wait until all members have come, then ``seconds`` more. ``bytes`` is what a node sends in it."""

    seconds: float
    bytes: int


@final
@dataclass(frozen=True)
class Save:
    """Write a checkpoint, in every ``every``-th mini-batch."""

    seconds: float
    every: int


Op = Compute | Receive | Send | Reduce | Save


@final
@dataclass(frozen=True)
class Channel:
    """From a stage to another, ``messages`` per mini-batch, in order; ``size`` is the bytes of one of all replicas.

    ``whole``: every replica sends all of ``size`` (weights), not the share of its rows. ``trips``: how many times the
    link's latency passes until a message is there and the next one can be sent. ``lag``: what is taken was sent so many
    mini-batches ago; the queues are longer by as much.
    """

    source: int
    target: int
    size: int
    messages: int = 1
    whole: bool = False
    trips: int = 1
    lag: int = 0


@final
@dataclass(frozen=True)
class Schedule:
    """``programs[stage]`` is what each of the stage's ``replicas`` nodes does with a mini-batch.

    ``shares`` are the nodes' parts of the rows, by rank. The members of an all-reduce are the replicas of a stage, or
    with ``together`` all nodes. ``links[i]`` is that of channel i; channels between the same two nodes share one.
    ``depth`` is that of the queues.
    """

    name: str
    programs: tuple[tuple[Op, ...], ...]
    channels: tuple[Channel, ...]
    links: tuple[Link, ...]
    shares: tuple[float, ...]
    replicas: int
    depth: int
    together: bool = False

    @property
    def nodes(self) -> int:
        """How many nodes there are."""
        return len(self.programs) * self.replicas

    def bound(self) -> float:
        """Seconds per mini-batch that no undisturbed run can beat: the busiest stage, channel or link."""
        times = [0.0]
        for stage, program in enumerate(self.programs):
            share = max(self.shares[stage * self.replicas : (stage + 1) * self.replicas])
            times.append(sum(_seconds(op, share) for op in program))
        wires: dict[tuple[int, int], float] = {}
        for channel, link in zip(self.channels, self.links, strict=True):
            size = channel.messages * channel.size * (1 if channel.whole else max(self.shares))
            times.append(channel.messages * channel.trips * link.latency + size / link.bytes_per_second)
            key = channel.source, channel.target
            wires[key] = wires.get(key, 0.0) + size / link.bytes_per_second
        return max(*times, *wires.values(), 0.0)


def _seconds(op: Op, share: float) -> float:
    match op:
        case Compute():
            return op.seconds * share
        case Reduce():
            return op.seconds
        case Save():
            return op.seconds / op.every
        case _:
            return 0.0


def row_shares(rows: int, parts: int) -> tuple[float, ...]:
    """The parts of a mini-batch as ``torch.tensor_split`` makes them, in rows over all rows."""
    each, more = divmod(rows, parts)
    return tuple((each + (part < more)) / rows for part in range(parts))


def ring_bytes(size: int, members: int) -> int:
    """Bytes that each of ``members`` sends in a ring all-reduce of ``size`` bytes: 2 (D - 1) / D of them."""
    return 2 * (members - 1) * size // members


def ring_seconds(size: int, members: int, link: Link) -> float:
    """Time of a ring all-reduce: 2 (D - 1) rounds, each of a D-th of the bytes."""
    return 2 * (members - 1) * link.latency + ring_bytes(size, members) / link.bytes_per_second
