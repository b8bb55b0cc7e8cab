"""Predictions: field.md's formulas by hand, and the simulation's answer, which is found in another way."""

from dataclasses import replace
from math import inf

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pytest import approx

from localgrad.errors import LocalgradError
from localgrad.placement import Kind, Transfer, Wire
from localgrad.planning import Link, UnitCost, predict
from localgrad.planning.predict import Bottleneck, rank_memory
from localgrad.planning.simulate import simulate
from localgrad.planning.simulate_conditions import Conditions
from tests.planning.simulated import chain, groups


def test_the_slowest_stage_sets_the_pace() -> None:
    found = predict(chain([1.0, 3.0, 2.0], forward=0.5))
    assert found.seconds == 3.0
    assert found.stages == (1.0, 3.0, 2.0)
    assert found.bottleneck == Bottleneck("stage", (1,))
    # Stage 2 starts when 0 and 1 have run their bodies, and is the last to finish: 0.5 + 1.5 + 2.
    assert found.fill + found.seconds == approx(4.0)
    assert found.epoch(100) == approx(4.0 + 99 * 3.0)


def test_break_even_with_1f1b() -> None:
    """K = 4, m = 8: below 37.5 % of overhead local learning is the faster one (field.md C.2)."""
    stages, overhead = 4, 0.3
    found = predict(chain([(1 + overhead) / stages] * stages, backprop=1.0))
    assert found.break_even == 3 / 8
    assert found.overhead == approx(overhead)
    assert found.faster_than(found.backprop) == approx(stages / (1 + overhead))
    assert found.pipeline == approx(1 / stages * (8 + stages - 1) / 8)
    assert found.faster_than(found.pipeline) > 1
    even = predict(chain([(1 + 3 / 8) / stages] * stages, backprop=1.0))
    assert even.faster_than(even.pipeline) == approx(1.0)
    assert predict(chain([1.0] * 4), micro_batches=2).break_even == 1.5


def test_speeds() -> None:
    found = predict(chain([1.0, 1.0], speeds=[1.0, 0.25], backprop=2.0))
    assert found.seconds == 4.0
    # The fastest device alone; shares as speeds; equal shares.
    assert (found.backprop, found.ddp) == (2.0, 4.0)
    assert found.pipeline == approx(2.0 / 1.25 * 9 / 8)


def test_ddp_hides_its_sum_behind_two_thirds() -> None:
    """2 ranks send 4 * 100 * parameters bytes between them, half each way, twice."""
    plan = chain([1.0, 1.0], backprop=6.0, parameters=50, link=Link(100.0))
    assert predict(plan).ddp == approx(1.0 + 4.0)
    assert predict(replace(plan, link=Link(100.0, 1.0))).ddp == approx(1.0 + 2.0 + 4.0)
    assert predict(replace(plan, link=Link(1e9))).ddp == approx(3.0)
    assert predict(plan).ddp_bytes == 2 * 4 * 100


def test_a_slow_link_sets_the_pace() -> None:
    size = 8 * 10 * 4
    found = predict(chain([1.0, 1.0], link=Link(size / 5)))
    assert found.seconds == approx(5.0)
    assert found.bottleneck == Bottleneck("link", (0, 1))
    assert found.borders[0].bytes == size
    assert found.borders[0].pipeline == 2 * size


def test_a_wire_with_fewer_bits() -> None:
    plan = chain([1.0, 1.0], link=Link(64.0))
    assert predict(plan).seconds == approx(5.0)
    assert predict(replace(plan, wire=Wire.BFLOAT16)).seconds == approx(2.5)


def test_replicas_share_the_rows() -> None:
    found = predict(chain([1.0, 2.0], replicas=2, backprop=3.0))
    assert found.seconds == approx(1.0)
    assert found.ddp == approx(0.75)
    # 5 rows in two parts: the larger one sets the pace.
    assert predict(chain([1.0], replicas=2, rows=5)).seconds == approx(0.6)
    # What they send each other while nobody computes: 2 messages of half of 4 * 10 bytes.
    assert predict(chain([1.0], replicas=2, parameters=10, link=Link(10.0))).seconds == approx(0.5 + 4.0)


def test_groups_wait_for_each_other() -> None:
    """The larger group is late with its logits; look is a third of what follows the forward pass."""
    found = predict(groups([1.0, 4.0], forward=0.25))
    assert found.seconds == approx(4.0)
    slow = predict(replace(groups([1.0, 1.0]), link=Link(inf, 0.1)))
    assert slow.seconds == approx(1.0 + 3 * 0.1)
    assert slow.bottleneck == Bottleneck("turns", (0, 1))


