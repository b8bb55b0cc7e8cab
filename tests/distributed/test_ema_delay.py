"""Auxiliary networks that follow blocks of other stages n steps late, and nothing else late (``ema_delay``)."""

import copy
from collections.abc import Iterator
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import localgrad as lg
from localgrad.placement import Kind, Placement, followed, transfers
from localgrad.runtime.sequential import split
from localgrad.runtime.units import step_units
from localgrad.update import OptimizerUpdate
from tests.distributed.cases import CASES, batches, optimizer
from tests.distributed.pool import Pool, RankError

STEPS = 7
SPREAD = (0, 0, 1, 1, 2)
BACK = (0,) * 8 + (1,) * 3 + (2,) * 2


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """As in the processes of the pool."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@cache
def late(case: str, hosts: tuple[int, ...], delay: int, parts: int = 1) -> dict[str, np.ndarray]:
    """Weights after ``STEPS`` steps in one process, where all of other stages is read from a copy ``delay`` steps old.

    Every version of every block is kept as a whole copy.
    """
    net = CASES[case]()
    units = net.unit_list()
    blocks = {block: module for unit in units for block, module in zip(places(unit), unit.body, strict=True)}
    stage = {block: hosts[place] for place, unit in enumerate(units) for block in places(unit)}
    updates = [OptimizerUpdate(optimizer(unit.trained_parameters()), seed=0) for unit in units]
    versions: list[dict[int, nn.Module]] = []
    for step, batch in enumerate(batches(STEPS)):
        versions.append(copy.deepcopy(blocks))
        old = versions[max(0, step - delay)]
        for place, unit in enumerate(units):
            unit.sources = tuple(
                source if follow.rate is None or stage[follow.block] == hosts[place] else old[follow.block]
                for follow, source in zip(unit.spec.follows, unit.sources, strict=True)
            )
        for part, piece in split(batch, parts):
            step_units(units, updates, piece, part)
    return {name: value.numpy() for name, value in net.state_dict().items()}


def places(unit: Any) -> range:
    """The blocks of a unit."""
    return range(unit.span.start, unit.span.stop)


def trained(
    pool: Pool, case: str, hosts: tuple[int, ...], delay: int | None, replicas: int = 1
) -> list[dict[str, Any]]:
    """What every rank ends with."""
    ranks = Placement(hosts, replicas).ranks
    return pool.run("tests.distributed.tasks:train_steps", ranks, case, hosts, replicas, STEPS, {"ema_delay": delay})


def weights_of(found: list[dict[str, Any]]) -> dict[str, np.ndarray]:
    """The weights of all ranks."""
    return {name: value for rank in found for name, value in rank["weights"].items()}


def different(one: dict[str, np.ndarray], other: dict[str, np.ndarray]) -> list[str]:
    """Names of what is not equal bit for bit."""
    assert one.keys() == other.keys()
    return [name for name in one if not np.array_equal(one[name], other[name])]


@pytest.mark.parametrize("delay", [1, 2])
@pytest.mark.parametrize(
    ("case", "hosts"),
    [("leaps", SPREAD), ("leaps", (0, 0, 0, 1, 2)), ("leaps-alone", (0, 1, 2, 3, 3)), ("leaps-back", BACK)],
)
def test_follows_the_version_of_so_many_steps_ago(pool: Pool, case: str, hosts: tuple[int, ...], delay: int) -> None:
    found = weights_of(trained(pool, case, hosts, delay))
    assert not different(found, late(case, hosts, delay))
    # It is an approximation: what follows blocks of other stages is not what one process computes.
    exact = late(case, hosts, 0)
    assert any(".averaged." in name for name in different(found, exact))


def test_twice_the_same(pool: Pool) -> None:
    one, other = (weights_of(trained(pool, "leaps", SPREAD, 2)) for _ in range(2))
    assert not different(one, other)


@pytest.mark.parametrize("case", ["leaps", "leaps-alone", "leaps-back"])
def test_one_stage_is_exact(pool: Pool, case: str) -> None:
    net = CASES[case]()
    loop = lg.Sequential(net, optimizer, seed=0)
    for batch in batches(STEPS):
        loop.step(batch)
    alone = weights_of(trained(pool, case, (0,) * len(net.units), None))
    expected = {name: value.numpy() for name, value in net.state_dict().items()}
    assert not different(alone, expected)
    assert not different(late(case, (0,) * len(net.units), 3), expected)


def test_a_block_on_the_same_stage_is_not_late(pool: Pool) -> None:
    """Of two stages only the follows across their border are: exact where none crosses."""
    hosts = (0, 0, 1, 1, 1)
    found = weights_of(trained(pool, "leaps", hosts, 2))
    assert not different(found, late("leaps", hosts, 0))


def test_replicas_follow_alike(pool: Pool) -> None:
    first, second, third, fourth = trained(pool, "leaps-alone", (0, 0, 1, 1, 1), 1, replicas=2)
    assert not different(first["weights"], second["weights"])
    assert not different(third["weights"], fourth["weights"])
    expected = late("leaps-alone", (0, 0, 1, 1, 1), 1, parts=2)
    parameters = dict(CASES["leaps-alone"]().named_parameters())
    for name, value in (first["weights"] | third["weights"]).items():
        if name in parameters:
            np.testing.assert_allclose(value, expected[name], rtol=2e-3, atol=2e-4)


def test_every_block_is_sent_once(pool: Pool) -> None:
    """Copies in two units of stage 0 follow the same blocks."""
    hosts, net = (0, 0, 1, 1, 1), CASES["leaps-alone"]()
    placement = Placement(hosts)
    names = followed(net, placement)
    assert names.keys() == {(2, 0), (3, 0), (4, 0)}
    assert all(len(set(own)) == len(own) for own in names.values())
    parameters = dict(net.named_parameters())
    planned = [channel for channel in transfers(net, placement) if channel.kind is Kind.WEIGHTS]
    numbers = [sum(parameters[name].numel() for name in own) for own in names.values()]
    assert [channel.shape for channel in planned] == [(number,) for number in numbers]
    assert sum(numbers) == sum(
        weight.numel() for index in (4, 7, 8, 9) for weight in blocks_of(net)[index].parameters()
    )
    # One version before the first step, and one after each.
    found = trained(pool, "leaps-alone", hosts, 1)
    assert found[1]["sent"] == (STEPS + 1) * 4 * sum(numbers)


def blocks_of(net: lg.LocalNetwork) -> dict[int, nn.Module]:
    """The blocks of a network by their place."""
    return {block: module for unit in net.unit_list() for block, module in zip(places(unit), unit.body, strict=True)}


def test_a_worker_wants_to_know_the_delay(pool: Pool) -> None:
    with pytest.raises(RankError, match="auxiliary networks follow blocks of other stages: give ema_delay, or put"):
        trained(pool, "leaps", SPREAD, None)
