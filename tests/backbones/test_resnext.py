"""ResNeXt against torchvision's: the same weights, the same values; InfoPro's cut; what cannot be."""

import pytest
import torch
import torchvision
from torch import nn

from localgrad import LocalgradError, localize
from localgrad.backbones import imagenet_resnext, imagenet_resnext101_32x8d
from localgrad.backbones.resnext import ResNeXtBlock
from localgrad.count import count_macs
from localgrad.methods import AugLocal, Backprop, InfoPro
from localgrad.partition import papers


@pytest.mark.parametrize(
    ("name", "arguments", "count"),
    [
        ("resnext101_32x8d", (101, 32, 8), 88_791_336),
        ("resnext101_64x4d", (101, 64, 4), 83_455_272),
        ("resnext50_32x4d", (50, 32, 4), 25_028_904),
    ],
)
def test_weights_are_torchvisions(name: str, arguments: tuple[int, int, int], count: int) -> None:
    backbone = imagenet_resnext(*arguments)
    assert backbone.name == f"imagenet_{name}"
    with torch.device("meta"):
        theirs = getattr(torchvision.models, name)()
        own = localize(backbone, Backprop()).model
    assert [p.shape for p in own.parameters()] == [p.shape for p in theirs.parameters()]
    assert sum(p.numel() for p in own.parameters()) == count


def test_values_are_torchvisions() -> None:
    """ResNeXt-101-32x8d itself has 88 million weights: here 8x4d of 50 layers, whose widths follow the same rule."""
    theirs = torchvision.models.resnet.ResNet(
        torchvision.models.resnet.Bottleneck, [3, 4, 6, 3], 5, groups=8, width_per_group=4
    ).eval()
    own = localize(imagenet_resnext(50, 8, 4, 5, image=(3, 64, 64)), Backprop()).model.eval()
    for value in theirs.state_dict().values():
        if value.ndim == 1:
            value.copy_(torch.rand_like(value) + 0.5)
    own.load_state_dict(dict(zip(own.state_dict(), theirs.state_dict().values(), strict=True)))
    assert own.get_submodule("layer3.1.conv2").groups == 8
    x = torch.randn(1, 3, 64, 64)
    torch.testing.assert_close(own(x), theirs(x), rtol=1e-4, atol=1e-4)


def test_multiply_accumulates_are_torchvisions() -> None:
    with torch.device("meta"):
        model = localize(imagenet_resnext101_32x8d(), Backprop()).model
    counts, _ = count_macs(model, (3, 224, 224))
    gmacs = torchvision.models.ResNeXt101_32X8D_Weights.DEFAULT.meta["_ops"]
    assert (counts["conv"] + counts["linear"]) / 1e9 == pytest.approx(gmacs, abs=0.001)


@pytest.mark.parametrize(("in_channels", "stride"), [(32, 1), (32, 2), (16, 1)])
def test_block_is_torchvisions(in_channels: int, stride: int) -> None:
    spec = ResNeXtBlock(in_channels, 32, 16, 4, stride)
    own = spec.build().double().eval()
    changes = stride != 1 or in_channels != 32
    shortcut = nn.Sequential(nn.Conv2d(in_channels, 32, 1, stride, bias=False), nn.BatchNorm2d(32))
    make = torchvision.models.resnet.Bottleneck
    theirs = make(in_channels, 8, stride, shortcut if changes else None, groups=4, base_width=32).double().eval()
    own.load_state_dict(dict(zip(own.state_dict(), theirs.state_dict().values(), strict=True)))
    x = torch.randn(2, in_channels, 7, 6, dtype=torch.float64)
    torch.testing.assert_close(own(x.clone()), theirs(x), rtol=1e-12, atol=1e-12)
    assert own(x).shape[1:] == spec.shape((in_channels, 7, 6))


def test_infopros_two_modules() -> None:
    """methods.md 0.2: the first ends in layer2 block 2; its weights are published (methods.md 5)."""
    backbone = imagenet_resnext101_32x8d()
    partition = papers(2, "infopro_balanced_imagenet")(backbone)
    assert [backbone.block_names[span.stop - 1] for span in partition.spans] == ["layer2.2", "layer4.2"]
    assert backbone.shapes()[partition.spans[0].stop - 1] == (512, 28, 28)
    method = InfoPro("softmax", None, "imagenet", split="balanced", head="imagenet", decoder="imagenet")
    first, last = method.units(backbone, partition)
    assert [objective.weight for objective in first.objectives] == [0.75, 5]
    assert [objective.weight for objective in last.objectives] == [1]


def test_rebuilt_for_an_auxiliary_network() -> None:
    assert ResNeXtBlock(8, 16, 8, 4, 2).rebuild(in_channels=3, stride=1) == ResNeXtBlock(3, 16, 8, 4, 1)
    backbone = imagenet_resnext101_32x8d()
    aux = AugLocal(depth=5).auxnet(backbone, 0, backbone.shapes()[0], 4)
    assert [(block.in_channels, block.out_channels, block.stride) for block in aux.blocks] == [
        (64, 1024, 2), (1024, 1024, 2), (1024, 1024, 1), (1024, 2048, 2),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda: ResNeXtBlock(4, 8, 4, 2).rebuild(in_channels=4, stride=1, groups=2), r"ResNeXtBlock: .* got 2\."),
        (lambda: imagenet_resnext(152), r"imagenet_resnext: layers must be one of 50, 101, got 152\."),
        (lambda: imagenet_resnext(50, 0), r"cardinality must be a whole number of at least 1, got 0\."),
        (lambda: imagenet_resnext(50, 32, 1.5), r"group_width must be a whole number of at least 1, got 1\.5\."),
        (lambda: imagenet_resnext(50, 32, 1, width=0.5), r"group_width 1 at width 0\.5 leaves the groups of stage 1"),
        (lambda: imagenet_resnext(50, num_classes=1), r"num_classes must be at least 2, got 1\."),
    ],
)
def test_what_cannot_be(call, text: str) -> None:
    with pytest.raises(LocalgradError, match=text):
        call()
