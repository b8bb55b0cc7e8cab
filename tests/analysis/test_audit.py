"""The audit of honest networks, and of cheats that it must catch."""

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from localgrad.analysis import audit
from localgrad.backbones import cifar_resnet
from localgrad.errors import LocalgradError
from localgrad.methods import DGL, AugLocal, Backprop
from localgrad.network import LocalNetwork, localize
from localgrad.spec import Batch
from localgrad.unit import Objective, Unit
from localgrad.update import WHOLE
from torch import nn

BATCH = Batch(
    x=torch.randn(4, 3, 8, 8, generator=torch.Generator().manual_seed(0)), y=torch.tensor([3, 1, 4, 1]), step=0
)


def network(method=None) -> LocalNetwork:
    return localize(cifar_resnet(8, 10), method or DGL())  # units stem, layer1.0, layer2.0, layer3.0


def identity(n: int) -> tuple[tuple[bool, ...], ...]:
    return tuple(tuple(i == j for j in range(n)) for i in range(n))


@pytest.mark.parametrize(("method", "units"), [(DGL(), 4), (AugLocal(depth=2), 3), (Backprop(), 1)])
def test_honest_methods(method, units: int) -> None:
    found = audit(network(method), BATCH)
    assert found.ok
    assert found.local
    assert found.reach == identity(units)
    assert found.declared == (1,) * units
    assert found.labels == (True,) * units
    assert (found.dead, found.sideways, found.problems) == ((), (), ())


def test_the_network_and_the_random_state_are_left_alone() -> None:
    net = network().eval()
    net(BATCH.x).sum().backward()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    grads = {p: None if p.grad is None else p.grad.clone() for p in net.parameters()}
    labels = BATCH.y.clone()
    state = torch.get_rng_state()
    audit(net, BATCH)
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(BATCH.y, labels)
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    assert all((p.grad is None) if g is None else torch.equal(p.grad, g) for p, g in grads.items())
    assert not any(module.training for module in (*net.modules(), *net.units.modules()))


def test_text() -> None:
    assert str(audit(network(), BATCH)).splitlines() == [
        "audit of 4 units: ok",
        "            0 1 2 3  labels  reach",
        "0 stem      x . . .  used    1",
        "1 layer1.0  . x . .  used    1",
        "2 layer2.0  . . x .  used    1",
        "3 layer3.0  . . . x  used    1",
        "row: the loss of a unit; column: parameters that a unit holds; x reached, . not reached",
        "labels: whether the loss changes with them; reach: how many units the loss says it updates",
        "sent between groups: nothing",
        "parameters that no loss reaches: none",
    ]


def test_frozen_and_dead_parameters() -> None:
    net = network()
    net.aux["stem"].append(nn.Linear(3, 3))
    net.aux["stem"][-1].forward = lambda h: h  # holds weights that no loss uses
    for parameter in net.units[1].body.parameters():
        parameter.requires_grad_(False)
    found = audit(net, BATCH)
    assert found.ok
    assert found.reach == identity(4)
    assert [name.rpartition(".")[2] for name in found.dead] == ["weight", "bias"]
    assert all(name.startswith("aux.stem.task.") for name in found.dead)
    assert f"parameters that no loss reaches: {', '.join(found.dead)}" in str(found)


class SharedAux(nn.Module):
    """An auxiliary network that sends its input through a module of another unit first."""

    def __init__(self, foreign: nn.Module, own: nn.Module) -> None:
        super().__init__()
        self.foreign = foreign
        self.own = own

    def forward(self, h: torch.Tensor) -> torch.Tensor:
        return self.own(self.foreign(h))


def test_aux_that_shares_a_parameter_with_another_body() -> None:
    net = network()
    net.units[1].auxnets["task"] = SharedAux(net.model[0].bn, net.units[1].auxnets["task"])
    found = audit(net, BATCH)
    assert not found.ok
    assert not found.local
    assert found.reach[1] == (True, True, False, False)
    assert found.problems == (
        "unit 0 ('stem') and unit 1 ('layer1.0') share model.stem.bn.weight and 1 more: "
        "give every unit modules of its own.",
    )


def test_spec_whose_aux_holds_another_units_module() -> None:
    """The AuxSpec gives a closure over a block of the network: the unit does not even register its weights."""
    honest = network()

    class Stolen:
        def build(self) -> nn.Module:
            return nn.Sequential(honest.model[0].conv, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 10))

    class Thief(DGL):
        def units(self, backbone, partition):
            specs = list(super().units(backbone, partition))
            specs[0] = replace(specs[0], objectives=(Objective("task", Stolen(), specs[0].objectives[0].loss),))
            return tuple(specs)

    thief = localize(cifar_resnet(8, 10), DGL())
    thief.units[1].auxnets["task"] = Hidden(thief.model[0].conv)
    found = audit(thief, BATCH)
    assert not found.local
    assert found.reach[1] == (True, True, False, False)
    assert found.problems == (
        "the loss of unit 1 ('layer1.0') reaches model.stem.conv.weight of unit 0 ('stem'), beyond its declared reach "
        "of 1: detach what it reads, or declare the reach in its Objective.",
    )


class Hidden(nn.Module):
    """Uses a module that it does not register."""

    def __init__(self, foreign: nn.Module) -> None:
        super().__init__()
        self.foreign = (foreign,)
        self.own = nn.Linear(16, 10)

    def forward(self, h: torch.Tensor) -> torch.Tensor:
        return self.own(h.mean((2, 3)) + self.foreign[0].weight.mean((1, 2, 3)))
