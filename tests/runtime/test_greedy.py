"""One unit after the other: what learns, what is frozen, what is not touched."""

import pytest
import torch

from localgrad import Greedy, LocalgradError, LocalNetwork, Sequential, localize
from localgrad.methods import DGL, Backprop
from localgrad.partition import equal_blocks

from ..conftest import changed, copy_of, random_batch, sgd, tiny_resnet, with_dropout


def small() -> LocalNetwork:
    """Four units."""
    return localize(tiny_resnet(8), DGL(), partition=equal_blocks(4))


def test_only_the_active_unit_changes() -> None:
    net = small()
    loop = Greedy(net, sgd)
    for active in range(4):
        before = [copy_of(unit) for unit in net.units]
        for seed in range(2):
            assert list(loop.step(random_batch(net.backbone, seed=seed)).losses) == [active]
        moved = [bool(changed(old, copy_of(unit))) for old, unit in zip(before, net.units, strict=True)]
        assert moved == [unit == active for unit in range(4)]
        # Every tensor of it: weights, momentum's result, and the statistics of BatchNorm.
        assert changed(before[active], copy_of(net.units[active])) == before[active].keys()
        if active < 3:
            loop.advance()
    with pytest.raises(LocalgradError, match="unit 3 is the last one, there is none to advance to"):
        loop.advance()


def test_the_active_unit_reads_what_the_frozen_network_gives() -> None:
    """As if the units before it were another network, in evaluation mode."""
    net = small()
    loop = Greedy(net, sgd)
    loop.step(random_batch(net.backbone))
    loop.advance()
    twin, batch = copy_of(net.units[1]), random_batch(net.backbone, seed=1)
    with torch.no_grad():
        h = net.units[0].eval()(batch.x)
    net.train()
    losses = loop.step(batch).losses[1]
    fresh = small().units[1]
    fresh.load_state_dict(twin)
    assert float(fresh.loss(fresh(h), batch)[0].detach()) == losses["ce"]


def test_modes_that_an_evaluation_restored() -> None:
    net = small()
    loop = Greedy(net, sgd)
    loop.advance()
    for mode in (True, False):
        net.train(mode)
        loop.step(random_batch(net.backbone))
        assert [unit.training for unit in net.units[:2]] == [False, True]


def test_the_first_unit_learns_as_in_sequential() -> None:
    one, other = (localize(with_dropout(tiny_resnet(8)), DGL(), partition=equal_blocks(4)) for _ in range(2))
    together, greedy = Sequential(one, sgd), Greedy(other, sgd)
    for seed in range(3):
        batch = random_batch(one.backbone, seed=seed)
        assert greedy.step(batch).losses[0] == together.step(batch).losses[0]
    assert not changed(copy_of(one.units[0]), copy_of(other.units[0]))


def test_one_unit_is_backpropagation() -> None:
    one, other = (localize(tiny_resnet(8), Backprop()) for _ in range(2))
    loops = Sequential(one, sgd), Greedy(other, sgd)
    for loop in loops:
        for seed in range(2):
            loop.step(random_batch(one.backbone, seed=seed))
    assert not changed(copy_of(one), copy_of(other))


def test_learning_rate_and_memory_of_the_optimiser() -> None:
    net = small()
    loop = Greedy(net, sgd)
    loop.step(random_batch(net.backbone))
    assert loop.optimizers[0].state
    loop.advance()
    loop.set_lr(0.025)
    assert [optimizer.param_groups[0]["lr"] for optimizer in loop.optimizers] == [0.1, 0.025, 0.1, 0.1]
    assert not loop.optimizers[0].state


def test_what_cannot_be() -> None:
    net = small()
    with pytest.raises(LocalgradError, match="Greedy: clip bounds a gradient norm and must be above 0, got 0"):
        Greedy(net, sgd, clip=0)
    with torch.no_grad(), pytest.raises(LocalgradError, match=r"Greedy\.step trains: call it outside of"):
        Greedy(net, sgd).step(random_batch(net.backbone))
