"""MobileNetV2 (Sandler et al. 2018) for CIFAR sizes, as AugLocal uses it: the community version (methods.md 10.2).

It differs from the ImageNet one in strides (stem and second stage have 1), in ReLU instead of ReLU6, and in shortcuts:
every block of stride 1 has one, a convolution where the channels change.
"""

from collections import OrderedDict
from dataclasses import dataclass, replace
from typing import final

from torch import Tensor, nn

from localgrad.backbones.checks import check_groups, check_task, widened
from localgrad.blocks import ConvBNReLU, PooledLinear, conv_shape, he_fan_out
from localgrad.spec import Backbone, Block, Shape

# (expansion, channels, blocks, stride) of every stage
_STAGES = ((1, 16, 1, 1), (6, 24, 2, 1), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1))


@final
class InvertedResidualModule(nn.Module):
    """bn(conv1x1(relu(bn(depthwise3x3(relu(bn(conv1x1(x)))))))) [+ shortcut(x) at stride 1], h_BCHW to h_BCHW."""

    def __init__(self, in_channels: int, out_channels: int, expansion: int, stride: int) -> None:
        super().__init__()
        inner = expansion * in_channels
        self.conv1 = nn.Conv2d(in_channels, inner, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(inner)
        self.relu1 = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(inner, inner, 3, stride, 1, groups=inner, bias=False)
        self.bn2 = nn.BatchNorm2d(inner)
        self.relu2 = nn.ReLU(inplace=True)
        self.conv3 = nn.Conv2d(inner, out_channels, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(out_channels)
        self.residual = stride == 1
        self.shortcut: nn.Module | None = None
        if self.residual and in_channels != out_channels:
            conv = nn.Conv2d(in_channels, out_channels, 1, bias=False)
            self.shortcut = nn.Sequential(OrderedDict(conv=conv, bn=nn.BatchNorm2d(out_channels)))

    def forward(self, h_BCHW: Tensor) -> Tensor:
        """One block."""
        out = self.relu1(self.bn1(self.conv1(h_BCHW)))
        out = self.relu2(self.bn2(self.conv2(out)))
        result: Tensor = self.bn3(self.conv3(out))
        if self.residual:
            # In place: BatchNorm's backward needs its input, not its output.
            result += h_BCHW if self.shortcut is None else self.shortcut(h_BCHW)
        return result


@final
@dataclass(frozen=True)
class InvertedResidual:
    """Spec of MobileNetV2's block: the inner width is ``expansion`` times ``in_channels``, one channel per group."""

    in_channels: int
    out_channels: int
    expansion: int = 6
    stride: int = 1

    def build(self) -> nn.Module:
        """An InvertedResidualModule."""
        return InvertedResidualModule(self.in_channels, self.out_channels, self.expansion, self.stride)

    def rebuild(self, *, in_channels: int, stride: int, groups: int = 1) -> "InvertedResidual":
        """The same block for another input. Raises LocalgradError for groups."""
        check_groups("InvertedResidual", groups)
        return replace(self, in_channels=in_channels, stride=stride)

    def shape(self, shape: Shape) -> Shape:
        """(C, H, W) of the output."""
        return conv_shape(shape, self.in_channels, self.out_channels, self.stride, "InvertedResidual")


def cifar_mobilenetv2(num_classes: int = 10, width: float = 1, image: tuple[int, int, int] = (3, 32, 32)) -> Backbone:
    """CIFAR MobileNetV2 of 19 blocks: ``stem``, ``layer1.0`` ... ``layer7.0``, ``conv`` (1x1 to 1280), then ``head``.

    ``width`` multiplies all channels. Convolutions ~ N(0, sqrt(2 / (kh kw C_out))). Raises LocalgradError for too
    narrow a width and fewer than 2 classes.
    """
    who = "cifar_mobilenetv2"
    check_task(who, num_classes, image)
    first, *inner, last = widened(who, (32, *(channels for _, channels, _, _ in _STAGES), 1280), width)
    blocks: list[Block] = [ConvBNReLU(image[0], first)]
    names, channels = ["stem"], first
    for stage, ((expansion, _, size, stride), out) in enumerate(zip(_STAGES, inner, strict=True), start=1):
        for index in range(size):
            blocks.append(InvertedResidual(channels, out, expansion, stride if index == 0 else 1))
            names.append(f"layer{stage}.{index}")
            channels = out
    blocks.append(ConvBNReLU(channels, last, kernel=1))
    return Backbone(
        name=who,
        constructor=who,
        arguments=(("num_classes", num_classes), ("width", width), ("image", tuple(image))),
        blocks=tuple(blocks),
        block_names=(*names, "conv"),
        head=PooledLinear(last, num_classes),
        head_name="head",
        num_classes=num_classes,
        image=tuple(image),
        initialise=he_fan_out,
    )
