"""The best cut: beside all cuts there are, with unequal devices, links, groups and a memory limit."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import permutations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from localgrad import localize, methods
from localgrad.errors import LocalgradError
from localgrad.placement import Placement
from localgrad.planning import Devices, Link, UnitCost, UnitTraffic, balanced, default_placement, unit_traffic
from tests.conftest import tiny_resnet

MIB = 2**20
FREE = Link(float("inf"))


def units(seconds: Sequence[float], memory: Sequence[int] = (), spans: Sequence[int] = ()) -> list[UnitCost]:
    sizes = memory or [0] * len(seconds)
    places = spans or range(len(seconds))
    return [
        UnitCost(f"u{i}", span, sum(spans[j] == span for j in range(i)) if spans else 0, int(s * 1000), s, size)
        for i, (s, size, span) in enumerate(zip(seconds, sizes, places, strict=True))
    ]


def cuts(count: int, stages: int, start: int = 0) -> Iterator[list[tuple[int, int]]]:
    """All ways to cut ``start`` to ``count`` into so many runs."""
    if stages == 1:
        yield [(start, count)]
        return
    for stop in range(start + 1, count - stages + 2):
        for rest in cuts(count, stages - 1, stop):
            yield [(start, stop), *rest]


def runs(hosts: Sequence[int]) -> list[tuple[int, int]]:
    return [(hosts.index(s), len(hosts) - hosts[::-1].index(s)) for s in range(max(hosts) + 1)]


@given(
    seconds=st.lists(st.integers(1, 20), min_size=1, max_size=7),
    sent=st.lists(st.integers(0, 30), min_size=7, max_size=7),
    memory=st.lists(st.integers(1, 9), min_size=7, max_size=7),
    speeds=st.lists(st.sampled_from([1.0, 0.5, 2.0]), min_size=1, max_size=4),
    limit=st.one_of(st.none(), st.integers(5, 60)),
)
@settings(max_examples=120, deadline=None)
def test_nothing_is_better_than_what_is_found(seconds, sent, memory, speeds, limit) -> None:
    """Brute force over all cuts and all orders of devices; memory of a stage is the largest of its units here."""
    count, stages = len(seconds), min(len(speeds), len(seconds))
    speeds = speeds[:stages]
    output = [*sent[: count - 1], 0]
    link = Link(2.0)

    def hold(start: int, stop: int) -> int:
        queued = 2 * (output[start - 1] if start else 0) + 3 * output[stop - 1]
        return max(memory[start:stop]) + queued

    def worst(cut, order) -> tuple[float, float]:
        times = [max(sum(seconds[a:b]) / speed, output[b - 1] / 2) for (a, b), speed in zip(cut, order, strict=True)]
        return max(times), sum(time * time for time in times)

    best = min(
        (
            worst(cut, order)
            for cut in cuts(count, stages)
            for order in set(permutations(speeds))
            if limit is None or all(hold(*run) <= limit for run in cut)
        ),
        default=None,
    )
    kinds = [Devices(f"d{speed:g}", speed, speeds.count(speed)) for speed in dict.fromkeys(speeds)]
    keywords = {
        "traffic": [UnitTraffic(output=size) for size in output],
        "link": link,
        "devices": kinds,
        "memory_limit": limit,
        "by": "time",
    }
    costs = units([float(s) for s in seconds], memory[:count])
    if best is None:
        with pytest.raises(LocalgradError, match="nothing fits"):
            balanced(costs, stages, **keywords)
        return
    found = balanced(costs, stages, **keywords)
    assert sorted(found.speeds) == sorted(speeds)
    assert worst(runs(found.placement.hosts), found.speeds) == pytest.approx(best)


def test_the_rest_is_even_too() -> None:
    """One large unit decides the pace; the others are shared evenly all the same."""
    assert balanced(units([1, 1, 1, 1, 9]), 3).placement.hosts == (0, 0, 1, 1, 2)


def test_a_fast_device_gets_the_large_unit_wherever_it_stands() -> None:
    kinds = [Devices("fast", 1.0, 1), Devices("slow", 0.25, 2)]
    found = balanced(units([1, 8, 1]), 3, devices=kinds)
    assert found.speeds == (0.25, 1.0, 0.25)
    assert found.placement.hosts == (0, 1, 2)


def test_a_slow_link_moves_the_cut() -> None:
    traffic = [UnitTraffic(1), UnitTraffic(1000), UnitTraffic(1), UnitTraffic()]
    costs = units([1, 1, 1, 1])
    assert balanced(costs, 2, traffic=traffic, link=FREE).placement.hosts == (0, 0, 1, 1)
    assert balanced(costs, 2, traffic=traffic, link=Link(100.0), by="time").placement.hosts in (
        (0, 1, 1, 1),
        (0, 0, 0, 1),
    )


def test_macs_or_seconds() -> None:
    costs = [
        UnitCost(f"u{i}", i, 0, macs, seconds, 0) for i, (macs, seconds) in enumerate([(9, 1), (3, 1), (3, 1), (3, 9)])
    ]
    assert balanced(costs, 2, by="macs").placement.hosts == (0, 1, 1, 1)
    assert balanced(costs, 2, by="time").placement.hosts == (0, 0, 0, 1)


def test_groups_stay_together_until_there_are_more_stages_than_spans() -> None:
    costs = units([1, 1, 1, 1, 1, 1], spans=[0, 0, 1, 1, 2, 2])
    assert balanced(costs, 3).placement.hosts == (0, 0, 1, 1, 2, 2)
    assert balanced(costs, 2).placement.hosts in ((0, 0, 0, 0, 1, 1), (0, 0, 1, 1, 1, 1))
    # The last span stays whole: its stage judges the network.
    assert balanced(costs, 5).placement.hosts == (0, 1, 2, 3, 4, 4)
    with pytest.raises(LocalgradError, match="6 stages, but there are only 5 units"):
        balanced(costs, 6)


def test_groups_apart_pay_for_what_they_exchange() -> None:
    """Span 0 is larger, but its groups would have to send each other features over a slow link."""
    costs = units([3, 3, 2, 2, 1], spans=[0, 0, 1, 1, 2])
    silent = [UnitTraffic()] * 5
    assert balanced(costs, 4, traffic=silent, by="time").placement.hosts == (0, 1, 2, 2, 3)
    talking = [UnitTraffic(features=400)] * 2 + [UnitTraffic()] * 3
    assert balanced(costs, 4, traffic=talking, link=Link(100.0), by="time").placement.hosts == (0, 0, 1, 2, 3)


def test_replicas() -> None:
    found = balanced(units([1, 1, 1, 1]), 4, replicas=2)
    assert (found.placement.hosts, found.placement.replicas, found.speeds) == ((0, 0, 1, 1), 2, (1.0, 1.0))
    kinds = [Devices("fast", 1.0, 2), Devices("slow", 0.5, 2)]
    assert balanced(units([1, 1, 1]), 4, replicas=2, devices=kinds).placement.hosts in ((0, 0, 1), (0, 1, 1))


def refusal(*arguments, **keywords) -> str:
    with pytest.raises(LocalgradError) as error:
        balanced(*arguments, **keywords)
    return str(error.value)


def test_errors() -> None:
    four = units([1, 1, 1, 1])
    assert refusal(four, 5) == (
        "plan: 5 ranks with 1 replica of every stage are 5 stages, but there are only 4 units and a stage hosts at "
        "least one. Take ranks=4 or less, cut the network into more modules, or take more replicas, which share the "
        "mini-batches of a stage."
    )
    assert "ranks must be a whole number of at least 1, got 0" in refusal(four, 0)
    assert "replicas must be a whole number of at least 1, got -1" in refusal(four, 2, replicas=-1)
    assert "3 ranks cannot be shared by stages of 2 replicas" in refusal(four, 3, replicas=2)
    kinds = [Devices("fast", 1.0, 1), Devices("slow", 0.5, 3)]
    assert refusal(four, 3, devices=kinds) == "plan: 3 ranks need as many devices, got 4: 1 fast, 3 slow."
    assert "1 fast cannot be shared by them. Take a multiple of 2" in refusal(four, 4, replicas=2, devices=kinds)


def test_the_limit_that_would_do() -> None:
    costs = units([1, 1, 1], memory=[MIB, 5 * MIB, 2 * MIB])
    assert refusal(costs, 2, memory_limit=4 * MIB) == (
        "plan: nothing fits a memory limit of 4.00 MiB per rank: unit 1 (u1) alone needs 5.00 MiB. A limit of 5.00 MiB "
        "would do; or take a smaller batch or more modules."
    )
    assert balanced(costs, 2, memory_limit=5 * MIB).placement.ranks == 2
    together = [replace(unit, resident=unit.memory) for unit in costs]
    said = refusal(together, 2, memory_limit=5 * MIB)
    assert "units 0 (u0) to 1 (u1) together need 6.00 MiB, queues included. A limit of 6.00 MiB would do" in said
    assert "or take more ranks, a smaller batch or more modules." in said
    assert balanced(together, 2, memory_limit=6 * MIB).placement.hosts == (0, 0, 1)


def test_queues_may_be_what_does_not_fit() -> None:
    costs, traffic = units([1, 1], memory=[MIB, MIB]), [UnitTraffic(output=MIB), UnitTraffic()]
    said = refusal(costs, 2, traffic=traffic, memory_limit=2 * MIB)
    assert "unit 0 (u0) needs 4.00 MiB, queues included. A limit of 4.00 MiB would do" in said
    assert balanced(costs, 2, traffic=traffic, memory_limit=4 * MIB).placement.hosts == (0, 1)


def test_too_many_kinds_of_devices() -> None:
    kinds = [Devices(f"d{i}", 1 + i / 100, 1) for i in range(20)]
    assert "Give devices of nearly the same speed one name" in refusal(units([1] * 40), 20, devices=kinds)


def test_default_placement_is_by_macs() -> None:
    with torch.device("meta"):
        net = localize(tiny_resnet(), methods.DGL(), 7)
    placement = default_placement(net, 2)
    assert (placement.stages, placement.replicas) == (2, 1)
    # Half as many rows change no MACs' shares.
    assert default_placement(net, 4, replicas=2) == Placement(placement.hosts, 2)
    assert default_placement(net, 7).hosts == tuple(range(7))


def test_traffic_is_what_the_channels_carry() -> None:
    with torch.device("meta"):
        net = localize(tiny_resnet(), methods.DGL(), 7)
        grouped = localize(tiny_resnet(), methods.GNDGL(), 7, groups=2)
    outputs = [one.output for one in unit_traffic(net, rows=4)]
    # 8 channels of 8x8, then 16 of 4x4, 32 of 2x2; four labels of 8 bytes; nothing behind the last unit.
    assert outputs == [4 * (4 * 512 + 8)] * 3 + [4 * (4 * 256 + 8)] * 2 + [4 * (4 * 128 + 8), 0]
    first, second, *_ = unit_traffic(grouped, rows=4)
    assert (first.features, first.logits) == (4 * 4 * 256, 4 * 4 * 4)
    assert first.output - second.output == 4 * 8  # labels travel with the first group's output
