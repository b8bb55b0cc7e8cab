"""The audit of honest networks, and of cheats that it must catch."""

from dataclasses import dataclass, replace

import pytest
import torch
from torch import nn

from localgrad.analysis import audit
from localgrad.backbones import cifar_resnet
from localgrad.backbones.resnet import BasicBlock
from localgrad.blocks import PooledLinear
from localgrad.errors import LocalgradError
from localgrad.losses import cross_entropy
from localgrad.methods import DGL, AugLocal, Backprop
from localgrad.network import LocalNetwork, localize
from localgrad.spec import Batch
from localgrad.unit import Unit
from localgrad.update import WHOLE

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
    net.aux["stem"]["task"].append(nn.Linear(3, 3))
    net.aux["stem"]["task"][-1].forward = lambda h: h  # holds weights that no loss uses
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


@dataclass(frozen=True)
class Kept:
    """A block that remembers the module it built."""

    block: BasicBlock
    built: list[nn.Module]

    def build(self) -> nn.Module:
        self.built.append(self.block.build())
        return self.built[-1]

    def shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        return self.block.shape(shape)


@dataclass(frozen=True)
class Stolen:
    """An AuxSpec that puts the module of another unit into the auxiliary network."""

    kept: Kept

    def build(self) -> nn.Module:
        return nn.Sequential(self.kept.built[-1], PooledLinear(16, 10).build())


def test_spec_whose_aux_holds_the_module_of_another_unit() -> None:
    backbone = cifar_resnet(8, 10)
    kept = Kept(backbone.blocks[1], [])
    backbone = replace(backbone, blocks=(backbone.blocks[0], kept, *backbone.blocks[2:]))
    first, *rest = DGL().units(backbone, DGL().cut(backbone, None)(backbone))
    first = replace(first, objectives=(replace(first.objectives[0], aux=Stolen(kept)),))
    found = audit(LocalNetwork(backbone, (first, *rest)), BATCH)
    assert not found.local
    assert found.reach[0] == (True, True, False, False)
    assert found.problems == (
        "unit 0 ('stem') and unit 1 ('layer1.0') share model.layer1.0.conv1.weight and 5 more: "
        "give every unit modules of its own.",
    )


class Hidden(nn.Module):
    """Uses a weight that it does not register."""

    def __init__(self, foreign: nn.Parameter, channels: int = 16) -> None:
        super().__init__()
        self.foreign = (foreign,)
        self.own = nn.Linear(channels, 10)

    def forward(self, h: torch.Tensor) -> torch.Tensor:
        return self.own(h.mean((2, 3)) + self.foreign[0].mean())


def test_aux_that_uses_a_weight_it_does_not_register() -> None:
    net = network()
    net.units[1].auxnets["task"] = Hidden(net.model[0].conv.weight)
    found = audit(net, BATCH)
    assert not found.local
    assert found.reach[1] == (True, True, False, False)
    assert found.problems == (
        "the loss of unit 1 ('layer1.0') reaches model.stem.conv.weight of unit 0 ('stem'), beyond its declared reach "
        "of 1: detach what it reads, or declare the reach in its Objective.",
    )
    assert str(found).startswith("audit of 4 units: 1 problem")
    assert str(found).endswith("- " + found.problems[0])


class Leaky(Unit):
    """A unit whose input and output are not detached."""

    def step(self, h_in, batch, update, part=WHOLE, **keywords):
        h = self.body(h_in)
        loss, terms = self.loss(h, batch)
        update.backward(loss)
        return h, terms


def broken(net: LocalNetwork, kind: type[Unit], *indices: int, reach: int = 1) -> LocalNetwork:
    """The network with some units replaced by broken ones of the same body and auxiliary networks."""
    for index in indices:
        unit = net.units[index]
        objectives = tuple(replace(objective, reach=reach) for objective in unit.spec.objectives)
        net.units[index] = kind(replace(unit.spec, objectives=objectives), unit.body, unit.auxnets)
    return net


NOT_DETACHED = "unit {} hands on an output that is not detached: return h.detach() from its step."


