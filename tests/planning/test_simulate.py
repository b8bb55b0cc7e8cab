"""Simulations whose result is known in closed form, and what no change for the better may make worse."""

from dataclasses import replace
from math import inf

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pytest import approx

from localgrad.errors import LocalgradError
from localgrad.placement import Kind
from localgrad.planning.plan import Link, Plan
from localgrad.planning.predict import predict
from localgrad.planning.simulate import simulate
from localgrad.planning.simulate_conditions import Conditions, Stragglers
from tests.planning.simulated import chain, groups


def test_one_stage_takes_its_own_time() -> None:
    found = simulate(chain([0.25]), Conditions(batches=8))
    assert found.seconds == approx(2.0)
    assert found.seconds_per_batch == approx(0.25)
    assert found.throughput == approx(4.0)
    assert found.samples_per_second == approx(32.0)
    assert found.stages[0].busy == approx(1.0)
    assert found.percentiles == approx((0.25, 0.25, 0.25))


@pytest.mark.parametrize("forward", [1.0, 0.25])
def test_equal_stages_fill_once(forward: float) -> None:
    stages, batches = 5, 20
    found = simulate(chain([1.0] * stages, forward=forward), Conditions(batches=batches))
    # An output is handed on after the forward pass, before the rest of the step.
    assert found.seconds == approx(batches + (stages - 1) * forward)
    assert found.seconds_per_batch == approx(1.0) == found.bound
    assert found.links[0].bytes == 8 * 10 * 4


def test_several_units_on_a_stage_add_up() -> None:
    found = simulate(chain([1.0, 2.0, 4.0], forward=0.5, hosts=[0, 0, 1]), Conditions(batches=30))
    assert found.seconds_per_batch == approx(4.0)
    # The first output leaves after unit 0 and the forward pass of unit 1.
    assert found.seconds == approx(2.0 + 30 * 4.0)
    slow_first = simulate(chain([1.0, 2.0, 0.5], forward=0.5, hosts=[0, 0, 1]), Conditions(batches=30))
    assert slow_first.seconds_per_batch == approx(3.0)


def test_a_slow_stage_holds_those_before_it_back_and_starves_those_after() -> None:
    found = simulate(chain([1.0, 1.0, 3.0, 1.0]), Conditions(batches=200))
    assert found.seconds_per_batch == approx(3.0)
    assert found.bottleneck == "computing on stage 2"
    before, _, slow, after = found.stages
    assert slow.busy > 0.98
    assert before.blocked == approx(2 / 3, abs=0.08) and before.starved == 0  # less while the queues fill
    assert after.starved == approx(2 / 3, abs=0.02) and after.blocked == 0


def test_speeds_of_devices() -> None:
    found = simulate(chain([1.0, 4.0], speeds=[1.0, 4.0]), Conditions(batches=20))
    assert found.seconds_per_batch == approx(1.0)
    assert simulate(chain([1.0, 4.0], speeds=[0.125, 4.0]), Conditions(batches=20)).seconds_per_batch == approx(8.0)


def test_a_slow_link_is_the_bottleneck() -> None:
    size = 8 * 10 * 4
    found = simulate(chain([1.0, 1.0, 1.0], link=Link(size / 2.5)), Conditions(batches=100))
    assert found.seconds_per_batch == approx(2.5) == found.bound
    assert found.bottleneck.startswith("the link from stage")
    assert found.links[0].busy > 0.95
    one = simulate(chain([1.0, 1.0, 1.0]), Conditions(batches=100, links=((1, 2, Link(size / 2.5)),)))
    assert one.bottleneck == "the link from stage 1 to stage 2"


def test_latency_is_paid_for_the_header_and_there_and_back_for_its_tensors() -> None:
    found = simulate(chain([1.0, 1.0], link=Link(inf, 1.0)), Conditions(batches=100))
    assert found.seconds_per_batch == approx(3.0) == found.bound
    assert simulate(chain([1.0, 1.0], link=Link(inf, 0.2)), Conditions(batches=100)).seconds_per_batch == approx(1.0)


