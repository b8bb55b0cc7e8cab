"""1F1B and data parallel training in the same simulator: their closed forms, and where local learning pays."""

from math import inf

import pytest
from pytest import approx

from localgrad.errors import LocalgradError
from localgrad.planning.plan import Link
from localgrad.planning.simulate import Nowhere, simulate, simulate_ddp, simulate_pipeline, simulate_rivals
from localgrad.planning.simulate_conditions import Conditions, Losses, Stragglers
from localgrad.planning.simulate_result import Simulation
from localgrad.planning.simulate_rivals import border_bytes, pipeline_schedule
from localgrad.planning.simulate_schedule import Receive, Send
from localgrad.planning.simulate_told import simulation_told
from tests.planning.simulated import chain


@pytest.mark.parametrize(("stages", "microbatches"), [(1, 4), (2, 2), (4, 8), (8, 8), (4, 1), (4, 2)])
def test_1f1b_has_its_bubble(stages: int, microbatches: int) -> None:
    plan = chain([1.0] * stages, backprop=0.9 * stages)
    found = simulate_pipeline(plan, Conditions(batches=12), microbatches)
    # field.md C.2: (m + K - 1) / m of the time without a bubble, flushed after every mini-batch.
    assert found.seconds_per_batch == approx(0.9 * (microbatches + stages - 1) / microbatches)
    assert found.bound == approx(0.9)
    assert found.stages[0].busy == approx(microbatches / (microbatches + stages - 1), rel=0.02)


def test_1f1b_keeps_as_many_micro_batches_as_stages() -> None:
    schedule = pipeline_schedule(chain([1.0] * 4), Conditions(depth=1), 8)
    for stage, program in enumerate(schedule.programs[:-1]):
        back = program.index(Receive(3 + stage))
        assert program[:back].count(Send(stage)) == 4 - stage
    assert schedule.depth == 8


def test_1f1b_sends_features_and_their_gradients() -> None:
    plan = chain([1.0] * 3, numbers=16, rows=8)
    found = simulate_pipeline(plan, Conditions(batches=3), 4)
    assert {(link.source, link.target): link.bytes for link in found.links} == {
        (0, 1): 512, (1, 0): 512, (1, 2): 512, (2, 1): 512,
    }  # fmt: skip
    assert border_bytes(chain([1.0] * 2, hosts=[0, 0]), 0) == 0


def test_latency_hurts_1f1b_in_every_micro_batch() -> None:
    link = Link(inf, 0.05)
    plan = chain([1.0] * 4, forward=1 / 3, link=link)
    conditions = Conditions(batches=30)
    assert simulate(plan, conditions).seconds_per_batch == approx(1.0)
    slow = simulate_pipeline(plan, conditions)
    assert slow.seconds_per_batch > (8 + 3) / 8 + 2 * 3 * 0.05


def test_ddp_computes_a_share_and_adds_up_what_backward_cannot_hide() -> None:
    plan = chain([1.0] * 4, rows=8, parameters=25, link=Link(inf))
    assert simulate_ddp(plan, Conditions(batches=5)).seconds_per_batch == approx(1.0)
    # 400 bytes, 600 sent by each of 4: 2 s; the backward pass takes 2/3 s.
    slow = simulate_ddp(chain([1.0] * 4, rows=8, parameters=25, link=Link(300.0)), Conditions(batches=5))
    assert slow.seconds_per_batch == approx(1.0 + 2.0 - 2 / 3)
    assert slow.reduced == 600
    hidden = simulate_ddp(chain([1.0] * 4, rows=8, parameters=25, link=Link(1000.0)), Conditions(batches=5))
    assert hidden.seconds_per_batch == approx(1.0)


def test_ddp_has_no_use_for_more_nodes_than_samples() -> None:
    found = simulate_ddp(chain([1.0] * 8, rows=4, backprop=4.0), Conditions(batches=5))
    assert found.seconds_per_batch == approx(1.0)
    assert [stage.busy for stage in found.stages] == approx([1.0] * 4 + [0.0] * 4)


def test_one_straggler_is_the_whole_of_ddp_and_a_stage_of_the_pipelines() -> None:
    plan = chain([1.0] * 4, forward=1 / 3)
    conditions = Conditions(batches=40, stragglers=Stragglers(0.25, 3.0))
    found = simulate_rivals(plan, conditions)
    assert found.local.seconds_per_batch == approx(3.0)
    assert isinstance(found.pipeline, Simulation) and isinstance(found.ddp, Simulation)
    assert found.ddp.seconds_per_batch == approx(3.0)
    assert found.pipeline.seconds_per_batch > found.local.seconds_per_batch
    assert found.one_device == 4.0


def test_local_learning_pays_below_the_break_even() -> None:
    # field.md C.2: faster than 1F1B while the auxiliary networks' share a of work is below (K - 1) / m.
    for overhead, pays in ((0.3, True), (0.45, False)):
        plan = chain([1.0 + overhead] * 4, backprop=4.0, forward=0.3)
        found = simulate_rivals(plan, Conditions(batches=60))
        assert isinstance(found.pipeline, Simulation)
        assert (found.local.seconds_per_batch < found.pipeline.seconds_per_batch) is pays


def test_rivals_of_many_nodes_run_fewer_mini_batches() -> None:
    plan = chain([1.0] * 10, replicas=20, rows=40)
    found = simulate_rivals(plan, Conditions(batches=200), events=100_000)
    assert isinstance(found.pipeline, Simulation) and isinstance(found.ddp, Simulation)
    assert found.local.batches == 200
    assert found.pipeline.batches == 20  # no fewer than this
    assert found.ddp.batches == 200
    text = simulation_told(plan, Conditions(batches=200), found.local, found)
    (row,) = [line for line in text.splitlines() if line.startswith("1F1B, 8 micro-batches (20 only) *")]
    # Steady states, without a share of losses: 0.05 s against (8 + 9) / 8 of that.
    assert row.split()[-1] == f"{8 / 17:.2f}"
    few = simulate_rivals(plan, Conditions(batches=7), events=1).pipeline
    assert isinstance(few, Simulation) and few.batches == 7


def test_a_rival_may_get_nowhere() -> None:
    # 0.5 s per mini-batch for local learning on 2 nodes, 10 s for data parallel on so slow a link.
    plan = chain([0.5, 0.5], parameters=500, link=Link(1e3), numbers=1)
    conditions = Conditions(batches=100, losses=Losses(every=20.0, restart=1.0, checkpoint_every=10))
    found = simulate_rivals(plan, conditions)
    assert found.ddp == Nowhere("data parallel")
    assert found.local.losses > 0
    text = simulation_told(plan, conditions, found.local, found)
    (row,) = [line for line in text.splitlines() if line.startswith("data parallel")]
    assert row.split() == ["data", "parallel", "never", "0", "all", "0.00"]


def test_micro_batches_are_counted() -> None:
    with pytest.raises(LocalgradError, match="microbatches must be a whole number of at least 1, got 0"):
        simulate_pipeline(chain([1.0]), Conditions(), 0)
