"""ResNeXt for ImageNet (Xie, Girshick, Dollar, Tu, He 2017, table 1): ResNets whose 3x3 convolutions have groups.

``cardinality`` is the number of groups, ``group_width`` the channels of each in the first stage, which double with
every stage: "32x8d" is cardinality 32 and group width 8. As in torchvision the stride is that of the 3x3 convolution.
"""

from dataclasses import dataclass, replace
from typing import final

from torch import nn

from localgrad.backbones.bottleneck import EXPANSION, BottleneckModule, LargeStem
from localgrad.backbones.checks import check_groups, check_layers, check_task, widened
from localgrad.blocks import PooledLinear, conv_shape, he_fan_out
from localgrad.errors import LocalgradError
from localgrad.spec import Backbone, Block, Shape

_STAGES = {50: (3, 4, 6, 3), 101: (3, 4, 23, 3)}
_BASE = 64


@final
@dataclass(frozen=True)
class ResNeXtBlock:
    """Spec of a residual block 1x1, 3x3, 1x1 whose 3x3 convolution has ``inner_channels`` in ``cardinality`` groups."""

    in_channels: int
    out_channels: int
    inner_channels: int
    cardinality: int
    stride: int = 1

    def build(self) -> nn.Module:
        """A BottleneckModule."""
        return BottleneckModule(
            self.in_channels,
            self.out_channels,
            self.stride,
            1,
            inner=self.inner_channels,
            inner_groups=self.cardinality,
        )

    def rebuild(self, *, in_channels: int, stride: int, groups: int = 1) -> "ResNeXtBlock":
        """The same block for another input. Raises LocalgradError for groups."""
        check_groups("ResNeXtBlock", groups)
        return replace(self, in_channels=in_channels, stride=stride)

    def shape(self, shape: Shape) -> Shape:
        """(C, H, W) of the output."""
        return conv_shape(shape, self.in_channels, self.out_channels, self.stride, "ResNeXtBlock")


def imagenet_resnext(
    layers: int,
    cardinality: int = 32,
    group_width: int = 8,
    num_classes: int = 1000,
    width: float = 1,
    image: tuple[int, int, int] = (3, 224, 224),
) -> Backbone:
    """A ResNeXt of 50 or 101 layers: ``stem``, ``layer1.0`` ... ``layer4.2``, then the classifier ``head``.

    ``width`` multiplies all channels. Convolutions ~ N(0, sqrt(2 / (kh kw C_out))). Raises LocalgradError for other
    layers, groups without a channel, too narrow a width, and fewer than 2 classes.
    """
    who = "imagenet_resnext"
    check_layers(who, layers, _STAGES)
    check_task(who, num_classes, image)
    for name, value in (("cardinality", cardinality), ("group_width", group_width)):
        if type(value) is not int or value < 1:
            raise LocalgradError(f"{who}: {name} must be a whole number of at least 1, got {value!r}.")
    first, *stages = widened(who, (_BASE, _BASE, 2 * _BASE, 4 * _BASE, 8 * _BASE), width)
    blocks: list[Block] = [LargeStem(image[0], first)]
    names, channels = ["stem"], first
    for stage, (size, base) in enumerate(zip(_STAGES[layers], stages, strict=True), start=1):
        inner = base * group_width // _BASE * cardinality
        if inner < 1:
            raise LocalgradError(
                f"{who}: group_width {group_width} at width {width} leaves the groups of stage {stage} without a "
                "channel. Take a larger one of the two."
            )
        for index in range(size):
            stride, out = 2 if stage > 1 and index == 0 else 1, base * EXPANSION
            blocks.append(ResNeXtBlock(channels, out, inner, cardinality, stride))
            names.append(f"layer{stage}.{index}")
            channels = out
    return Backbone(
        name=f"imagenet_resnext{layers}_{cardinality}x{group_width}d",
        constructor=who,
        arguments=(
            ("layers", layers),
            ("cardinality", cardinality),
            ("group_width", group_width),
            ("num_classes", num_classes),
            ("width", width),
            ("image", tuple(image)),
        ),
        blocks=tuple(blocks),
        block_names=tuple(names),
        head=PooledLinear(channels, num_classes),
        head_name="head",
        num_classes=num_classes,
        image=tuple(image),
        initialise=he_fan_out,
    )


def imagenet_resnext101_32x8d(
    num_classes: int = 1000, width: float = 1, image: tuple[int, int, int] = (3, 224, 224)
) -> Backbone:
    """ImageNet ResNeXt-101, 32x8d (34 blocks). See ``imagenet_resnext``."""
    return imagenet_resnext(101, 32, 8, num_classes, width, image)
