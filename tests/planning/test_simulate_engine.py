"""The core: queues, links in turn, and a schedule that waits for itself."""

import pytest

from localgrad.errors import LocalgradError
from localgrad.planning.plan import Link
from localgrad.planning.simulate import run_schedule
from localgrad.planning.simulate_conditions import Conditions
from localgrad.planning.simulate_pipes import Fires, Pipe, Wait, Wire
from localgrad.planning.simulate_schedule import Channel, Compute, Receive, Schedule, Send, ring_bytes, ring_seconds


class Events:
    """A clock whose events happen when the test says so."""

    def __init__(self) -> None:
        self.coming: list[tuple[float, Fires]] = []

    def at(self, time: float, thing: Fires) -> None:
        self.coming.append((time, thing))

    def happen(self) -> None:
        while self.coming:
            now, thing = self.coming.pop(0)
            thing.fire(now)


class Waiting:
    """A node that notes what it waits for."""

    def __init__(self) -> None:
        self.reason: Wait | None = None

    def wait(self, reason: Wait, now: float) -> None:
        self.reason = reason

    def wake(self, now: float) -> None:
        self.reason = None


def pipe(clock: Events, depth: int, wire: Wire | None = None) -> Pipe:
    factors = iter([1.0] * 100)
    return Pipe(clock, wire or Wire(clock), seconds=1.0, latency=0.5, depth=depth, factors=factors)


@pytest.mark.parametrize("depth", [1, 2, 3])
def test_a_channel_holds_two_queues_and_one_message_in_each_threads_hands(depth: int) -> None:
    clock, node = Events(), Waiting()
    channel = pipe(clock, depth)
    sent = 0
    while channel.put(node, 0.0):
        clock.happen()
        sent += 1
    assert sent == depth + 1 + 1 + max(1, depth - 1)
    assert node.reason is Wait.BLOCKED
    assert channel.take(Waiting(), 0.0)
    clock.happen()
    assert node.reason is None


def test_a_receiver_waits_until_the_message_is_there() -> None:
    clock, node = Events(), Waiting()
    channel = pipe(clock, 2)
    assert not channel.take(node, 0.0)
    assert node.reason is Wait.STARVED
    assert channel.put(Waiting(), 0.0)
    assert node.reason is Wait.STARVED
    assert clock.coming[0][0] == 1.5
    clock.happen()
    assert node.reason is None
    assert channel.take(node, 1.5)


def test_channels_of_one_link_send_in_turn_and_latency_keeps_no_link_busy() -> None:
    clock = Events()
    wire = Wire(clock)
    first, second = pipe(clock, 2, wire), pipe(clock, 2, wire)
    assert first.put(Waiting(), 0.0) and second.put(Waiting(), 0.0)
    assert [time for time, _ in clock.coming] == [1.0]
    _, thing = clock.coming.pop()
    thing.fire(1.0)
    assert sorted(time for time, _ in clock.coming) == [1.5, 2.0]


def test_a_circle_is_told() -> None:
    programs = ((Receive(1), Compute(1.0), Send(0)), (Receive(0), Compute(1.0), Send(1)))
    channels, links = (Channel(0, 1, 8), Channel(1, 0, 8)), (Link(1.0), Link(1.0))
    schedule = Schedule("a circle", programs, channels, links, (1.0, 1.0), 1, 2)
    with pytest.raises(LocalgradError) as error:
        run_schedule(schedule, 8, Conditions(batches=3))
    assert "after 0 s all nodes wait for each other: rank 0 in mini-batch 0 (starved, operation 0); rank 1" in str(
        error.value
    )


def test_a_ring_sends_less_than_twice() -> None:
    assert [ring_bytes(1000, members) for members in (1, 2, 4, 100)] == [0, 1000, 1500, 1980]
    assert ring_seconds(1000, 4, Link(500.0, 0.1)) == pytest.approx(6 * 0.1 + 3.0)