def test_cascades_take_turns() -> None:
    """Two units, reach 2: forward, forward, down, update below; nothing of it overlaps with the next mini-batch.

    Unit 0: forward 1, auxiliary network 1, update 1. Unit 1: forward 1, auxiliary network 1, down 1, update 1.
    """
    plan = chain([3.0, 4.0], reaches=[(1,), (1, 2)], backprop=1.0)
    plan = replace(plan, costs=(replace(plan.costs[0], forward=1 / 3), replace(plan.costs[1], forward=1 / 4)))
    found = predict(plan)
    # Unit 0 runs forward (1); then unit 1 forward, auxiliary and down (3); then unit 0 updates (1).
    assert found.seconds == approx(5.0)
    assert found.bottleneck == Bottleneck("turns", (0, 1))
    assert predict(replace(plan, link=Link(inf, 0.1))).seconds == approx(5.0 + 2 * 3 * 0.1)
    assert found.borders[1].pipeline == 0


@given(
    seconds=st.lists(st.sampled_from([0.5, 1.0, 2.0, 3.0]), min_size=2, max_size=6),
    forward=st.sampled_from([0.25, 1 / 3, 0.5]),
    stages=st.integers(1, 4),
    latency=st.sampled_from([0.0, 0.05, 1.0]),
    size=st.sampled_from([inf, 640.0, 100.0]),
    reach=st.integers(1, 3),
    replicas=st.integers(1, 2),
)
@settings(max_examples=60, deadline=None)
def test_the_simulation_finds_the_same(seconds, forward, stages, latency, size, reach, replicas) -> None:
    """Two ways to the steady state: cycles of the event graph, and event after event."""
    stages = min(stages, len(seconds))
    hosts = [min(place, stages - 1) for place in range(len(seconds))]
    reaches = [tuple(sorted({1, min(reach, place + 1)})) for place in range(len(seconds))]
    plan = chain(
        seconds, forward=forward, hosts=hosts, link=Link(size, latency), reaches=reaches, replicas=replicas,
        parameters=3,
    )  # fmt: skip
    simulated = simulate(plan, Conditions(batches=240))
    assert predict(plan).seconds == approx(simulated.seconds_per_batch, rel=0.02)


def test_memory_of_a_rank() -> None:
    """What stays of all units, the largest step, two messages in and three out."""
    plan = chain([1.0, 1.0, 1.0, 1.0], hosts=[0, 1, 1, 2])
    sizes = [(100, 40), (300, 50), (200, 60), (500, 70)]
    costs = [replace(unit, memory=m, resident=r) for unit, (m, r) in zip(plan.costs, sizes, strict=True)]
    plan = replace(plan, costs=tuple(costs))
    message = 8 * 10 * 4
    assert rank_memory(plan, 0) == 100 + 3 * message
    assert rank_memory(plan, 1) == 50 + 60 + 250 + 5 * message
    assert rank_memory(plan, 2) == 500 + 2 * message
    assert predict(plan).memory == tuple(rank_memory(plan, stage) for stage in range(3))


def test_units_that_wait_keep_what_they_have() -> None:
    plan = chain([1.0, 1.0, 1.0], hosts=[0, 0, 0], reaches=[(1,), (1, 2), (1, 2)])
    costs = [replace(unit, memory=100, kept=kept) for unit, kept in zip(plan.costs, (7, 9, 11), strict=True)]
    # A cascade of two: unit 1 waits while unit 2 works, unit 0 no more.
    assert rank_memory(replace(plan, costs=tuple(costs)), 0) == 109
    pair = [UnitCost(f"g{group}", 0, group, 1, 1.0, 100, kept=30) for group in range(2)]
    assert rank_memory(replace(chain([1.0, 1.0], hosts=[0, 0]), costs=tuple(pair)), 0) == 130


def test_weights_of_every_replica_are_sent() -> None:
    plan = chain([1.0, 1.0], replicas=2)
    plan = replace(plan, transfers=(*plan.transfers, Transfer(Kind.WEIGHTS, 1, 1, 0, (25,))))
    assert [border.bytes for border in predict(plan).borders] == [8 * 10 * 4, 2 * 100]


def test_errors() -> None:
    with pytest.raises(LocalgradError, match="micro-batches must be a whole number of at least 1, got 0"):
        predict(chain([1.0]), micro_batches=0)
