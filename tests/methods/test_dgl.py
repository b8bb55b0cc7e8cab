"""DGL's heads by word, and what it refuses."""

from math import log
from typing import get_args

import pytest
import torch

from localgrad import Batch, LocalgradError, Sequential, localize
from localgrad.auxnets import CnnHead, ConvFC, MlpSR, conv_linear_macs
from localgrad.backbones import cifar_resnet, resnet32
from localgrad.losses import BoundedCrossEntropy
from localgrad.methods import DGL, AugLocal
from localgrad.methods.dgl import HEADS_WITH, Head
from localgrad.partition import papers
from localgrad.spec import AuxSpec

from ..conftest import random_batch, sgd, tiny_resnet

# Behind 16 channels of 32x32, behind 64 channels of 8x8 of ResNet-32.
EXPECTED: dict[str, tuple[AuxSpec, AuxSpec]] = {
    "mlp-sr": (MlpSR(16, (32, 32), 10), MlpSR(64, (8, 8), 10)),
    "mlp": (MlpSR(16, (32, 32), 10, convs=0), MlpSR(64, (8, 8), 10, convs=0)),
    "cnn": (CnnHead(16, 10), CnnHead(64, 10)),
    "auglocal": (
        MlpSR(16, (32, 32), 10, hidden=2, hidden_bias=False, pooled=(2, 2)),
        MlpSR(64, (8, 8), 10, hidden=2, hidden_bias=False, pooled=(2, 2)),
    ),
    "0c1f": (ConvFC(16, 10, 32, 2, 0, 1), ConvFC(64, 10, 64, 1, 0, 1)),
    "0c2f": (ConvFC(16, 10, 32, 2, 0, 2), ConvFC(64, 10, 64, 1, 0, 2)),
    "1c1f": (ConvFC(16, 10, 32, 2, 1, 1), ConvFC(64, 10, 64, 1, 1, 1)),
    "1c2f": (ConvFC(16, 10, 32, 2, 1, 2), ConvFC(64, 10, 64, 1, 1, 2)),
    "1c3f": (ConvFC(16, 10, 32, 2, 1, 3), ConvFC(64, 10, 64, 1, 1, 3)),
    "2c2f": (ConvFC(16, 10, 32, 2, 2, 2), ConvFC(64, 10, 64, 1, 2, 2)),
    "gndgl-1c1f": (ConvFC(16, 10, 32, 2, 1, 1), ConvFC(64, 10, 128, 2, 1, 1)),
    "gndgl-1c2f": (ConvFC(16, 10, 32, 2, 1, 2), ConvFC(64, 10, 128, 2, 1, 2)),
    "gndgl-1c3f": (ConvFC(16, 10, 32, 2, 1, 3), ConvFC(64, 10, 128, 2, 1, 3)),
    "gndgl-2c2f": (ConvFC(16, 10, 32, 2, 2, 2), ConvFC(64, 10, 128, 2, 2, 2)),
}


def test_every_word_is_here() -> None:
    """All but the head that only exists beside another method's."""
    assert set(get_args(Head)) == {*EXPECTED, "3x3"}


@pytest.mark.parametrize("depth", [2, 4])
def test_3x3_is_auglocals_dgl_of_equal_flops(depth: int) -> None:
    """Its table 9 has the numbers of the 3x3 convolutions in table 5: one experiment, with the joint tail."""
    backbone = resnet32()
    partition = papers(16)(backbone)
    units = DGL(head="3x3", match=AugLocal(depth)).units(backbone, partition)
    assert units == AugLocal(depth, selection="conv3x3").units(backbone, partition)
    assert len(units) == 17 - depth


@pytest.mark.parametrize("head", ["1c2f", "gndgl-2c2f"])
def test_heads_widened_to_another_methods_cost(head: Head) -> None:
    backbone, compared = resnet32(), AugLocal(depth=3, tail="strict")
    partition = papers(16)(backbone)
    units, others = DGL(head=head, match=compared).units(backbone, partition), compared.units(backbone, partition)
    assert len(units) == 16
    for layer in (0, 6, 14):
        shape, aux = backbone.shapes()[layer], units[layer].objectives[0].aux
        plain = DGL(head=head).auxnet(backbone, shape)
        assert isinstance(aux, ConvFC)
        assert isinstance(plain, ConvFC)
        assert (aux.stride, aux.convs, aux.fcs) == (plain.stride, plain.convs, plain.fcs)
        assert aux.hidden == round(128 * aux.conv_channels / plain.conv_channels)
        target = conv_linear_macs(others[layer].objectives[0].aux, shape)
        assert conv_linear_macs(aux, shape) == pytest.approx(target, rel=0.015)


