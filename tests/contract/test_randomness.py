"""What a step draws is a function of (seed, unit, step): no runtime or bystander changes it."""

from dataclasses import replace

import torch
from torch import Tensor

from localgrad import LocalNetwork, Sequential, localize
from localgrad.blocks import PooledLinear
from localgrad.method import Method
from localgrad.methods import DGL
from localgrad.unit import Unit
from localgrad.update import OptimizerUpdate

from ..conftest import ConvDropout, changed, copy_of, random_batch, sgd, tiny_resnet, with_dropout
from .cases import every_method, localized


def dropping(method: Method) -> LocalNetwork:
    return localized(method, with_dropout(tiny_resnet(8)))


@every_method("randomness")
def test_a_step_leaves_the_global_random_state(method: Method) -> None:
    net = dropping(method)
    loop = Sequential(net, sgd)
    before = torch.get_rng_state()
    loop.step(random_batch(net.backbone))
    assert torch.equal(torch.get_rng_state(), before)


@every_method("randomness")
def test_localize_leaves_the_global_random_state(method: Method) -> None:
    before = torch.get_rng_state()
    dropping(method)
    assert torch.equal(torch.get_rng_state(), before)


@every_method("randomness")
def test_draws_do_not_depend_on_the_global_random_state(method: Method) -> None:
    results = []
    for state in (1, 2):
        net = dropping(method)
        loop = Sequential(net, sgd)
        for index in range(2):
            torch.manual_seed(state + index)
            loop.step(random_batch(net.backbone, seed=index))
        results.append(copy_of(net))
    assert not changed(*results)


@every_method("randomness")
def test_draws_depend_on_step_and_seed(method: Method) -> None:
    """The same batch from the same weights: another step number or another seed gives another loss."""

    def loss(step: int | None, seed: int | None) -> float:
        net = dropping(method)
        batch = replace(random_batch(net.backbone), step=step)
        return sum(Sequential(net, sgd, seed=seed).step(batch).losses[0].values())

    first = loss(0, None)
    assert first == loss(None, None) == loss(None, 0)
    assert first != loss(1, None)
    assert first != loss(0, 1)


def test_parts_of_an_accumulated_batch_draw_their_own_masks() -> None:
    """Two equal halves with one mask would give the loss of one half."""
    net = localize(with_dropout(tiny_resnet()), DGL(), 7)
    batch = replace(random_batch(net.backbone, rows=4), image=None, views=None)
    twice = replace(batch, x=batch.x.repeat(2, 1, 1, 1), y=batch.y.repeat(2))
    copies = [localize(net.backbone, DGL(), 7) for _ in range(2)]
    half = Sequential(copies[0], sgd).step(batch).losses[0]["ce"]
    whole = Sequential(copies[1], sgd, accumulate=2).step(twice).losses[0]["ce"]
    assert half != whole


def test_steps_are_counted_over_the_run() -> None:
    """A loop that is given step numbers draws what a loop that counts by itself draws."""
    counted, told = (localize(with_dropout(tiny_resnet()), DGL(), 7) for _ in range(2))
    loop, other = Sequential(counted, sgd), Sequential(told, sgd)
    for index in range(3):
        batch = random_batch(counted.backbone, seed=index)
        loop.step(batch)
        other.step(replace(batch, step=index))
    assert loop.steps == other.steps == 3
    assert not changed(copy_of(counted), copy_of(told))


def test_units_draw_their_own_masks() -> None:
    """The same weights and the same input in two units: their names make the difference."""
    backbone = replace(
        tiny_resnet(),
        blocks=(ConvDropout(3, 3), ConvDropout(3, 3)),
        block_names=("first", "second"),
        head=PooledLinear(3, 4),
    )
    first, second = localize(backbone, DGL(head="0c1f"), 2).unit_list()
    second.body.load_state_dict(first.body.state_dict())
    batch = random_batch(backbone)

    def output(unit: Unit) -> Tensor:
        return unit.step(batch.x, batch, OptimizerUpdate(torch.optim.SGD(unit.parameters(), lr=0.0)))[0]

    assert torch.equal(output(first), output(first))
    assert not torch.equal(output(first), output(second))
