"""DenseNet-BC: weights and values against torchvision's layers, sizes, heads behind it, what cannot be."""

import math
from collections import OrderedDict

import pytest
import torch
import torchvision
from torch import nn

import localgrad as lg
from localgrad import LocalgradError, localize
from localgrad.auxnets import ConvFC, Decoder
from localgrad.backbones import cifar_densenet, densenet_bc_100_12
from localgrad.backbones.densenet import DenseLayer, NormPooledLinear, PlainConv, Transition
from localgrad.count import count_macs
from localgrad.grouping import with_groups
from localgrad.methods import DGL, AugLocal, Backprop, InfoPro, Lambdas
from localgrad.methods.heads import xcyf_head
from localgrad.partition import equal_blocks

from ..conftest import random_batch, sgd


def of_torchvision(growth: int, per_stage: int, classes: int) -> nn.Module:
    """torchvision's DenseNet with the stem of the CIFAR networks: conv3x3 of stride 1 alone."""
    net = torchvision.models.DenseNet(growth, (per_stage,) * 3, 2 * growth, num_classes=classes)
    net.features.conv0 = nn.Conv2d(3, 2 * growth, 3, padding=1, bias=False)
    net.features.norm0 = net.features.relu0 = net.features.pool0 = nn.Identity()
    return net


def test_densenet_bc_100_12() -> None:
    backbone = densenet_bc_100_12()
    with torch.device("meta"):
        own, theirs = localize(backbone, Backprop()).model, of_torchvision(12, 16, 10)
    assert sum(p.numel() for p in own.parameters()) == 769_162
    assert [p.shape for p in own.parameters()] == [p.shape for p in theirs.parameters()]
    # Huang et al., section 3: L counts convolutions and the classifier.
    assert sum(isinstance(part, nn.Conv2d | nn.Linear) for part in own.modules()) == 100
    assert backbone.name == "densenet_bc_100_12"


def test_sizes() -> None:
    backbone = densenet_bc_100_12()
    shapes = dict(zip(backbone.block_names, backbone.shapes(), strict=True))
    names = ("stem", "layer1.0", "layer1.15", "transition1", "layer2.15", "transition2", "layer3.15")
    assert [shapes[name] for name in names] == [
        (24, 32, 32), (36, 32, 32), (216, 32, 32), (108, 16, 16), (300, 16, 16), (150, 8, 8), (342, 8, 8),
    ]  # fmt: skip
    assert [len(span) for span in equal_blocks(4)(backbone).spans] == [13, 13, 13, 12]
    assert cifar_densenet(16, 12, width=2, image=(1, 8, 8)).shapes()[-1] == (96, 2, 2)


@pytest.mark.parametrize("training", [False, True])
def test_values_are_torchvisions(training: bool) -> None:
    theirs = of_torchvision(6, 2, 4)
    own = localize(cifar_densenet(16, 6, 4, image=(3, 16, 16)), Backprop()).model
    for value in theirs.state_dict().values():
        if value.ndim == 1:
            value.copy_(torch.rand_like(value) + 0.5)
    own.load_state_dict(dict(zip(own.state_dict(), theirs.state_dict().values(), strict=True)))
    x = torch.randn(2, 3, 16, 16)
    for net in (own, theirs):
        net.train(training)
    torch.testing.assert_close(own(x), theirs(x), rtol=1e-4, atol=1e-4)


def test_multiply_accumulates() -> None:
    """Layer by layer from their formulas, 0.29 G together."""
    with torch.device("meta"):
        model = localize(densenet_bc_100_12(), Backprop()).model
    counts, _ = count_macs(model, (3, 32, 32))
    sizes = [shape[1] ** 2 for shape in densenet_bc_100_12().shapes()]
    expected = 3 * 24 * 9 * sizes[0] + 342 * 10
    for block, size in zip(densenet_bc_100_12().blocks[1:], sizes[1:], strict=True):
        if isinstance(block, DenseLayer):
            expected += (block.in_channels * 48 + 48 * 12 * 9) * size
        else:
            assert isinstance(block, Transition)
            expected += block.in_channels * block.out_channels * 4 * size
    assert counts["conv"] + counts["linear"] == expected
    assert expected == pytest.approx(0.29e9, rel=0.02)
    # The classifier pools adaptively; what the transitions average is not counted, as in PredSim's golden figures.
    assert counts["pool"] == 342 * 8**2


@pytest.mark.parametrize(("size", "after"), [((7, 4), (4, 2)), ((1, 1), (1, 1))])
def test_odd_maps_are_halved_to_the_next_larger(size: tuple[int, int], after: tuple[int, int]) -> None:
    spec = Transition(4, 2)
    own = spec.build().eval()
    own.conv.weight.data.fill_(1)
    ones = torch.ones(1, 4, *size)
    out = own(ones)
    assert out.shape[1:] == spec.shape((4, *size)) == (2, *after)
    # An average of equal values, also where a window reaches over the edge.
    torch.testing.assert_close(out, out[:, :1, :1, :1].expand_as(out))
    assert [name for name, _ in spec.rebuild(in_channels=4, stride=1).build().named_children()] == [
        "bn",
        "relu",
        "conv",
    ]


def test_a_layer_hands_on_what_it_reads() -> None:
    layer = DenseLayer(4, 3).build().to(memory_format=torch.channels_last)
    x = torch.randn(2, 4, 6, 6).to(memory_format=torch.channels_last)
    out = layer(x)
    assert torch.equal(out[:, :4], x) and out.shape == (2, 7, 6, 6)
    assert out.is_contiguous(memory_format=torch.channels_last)


