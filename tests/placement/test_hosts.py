"""Which process hosts which unit: numbers, and what is refused."""

import pytest

import localgrad as lg
from localgrad.placement import Placement, placement_problems
from tests.distributed.cases import CASES


def problems(case: str, hosts: tuple[int, ...], replicas: int = 1) -> list[str]:
    return list(placement_problems(Placement(hosts, replicas), CASES[case]().unit_list()))


def test_stages_and_processes() -> None:
    placement = Placement((0, 0, 1, 2), 2)
    assert (placement.stages, placement.ranks) == (3, 6)
    assert placement.units_of(0) == (0, 1)
    assert placement.ranks_of(1) == (2, 3)
    for rank in range(6):
        assert placement.rank(placement.stage_of(rank), placement.replica_of(rank)) == rank


@pytest.mark.parametrize(
    ("case", "hosts"),
    [("dgl", (0, 0, 1, 1)), ("dgl", (0, 0, 0, 0)), ("gndgl", (0, 1, 2, 3, 3)), ("gndgl", (0, 1, 0, 1, 1))],
)
def test_what_fits(case: str, hosts: tuple[int, ...]) -> None:
    assert problems(case, hosts) == []


def test_what_does_not_fit() -> None:
    assert problems("dgl", (0, 0, 1, 1), 0) == ["replicas must be at least 1, got 0."]
    assert problems("dgl", (0, 1)) == ["hosts must name a stage for each of the 4 units, got 2 numbers: [0, 1]."]
    assert problems("dgl", (0, 0, -1, 1)) == ["hosts must be stages counted from 0, got -1."]
    assert problems("dgl", (0, 0, 2, 2)) == [
        "stage 1 hosts no unit: hosts=[0, 0, 2, 2] names 3 stages and leaves it out."
    ]
    (text,) = problems("dgl", (1, 1, 0, 0))
    assert text.endswith("must be on stage 0, got stage 1. Number stages along the network.")
    (text,) = problems("dgl", (0, 1, 0, 1))
    names = [unit.name for unit in CASES["dgl"]().unit_list()]
    assert text == (
        f"unit 2 ({names[2]}) is on stage 0, before stage 1 of unit 1 ({names[1]}), whose output it reads: traffic "
        "would flow backward. Number stages along the network."
    )


def test_no_hosts_at_all() -> None:
    net: lg.LocalNetwork = CASES["dgl"]()
    assert list(placement_problems(Placement(()), net.unit_list())) == [
        "hosts must name a stage for each of the 4 units, got 0 numbers: []."
    ]
