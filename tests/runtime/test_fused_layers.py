"""Groups of VGG layers as one module: sizes that differ, dropout of each group's own; equal to rounding."""

from dataclasses import replace

import pytest
import torch

from localgrad import Backbone, LocalgradError, LocalNetwork, Sequential, cost, localize
from localgrad.backbones import predsim_vgg, vgg6a
from localgrad.blocks import PooledLinear
from localgrad.methods import GNDGL, PredSim
from localgrad.partition import Explicit
from localgrad.recompute import Recompute

from ..conftest import copy_of, random_batch, sgd, tiny_resnet

CHOICES = [
    {},
    {"share_features": False, "diversity": False},
    {"diversity": False, "detach_ratio": 0.5},
    {"share_features": False, "stop_grad": False, "signals": PredSim("pred")},
]


def small_vgg6a(dropout: float) -> Backbone:
    """VGG6a of 16, 32, 64, 64 channels: 6 groups have 3, 3, 3, 3, 2, 2 and 11, 11, 11, 11, 10, 10 of them."""
    return vgg6a(4, feat_mult=0.125, dropout=dropout, nonlinearity="leaky_relu", image=(3, 8, 8))


def convolutions_only() -> Backbone:
    """A VGG of 4 convolutions with dropout, without a hidden layer."""
    found = predsim_vgg((8, 16, "M", 16, 32), 4, dropout=0.3, image=(3, 8, 8))
    head = PooledLinear(32, 4)
    return replace(found, blocks=found.blocks[:-1], block_names=found.block_names[:-1], head=head)


def assert_fused_equals_apart(nets: list[LocalNetwork], *, steps: int = 3, **settings) -> None:
    """Losses, weights, buffers and predictions of groups on their own and fused, after ``steps``."""
    before, backbone = copy_of(nets[0]), nets[0].backbone
    assert all(torch.equal(value, nets[1].state_dict()[name]) for name, value in before.items())
    loops = [Sequential(net, sgd, **settings) for net in nets]
    assert [len(loop.fused_spans) > 0 for loop in loops] == [False, True]
    for index in range(steps):
        batch = random_batch(backbone, seed=index, dtype=torch.float64)
        one, other = (loop.step(batch).losses for loop in loops)
        for unit, terms in one.items():
            assert other[unit] == pytest.approx(terms, rel=1e-9, abs=1e-9)
    ours, theirs = map(copy_of, nets)
    for name, value in ours.items():
        torch.testing.assert_close(theirs[name], value, rtol=1e-9, atol=1e-9, msg=name)
    trained = [name for name, value in ours.items() if not torch.equal(before[name], value)]
    assert len(trained) > 0.9 * len(ours)
    outputs = [net.eval()(batch.x) for net in nets]
    torch.testing.assert_close(*outputs, rtol=1e-9, atol=1e-9)


def pair(backbone: Backbone, **options) -> list[LocalNetwork]:
    keywords = {} if options.get("layerwise") else {"partition": Explicit(("conv1",))}
    return [localize(backbone, GNDGL(fuse_groups=fuse, **options), **keywords).double() for fuse in (False, True)]


@pytest.mark.parametrize(("groups", "dropout"), [(2, 0.0), (3, 0.3), (6, 0.3)])
@pytest.mark.parametrize("options", CHOICES, ids=str)
def test_layerwise_vgg6a(options, groups: int, dropout: float) -> None:
    """Groups of one size, of two sizes, and of two sizes in every layer; dropout has code of its own."""
    assert_fused_equals_apart(pair(small_vgg6a(dropout), layerwise=True, groups=groups, **options), steps=2)


def test_layerwise_vgg6a_in_groups_of_two_sizes_without_dropout() -> None:
    assert_fused_equals_apart(pair(small_vgg6a(0.0), layerwise=True, groups=6))


def test_layerwise_vgg6a_in_groups_of_one_size_with_dropout() -> None:
    assert_fused_equals_apart(pair(small_vgg6a(0.3), layerwise=True, groups=2))


def test_gradients_in_parts() -> None:
    assert_fused_equals_apart(pair(small_vgg6a(0.3), layerwise=True, groups=6), steps=2, accumulate=2)