def test_body_that_is_not_detached() -> None:
    found = audit(broken(network(), Leaky, 0, 1), BATCH)
    assert not found.local
    assert found.reach == ((True, *(False,) * 3), (True, True, False, False), *identity(4)[2:])
    assert found.problems == (
        "the loss of unit 1 ('layer1.0') reaches model.stem.conv.weight and 2 more of unit 0 ('stem'), beyond its "
        "declared reach of 1: detach what it reads, or declare the reach in its Objective.",
        NOT_DETACHED.format("0 ('stem')"),
        NOT_DETACHED.format("1 ('layer1.0')"),
    )


def test_cascades_reach_as_far_as_declared() -> None:
    found = audit(broken(broken(network(), Unit, 1, reach=2), Unit, 3, reach=3), BATCH)
    assert found.ok
    assert found.declared == (1, 2, 1, 3)
    assert found.reach == (
        (True, False, False, False),
        (True, True, False, False),
        (False, False, True, False),
        (False, True, True, True),
    )


def test_reach_shorter_than_real() -> None:
    net = broken(network(), Unit, 2, reach=2)
    net.units[2].auxnets["task"] = Hidden(net.model[0].conv.weight, 32)
    found = audit(net, BATCH)
    assert found.reach[2] == (True, True, True, False)
    assert found.problems == (
        "the loss of unit 2 ('layer2.0') reaches model.stem.conv.weight of unit 0 ('stem'), beyond its declared reach "
        "of 2: detach what it reads, or declare the reach in its Objective.",
    )


class Whispering(Unit):
    """A unit that hides the labels in its output."""

    def step(self, h_in, batch, update, part=WHOLE, **keywords):
        h, terms = super().step(h_in, batch, update, part, **keywords)
        return h + 1e-3 * batch.y[:, None, None, None], terms


def test_labels_in_an_output() -> None:
    found = audit(broken(network(), Whispering, 2), BATCH)
    assert "the output of unit 2 ('layer2.0') changes with the labels: a body must not read them." in found.problems


def with_loss(loss, **changes) -> LocalNetwork:
    """The network whose unit 1 has another loss."""
    net = network()
    unit = net.units[1]
    objectives = tuple(replace(objective, loss=loss, **changes) for objective in unit.spec.objectives)
    net.units[1] = Unit(replace(unit.spec, objectives=objectives), unit.body, unit.auxnets)
    return net


def test_loss_without_labels() -> None:
    found = audit(with_loss(lambda outputs, _: {"norm": outputs["logits"].square().mean()}, needs=frozenset()), BATCH)
    assert found.ok
    assert found.labels == (True, False, True, True)


def test_loss_that_only_compares_labels_with_each_other() -> None:
    def similarity(outputs, batch):
        same = (batch.y[:, None] == batch.y[None, :]).float()
        logits = outputs["logits"]
        return {"sim": (logits @ logits.T - same).square().mean()}

    assert audit(with_loss(similarity), BATCH).labels == (True,) * 4
    assert audit(with_loss(similarity), replace(BATCH, y=torch.full((4,), 9))).labels == (True,) * 4


def test_labels_that_are_not_declared() -> None:
    found = audit(with_loss(cross_entropy, needs=frozenset()), BATCH)
    assert found.local
    assert found.problems == (
        "the loss of unit 1 ('layer1.0') changes with the labels: declare 'y' in the needs of its Objective.",
    )


def test_loss_that_trains_nothing() -> None:
    found = audit(with_loss(lambda outputs, _: {"none": outputs["logits"].detach().mean()}), BATCH)
    assert found.reach[1] == (False,) * 4
    assert found.problems == ("the loss of unit 1 ('layer1.0') reaches no parameter: the unit does not learn.",)
    assert "model.layer1.0.conv1.weight" in found.dead


def test_batch_that_does_not_fit() -> None:
    with pytest.raises(LocalgradError, match=r"Batch.x: resnet8 expects \(B, 3, H, W\)"):
        audit(network(), replace(BATCH, x=torch.zeros(4, 1, 8, 8)))
