"""CIFAR ResNets (He et al. 2015, section 4.2) as the local-learning papers use them (methods.md 0).

Stem conv3x3 + BN + ReLU, three stages of n BasicBlocks of 16, 32 and 64 channels times ``width``, the first block of
stages 2 and 3 with stride 2, 1x1 convolution shortcuts where the shape changes (option B), global average pooling and a
linear classifier. Depth 6n + 2.
"""

from collections import OrderedDict
from dataclasses import dataclass, replace
from typing import final

from torch import Tensor, nn

from localgrad.blocks import ConvBNReLU, PooledLinear, check_group, conv_shape, he_fan_out
from localgrad.errors import LocalgradError
from localgrad.spec import Backbone, Shape


@final
class BasicBlockModule(nn.Module):
    """relu(bn(conv(relu(bn(conv(x))))) + shortcut(x)), h_BCHW to h_BCHW.

    ``projects``: the shortcut is a 1x1 convolution; else the channels ``passes`` of the input, None being all.
    ``groups`` are those of the convolutions, ``groups_in`` of the ones that read the input.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        stride: int,
        groups: int,
        *,
        groups_in: int,
        projects: bool,
        passes: tuple[int, int] | None,
    ) -> None:
        super().__init__()
        self.passes = passes
        self.conv1 = nn.Conv2d(in_channels, out_channels, 3, stride, 1, groups=groups_in, bias=False)
        self.bn1 = nn.BatchNorm2d(out_channels)
        self.relu1 = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, 1, 1, groups=groups, bias=False)
        self.bn2 = nn.BatchNorm2d(out_channels)
        self.shortcut: nn.Module | None = None
        if projects:
            conv = nn.Conv2d(in_channels, out_channels, 1, stride, groups=groups_in, bias=False)
            self.shortcut = nn.Sequential(OrderedDict(conv=conv, bn=nn.BatchNorm2d(out_channels)))
        self.relu2 = nn.ReLU(inplace=True)

    def forward(self, h_BCHW: Tensor) -> Tensor:
        """One residual block."""
        out = self.bn2(self.conv2(self.relu1(self.bn1(self.conv1(h_BCHW)))))
        passed = h_BCHW if self.passes is None else h_BCHW[:, self.passes[0] : self.passes[1]]
        # In place: BatchNorm's backward needs its input, not its output.
        out += passed if self.shortcut is None else self.shortcut(h_BCHW)
        result: Tensor = self.relu2(out)
        return result


@final
@dataclass(frozen=True)
class BasicBlock:
    """Spec of a residual block of two 3x3 convolutions.

    The shortcut is a 1x1 convolution where the shape changes, unless ``projects`` says otherwise. The rest is for
    neuron groups: ``passes`` are the channels of the input, start to stop, that an identity shortcut passes (None:
    all); ``mixes``: the convolutions that read the input have one group, whatever ``groups`` is.
    """

    in_channels: int
    out_channels: int
    stride: int = 1
    groups: int = 1
    projects: bool | None = None
    passes: tuple[int, int] | None = None
    mixes: bool = False

    def build(self) -> nn.Module:
        """A BasicBlockModule."""
        return BasicBlockModule(
            self.in_channels,
            self.out_channels,
            self.stride,
            self.groups,
            groups_in=1 if self.mixes else self.groups,
            projects=self._projects(),
            passes=self.passes,
        )

    def _projects(self) -> bool:
        changes = self.stride != 1 or self.in_channels != self.out_channels
        return changes if self.projects is None else self.projects

    def rebuild(self, *, in_channels: int, stride: int, groups: int = 1) -> "BasicBlock":
        """The same block for another input."""
        return replace(
            self, in_channels=in_channels, stride=stride, groups=groups, projects=None, passes=None, mixes=False
        )

    def group(self, in_channels: int, start: int, stop: int) -> "BasicBlock":
        """The block of a neuron group: makes output channels ``start`` to ``stop`` only, from ``in_channels``.

        A group that reads all channels has a convolution shortcut where the block has one, from all of them; an
        identity shortcut passes the group's own. Raises LocalgradError for channels that the block does not have.
        """
        check_group(start, stop, self.out_channels, "BasicBlock")
        reads_all = in_channels == self.in_channels and stop - start < self.out_channels
        passes = (start, stop) if reads_all and not self._projects() else None
        return replace(
            self, in_channels=in_channels, out_channels=stop - start, projects=self._projects(), passes=passes
        )

    def fused(self, groups: int, *, reads_all: bool) -> "BasicBlock":
        """All neuron groups of the block as one."""
        return replace(self, groups=groups, mixes=reads_all)

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
