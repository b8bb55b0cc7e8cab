"""Losses, checkpoints, pauses: what they cost, to the second."""

from dataclasses import replace

import pytest
from pytest import approx

from localgrad.errors import LocalgradError
from localgrad.planning.simulate import simulate, simulate_ddp
from localgrad.planning.simulate_conditions import Conditions, Losses, Pauses
from tests.planning.simulated import chain


def test_a_loss_costs_the_steps_since_the_checkpoint_and_the_restart() -> None:
    losses = Losses(times=(37.5,), restart=9.0, checkpoint_every=10)
    found = simulate(chain([1.0]), Conditions(batches=100, losses=losses))
    # Step 30 was saved at 30 s; 7 steps and a half are lost.
    assert found.seconds == approx(100 + 7.5 + 9)
    assert (found.losses, found.lost_batches, found.lost_seconds) == (1, 7, approx(16.5))
    assert found.seconds_per_batch == approx(1.0)
    assert found.stages[0].busy == approx(107.5 / 116.5)


def test_a_pipeline_fills_again() -> None:
    plan = chain([1.0] * 4)
    losses = Losses(times=(50.2,), restart=5.0, checkpoint_every=10)
    undisturbed = simulate(plan, Conditions(batches=100))
    found = simulate(plan, Conditions(batches=100, losses=losses))
    # Mini-batch 40 is done everywhere at 43 s, the checkpoint of 50 is not complete: 47 are done.
    assert found.lost_batches == 7
    assert found.lost_seconds == approx(50.2 - 43 + 5)
    assert found.seconds == approx(undisturbed.seconds + found.lost_seconds + 3)


def test_a_checkpoint_counts_when_all_nodes_have_it() -> None:
    # The first stage has saved step 10 at 10 s, the last one at 19 s.
    plan, at = chain([1.0] * 10), Losses(times=(18.5,), restart=0.0, checkpoint_every=10)
    assert simulate(plan, Conditions(batches=20, losses=at)).lost_batches == 9
    assert simulate(plan, Conditions(batches=20, losses=replace(at, times=(19.5,)))).lost_batches == 0


def test_what_was_waited_for_in_vain_counts() -> None:
    losses = Losses(times=(50.0,), restart=0.0)
    found = simulate(chain([100.0, 1.0]), Conditions(batches=1, losses=losses))
    assert found.seconds == approx(151)
    assert found.stages[1].starved == approx(150 / 151)
    assert found.stages[0].busy == approx(150 / 151)


def test_a_run_goes_on_through_many_losses() -> None:
    losses = Losses(every=5.0, restart=0.5, checkpoint_every=1)
    found = simulate(chain([1.0]), Conditions(batches=3000, losses=losses))
    assert found.losses > 300
    # A step is done without a loss with probability exp(-1 / 5), else half a second is lost on average, and a restart.
    assert found.seconds / 3000 == approx((5 + 0.5) * (2.718281828**0.2 - 1), rel=0.05)
    assert found.lost_batches == 0


def test_what_dies_during_a_restart_is_part_of_it() -> None:
    one = Losses(times=(37.5,), restart=9.0, checkpoint_every=10)
    more = replace(one, times=(37.5, 40.0, 46.0))
    plan = chain([1.0])
    assert simulate(plan, Conditions(batches=50, losses=one)) == simulate(plan, Conditions(batches=50, losses=more))


def test_saving_takes_time() -> None:
    losses = Losses(checkpoint_every=10, checkpoint_seconds=2.5)
    found = simulate(chain([1.0]), Conditions(batches=100, losses=losses))
    assert found.seconds == approx(100 + 10 * 2.5)
    assert found.bound == approx(1.25)
    assert simulate(chain([1.0]), Conditions(batches=9, losses=losses)).seconds == approx(9)
    assert found.losses == 0


def test_more_nodes_are_lost_more_often() -> None:
    losses = Losses(every=2000.0, restart=1.0, checkpoint_every=5)
    found = [
        simulate(chain([1.0] * 4, replicas=replicas, rows=32), Conditions(batches=3000, losses=losses))
        for replicas in (1, 8)
    ]
    hours = [one.seconds for one in found]
    # A loss of any of n nodes every 2000 / n seconds; a run of 8 replicas is shorter.
    assert [one.losses for one in found] == approx([4 * hours[0] / 2000, 32 * hours[1] / 2000], rel=0.5)
    assert all(one.losses > 0 for one in found)


def test_a_run_that_gets_nowhere_is_told() -> None:
    losses = Losses(every=10.0, restart=1.0, checkpoint_every=100)
    with pytest.raises(LocalgradError) as error:
        simulate(chain([1.0] * 5), Conditions(batches=1000, losses=losses))
    told = str(error.value)
    assert told.startswith("simulate: local learning on 5 nodes gets nowhere: mini-batch 0 was started 100 times")
    assert "A node is lost every 2 s; 100 mini-batches take at least 100 s." in told
    assert "Save more often (checkpoint_every)" in told


def test_backpropagation_is_lost_the_same_way() -> None:
    losses = Losses(times=(37.5,), restart=9.0, checkpoint_every=10)
    found = simulate_ddp(chain([2.0], replicas=2), Conditions(batches=100, losses=losses))
    assert found.seconds == approx(100 + 7.5 + 9)


def test_pauses_come_after_so_much_computing() -> None:
    found = simulate(chain([1.0]), Conditions(batches=5000, pauses=Pauses(every=10.0, seconds=4.0)))
    assert found.seconds == approx(5000 * 1.4, rel=0.05)
    assert found.stages[0].busy == approx(1.0)
    assert found.percentiles[0] == approx(1.0)
    assert found.percentiles[2] >= 5.0
    often = simulate(chain([1.0]), Conditions(batches=4000, pauses=Pauses(every=0.5, seconds=0.5)))
    assert often.seconds == approx(8000, rel=0.03)


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"every": 0.0}, "mean time between losses of a node must be above 0 seconds, got 0.0"),
        ({"every": 1.0, "times": (1.0,)}, "give the mean time between them or their times, not both"),
        ({"times": (2.0, 1.0)}, "times must be above 0 and grow, got [2.0, 1.0]"),
        ({"restart": -1.0}, "restart must be 0 seconds or more, got -1.0"),
        ({"checkpoint_seconds": float("inf")}, "checkpoint_seconds must be 0 seconds or more, got inf"),
        ({"checkpoint_every": 0}, "checkpoint_every must be a whole number of at least 1, got 0"),
    ],
)
def test_losses_that_cannot_be(fields: dict[str, float], told: str) -> None:
    with pytest.raises(LocalgradError) as error:
        Conditions(losses=Losses(**fields))  # type: ignore[arg-type]
    assert told in str(error.value)