def test_a_matched_network_trains() -> None:
    backbone = tiny_resnet()
    net = localize(backbone, DGL(head="3x3", match=AugLocal(3)), 7)
    losses = Sequential(net, sgd).step(random_batch(backbone)).losses
    assert all(torch.tensor(list(terms.values())).isfinite().all() for terms in losses.values())
    assert len(localize(backbone, DGL(head="3x3", match=AugLocal(3)), 1).units) == 1


def test_3x3_has_as_many_layers_as_the_other_network() -> None:
    with pytest.raises(
        LocalgradError, match=r"head '3x3' has as many layers as the auxiliary networks of match=AugLoc"
    ):
        localize(tiny_resnet(), DGL(head="3x3", match=DGL()), 7)


@pytest.mark.parametrize("head", EXPECTED)
def test_head(head: Head) -> None:
    early, late = EXPECTED[head]
    assert DGL(head=head).auxnet(resnet32(), (16, 32, 32)) == early
    assert DGL(head=head).auxnet(resnet32(), (64, 8, 8)) == late


@pytest.mark.parametrize("head", EXPECTED)
def test_every_head_trains(head: Head) -> None:
    """On one channel, not square, not a power of two."""
    backbone = tiny_resnet(8, image=(1, 7, 10))
    options = {name: value for name, value in (("mlp_hidden", 1), ("max_hidden", 12)) if head in HEADS_WITH[name]}
    net = localize(backbone, DGL(head=head, **options))
    losses = Sequential(net, sgd).step(random_batch(backbone)).losses
    assert len(losses) == 4
    assert all(torch.tensor(list(terms.values())).isfinite().all() for terms in losses.values())


def test_arguments_reach_the_heads() -> None:
    shape = (16, 32, 32)
    assert DGL(mlp_hidden=2, max_hidden=20).auxnet(resnet32(), shape) == MlpSR(
        16, (32, 32), 10, hidden=2, max_hidden=20
    )
    assert DGL(head="mlp", mlp_hidden=1).auxnet(resnet32(), shape) == MlpSR(16, (32, 32), 10, convs=0, hidden=1)
    assert DGL(head="1c2f", widen=2).auxnet(resnet32(), shape) == ConvFC(16, 10, 64, 2, 1, 2, hidden=256)
    assert DGL(head="gndgl-1c2f", widen=2).auxnet(resnet32(), shape) == ConvFC(16, 10, 32, 2, 1, 2, hidden=256)


@pytest.mark.parametrize(("size", "pooled"), [((8, 8), (2, 2)), ((4, 4), (1, 1)), ((4, 12), (1, 2)), ((5, 1), (2, 1))])
def test_auglocals_last_pool_is_at_most_a_quarter(size: tuple[int, int], pooled: tuple[int, int]) -> None:
    assert DGL(head="auglocal").auxnet(resnet32(), (64, *size)).pooled == pooled


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"head": "1c2"}, r"DGL: head '1c2' is unknown\. Did you mean .*1c2f"),
        ({"head": "mlpsr"}, r"DGL: head 'mlpsr' is unknown\. Did you mean mlp-sr or mlp"),
        ({"mlp_hidden": 0}, "DGL: mlp_hidden must be a whole number of at least 1, got 0"),
        ({"max_hidden": 0}, "DGL: max_hidden must be a whole number of at least 1, got 0"),
        ({"widen": -1}, "DGL: widen must be a whole number of at least 1, got -1"),
        ({"widen": 1.5}, r"DGL: widen must be a whole number of at least 1, got 1\.5"),
        ({"mlp_hidden": "3"}, "DGL: mlp_hidden must be a whole number of at least 1, got '3'"),
        ({"widen": None}, "DGL: widen must be a whole number of at least 1, got None"),
        (
            {"head": "auglocal", "mlp_hidden": 5},
            "DGL: mlp_hidden=5 changes nothing with head='auglocal'. Leave it out.",
        ),
        (
            {"head": "cnn", "mlp_hidden": 3, "max_hidden": 9},
            "DGL: mlp_hidden=3, max_hidden=9 change nothing with head='c",
        ),
        ({"widen": 2}, "DGL: widen=2 changes nothing with head='mlp-sr'"),
        ({"head": "0c1f", "widen": 2}, "DGL: widen=2 changes nothing with head='0c1f'"),
        (
            {"head": "1c2f", "widen": 2, "match": AugLocal()},
            "DGL: widen=2 changes nothing with match, which decides the width",
        ),
        ({"match": 3}, r"DGL: match must be a method whose .* such as AugLocal\(depth=6\), or None, got 3\."),
        ({"match": AugLocal}, r"DGL: match must be a method .*, got <class"),
        ({"least_probability": 1.0}, r"DGL: least_probability must be a number of at least 0 and below 1, got 1\.0"),
        ({"least_probability": "1e-5"}, r"DGL: least_probability must be a number .* got '1e-5'"),
        ({"head": "3x3"}, r"DGL: head '3x3' is as deep and as expensive .* Say of which: match=AugLocal\(depth=6\)"),
        (
            {"match": AugLocal()},
            r"DGL: match widens '3x3' and heads with convolutions such as '1c2f', got head='mlp-sr'",
        ),
        ({"head": "0c2f", "match": AugLocal()}, r"DGL: match widens '3x3' and heads .* got head='0c2f'"),
    ],
)
def test_what_cannot_be(arguments: dict, text: str) -> None:
    with pytest.raises(LocalgradError, match=text):
        DGL(**arguments)


