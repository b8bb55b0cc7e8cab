"""One unit without the others does what it does among them."""

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from localgrad import LocalNetwork, Sequential, cost, equal_blocks, localize, methods
from localgrad.method import Method
from localgrad.methods import Lambdas
from localgrad.planning.alone import Surroundings, batch_of, step_alone, surroundings
from localgrad.spec import Shape
from tests.conftest import random_batch, sgd, tiny_resnet

LAMBDAS = Lambdas(first=(2, 0.5), last=(0.5, 1))
ROWS = 2


class Flops(TorchDispatchMode):
    """Adds up torch's formulas; its own counter cannot follow modules through ``autograd.grad``."""

    def __init__(self) -> None:
        super().__init__()
        self.total = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        formula = flop_registry.get(func._overloadpacket)
        if formula is not None:
            self.total += formula(*args, **(kwargs or {}), out_val=out)
        return out


def made(shape: Shape, dtype: torch.dtype) -> Tensor:
    return torch.rand((ROWS, *shape)).to(dtype)


def network(method: Method, spans: int = 4) -> LocalNetwork:
    return localize(tiny_resnet(), method, partition=equal_blocks(spans))


@pytest.mark.parametrize(
    "method",
    [
        methods.DGL(),
        methods.GNDGL(),
        methods.InfoPro(loss="softmax", lambdas=LAMBDAS),
        methods.MLAAN(),
        methods.MLAAN(cascade=2, leaps=False),
        methods.PredSim(),
    ],
    ids=lambda method: type(method).__name__,
)
def test_as_many_operations_as_among_the_others(method: Method) -> None:
    """Forward, auxiliary networks, every gradient that a cascade asks for, no more and no less."""
    net = network(method)
    counted = cost.macs(net, count="torch")
    loop = Sequential(net, sgd)
    for key, unit, others, update in zip(counted.parts, net.unit_list(), surroundings(net), loop.updates, strict=True):
        h_in = made(others.h_in, torch.float32)
        batch = batch_of(net, unit, h_in, made)
        with Flops() as counter:
            h_out = step_alone(unit, others, h_in, batch, update, made)
        assert counter.total // (2 * ROWS) == pytest.approx(counted.parts[key].total, rel=1e-6), unit.name
        assert not h_out.requires_grad


def test_the_same_weights_and_output_as_in_a_pipeline() -> None:
    one, other = network(methods.DGL()), network(methods.DGL())
    batch = random_batch(one.backbone, ROWS)
    Sequential(one, sgd).step(batch)
    h = batch.x
    for unit, others, update in zip(
        other.unit_list(), surroundings(other), Sequential(other, sgd).updates, strict=True
    ):
        told: list[Tensor] = []
        out = step_alone(unit, others, h, batch, update, made, sent=told.append)
        assert told[0] is out
        h = out
    for name, value in one.state_dict().items():
        assert torch.equal(value, other.state_dict()[name]), name


def test_what_others_send() -> None:
    shapes = surroundings(network(methods.DGL(), 3))
    assert shapes[0] == Surroundings(h_in=(3, 8, 8))
    assert shapes[1].h_in == tiny_resnet().shapes()[2]
    grouped = surroundings(localize(tiny_resnet(), methods.GNDGL(), 7, groups=2))
    assert grouped[2].h_in == (8, 8, 8)
    assert grouped[2].features == ((4, 8, 8), (4, 8, 8))
    assert (grouped[2].groups, grouped[2].classes) == (2, 4)
    cascade = surroundings(network(methods.MLAAN(cascade=3)))
    # Unit 1 of 4: cascades end at 2, which goes on to unit 0, and at 3.
    assert cascade[1].arriving == (True, False)
    assert [one.passes_on for one in cascade] == [False, True, True, True]
    assert cascade[0].arriving == (False,)
    assert cascade[3].arriving == ()


def test_who_waits_says_so() -> None:
    waited: list[Tensor] = []
    for net, count in ((network(methods.MLAAN()), 4), (network(methods.DGL()), 0), (network(methods.GNDGL(), 1), 2)):
        waited.clear()
        for unit, others, update in zip(net.unit_list(), surroundings(net), Sequential(net, sgd).updates, strict=True):
            h_in = made(others.h_in, torch.float32)
            step_alone(unit, others, h_in, batch_of(net, unit, h_in, made), update, made, waiting=waited.append)
        assert len(waited) == count
