"""Blocks made by neuron groups: weights, names, copies, files."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from localgrad import Batch, LocalgradError, LocalNetwork, Sequential, load, localize
from localgrad.backbones import cifar_resnet
from localgrad.backbones.resnet import BasicBlock
from localgrad.blocks import ConvBNReLU
from localgrad.facts import plain
from localgrad.grouping import nearly_equal, with_groups
from localgrad.methods import GNDGL
from localgrad.partition import Explicit, equal_blocks
from localgrad.recipes import digits
from localgrad.spec import FusableBlock, GroupableBlock, Span
from localgrad.train import export_weights
from localgrad.train.checkpoint import Progress, load_checkpoint, save_checkpoint
from localgrad.unit import forward_units

from .conftest import changed, copy_of, random_batch, sgd, tiny_resnet

LONG = Explicit(("layer1.1", "layer3.0"))


def test_nearly_equal() -> None:
    assert nearly_equal(128, 6) == (22, 22, 21, 21, 21, 21)
    assert nearly_equal(16, 4) == (4, 4, 4, 4)


def test_blocks_of_a_group() -> None:
    plain_block, wider = BasicBlock(16, 16), BasicBlock(16, 32, 2)
    assert isinstance(wider, GroupableBlock)
    assert isinstance(wider, FusableBlock)
    x = torch.randn(2, 16, 8, 8)
    # Reads all channels, passes its own.
    reads_all = plain_block.group(16, 4, 8).build()
    assert (reads_all.conv1.weight.shape, reads_all.shortcut) == ((4, 16, 3, 3), None)
    torch.nn.init.zeros_(reads_all.bn2.weight)
    assert torch.equal(reads_all(x), x[:, 4:8].relu())
    own = plain_block.group(4, 4, 8).build()
    assert (own.conv1.weight.shape, own.passes, own.shortcut) == ((4, 4, 3, 3), None, None)
    # A 1x1 shortcut stays one, also where a group has as many channels out as in.
    same = BasicBlock(16, 32, 1).group(16, 0, 16).build()
    assert same.shortcut.conv.weight.shape == (16, 16, 1, 1)
    assert wider.group(4, 8, 16).build().shortcut.conv.weight.shape == (8, 4, 1, 1)
    assert ConvBNReLU(3, 16).group(3, 4, 8) == ConvBNReLU(3, 4)
    assert plain_block.group(16, 0, 16).build().passes is None
    assert plain_block.group(16, 4, 8).rebuild(in_channels=8, stride=2) == BasicBlock(8, 4, 2)
    for block in (wider, ConvBNReLU(3, 32)):
        with pytest.raises(LocalgradError, match=r"group: expected 0 <= start < stop <= 32, got start=8, stop=33"):
            block.group(3, 8, 33)


def test_grouped_convolution_of_all_groups() -> None:
    first = BasicBlock(16, 32, 2).fused(4, reads_all=True).build()
    assert (first.conv1.groups, first.shortcut.conv.groups, first.conv2.groups) == (1, 1, 4)
    later = BasicBlock(32, 32).fused(4, reads_all=False).build()
    assert (later.conv1.groups, later.conv2.groups) == (4, 4)
    assert ConvBNReLU(3, 16).fused(4, reads_all=True) == ConvBNReLU(3, 16)


@pytest.mark.parametrize("options", [{}, {"layerwise": True}, {"groups": 4}], ids=str)
@pytest.mark.parametrize("channels_last", [False, True])
def test_the_network_is_the_chain_of_groups(options, channels_last: bool) -> None:
    keywords = {} if "layerwise" in options else {"partition": LONG}
    net = localize(tiny_resnet(), GNDGL(**options), **keywords).eval()
    x = random_batch(net.backbone).x
    if channels_last:
        net, x = net.to(memory_format=torch.channels_last), x.to(memory_format=torch.channels_last)
    *_, (last, h, _) = forward_units(net.unit_list(), x)
    assert torch.equal(net(x), last.aux(h))


def test_names() -> None:
    net = localize(tiny_resnet(), GNDGL(), partition=LONG)
    names = set(net.state_dict())
    assert {"model.stem.g1.conv.weight", "model.layer2.0.g0.shortcut.conv.weight", "model.head.fc.bias"} <= names
    assert {"aux.layer1.1.g0.task.fc2.bias", "aux.layer3.0.g1.task.conv1.conv.weight"} <= names
    assert len({id(parameter) for unit in net.units for parameter in unit.parameters()}) == len(list(net.parameters()))


def test_initial_weights_depend_on_seed_and_name() -> None:
    """The cut decides what a first block reads, here layer3.1; all other blocks are alike."""
    nets = [localize(tiny_resnet(), GNDGL(), partition=cut) for cut in (LONG, Explicit(("layer1.1", "layer3.1")))]
    ours, theirs = map(copy_of, (net.model for net in nets))
    alike = {name for name in ours if not name.startswith("layer3.1")}
    assert all(torch.equal(ours[name], theirs[name]) for name in alike)
    assert ours["layer3.1.g0.conv1.weight"].shape != theirs["layer3.1.g0.conv1.weight"].shape
    assert not torch.equal(ours["stem.g0.conv.weight"], ours["stem.g1.conv.weight"])
    other = copy_of(localize(tiny_resnet(), GNDGL(), partition=LONG, seed=1).model)
    assert {name for name in ours if name.endswith("conv1.weight")} <= changed(ours, other)


def test_initial_weights_are_spread_as_in_a_grouped_convolution() -> None:
    """The released code draws by the channels of the layer, not of the group: sqrt(2 / (9 * 256))."""
    backbone = cifar_resnet(8, 10, width=16, image=(3, 8, 8))
    net = localize(backbone, GNDGL(groups=4), 1)
    weight = net.model.get_submodule("layer1.0.g2.conv2").weight
    assert weight.shape == (64, 64, 3, 3)
    assert weight.std().item() == pytest.approx((2 / (9 * 256)) ** 0.5, rel=0.02)


def test_export_is_the_plain_network() -> None:
    net = localize(tiny_resnet(), GNDGL(), 7)
    Sequential(net, sgd).step(random_batch(net.backbone))
    x, model = random_batch(net.backbone, seed=5).x, net.export()
    for mode in (True, False):
        assert torch.equal(model.train(mode)(x), net.train(mode)(x))
    assert {f"model.{name}" for name in model.state_dict()} == {n for n in net.state_dict() if n.startswith("model.")}


@pytest.mark.parametrize("options", [{}, {"final_head": "1c2f", "groups": 4}, {"layerwise": True}], ids=str)
def test_a_file_is_the_network_again(options, tmp_path: Path) -> None:
    net = localize(tiny_resnet(), GNDGL(**options), 7)
    Sequential(net, sgd).step(random_batch(net.backbone))
    export_weights(net, tmp_path / "net.safetensors")
    model, x = load(tmp_path / "net.safetensors"), random_batch(net.backbone, seed=5).x
    assert torch.equal(model(x), net.eval()(x))
    assert not changed(copy_of(model), copy_of(net.model))


def test_facts() -> None:
    backbone = tiny_resnet()
    grouped = with_groups(backbone, [Span(0, 5, (8, 8)), Span(5, 7)])
    assert plain(grouped) == {**plain(backbone), "grouped_spans": [[0, 5, [8, 8]]]}
    assert grouped.changed_from is backbone
    assert grouped.shapes() == backbone.shapes()
    assert with_groups(backbone, [Span(0, 7, (32,))]) is backbone


def loop_of(net: LocalNetwork) -> Sequential:
    return Sequential(net, sgd)


def test_checkpoint_continues_bit_for_bit(tmp_path: Path) -> None:
    batches = [replace(random_batch(tiny_resnet(), seed=index), step=index) for index in range(3)]
    whole, stopped, resumed = (loop_of(localize(tiny_resnet(), GNDGL(), partition=LONG, seed=s)) for s in (0, 0, 1))
    for batch in batches:
        whole.step(batch)
    stopped.step(batches[0])
    save_checkpoint(tmp_path / "c.safetensors", stopped, {}, Progress(step=1))
    load_checkpoint(tmp_path / "c.safetensors", resumed, {})
    for batch in batches[1:]:
        resumed.step(batch)
    assert not changed(copy_of(whole.net), copy_of(resumed.net))


def test_groups_of_a_run() -> None:
    run = replace(digits.gndgl(layers=8), groups=4)
    with torch.device("meta"):
        assert [unit.name for unit in run.network().units][:5] == [*(f"stem.g{g}" for g in range(4)), "layer1.0.g0"]
    assert run.facts()["groups"] == 4
    assert list(replace(run, groups=2.0)._type_problems()) == ["groups must be a whole number, got 2.0."]
    refused = replace(digits.dgl(), groups=2)
    assert [problem for problem in refused.problems() if problem.startswith("groups=2: DGL trains every module whole")]


def test_one_image_is_enough() -> None:
    """No BatchNorm of GN-DGL stands behind a pooling, but maps of one position are too small; pairs need two images."""
    net = localize(tiny_resnet(image=(3, 16, 16)), GNDGL(), partition=equal_blocks(3))
    one = random_batch(net.backbone, rows=1)
    Sequential(net, sgd).step(Batch(one.x, one.y))
    small = localize(tiny_resnet(), GNDGL(), partition=equal_blocks(3))
    one = random_batch(small.backbone, rows=1)
    with pytest.raises(LocalgradError, match=r"unit 'layer3.1.g0' has a BatchNorm that sees a single value"):
        Sequential(small, sgd).step(Batch(one.x, one.y))
    layers = localize(tiny_resnet(), GNDGL(layerwise=True))
    with pytest.raises(LocalgradError, match=r"unit 'stem.g0' compares the images of a batch"):
        Sequential(layers, sgd).step(Batch(one.x, one.y))
