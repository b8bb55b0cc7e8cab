"""The discrete-event core: nodes walk through their programs, channels carry messages, all-reduces wait for the last.

A node is woken when what it waits for is there: time passes only in the heap of events, which are the end of a
computation, the arrival of a message, the end of an all-reduce. What happens at one moment happens in a fixed order.
"""

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from heapq import heappop, heappush
from math import inf
from typing import final

from localgrad.errors import LocalgradError
from localgrad.planning.simulate_pipes import Fires, Pipe, Ring, Wait, Wire
from localgrad.planning.simulate_schedule import Op, Receive, Reduce, Save, Schedule, Send

COMPUTE, RECEIVE, SEND, REDUCE, SAVE = range(5)

Code = tuple[int, float, int]
"""An operation as numbers: which, seconds (RECEIVE: lag), its channel (SAVE: in every how many mini-batches)."""


@final
@dataclass(frozen=True)
class Chances:
    """The random streams of nodes, channels and all-reduces; they go on over restarts."""

    compute: Sequence[Iterator[float]]
    messages: Sequence[Iterator[float]]
    reduces: Sequence[Iterator[float]]
    pauses: Sequence[Iterator[float]]
    """Seconds of computing between two pauses, by rank; empty without pauses."""
    pause: float


@final
@dataclass(frozen=True)
class Tally:
    """What is counted over all incarnations of a run: seconds by rank, and by channel and replica."""

    busy: list[float]
    waits: tuple[list[float], ...]
    sending: list[float]
    finish: list[float]
    """When each mini-batch was done on all nodes."""
    restarts: list[int] = field(default_factory=list)
    """First mini-batch of every incarnation but the first."""

    @classmethod
    def empty(cls, schedule: Schedule, batches: int) -> "Tally":
        """Nothing yet."""
        nodes = schedule.nodes
        waits = tuple([0.0] * nodes for _ in Wait)
        return cls([0.0] * nodes, waits, [0.0] * (len(schedule.channels) * schedule.replicas), [0.0] * batches)


