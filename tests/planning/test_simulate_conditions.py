"""Conditions that cannot be, all of them told at once."""

import pytest

from localgrad.errors import LocalgradError
from localgrad.planning.plan import Link
from localgrad.planning.simulate_conditions import Conditions, Pauses, Stragglers


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"batches": 0}, "batches must be a whole number of at least 1, got 0."),
        ({"depth": 1.5}, "depth must be a whole number of at least 1, got 1.5."),
        ({"ema_delay": 0}, "ema_delay must be a whole number of at least 1, got 0."),
        ({"forward_share": 1.1}, "forward_share must be between 0 and 1, got 1.1."),
        ({"forward_share": ()}, "forward_share must be between 0 and 1, got ()."),
        ({"look_share": -0.1}, "look_share must be between 0 and 1, got -0.1."),
        ({"jitter": -1.0}, "jitter must be a number of at least 0, got -1.0."),
        ({"link_jitter": float("nan")}, "link_jitter must be a number of at least 0, got nan."),
        ({"stragglers": Stragglers(1.5, 2.0)}, "stragglers must be a share between 0 and 1"),
        ({"stragglers": Stragglers(0.5, 0.5)}, "computes at least 1 times as long, got 0.5, 0.5."),
        ({"pauses": Pauses(0.0, 1.0)}, "pauses must come after more than 0 seconds and last 0 or more, got 0.0, 1.0."),
        ({"stage_slowdowns": ((0, 0.0),)}, "stage_slowdowns: a place from 0 and a factor above 0 are expected"),
        ({"node_slowdowns": ((-1, 2.0),)}, "node_slowdowns: a place from 0 and a factor above 0 are expected"),
        ({"links": ((0, 1, Link(0.0)),)}, "a link needs more than 0 bytes per second"),
        ({"replica_link": Link(1.0, -1.0)}, "a latency of 0 or more, got Link"),
    ],
)
def test_what_cannot_be_is_told(fields: dict[str, object], told: str) -> None:
    with pytest.raises(LocalgradError) as error:
        Conditions(**fields)  # type: ignore[arg-type]
    assert str(error.value).startswith("simulate: ")
    assert told in str(error.value)


def test_all_problems_come_together() -> None:
    with pytest.raises(LocalgradError) as error:
        Conditions(batches=0, jitter=-1.0)
    assert "batches must be" in str(error.value) and "jitter must be" in str(error.value)