def test_options_change_what_they_are_said_to_change() -> None:
    """For every head: an option that is taken makes other auxiliary networks."""
    for name, heads in HEADS_WITH.items():
        for head in heads:
            if head == "3x3":
                continue  # made for all units at once, with match: test_aux_pool.py
            known: Head = head  # type: ignore[assignment]
            given = DGL(head=known, **{name: 2})  # type: ignore[arg-type]
            assert given.auxnet(resnet32(), (16, 32, 32)) != DGL(head=known).auxnet(resnet32(), (16, 32, 32))


def test_samples_that_are_hopelessly_wrong_give_no_gradient() -> None:
    backbone = cifar_resnet(8, 3, 0.5, (1, 8, 8))
    method = DGL(least_probability=0.2)
    units = method.units(backbone, method.cut(backbone, None)(backbone))
    assert {objective.loss for unit in units for objective in unit.objectives} == {BoundedCrossEntropy(0.2)}
    net, batch = localize(backbone, method), random_batch(backbone)
    losses = Sequential(net, sgd).step(batch).losses
    assert all(0 < terms["ce"] <= -log(0.2) for terms in losses.values())
    with torch.no_grad():
        # The last layer of the head calls another class right, and surely: the bound, and no step.
        batch = Batch(batch.x, torch.zeros_like(batch.y))
        net.model.get_submodule("head.fc").bias.copy_(torch.tensor([-50.0, 50.0, 0.0]))
    before = {name: p.detach().clone() for name, p in net.units[-1].named_parameters()}
    plain = lambda parameters: torch.optim.SGD(parameters, lr=0.1)  # noqa: E731
    losses = Sequential(net, plain).step(batch).losses
    assert losses[3]["ce"] == pytest.approx(-log(0.2))
    assert [name for name, p in net.units[-1].named_parameters() if not torch.equal(p, before[name])] == []


def test_modules_that_no_table_has() -> None:
    with pytest.raises(
        LocalgradError, match=r"has 1, 2, 3, 4, 8, 16\)\. Take one of these, or cut evenly: partition=localgrad"
    ):
        localize(resnet32(), DGL(), 7)


def test_learns() -> None:
    """A few steps on one batch bring every unit's loss down."""
    backbone = cifar_resnet(8, 3, 0.5, (1, 8, 8))
    net = localize(backbone, DGL())
    loop = Sequential(net, sgd)
    y = torch.arange(12) % 3
    x = torch.randn(12, 1, 8, 8) + y.view(-1, 1, 1, 1)
    losses = [loop.step(Batch(x, y)).losses for _ in range(12)]
    assert all(losses[-1][unit]["ce"] < 0.7 * losses[0][unit]["ce"] for unit in losses[0])


def test_vectors_have_no_map() -> None:
    with pytest.raises(
        LocalgradError, match=r"DGL: its auxiliary networks read feature maps .* of shape \(7,\) per sample"
    ):
        DGL().auxnet(resnet32(), (7,))
