"""RegNetX-400MF (Radosavovic et al. 2020) for CIFAR sizes, as AugLocal uses it: the community version.

Stem of 64 channels and first stage of stride 1 (methods.md 10.2).
"""

from collections import OrderedDict
from dataclasses import dataclass, replace
from typing import final

from torch import Tensor, nn

from localgrad.backbones.checks import check_groups, check_task, widened
from localgrad.blocks import ConvBNReLU, PooledLinear, conv_shape, he_fan_out
from localgrad.errors import LocalgradError
from localgrad.spec import Backbone, Block, Shape

_GROUP_WIDTH = 16
# (channels, blocks, stride) of every stage
_STAGES = ((32, 1, 1), (64, 2, 1), (160, 7, 2), (384, 12, 2))


@final
class RegNetModule(nn.Module):
    """relu(bn(conv1x1(relu(bn(conv3x3(relu(bn(conv1x1(x)))))))) + shortcut(x)), the 3x3 in groups; h_BCHW to h_BCHW."""

    def __init__(self, in_channels: int, out_channels: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, out_channels, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(out_channels)
        self.relu1 = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(
            out_channels, out_channels, 3, stride, 1, groups=out_channels // _GROUP_WIDTH, bias=False
        )
        self.bn2 = nn.BatchNorm2d(out_channels)
        self.relu2 = nn.ReLU(inplace=True)
        self.conv3 = nn.Conv2d(out_channels, out_channels, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(out_channels)
        self.shortcut: nn.Module | None = None
        if stride != 1 or in_channels != out_channels:
            conv = nn.Conv2d(in_channels, out_channels, 1, stride, bias=False)
            self.shortcut = nn.Sequential(OrderedDict(conv=conv, bn=nn.BatchNorm2d(out_channels)))
        self.relu3 = nn.ReLU(inplace=True)

    def forward(self, h_BCHW: Tensor) -> Tensor:
        """One block."""
        out = self.relu1(self.bn1(self.conv1(h_BCHW)))
        out = self.relu2(self.bn2(self.conv2(out)))
        out = self.bn3(self.conv3(out))
        # In place: BatchNorm's backward needs its input, not its output.
        out += h_BCHW if self.shortcut is None else self.shortcut(h_BCHW)
        result: Tensor = self.relu3(out)
        return result


@final
@dataclass(frozen=True)
class RegNetBlock:
    """Spec of RegNetX's block; ``out_channels`` is a multiple of 16, the channels of one group."""

    in_channels: int
    out_channels: int
    stride: int = 1

    def build(self) -> nn.Module:
        """A RegNetModule."""
        return RegNetModule(self.in_channels, self.out_channels, self.stride)

    def rebuild(self, *, in_channels: int, stride: int, groups: int = 1) -> "RegNetBlock":
        """The same block for another input. Raises LocalgradError for groups."""
        check_groups("RegNetBlock", groups)
        return replace(self, in_channels=in_channels, stride=stride)

    def shape(self, shape: Shape) -> Shape:
        """(C, H, W) of the output."""
        return conv_shape(shape, self.in_channels, self.out_channels, self.stride, "RegNetBlock")


def cifar_regnetx_400mf(num_classes: int = 10, width: float = 1, image: tuple[int, int, int] = (3, 32, 32)) -> Backbone:
    """CIFAR RegNetX-400MF of 23 blocks: ``stem``, ``layer1.0`` ... ``layer4.11``, then the classifier ``head``.

    ``width`` multiplies all channels, of which 16 make a group. Convolutions ~ N(0, sqrt(2 / (kh kw C_out))). Raises
    LocalgradError for a width that leaves no whole groups and for fewer than 2 classes.
    """
    who = "cifar_regnetx_400mf"
    check_task(who, num_classes, image)
    first, *inner = widened(who, (64, *(channels for channels, _, _ in _STAGES)), width)
    if any(channels % _GROUP_WIDTH for channels in inner):
        raise LocalgradError(
            f"{who}: width must leave multiples of {_GROUP_WIDTH} channels (a whole number of halves), got {width}, "
            f"which leaves {inner}."
        )
    blocks: list[Block] = [ConvBNReLU(image[0], first)]
    names, channels = ["stem"], first
    for stage, ((_, size, stride), out) in enumerate(zip(_STAGES, inner, strict=True), start=1):
        for index in range(size):
            blocks.append(RegNetBlock(channels, out, stride if index == 0 else 1))
            names.append(f"layer{stage}.{index}")
            channels = out
    return Backbone(
        name=who,
        constructor=who,
        arguments=(("num_classes", num_classes), ("width", width), ("image", tuple(image))),
        blocks=tuple(blocks),
        block_names=tuple(names),
        head=PooledLinear(channels, num_classes),
        head_name="head",
        num_classes=num_classes,
        image=tuple(image),
        initialise=he_fan_out,
    )
