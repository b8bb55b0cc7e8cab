"""CIFAR ResNets (He et al. 2015, section 4.2) as the local-learning papers use them (methods.md 0).

Stem conv3x3 + BN + ReLU, three stages of n BasicBlocks of 16, 32 and 64 channels times ``width``, the first block of
stages 2 and 3 with stride 2, 1x1 convolution shortcuts where the shape changes (option B; option A has no parameters
there), global average pooling and a linear classifier. Depth 6n + 2.
"""

from collections import OrderedDict
from dataclasses import dataclass, replace
from typing import Literal, final, get_args

from torch import Tensor, nn

from localgrad.backbones.initialisation import AuxWeights, aux_weights_by
from localgrad.blocks import ConvBNReLU, PooledLinear, check_group, conv_shape, he_fan_out
from localgrad.errors import LocalgradError, nearest
from localgrad.spec import Backbone, Shape

Shortcut = Literal["A", "B"]
"""Where the shape changes: every second row and column, and zeros for new channels (no parameters); or a 1x1
convolution and BatchNorm."""


@final
class BasicBlockModule(nn.Module):
    """relu(bn(conv(relu(bn(conv(x))))) + shortcut(x)), h_BCHW to h_BCHW.

    ``projects``: the shortcut is a 1x1 convolution; else the channels ``passes`` of the input, None being all, at every
    ``stride``-th position, and zeros for channels that the input has not.
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
        self.stride = stride
        # Option A, where the shape changes.
        self.fills = not projects and passes is None and (stride != 1 or in_channels != out_channels)
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
        out = add_shortcut(self, out, h_BCHW)
        result: Tensor = self.relu2(out)
        return result

    def stages(self) -> list[nn.Module]:
        """The same in three: to the first ReLU, to the sum, the last ReLU; for recomputation."""
        return [_Front(self.conv1, self.bn1, self.relu1), _Back(self), self.relu2]


def add_shortcut(block: "BasicBlockModule | _Back", out: Tensor, h_BCHW: Tensor) -> Tensor:
    """``out``, which changes, plus what the block's shortcut passes of its input."""
    passed = h_BCHW if block.passes is None else h_BCHW[:, block.passes[0] : block.passes[1]]
    # In place: BatchNorm's backward needs its input, not its output.
    if block.shortcut is not None:
        out += block.shortcut(h_BCHW)
    elif block.fills:
        out[:, : passed.shape[1]] += passed[:, :, :: block.stride, :: block.stride]
    else:
        out += passed
    return out


@final
class _Front(nn.Module):
    """First convolution of a residual block; the block's input goes on beside its output."""

    def __init__(self, *layers: nn.Module) -> None:
        super().__init__()
        self.layers = nn.Sequential(*layers)

    def forward(self, h_BCHW: Tensor) -> tuple[Tensor, Tensor]:
        """What the second convolution reads, and the block's input."""
        return self.layers(h_BCHW), h_BCHW


@final
class _Back(nn.Module):
    """Second convolution of a residual block, and the sum."""

    def __init__(self, block: BasicBlockModule) -> None:
        super().__init__()
        self.conv2, self.bn2, self.shortcut = block.conv2, block.bn2, block.shortcut
        self.passes, self.stride, self.fills = block.passes, block.stride, block.fills

    def forward(self, out: Tensor, h_BCHW: Tensor) -> Tensor:
        """What the last ReLU reads."""
        return add_shortcut(self, self.bn2(self.conv2(out)), h_BCHW)


@final
@dataclass(frozen=True)
class BasicBlock:
    """Spec of a residual block of two 3x3 convolutions.

    Where the shape changes, ``shortcut`` "B" is a 1x1 convolution, unless ``projects`` says otherwise, and "A" every
    second row and column with zeros for new channels. The rest is for neuron groups: ``passes`` are the channels of the
    input, start to stop, that an identity shortcut passes (None: all); ``mixes``: the convolutions that read the input
    have one group, whatever ``groups`` is. Raises LocalgradError for "A" where channels become fewer.
    """

    in_channels: int
    out_channels: int
    stride: int = 1
    groups: int = 1
    projects: bool | None = None
    passes: tuple[int, int] | None = None
    mixes: bool = False
    shortcut: Shortcut = "B"

    def __post_init__(self) -> None:
        if self.shortcut == "A" and self.in_channels > self.out_channels:
            raise LocalgradError(
                "BasicBlock: an option-A shortcut adds channels of zeros and cannot take any away, got "
                f"{self.in_channels} channels to make {self.out_channels} of. Take shortcut='B'."
            )

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
        if self.projects is not None:
            return self.projects
        return changes and self.shortcut == "B"

    def rebuild(self, *, in_channels: int, stride: int, groups: int = 1) -> "BasicBlock":
        """The same block for another input."""
        return replace(
            self, in_channels=in_channels, stride=stride, groups=groups, projects=None, passes=None, mixes=False
        )

    def group(self, in_channels: int, start: int, stop: int) -> "BasicBlock":
        """The block of a neuron group: makes output channels ``start`` to ``stop`` only, from ``in_channels``.

        A group that reads all channels has a convolution shortcut where the block has one, from all of them; an
        identity shortcut passes the group's own. Raises LocalgradError for channels that the block does not have, and
        for option-A shortcuts, which nobody has cut into groups.
        """
        if self.shortcut == "A":
            raise LocalgradError(
                "neuron groups: blocks with option-A shortcuts cannot be cut into groups. Take shortcut='B', as "
                "GN-DGL's networks have it."
            )
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
    layers: int,
    num_classes: int = 10,
    width: float = 1,
    image: tuple[int, int, int] = (3, 32, 32),
    shortcut: Shortcut = "B",
    aux_weights: AuxWeights = "network",
) -> Backbone:
    """A CIFAR ResNet of ``layers`` = 6n + 2 layers for images of shape ``image`` (C, H, W).

    Blocks are named ``stem``, ``layer1.0`` ... ``layer3.{n-1}``, the classifier ``head``. ``width`` multiplies all
    channels (ResNet-32x2: width=2). ``shortcut`` is that of the blocks which change the shape: the papers have "B",
    DGL's comparison on ResNet-110 "A" (methods.md 2.4, released code). ``aux_weights`` is how auxiliary networks start.
    Raises LocalgradError on a depth that is not 6n + 2, on fewer than 2 classes and unknown words.
    """
    if shortcut not in get_args(Shortcut):
        raise LocalgradError(
            f"cifar_resnet: shortcut {shortcut!r} is unknown. {nearest(str(shortcut), get_args(Shortcut))}"
        )
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
            blocks.append(BasicBlock(in_channels, widths[stage], stride, shortcut=shortcut))
            names.append(f"layer{stage}.{index}")
    return Backbone(
        name=f"resnet{layers}",
        constructor="cifar_resnet",
        arguments=(
            ("layers", layers),
            ("num_classes", num_classes),
            ("width", width),
            ("image", tuple(image)),
            ("shortcut", shortcut),
            ("aux_weights", aux_weights),
        ),
        blocks=tuple(blocks),
        block_names=tuple(names),
        head=PooledLinear(widths[3], num_classes),
        head_name="head",
        num_classes=num_classes,
        image=tuple(image),
        initialise=he_fan_out,
        initialise_aux=aux_weights_by("cifar_resnet", aux_weights),
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