@final
class Engine:
    """One incarnation of a run: mini-batches ``first`` to ``batches`` - 1, from the moment ``now`` on."""

    def __init__(
        self,
        schedule: Schedule,
        factors: Sequence[float],
        chances: Chances,
        tally: Tally,
        *,
        first: int = 0,
        batches: int,
        now: float = 0.0,
    ) -> None:
        self.now, self.first, self.batches = now, first, batches
        self.tally, self.chances = tally, chances
        self.heap: list[tuple[float, int, Fires]] = []
        self.order = 0
        self.ready: deque[Node] = deque()
        self.left = [schedule.nodes] * (batches - first)
        self.complete = first
        replicas, shares = schedule.replicas, schedule.shares
        if schedule.together:
            rings = [Ring(self, schedule.nodes, chances.reduces[0])] * len(schedule.programs)
        else:
            rings = [Ring(self, replicas, chances.reduces[stage]) for stage in range(len(schedule.programs))]
        codes = [tuple(_code(op) for op in program) for program in schedule.programs]
        self.nodes = [
            Node(self, rank, factors[rank] * shares[rank], rings[rank // replicas], codes[rank // replicas])
            for rank in range(schedule.nodes)
        ]
        self.pipes = self._pipes(schedule)
        self.ready.extend(self.nodes)

    def _pipes(self, schedule: Schedule) -> list[Pipe]:
        """A pipe for every channel and replica, in this order."""
        wires: dict[tuple[int, int], Wire] = {}
        pipes, replicas = list[Pipe](), schedule.replicas
        for place, (channel, link) in enumerate(zip(schedule.channels, schedule.links, strict=True)):
            for replica in range(replicas):
                source, target = channel.source * replicas + replica, channel.target * replicas + replica
                size = channel.size * (1.0 if channel.whole else schedule.shares[source])
                pipe = Pipe(
                    self,
                    wires.setdefault((source, target), Wire(self)),
                    seconds=size / link.bytes_per_second,
                    latency=channel.trips * link.latency,
                    depth=schedule.depth + channel.lag,
                    factors=self.chances.messages[len(pipes)],
                )
                self.nodes[source].pipes[place] = self.nodes[target].pipes[place] = pipe
                pipes.append(pipe)
        return pipes

    def at(self, time: float, thing: Fires) -> None:
        """Let something happen at ``time``."""
        self.order += 1
        heappush(self.heap, (time, self.order, thing))

    def run(self, until: float) -> bool:
        """Go on until all mini-batches are done, or up to the moment ``until``; whether they are.

        Raises LocalgradError when all nodes wait for each other.
        """
        heap, ready = self.heap, self.ready
        while True:
            while ready:
                ready.popleft().advance(self.now)
            if not heap or heap[0][0] > until:
                break
            self.now, _, thing = heappop(heap)
            thing.fire(self.now)
        finished = self.complete == self.batches
        if not heap and not finished:
            raise self._stuck()
        if not finished:
            self._cut(until)
        for index, pipe in enumerate(self.pipes):
            self.tally.sending[index] += pipe.sent
        return finished

    def _cut(self, now: float) -> None:
        """Everything is lost at ``now``: count waits up to here, and computations as far as they have come."""
        for node in self.nodes:
            if node.waits is not None:
                self.tally.waits[node.waits][node.rank] += now - node.since
            elif node.until > now:
                self.tally.busy[node.rank] -= node.until - now

    def _stuck(self) -> LocalgradError:
        told = [
            f"rank {node.rank} in mini-batch {node.batch} ({node.waits.name.lower()}, operation {node.step})"
            for node in self.nodes
            if node.waits is not None
        ]
        return LocalgradError(
            f"simulate: after {self.now:g} s all nodes wait for each other: {'; '.join(told[:4])}. The placement makes "
            "a circle; place the units along the network, or take deeper queues."
        )

    def done(self, batch: int) -> None:
        """A node has done a mini-batch."""
        place = batch - self.first
        self.left[place] -= 1
        if self.left[place] == 0:
            self.tally.finish[batch] = self.now
            self.complete = batch + 1


@final
class Node:
    """A process: one operation after the other, one mini-batch after the other."""

    __slots__ = (
        "batch", "engine", "factor", "factors", "pause_after", "pipes", "program", "rank", "ring", "scale", "since",
        "step", "until", "waits",
    )  # fmt: skip

    def __init__(self, engine: Engine, rank: int, scale: float, ring: Ring, program: tuple[Code, ...]) -> None:
        self.engine, self.rank, self.scale, self.ring, self.program = engine, rank, scale, ring, program
        self.pipes: dict[int, Pipe] = {}
        self.batch, self.step = engine.first, 0
        self.factors = engine.chances.compute[rank]
        self.factor = scale * next(self.factors)
        self.pause_after = next(engine.chances.pauses[rank]) if engine.chances.pauses else inf
        self.waits: Wait | None = None
        self.since = self.until = engine.now

    def wait(self, reason: Wait, now: float) -> None:
        """Stand still until woken."""
        self.waits, self.since = reason, now

    def wake(self, now: float) -> None:
        """Go on, at this moment."""
        assert self.waits is not None
        self.engine.tally.waits[self.waits][self.rank] += now - self.since
        self.waits = None
        self.engine.ready.append(self)

    def fire(self, now: float) -> None:
        """A computation is over."""
        self.advance(now)

    def advance(self, now: float) -> None:
        """Do operations until one takes time or has to wait."""
        while self.batch < self.engine.batches:
            if self.step == len(self.program):
                self.engine.done(self.batch)
                self.step = 0
                self.batch += 1
                self.factor = self.scale * next(self.factors)
                continue
            kind, seconds, place = self.program[self.step]
            if kind == RECEIVE:
                if self.batch - self.engine.first >= seconds and not self.pipes[place].take(self, now):
                    return
            elif kind == SEND:
                if not self.pipes[place].put(self, now):
                    return
            elif kind == COMPUTE:
                self.step += 1
                self._compute(seconds * self.factor, now)
                return
            elif kind == REDUCE:
                self.step += 1
                self.ring.come(self, seconds, now)
                return
            elif (self.batch + 1) % place == 0:
                self.step += 1
                self._compute(seconds, now)
                return
            self.step += 1

    def _compute(self, seconds: float, now: float) -> None:
        """Work so long, and pause when it is time to."""
        if seconds > self.pause_after:
            seconds = self._paused(seconds)
        else:
            self.pause_after -= seconds
        self.engine.tally.busy[self.rank] += seconds
        self.until = now + seconds
        self.engine.at(self.until, self)

    def _paused(self, left: float) -> float:
        """``left`` seconds of computing and the pauses in them."""
        total, chances = left, self.engine.chances
        while left > self.pause_after:
            left -= self.pause_after
            total += chances.pause
            self.pause_after = next(chances.pauses[self.rank])
        self.pause_after -= left
        return total


def _code(op: Op) -> Code:
    match op:
        case Receive():
            return RECEIVE, op.lag, op.channel
        case Send():
            return SEND, 0.0, op.channel
        case Reduce():
            return REDUCE, op.seconds, 0
        case Save():
            return SAVE, op.seconds, op.every
        case _:
            return COMPUTE, op.seconds, 0
