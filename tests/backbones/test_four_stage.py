"""ResNets of four stages against torchvision's: the same weights, the same values; sizes; what cannot be."""

import pytest
import torch
import torchvision
from torch import nn

from localgrad import Backbone, LocalgradError, backbones, localize
from localgrad.auxnets import Truncated
from localgrad.backbones import cifar_resnet50, four_stage_resnet
from localgrad.backbones.bottleneck import LargeStem
from localgrad.blocks import ConvBNReLU
from localgrad.methods import AugLocal, Backprop


def on_meta(backbone: Backbone) -> nn.Module:
    with torch.device("meta"):
        return localize(backbone, Backprop()).model


def parameters(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


@pytest.mark.parametrize(
    ("layers", "count"), [(34, 21_797_672), (50, 25_557_032), (101, 44_549_160), (152, 60_192_808)]
)
def test_weights_are_torchvisions(layers: int, count: int) -> None:
    with torch.device("meta"):
        theirs = getattr(torchvision.models, f"resnet{layers}")()
    own = on_meta(getattr(backbones, f"imagenet_resnet{layers}")())
    assert [p.shape for p in own.parameters()] == [p.shape for p in theirs.parameters()]
    assert parameters(own) == count


@pytest.mark.parametrize("layers", [18, 50])
def test_values_are_torchvisions(layers: int) -> None:
    theirs = getattr(torchvision.models, f"resnet{layers}")(num_classes=5).eval()
    own = localize(four_stage_resnet(layers, 5, image=(3, 64, 64)), Backprop()).model.eval()
    own.load_state_dict(dict(zip(own.state_dict(), theirs.state_dict().values(), strict=True)))
    x = torch.randn(1, 3, 64, 64)
    torch.testing.assert_close(own(x), theirs(x), rtol=1e-4, atol=1e-4)


def test_sizes() -> None:
    large = backbones.imagenet_resnet101()
    assert large.blocks[0] == LargeStem(3, 64)
    assert [large.shapes()[i] for i in (0, 3, 7, 30, 33)] == [
        (64, 56, 56), (256, 56, 56), (512, 28, 28), (1024, 14, 14), (2048, 7, 7),
    ]  # fmt: skip
    small = cifar_resnet50()
    assert small.blocks[0] == ConvBNReLU(3, 64)
    assert [small.shapes()[i] for i in (0, 3, 7, 13, 16)] == [
        (64, 32, 32), (256, 32, 32), (512, 16, 16), (1024, 8, 8), (2048, 4, 4),
    ]  # fmt: skip
    assert (small.name, large.name) == ("cifar_resnet50", "imagenet_resnet101")


def test_cifar_resnet50_has_torchvisions_weights_behind_the_stem() -> None:
    own = on_meta(cifar_resnet50())
    # 7x7 to 3x3 in the stem, 1000 to 10 classes.
    assert parameters(own) == 25_557_032 - (49 - 9) * 3 * 64 - 990 * 2049 == 23_520_842


def test_auglocal_strides_where_the_network_does_not_where_bottlenecks_widen() -> None:
    """methods.md 10.1: expansion 4 from the stem's 64 channels to stage 1's 256 is no halving."""
    backbone = backbones.imagenet_resnet101()
    aux = AugLocal(depth=5).auxnet(backbone, 0, backbone.shapes()[0], 4)
    assert isinstance(aux, Truncated)
    assert [(block.in_channels, block.out_channels, block.stride) for block in aux.blocks] == [
        (64, 1024, 2),
        (1024, 1024, 2),
        (1024, 1024, 1),
        (1024, 2048, 2),
    ]
    near = AugLocal(depth=2, selection="sequential").auxnet(backbone, 0, backbone.shapes()[0], 1)
    assert isinstance(near, Truncated)
    assert [(block.in_channels, block.out_channels, block.stride) for block in near.blocks] == [(64, 256, 1)]


def test_initial_weights_follow_the_fan_out() -> None:
    model = localize(cifar_resnet50(4, 0.5, (3, 8, 8)), Backprop()).model
    weight = model.get_submodule("layer3.1.conv2").weight
    assert weight.std().item() == pytest.approx((2 / (9 * 128)) ** 0.5, rel=0.02)


@pytest.mark.parametrize("layers", [18, 50])
def test_residual_blocks_may_start_as_their_shortcuts(layers: int) -> None:
    backbone = four_stage_resnet(layers, 4, 0.125, (3, 8, 8), "cifar", zero_residual=True)
    net = localize(backbone, AugLocal(depth=2)).eval()
    h = torch.rand(1, *backbone.shapes()[1])
    block = net.model.get_submodule("layer1.1")
    torch.testing.assert_close(block(h), h)
    assert net.model.get_submodule("layer2.0.shortcut.bn").weight.all()
    assert all(part.weight.all() for part in net.aux.modules() if isinstance(part, nn.BatchNorm2d))


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda: four_stage_resnet(35, 10), r"layers must be one of 18, 34, 50, 101, 152, got 35\."),
        (lambda: four_stage_resnet(50, 1), r"num_classes must be at least 2, got 1\."),
        (lambda: four_stage_resnet(50, 10, stem="large"), r"stem 'large' is unknown\. There are: cifar, imagenet\."),
        (lambda: cifar_resnet50(width=0), r"width must leave at least one channel, got 0\."),
        (lambda: cifar_resnet50(image=(3, 32)), r"image must be \(channels, height, width\), all above 0, got \(3, 32"),
    ],
)
def test_what_cannot_be(call, text: str) -> None:
    with pytest.raises(LocalgradError, match="four_stage_resnet: " + text):
        call()