def test_channels_between_the_same_two_share_their_link() -> None:
    # Two groups of the first span are on stage 0 and send to stage 1 one after the other.
    plan = chain([0.1, 0.1, 0.1], hosts=[0, 0, 1], link=Link(8 * 10 * 4 / 2.0))
    first, second, last = plan.costs
    costs = (replace(first, span=0), replace(second, span=0, group=1), replace(last, span=1))
    sent = plan.transfers[0]
    plan = replace(plan, costs=costs, transfers=(replace(sent, unit=0), replace(sent, unit=1)))
    found = simulate(plan, Conditions(batches=50))
    assert found.seconds_per_batch == approx(4.0) == found.bound
    assert found.links[0].bytes == 2 * 8 * 10 * 4


def test_deeper_queues_take_up_more_jitter() -> None:
    plan = chain([1.0] * 6, forward=0.3)
    found = [simulate(plan, Conditions(batches=800, depth=depth, jitter=1.0)).seconds for depth in (1, 2, 8, 800)]
    assert found == sorted(set(found), reverse=True)
    assert found[0] > 1.05 * found[-1]
    even = [simulate(plan, Conditions(batches=50, depth=depth)).seconds for depth in (1, 2, 8)]
    assert even == approx([even[0]] * 3)


def test_cascades_wait_for_what_comes_down() -> None:
    # One third each: unit 0 forward, auxiliary, parameters; unit 1 forward, gradient at its input, parameters. Unit 0
    # starts again 4/3 after its start: its forward pass, those two thirds of unit 1, its parameters.
    plan = chain([1.0, 1.0], forward=1 / 3, reaches=[(1,), (1, 2)])
    found = simulate(plan, Conditions(batches=40))
    assert found.seconds_per_batch == approx(4 / 3)
    assert found.seconds == approx(40 * 4 / 3)
    assert found.bound == approx(1.0)
    together = simulate(chain([1.0, 1.0], hosts=[0, 0], forward=1 / 3, reaches=[(1,), (1, 2)]), Conditions(batches=4))
    assert together.seconds == approx(8.0)


def test_cascades_are_slower_the_further_they_reach() -> None:
    found = []
    for reach in (1, 2, 3, 6):
        reaches = [(min(reach, place + 1),) if place + 1 >= reach else () for place in range(6)]
        found.append(simulate(chain([1.0] * 6, forward=0.2, reaches=reaches), Conditions(batches=60)))
    times = [one.seconds_per_batch for one in found]
    assert times == sorted(times) and times[0] == approx(1.0) and times[-1] > 2
    assert all(one.bound == approx(1.0) for one in found)


def test_replicas_wait_for_the_slowest_and_the_all_reduce() -> None:
    link = Link(4.0 * 10, 0.0)  # 40 bytes of gradients: 1 s alone, 1.5 s round a ring of 4
    plan = chain([8.0], replicas=4, link=link, parameters=10)
    assert simulate(plan, Conditions(batches=10)).seconds_per_batch == approx(2.0 + 1.5)
    slow = Conditions(batches=10, node_slowdowns=((2, 3.0),))
    found = simulate(plan, slow)
    assert found.seconds_per_batch == approx(6.0 + 1.5)
    assert found.reduced == 60
    assert found.stages[0].busy == approx((3 * 2 + 6) / 4 / 7.5)
    assert simulate(plan, replace(slow, replica_link=Link(inf))).seconds_per_batch == approx(6.0)


def test_all_reduces_can_be_the_bottleneck() -> None:
    plan = chain([1.0, 1.5], replicas=2, link=Link(40.0), numbers=0)
    first, second = plan.costs
    found = simulate(replace(plan, costs=(replace(first, parameters=10), second)), Conditions(batches=50))
    assert found.bottleneck == "the all-reduces of stage 0"
    assert found.seconds_per_batch == approx(0.5 + 1.0)
    assert found.stages[0].reducing == approx(2 / 3, abs=0.02) and found.stages[1].reducing == 0


def test_uneven_rows_are_those_of_tensor_split() -> None:
    plan = chain([10.0], replicas=4, rows=10)  # 3, 3, 2, 2 rows
    assert simulate(plan, Conditions(batches=5)).seconds_per_batch == approx(3.0)


@pytest.mark.parametrize("kind", [Kind.FEATURES, Kind.LOGITS])
def test_groups_that_share_run_at_the_pace_of_the_slowest(kind: Kind) -> None:
    found = simulate(groups([1.0, 1.0, 2.5], kinds=[kind]), Conditions(batches=40))
    assert found.seconds_per_batch == approx(2.5)
    # In phases: nobody is further ahead than one exchange.
    assert found.stages[0].starved == approx(0.6, abs=0.02)
    apart = simulate(groups([1.0, 1.0, 2.5], kinds=[]), Conditions(batches=40))
    assert apart.stages[0].starved == 0


