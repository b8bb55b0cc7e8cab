"""ResNets of four stages (He et al. 2015, table 1): ImageNet's, and the same with a stem for small images.

Stages of 64, 128, 256 and 512 channels times ``width`` (times 4 behind Bottlenecks); the first block of stages 2 to 4
has stride 2. Blocks are named ``stem``, ``layer1.0`` ... ``layer4.2``, the classifier (GAP, Linear) ``head``.
"""

from typing import Literal, get_args

from torch import nn

from localgrad.backbones.bottleneck import EXPANSION, Bottleneck, BottleneckModule, LargeStem
from localgrad.backbones.checks import check_layers, check_task, widened
from localgrad.backbones.resnet import BasicBlock, BasicBlockModule
from localgrad.blocks import ConvBNReLU, PooledLinear, he_fan_out
from localgrad.errors import LocalgradError, nearest
from localgrad.spec import Backbone, Block

Stem = Literal["cifar", "imagenet"]
"""conv3x3 of stride 1 (PredSim, DGSSL), or conv7x7 of stride 2 and a max-pooling, together one block."""

_STAGES = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3), 50: (3, 4, 6, 3), 101: (3, 4, 23, 3), 152: (3, 8, 36, 3)}
_BASIC = (18, 34)


def zero_residual_initialise(module: nn.Module) -> None:
    """``he_fan_out``, and the last BatchNorm of every residual block starts at weight 0: the block is its shortcut."""
    he_fan_out(module)
    for part in module.modules():
        if isinstance(part, BasicBlockModule | BottleneckModule):
            last = part.bn2 if isinstance(part, BasicBlockModule) else part.bn3
            if not last.weight.is_meta:
                nn.init.zeros_(last.weight)


def four_stage_resnet(
    layers: int,
    num_classes: int,
    width: float = 1,
    image: tuple[int, int, int] = (3, 224, 224),
    stem: Stem = "imagenet",
    zero_residual: bool = False,
) -> Backbone:
    """A ResNet of 18, 34 (BasicBlock), 50, 101 or 152 layers (Bottleneck).

    Convolutions ~ N(0, sqrt(2 / (kh kw C_out))): kaiming_normal, fan_out, relu. ``zero_residual`` starts the last
    BatchNorm of every residual block at weight 0, as MLAAN's code does for ImageNet ResNet-34 (not its auxiliary
    networks here, whose copies follow the network's blocks anyway). Raises LocalgradError for other layers, an unknown
    stem, too narrow a width, and fewer than 2 classes.
    """
    who = "four_stage_resnet"
    check_layers(who, layers, _STAGES)
    check_task(who, num_classes, image)
    if stem not in get_args(Stem):
        raise LocalgradError(f"{who}: stem {stem!r} is unknown. {nearest(str(stem), get_args(Stem))}")
    first, *inner = widened(who, (64, 64, 128, 256, 512), width)
    expansion = 1 if layers in _BASIC else EXPANSION
    blocks: list[Block] = [ConvBNReLU(image[0], first) if stem == "cifar" else LargeStem(image[0], first)]
    names, channels = ["stem"], first
    for stage, (size, base) in enumerate(zip(_STAGES[layers], inner, strict=True), start=1):
        for index in range(size):
            stride = 2 if stage > 1 and index == 0 else 1
            out = base * expansion
            blocks.append(BasicBlock(channels, out, stride) if layers in _BASIC else Bottleneck(channels, out, stride))
            names.append(f"layer{stage}.{index}")
            channels = out
    arguments = (
        ("layers", layers),
        ("num_classes", num_classes),
        ("width", width),
        ("image", tuple(image)),
        ("stem", stem),
        ("zero_residual", zero_residual),
    )
    return Backbone(
        name=f"{stem}_resnet{layers}",
        constructor="four_stage_resnet",
        arguments=arguments,
        blocks=tuple(blocks),
        block_names=tuple(names),
        head=PooledLinear(channels, num_classes),
        head_name="head",
        num_classes=num_classes,
        image=tuple(image),
        initialise=zero_residual_initialise if zero_residual else he_fan_out,
        initialise_aux=he_fan_out,
    )


def cifar_resnet50(num_classes: int = 10, width: float = 1, image: tuple[int, int, int] = (3, 32, 32)) -> Backbone:
    """ResNet-50 with a conv3x3 stem of stride 1 and no max-pooling (17 blocks), DGSSL's. See ``four_stage_resnet``."""
    return four_stage_resnet(50, num_classes, width, image, "cifar")


def imagenet_resnet34(
    num_classes: int = 1000, width: float = 1, image: tuple[int, int, int] = (3, 224, 224)
) -> Backbone:
    """ImageNet ResNet-34 (17 blocks). See ``four_stage_resnet``."""
    return four_stage_resnet(34, num_classes, width, image)


def imagenet_resnet50(
    num_classes: int = 1000, width: float = 1, image: tuple[int, int, int] = (3, 224, 224)
) -> Backbone:
    """ImageNet ResNet-50 (17 blocks). See ``four_stage_resnet``."""
    return four_stage_resnet(50, num_classes, width, image)


def imagenet_resnet101(
    num_classes: int = 1000, width: float = 1, image: tuple[int, int, int] = (3, 224, 224)
) -> Backbone:
    """ImageNet ResNet-101 (34 blocks). See ``four_stage_resnet``."""
    return four_stage_resnet(101, num_classes, width, image)


def imagenet_resnet152(
    num_classes: int = 1000, width: float = 1, image: tuple[int, int, int] = (3, 224, 224)
) -> Backbone:
    """ImageNet ResNet-152 (51 blocks). See ``four_stage_resnet``."""
    return four_stage_resnet(152, num_classes, width, image)