def test_heads_are_those_of_a_resnet_behind_maps_of_that_size() -> None:
    backbone = densenet_bc_100_12()
    expected = {32: (32, 2), 16: (64, 2), 8: (64, 1)}
    for shape in backbone.shapes():
        head = xcyf_head(backbone, shape, 10)
        assert head == ConvFC(shape[0], 10, *expected[shape[1]], convs=1, fcs=2, hidden=128)
    assert cifar_densenet(width=2).head_widths == (32, 64, 128)


@pytest.mark.parametrize("method", [DGL("0c1f"), DGL("1c2f"), InfoPro(lambdas=Lambdas((5, 0), (0.5, 1)))])
@pytest.mark.parametrize("modules", [2, 16])
def test_the_papers_methods_fit(method: DGL | InfoPro, modules: int) -> None:
    with torch.device("meta"):
        net = localize(densenet_bc_100_12(), method, partition=equal_blocks(modules))
    assert len(net.units) == modules


def test_infopro_trains() -> None:
    backbone = cifar_densenet(16, 4, 4, image=(3, 8, 8))
    net = localize(backbone, InfoPro(lambdas=Lambdas((5, 0.5), (0, 1))), partition=equal_blocks(3))
    decoder = net.unit_list()[0].spec.objectives[1].aux
    assert isinstance(decoder, Decoder) and decoder.in_channels == backbone.shapes()[2][0] == 16
    weights = {name: p.detach().clone() for name, p in net.model.named_parameters() if p.ndim > 1}
    losses = lg.Sequential(net, optimizer=sgd).step(random_batch(backbone, 6)).losses
    assert len(losses) == 3
    assert not [name for name, p in net.model.named_parameters() if p.ndim > 1 and torch.equal(p, weights[name])]


def test_bfloat16() -> None:
    backbone = cifar_densenet(10, 4, 4, image=(3, 8, 8))
    net = localize(backbone, DGL("1c2f"))
    losses = lg.Sequential(net, optimizer=sgd, precision=lg.Precision.BFLOAT16).step(random_batch(backbone, 4)).losses
    assert all(math.isfinite(value) for terms in losses.values() for value in terms.values())


def test_initial_weights_follow_the_fan_out() -> None:
    model = localize(cifar_densenet(10, 12), Backprop()).model
    weight = model.get_submodule("layer1.0.conv1").weight
    assert weight.std().item() == pytest.approx((2 / 48) ** 0.5, rel=0.1)


def test_rebuild() -> None:
    assert PlainConv(3, 8).rebuild(in_channels=4, stride=2) == PlainConv(4, 8, 2)
    assert DenseLayer(8, 4).rebuild(in_channels=8, stride=1) == DenseLayer(8, 4)
    assert Transition(8, 4).rebuild(in_channels=6, stride=1) == Transition(6, 4, 1)
    assert NormPooledLinear(8, 4).rebuild(in_channels=6) == NormPooledLinear(6, 4)
    assert list(NormPooledLinear(8, 4).build()._modules) == ["bn", "relu", "pool", "fc"]
    assert isinstance(PlainConv(3, 8).build()._modules, OrderedDict | dict)


COPIED = r"cannot be copied behind 8 channels with stride 2\. .* AugLocal\(selection='sequential'\)"


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (
            lambda: DenseLayer(4, 4).rebuild(in_channels=4, stride=1, groups=2),
            r"DenseLayer: .* groups must be 1, got 2",
        ),
        (
            lambda: Transition(4, 2).rebuild(in_channels=4, stride=2, groups=2),
            r"Transition: .* groups must be 1, got 2",
        ),
        (lambda: PlainConv(3, 2).rebuild(in_channels=3, stride=1, groups=3), r"PlainConv: .* groups must be 1, got 3"),
        (lambda: DenseLayer(4, 4).rebuild(in_channels=4, stride=2), r"behind 4 channels with stride 2\."),
        (
            lambda: DenseLayer(4, 4).shape((5, 8, 8)),
            r"DenseLayer: expected input of shape \(4, H, W\), got \(5, 8, 8\)",
        ),
        (lambda: NormPooledLinear(4, 3).shape((4,)), r"NormPooledLinear: .* shape \(4, H, W\), got \(4,\)"),
        (lambda: localize(cifar_densenet(22, 4), AugLocal(depth=3)), COPIED),
        (
            lambda: with_groups(cifar_densenet(10, 4), [lg.Span(0, 1, (4, 4))]),
            r"block 'stem' of densenet_bc_10_4 is a PlainConv, which cannot be made by groups",
        ),
        (lambda: cifar_densenet(98), r"cifar_densenet: layers must be 6n \+ 4 .* got 98\. Nearest: 100\."),
        (lambda: cifar_densenet(4), r"layers must be 6n \+ 4 .* got 4\. Nearest: 10\."),
        (lambda: cifar_densenet(growth=0), r"growth must be a whole number of at least 1, got 0\."),
        (lambda: cifar_densenet(width=0.01), r"cifar_densenet: width must leave at least one channel, got 0\.01\."),
        (lambda: densenet_bc_100_12(1), r"cifar_densenet: num_classes must be at least 2, got 1\."),
    ],
)
def test_what_cannot_be(call, text: str) -> None:
    with pytest.raises(LocalgradError, match=text):
        call()