def test_weights_that_are_followed_leave_one_step_in_flight() -> None:
    plan = chain([1.0, 1.0], forward=0.5)
    follows = replace(plan.transfers[0], kind=Kind.WEIGHTS, unit=1, source=1, target=0)
    plan = replace(plan, transfers=(*plan.transfers, follows))
    found = simulate(plan, Conditions(batches=60, links=((1, 0, Link(10 * 4 / 0.8)),)))
    # Stage 0 ends step t when the weights of stage 1 after its step t - 1 have travelled for 0.8 s; stage 1 has done
    # step t 0.5 + 1 s after stage 0 began it. So two steps take 0.8 + 1.5 s.
    assert found.seconds_per_batch == approx(2.3 / 2)
    assert [link.bytes for link in found.links] == [8 * 10 * 4, 10 * 4]
    both = simulate(
        replace(plan, placement=replace(plan.placement, replicas=2)),
        Conditions(batches=60, links=((1, 0, Link(10 * 4 / 0.8)),)),
    )
    # Every replica sends all weights, half of the mini-batch: the link is now what takes longest.
    assert both.seconds_per_batch == approx(0.8)
    assert [link.bytes for link in both.links] == [8 * 10 * 4, 2 * 10 * 4]
    late = simulate(plan, Conditions(batches=60, links=((1, 0, Link(10 * 4 / 0.8)),), ema_delay=8))
    assert late.seconds_per_batch == approx(1.0)


def test_stragglers_are_a_share_of_the_nodes() -> None:
    plan = chain([1.0] * 20)
    found = simulate(plan, Conditions(batches=60, stragglers=Stragglers(0.1, 4.0)))
    assert found.seconds_per_batch == approx(4.0)
    slow = [stage.stage for stage in found.stages if stage.busy > 0.6]
    assert len(slow) == 2
    nobody = simulate(plan, Conditions(batches=60, stragglers=Stragglers(0.01, 4.0)))
    assert nobody.seconds_per_batch == approx(1.0)


def test_a_seed_gives_the_same_run_again() -> None:
    plan = chain([1.0] * 4, replicas=2, link=Link(1e3, 0.01), forward=0.3, parameters=5)
    conditions = Conditions(batches=30, jitter=0.3, link_jitter=0.5, stragglers=Stragglers(0.25, 2.0), seed=3)
    assert simulate(plan, conditions) == simulate(plan, conditions)
    assert simulate(plan, conditions).seconds != simulate(plan, replace(conditions, seed=4)).seconds


def test_jitter_has_its_mean_and_spread() -> None:
    found = simulate(chain([2.0]), Conditions(batches=4000, jitter=0.5))
    assert found.seconds / 4000 == approx(2.0, rel=0.025)
    median, most, _ = found.percentiles
    assert median == approx(2.0 / 1.25**0.5, rel=0.03)  # lognormal: mean / sqrt(1 + 0.5 ** 2)
    assert most == approx(2.0 / 1.25**0.5 * 2.175, rel=0.05)


def test_messages_have_their_spread_too() -> None:
    for link in (Link(inf, 4 / 3), Link(8 * 10 * 4 / 4.0)):
        found = simulate(chain([0.1, 0.1], link=link), Conditions(batches=2000, link_jitter=0.5))
        assert found.seconds_per_batch == approx(4.0, rel=0.04)
        assert found.percentiles[1] > 1.5 * found.percentiles[0]