@pytest.mark.parametrize("groups", [3, 5])
def test_a_hidden_layer_of_groups(groups: int) -> None:
    """Two convolutions: the third layer, which has groups too, is the hidden one."""
    backbone = predsim_vgg((12, 24, "M"), 4, dropout=0.3, image=(3, 8, 8))
    nets = pair(backbone, layerwise=True, groups=groups)
    assert len(Sequential(nets[1], sgd).fused_spans) == 3
    assert_fused_equals_apart(nets)


@pytest.mark.parametrize("groups", [2, 4])
def test_modules_of_several_layers(groups: int) -> None:
    """The second layer of a module reads, drops and pools the group's own channels."""
    assert_fused_equals_apart(pair(convolutions_only(), groups=groups))


@pytest.mark.parametrize("dropout", [0.0, 0.3])
def test_how_many_convolutions(monkeypatch: pytest.MonkeyPatch, dropout: float) -> None:
    """One of all groups where they read the same; where each drops its own, one per size, whatever the groups."""
    net = localize(small_vgg6a(dropout), GNDGL(6, layerwise=True, fuse_groups=True, signals=PredSim("pred")))
    seen: list[tuple[int, int]] = []
    convolve = torch.nn.functional.conv2d

    def count(x, weight, *rest, **keywords):
        seen.append((len(weight), keywords.get("groups", 1)))
        return convolve(x, weight, *rest, **keywords)

    monkeypatch.setattr(torch.nn.functional, "conv2d", count)
    Sequential(net, sgd).step(random_batch(net.backbone))
    # 16 channels of 6 groups, 32 of 12, 64 of 6; the last layer is whole. The first has no dropout in front.
    fused = [(24, 8), (8, 4), (44, 4), (20, 2)] if dropout else [(32, 1), (64, 1)]
    assert seen == [(16, 1), *fused, (64, 1)]


def test_every_group_drops_what_its_own_unit_would() -> None:
    """Written out: the masks of fused groups differ from each other, and no group's body runs on its own."""
    net = localize(small_vgg6a(0.5), GNDGL(2, layerwise=True, fuse_groups=True))
    loop, ran, masks = Sequential(net, sgd), list[str](), list[torch.Tensor]()
    for unit in net.unit_list():
        unit.body.register_forward_hook(lambda *_, name=unit.name: ran.append(name))
    second = loop.fused_spans[2].blocks[0].module
    second.dropout.register_forward_hook(lambda module, inputs, made: masks.append(made))
    loop.step(random_batch(net.backbone))
    assert ran == ["conv3", "fc", "head"]
    assert [mask.shape for mask in masks] == [(8, 16, 1, 1)] * 4
    assert not any(torch.equal(one, other) for n, one in enumerate(masks) for other in masks[:n])
    assert set(torch.cat(masks).unique().tolist()) == {0.0, 2.0}


def test_memory_is_counted() -> None:
    """The memory counter runs the same walk: the second layer keeps 12 dropped copies of its pooled input."""
    method = GNDGL(6, layerwise=True, fuse_groups=True, signals=PredSim("pred"))
    with torch.device("meta"):
        found = cost.memory(localize(small_vgg6a(0.3), method), batch_size=256)
    assert found.peak_unit == 6
    assert found.activations > 12 * 4 * 256 * 16 * 4 * 4


def test_what_is_refused() -> None:
    uneven = localize(tiny_resnet(), GNDGL(3, layerwise=True, fuse_groups=True))
    with pytest.raises(LocalgradError, match=r"'stem' \(ConvBNReLU\) cannot run .* groups of \(3, 3, 2\) channels"):
        Sequential(uneven, sgd)
    recomputing = [replace(unit.spec, recompute=Recompute(1)) for unit in uneven.unit_list()]
    with pytest.raises(LocalgradError, match=r"unit 'stem\.g0' recomputes activations, .* Leave one of the two out"):
        Sequential(LocalNetwork(tiny_resnet(), recomputing), sgd)
    method, backbone = GNDGL(fuse_groups=True), convolutions_only()
    partition = method.grouped(backbone, Explicit(("conv1",))(backbone))
    first, *rest = partition.spans
    partition = replace(partition, spans=(replace(first, groups=(12, 4)), *rest))
    text = r"'conv1' \(ConvLayer\) .* of \(12, 4\) channels: .* can in the first layer of a module, .* joined\(\)"
    with pytest.raises(LocalgradError, match=text):
        Sequential(localize(backbone, method, partition=partition), sgd)
