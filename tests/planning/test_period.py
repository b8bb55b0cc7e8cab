"""The pace of event graphs: closed forms, and long runs of the same recurrence."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from localgrad.planning.period import Wait, first_starts, pace


def test_one_task_repeats() -> None:
    found = pace(1, [Wait(0, 0, 3.0, delay=1)])
    assert (found.period, found.cycle) == (3.0, (0,))


def test_nothing_repeats() -> None:
    assert pace(2, [Wait(0, 1, 5.0)]).period == 0


def test_two_stages_go_at_the_pace_of_the_slower() -> None:
    waits = [Wait(0, 0, 2.0, delay=1), Wait(1, 1, 3.0, delay=1), Wait(0, 1, 2.0)]
    assert pace(2, waits).period == 3.0
    assert pace(2, waits).cycle == (1,)
    assert first_starts(2, waits) == [0.0, 2.0]


def test_a_loop_over_two_mini_batches_counts_half() -> None:
    """A queue of two messages on a way that takes 10: one every 5."""
    waits = [Wait(0, 1, 10.0), Wait(1, 0, 0.0, delay=2), Wait(0, 0, 1.0, delay=1)]
    assert pace(2, waits).period == 5.0


@given(
    forward=st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4), st.integers(0, 9)), max_size=8),
    back=st.lists(
        st.tuples(st.integers(0, 4), st.integers(0, 4), st.integers(-3, 9), st.integers(1, 3)), min_size=1, max_size=8
    ),
)
@settings(max_examples=80, deadline=None)
def test_a_long_run_has_the_same_pace(forward, back) -> None:
    """Starts of 400 mini-batches by the recurrence itself; every task repeats after the one before it."""
    waits = [Wait(min(a, b), max(a, b), float(w)) for a, b, w in forward if a != b]
    waits += [Wait(a, b, float(w), delay) for a, b, w, delay in back]
    waits += [Wait(task, task, 1.0, delay=1) for task in range(5)]
    starts: list[list[float]] = []
    for batch in range(400):
        now = [0.0] * 5
        starts.append(now)
        for wait in sorted(waits, key=lambda wait: (wait.delay == 0, wait.source)):
            if batch >= wait.delay:
                now[wait.target] = max(now[wait.target], starts[batch - wait.delay][wait.source] + wait.after)
    slowest = max((starts[399][task] - starts[159][task]) / 240 for task in range(5))
    assert pace(5, waits).period == pytest.approx(slowest, abs=0.05)