@settings(max_examples=25, deadline=None)
@given(
    seconds=st.lists(st.floats(0.1, 3.0), min_size=2, max_size=5),
    rate=st.floats(50.0, 2000.0),
    latency=st.floats(0.0, 0.3),
    depth=st.integers(1, 3),
    forward=st.floats(0.1, 0.9),
    replicas=st.integers(1, 3),
    cascades=st.booleans(),
    seed=st.integers(0, 5),
)
def test_better_is_never_slower(
    seconds: list[float],
    rate: float,
    latency: float,
    depth: int,
    forward: float,
    replicas: int,
    cascades: bool,
    seed: int,
) -> None:
    reaches = [(1, 2) if cascades and place else (1,) for place in range(len(seconds))]
    plan = chain(seconds, forward=forward, link=Link(rate, latency), replicas=replicas, reaches=reaches, parameters=20)
    conditions = Conditions(batches=12, depth=depth, jitter=0.4, link_jitter=0.4, seed=seed)
    before = simulate(plan, conditions)
    assert before.seconds >= 12 * max(seconds) / replicas * 0.3  # factors below 1 are drawn, too
    better: list[tuple[Plan, Conditions]] = [
        (replace(plan, link=Link(rate * 1.5, latency)), conditions),
        (replace(plan, link=Link(rate, latency / 2)), conditions),
        (plan, replace(conditions, depth=depth + 1)),
        (replace(plan, speeds=(2.0, *plan.speeds[1:])), conditions),
        (plan, replace(conditions, batches=11)),
    ]
    for other, circumstances in better:
        assert simulate(other, circumstances).seconds <= before.seconds * (1 + 1e-12)
    for stage in before.stages:
        assert 0 <= stage.busy + stage.starved + stage.blocked + stage.reducing <= 1 + 1e-9


@settings(max_examples=25, deadline=None)
@given(
    seconds=st.lists(st.floats(0.1, 3.0), min_size=2, max_size=5),
    rate=st.floats(50.0, 5000.0),
    forward=st.floats(0.1, 0.9),
    reach=st.integers(1, 3),
)
def test_the_plans_prediction_is_the_steady_state(
    seconds: list[float], rate: float, forward: float, reach: int
) -> None:
    reaches = [tuple(sorted({1, min(reach, place + 1)})) for place in range(len(seconds))]
    plan = chain(seconds, forward=forward, link=Link(rate), reaches=reaches)
    found = simulate(plan, Conditions(batches=120))
    assert found.seconds_per_batch == approx(predict(plan).seconds, rel=0.03)


@pytest.mark.parametrize("kinds", [[], [Kind.FEATURES], [Kind.LOGITS], [Kind.FEATURES, Kind.LOGITS]])
def test_the_plans_prediction_holds_for_groups(kinds: list[Kind]) -> None:
    plan = replace(groups([1.0, 0.3, 2.5, 2.0], kinds=kinds), link=Link(2e3))
    assert simulate(plan, Conditions(batches=60)).seconds_per_batch == approx(predict(plan).seconds)


def test_thousands_of_nodes() -> None:
    plan = chain([10.0] * 20, replicas=100, rows=400, forward=0.3, link=Link(1e5, 1e-4), parameters=100)
    found = simulate(plan, Conditions(batches=20, jitter=0.1, stragglers=Stragglers(0.02, 3.0)))
    assert found.nodes == 2000
    # Some replica of nearly every stage is a straggler: all wait for it.
    assert 0.25 < found.seconds_per_batch < 0.45
    assert found.bound < 0.16


@pytest.mark.parametrize(
    ("plan", "conditions", "told"),
    [
        (chain([1.0], speeds=[1.0, 2.0]), Conditions(), "1 stages and speeds of 2"),
        (chain([1.0, 1.0], speeds=[1.0, 0.0]), Conditions(), "speeds must be above 0, got [1.0, 0.0]"),
        (chain([0.0, 0.0]), Conditions(), "the plan's units have no time"),
        (chain([1.0], replicas=9), Conditions(), "9 replicas cannot share mini-batches of 8 samples"),
        (chain([1.0]), Conditions(forward_share=(0.1, 0.2)), "forward_share has 2 numbers, the plan has 1 units"),
        (chain([1.0]), Conditions(stage_slowdowns=((1, 2.0),)), "name stage 1, the plan has stages 0 to 0"),
        (chain([1.0]), Conditions(node_slowdowns=((4, 2.0),)), "name rank 4, the plan has ranks 0 to 0"),
        (chain([1.0]), Conditions(links=((0, 1, Link(1.0)),)), "links name stages 0 and 1"),
    ],
)
def test_what_does_not_fit_the_plan_is_told(plan: Plan, conditions: Conditions, told: str) -> None:
    with pytest.raises(LocalgradError) as error:
        simulate(plan, conditions)
    assert str(error.value).startswith("simulate: ")
    assert told in str(error.value)
