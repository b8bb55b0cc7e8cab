"""CIFAR ResNets (He et al. 2015, section 4.2) as the local-learning papers use them (methods.md 0).

Stem conv3x3 + BN + ReLU, three stages of n BasicBlocks of 16, 32 and 64 channels times ``width``, the first block of
stages 2 and 3 with stride 2, 1x1 convolution shortcuts where the shape changes (option B), global average pooling and a
linear classifier. Depth 6n + 2.
"""

from collections import OrderedDict
from dataclasses import dataclass, replace
from typing import final

from torch import Tensor, nn

from localgrad.blocks import ConvBNReLU, PooledLinear, conv_shape, he_fan_out
from localgrad.errors import LocalgradError
from localgrad.spec import Backbone, Shape


@final
class BasicBlockModule(nn.Module):
    """relu(bn(conv(relu(bn(conv(x))))) + shortcut(x)), h_BCHW to h_BCHW."""

    def __init__(self, in_channels: int, out_channels: int, stride: int, groups: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, out_channels, 3, stride, 1, groups=groups, bias=False)
        self.bn1 = nn.BatchNorm2d(out_channels)
        self.relu1 = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, 1, 1, groups=groups, bias=False)
        self.bn2 = nn.BatchNorm2d(out_channels)
        self.shortcut: nn.Module | None = None
        if stride != 1 or in_channels != out_channels:
            conv = nn.Conv2d(in_channels, out_channels, 1, stride, groups=groups, bias=False)
            self.shortcut = nn.Sequential(OrderedDict(conv=conv, bn=nn.BatchNorm2d(out_channels)))
        self.relu2 = nn.ReLU(inplace=True)

    def forward(self, h_BCHW: Tensor) -> Tensor:
        """One residual block."""
        out = self.bn2(self.conv2(self.relu1(self.bn1(self.conv1(h_BCHW)))))
        # In place: BatchNorm's backward needs its input, not its output.
        out += h_BCHW if self.shortcut is None else self.shortcut(h_BCHW)
        result: Tensor = self.relu2(out)
        return result


@final
@dataclass(frozen=True)
class BasicBlock:
    """Spec of a residual block of two 3x3 convolutions."""

    in_channels: int
    out_channels: int
    stride: int = 1
    groups: int = 1

    def build(self) -> nn.Module:
        """A BasicBlockModule."""
        return BasicBlockModule(self.in_channels, self.out_channels, self.stride, self.groups)

    def rebuild(self, *, in_channels: int, stride: int, groups: int = 1) -> "BasicBlock":
        """The same block for another input."""
        return replace(self, in_channels=in_channels, stride=stride, groups=groups)

    def shape(self, shape: Shape) -> Shape:
        """(C, H, W) of the output."""
        return conv_shape(shape, self.in_channels, self.out_channels, self.stride, "BasicBlock")


def cifar_resnet(
    layers: int, num_classes: int = 10, width: float = 1, image: tuple[int, int, int] = (3, 32, 32)
) -> Backbone:
    """A CIFAR ResNet of ``layers`` = 6n + 2 layers for images of shape ``image`` (C, H, W).

    Blocks are named ``stem``, ``layer1.0`` ... ``layer3.{n-1}``, the classifier ``head``. ``width`` multiplies all
    channels (ResNet-32x2: width=2). Raises LocalgradError on a depth that is not 6n + 2 and on fewer than 2 classes.
    """
    blocks_per_stage, rest = divmod(layers - 2, 6)
    if rest or blocks_per_stage < 1:
        near = max(8, 6 * round((layers - 2) / 6) + 2)
        raise LocalgradError(
            f"cifar_resnet: layers must be 6n + 2 (8, 14, 20, 26, 32, ...), got {layers}. Nearest: {near}."
        )
    if len(image) != 3 or min(image) < 1:
        raise LocalgradError(f"cifar_resnet: image must be (channels, height, width), all above 0, got {image}.")
    if num_classes < 2:
        raise LocalgradError(f"cifar_resnet: num_classes must be at least 2, got {num_classes}.")
    widths = [round(base * width) for base in (16, 16, 32, 64)]
    if min(widths) < 1:
        raise LocalgradError(f"cifar_resnet: width must leave at least one channel, got {width} (16 * width < 1).")
    blocks: list[ConvBNReLU | BasicBlock] = [ConvBNReLU(image[0], widths[0])]
    names = ["stem"]
    for stage in (1, 2, 3):
        for index in range(blocks_per_stage):
            in_channels = widths[stage - 1] if index == 0 else widths[stage]
            stride = 2 if index == 0 and stage > 1 else 1
            blocks.append(BasicBlock(in_channels, widths[stage], stride))
            names.append(f"layer{stage}.{index}")
    return Backbone(
        name=f"resnet{layers}",
        constructor="cifar_resnet",
        arguments=(("layers", layers), ("num_classes", num_classes), ("width", width), ("image", tuple(image))),
        blocks=tuple(blocks),
        block_names=tuple(names),
        head=PooledLinear(widths[3], num_classes),
        head_name="head",
        num_classes=num_classes,
        image=tuple(image),
        initialise=he_fan_out,
    )


def resnet20(num_classes: int = 10, width: float = 1) -> Backbone:
    """CIFAR ResNet-20 (10 blocks). See ``cifar_resnet``."""
    return cifar_resnet(20, num_classes, width)


def resnet32(num_classes: int = 10, width: float = 1) -> Backbone:
    """CIFAR ResNet-32 (16 blocks). See ``cifar_resnet``."""
    return cifar_resnet(32, num_classes, width)


def resnet44(num_classes: int = 10, width: float = 1) -> Backbone:
    """CIFAR ResNet-44 (22 blocks). See ``cifar_resnet``."""
    return cifar_resnet(44, num_classes, width)


def resnet56(num_classes: int = 10, width: float = 1) -> Backbone:
    """CIFAR ResNet-56 (28 blocks). See ``cifar_resnet``."""
    return cifar_resnet(56, num_classes, width)


def resnet110(num_classes: int = 10, width: float = 1) -> Backbone:
    """CIFAR ResNet-110 (55 blocks). See ``cifar_resnet``."""
    return cifar_resnet(110, num_classes, width)
