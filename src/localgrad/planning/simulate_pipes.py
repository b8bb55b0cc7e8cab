"""What nodes wait for in a simulation: channels with bounded queues over links, and all-reduces."""

from collections import deque
from collections.abc import Iterator
from enum import IntEnum
from typing import Protocol, final


class Wait(IntEnum):
    """Why a node stands still."""

    STARVED = 0
    """For a message."""
    BLOCKED = 1
    """For room in an outbox."""
    REDUCING = 2
    """For an all-reduce, the slowest replica included."""


class Fires(Protocol):
    """Something that an event happens to."""

    def fire(self, now: float) -> None:
        """The event is there."""


class Clock(Protocol):
    """Where events are announced."""

    def at(self, time: float, thing: Fires) -> None:
        """Let something happen at ``time``."""


class Waiter(Protocol):
    """A node, as far as it waits."""

    def wait(self, reason: Wait, now: float) -> None:
        """Stand still until woken."""

    def wake(self, now: float) -> None:
        """Go on, at this moment."""


@final
class Wire:
    """The link of a channel; several with the same two ends use it in turn."""

    __slots__ = ("channels", "clock", "queue", "user")

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.channels = 0
        self.user: Pipe | None = None
        self.queue: deque[Pipe] = deque()

    def ask(self, pipe: "Pipe", now: float) -> None:
        """Send the pipe's message as soon as the link is free."""
        if self.user is not None:
            self.queue.append(pipe)
            return
        self.user = pipe
        self.clock.at(now + pipe.start(), self)

    def fire(self, now: float) -> None:
        """The last byte is on its way: the next message may follow."""
        assert self.user is not None
        self.clock.at(now + self.user.lag, self.user)
        self.user = None
        if self.queue:
            self.ask(self.queue.popleft(), now)


@final
class Pipe:
    """A channel of one replica: outbox, a message in the sender's hands, one in the receiver's, inbox.

    As in ``distributed.wire``: the sending thread takes a message out of its queue before the other end is ready for
    it; the receiving thread asks for the next when it has put the last into its queue, which is one shorter than the
    sender's because of the one in its hands.
    """

    __slots__ = (
        "bytes_time", "clock", "depth", "factors", "held", "in_hand", "inbox", "lag", "latency", "outbox",
        "receiver", "room", "sender", "sending", "sent", "wire",
    )  # fmt: skip

    def __init__(
        self, clock: Clock, wire: Wire, *, seconds: float, latency: float, depth: int, factors: Iterator[float]
    ) -> None:
        self.clock, self.wire, self.factors = clock, wire, factors
        self.bytes_time, self.latency, self.lag = seconds, latency, latency
        self.depth, self.room = depth, max(1, depth - 1)
        self.outbox = self.inbox = 0
        self.in_hand = self.held = self.sending = False
        self.sender: Waiter | None = None
        self.receiver: Waiter | None = None
        self.sent = 0.0
        """Seconds for which the link has been busy."""
        wire.channels += 1

    def put(self, node: Waiter, now: float) -> bool:
        """Whether there was room for a message; else the node waits."""
        if self.outbox == self.depth:
            self.sender = node
            node.wait(Wait.BLOCKED, now)
            return False
        self.outbox += 1
        self.pump(now)
        return True

    def take(self, node: Waiter, now: float) -> bool:
        """Whether there was a message; else the node waits."""
        if self.inbox == 0:
            self.receiver = node
            node.wait(Wait.STARVED, now)
            return False
        self.inbox -= 1
        self.pump(now)
        return True

    def pump(self, now: float) -> None:
        """Move on what can move."""
        if self.held and self.inbox < self.room:
            self.held = False
            self.inbox += 1
            if self.receiver is not None:
                self.receiver.wake(now)
                self.receiver = None
        if self.outbox and not self.in_hand:
            self.outbox -= 1
            self.in_hand = True
            if self.sender is not None:
                self.sender.wake(now)
                self.sender = None
        if self.in_hand and not self.sending and not self.held:
            self.sending = True
            if self.wire.channels == 1:
                self.clock.at(now + self.start() + self.lag, self)
            else:
                self.wire.ask(self, now)

    def start(self) -> float:
        """Draw how long this message takes; seconds that it keeps the link busy. ``lag`` is what comes on top."""
        factor = next(self.factors)
        self.lag = self.latency * factor
        seconds = self.bytes_time * factor
        self.sent += seconds
        return seconds

    def fire(self, now: float) -> None:
        """A message has arrived."""
        self.sending = self.in_hand = False
        self.held = True
        self.pump(now)


@final
class Ring:
    """The members of an all-reduce."""

    __slots__ = ("clock", "factors", "members", "waiting")

    def __init__(self, clock: Clock, members: int, factors: Iterator[float]) -> None:
        self.clock, self.members, self.factors = clock, members, factors
        self.waiting: list[Waiter] = []

    def come(self, node: Waiter, seconds: float, now: float) -> None:
        """A member is ready; the last one to come starts it."""
        node.wait(Wait.REDUCING, now)
        self.waiting.append(node)
        if len(self.waiting) == self.members:
            self.clock.at(now + seconds * next(self.factors), self)

    def fire(self, now: float) -> None:
        """The sum is there, everywhere."""
        members, self.waiting = self.waiting, []
        for node in members:
            node.wake(now)
