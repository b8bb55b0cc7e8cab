"""How fast things go that wait for each other in every mini-batch: the pace of an event graph, found exactly.

Task j of mini-batch t starts when every task i that it waits for, of mini-batch t - delay, is far enough. In the steady
state all tasks repeat in one period: the largest (sum of waits) / (sum of delays) of any cycle (maximum cycle ratio,
Baccelli et al., Synchronization and Linearity, theorem 3.28; found by raising a guess to the ratio of a cycle that
contradicts it, until none does).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import final


@final
@dataclass(frozen=True)
class Wait:
    """``after`` seconds lie between the start of ``source``, ``delay`` mini-batches before, and that of ``target``."""

    source: int
    target: int
    after: float
    delay: int = 0


@final
@dataclass(frozen=True)
class Pace:
    """Seconds per mini-batch, and the tasks that make it so: those of the cycle that nothing can be faster than."""

    period: float
    cycle: tuple[int, ...]


def pace(tasks: int, waits: Sequence[Wait]) -> Pace:
    """The steady state of ``tasks`` tasks. Every cycle must have a delay; without cycles the period is 0."""
    found = Pace(0.0, ())
    while True:
        cycle = _slower_cycle(tasks, waits, found.period)
        if cycle is None:
            return found
        period = sum(wait.after for wait in cycle) / sum(wait.delay for wait in cycle)
        if period <= found.period:  # rounding
            return found
        found = Pace(period, tuple(wait.target for wait in cycle))


def first_starts(tasks: int, waits: Sequence[Wait]) -> list[float]:
    """When every task of the first mini-batch starts."""
    starts = [0.0] * tasks
    first = sorted((wait for wait in waits if wait.delay == 0), key=lambda wait: wait.source)
    moved = True
    while moved:  # mostly twice: tasks stand in the order in which they happen, but for full queues
        moved = False
        for wait in first:
            start = starts[wait.source] + wait.after
            if start > starts[wait.target]:
                starts[wait.target], moved = start, True
    return starts


def _slower_cycle(tasks: int, waits: Sequence[Wait], period: float) -> list[Wait] | None:
    """A cycle that takes longer than ``period`` per mini-batch, by Bellman-Ford's longest paths; None without one."""
    longest, reached = [0.0] * tasks, list[Wait | None]([None] * tasks)
    slack = 1e-12 * sum(abs(wait.after) for wait in waits)
    changed = 0
    for _ in range(tasks + 1):
        changed = -1
        for wait in waits:
            length = longest[wait.source] + wait.after - period * wait.delay
            if length > longest[wait.target] + slack:
                longest[wait.target], reached[wait.target] = length, wait
                changed = wait.target
        if changed < 0:
            return None
    place = changed
    for _ in range(tasks):  # back into the cycle
        place = _longest_way(reached, place).source
    cycle: list[Wait] = []
    start = place
    while not cycle or place != start:
        cycle.append(_longest_way(reached, place))
        place = cycle[-1].source
    return cycle[::-1]


def _longest_way(reached: Sequence[Wait | None], place: int) -> Wait:
    wait = reached[place]
    assert wait is not None  # whatever changed last lies behind a cycle
    return wait
