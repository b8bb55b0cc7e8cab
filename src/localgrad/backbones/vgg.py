"""Convolutional VGGs (Simonyan & Zisserman 2015): AugLocal's and DGL's, for CIFAR sizes and for ImageNet.

Every convolution is a block, named ``layer{stage}.{index}``; the max-pooling that closes a stage opens the next block.
"""

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import final

from torch import nn

from localgrad.backbones.checks import check_layers, check_task, widened
from localgrad.backbones.vgg_layers import ConvLayer, pytorch_default
from localgrad.blocks import PooledLinear, he_fan_out
from localgrad.errors import LocalgradError
from localgrad.spec import Backbone, Shape

_CHANNELS = (64, 128, 256, 512, 512)
_STAGES = {11: (1, 1, 2, 2, 2), 13: (2, 2, 2, 2, 2), 16: (2, 2, 3, 3, 3), 19: (2, 2, 4, 4, 4)}


@final
@dataclass(frozen=True)
class VggClassifier:
    """Max-pooling, average pooling to 7x7, two hidden linear layers with ReLU and dropout, Linear: ImageNet VGGs' head.

    Maps h_BCHW to logits_BK. The average pooling does nothing to images of 224 pixels. DGL's code has dropout 0.
    """

    in_channels: int
    num_classes: int
    hidden: int = 4096
    dropout: float = 0.5

    def build(self) -> nn.Module:
        """A ``nn.Sequential`` of pool, avgpool, flatten, fc1, act1, drop1, fc2, act2, drop2, fc3."""
        return nn.Sequential(
            OrderedDict[str, nn.Module](
                pool=nn.MaxPool2d(2),
                avgpool=nn.AdaptiveAvgPool2d(7),
                flatten=nn.Flatten(),
                fc1=nn.Linear(self.in_channels * 49, self.hidden),
                act1=nn.ReLU(inplace=True),
                drop1=nn.Dropout(self.dropout),
                fc2=nn.Linear(self.hidden, self.hidden),
                act2=nn.ReLU(inplace=True),
                drop2=nn.Dropout(self.dropout),
                fc3=nn.Linear(self.hidden, self.num_classes),
            )
        )

    def rebuild(self, *, in_channels: int, stride: int = 1, groups: int = 1) -> "VggClassifier":
        """The same classifier for another number of channels."""
        return replace(self, in_channels=in_channels)

    def shape(self, shape: Shape) -> Shape:
        """(K,), the classes."""
        if len(shape) != 3 or shape[0] != self.in_channels or min(shape[1:]) < 2:
            raise LocalgradError(
                f"VggClassifier: expected input of shape ({self.in_channels}, H, W), at least 2x2, got {tuple(shape)}."
            )
        return (self.num_classes,)


def imagenet_vgg_initialise(module: nn.Module) -> None:
    """Convolutions ~ N(0, sqrt(2 / (kh kw C_out))), linear layers ~ N(0, 0.01), all biases 0 (methods.md 0)."""
    he_fan_out(module)
    for part in module.modules():
        if isinstance(part, nn.Linear) and not part.weight.is_meta:
            nn.init.normal_(part.weight, 0.0, 0.01)
        if isinstance(part, nn.Conv2d | nn.Linear) and part.bias is not None and not part.bias.is_meta:
            nn.init.zeros_(part.bias)


def _blocks(image: Shape, widths: Sequence[int], stages: Sequence[int]) -> tuple[list[ConvLayer], list[str]]:
    """Conv layers of all stages, and their names. Raises LocalgradError when the image is too small to be pooled."""
    blocks: list[ConvLayer] = []
    names: list[str] = []
    shape = image
    for stage, (channels, layers) in enumerate(zip(widths, stages, strict=True), start=1):
        for index in range(layers):
            block = ConvLayer(shape[0], channels, pool=stage > 1 and index == 0)
            shape = block.shape(shape)
            blocks.append(block)
            names.append(f"layer{stage}.{index}")
    return blocks, names


def conv_vgg(
    channels: Sequence[int],
    stages: Sequence[int],
    num_classes: int = 10,
    width: float = 1,
    image: tuple[int, int, int] = (3, 32, 32),
) -> Backbone:
    """Stages of ``stages[i]`` layers conv3x3 (with bias) + BatchNorm + ReLU of ``channels[i]``, pooled in between.

    ``width`` multiplies all channels. The head is global average pooling and a linear classifier. DGL's study network
    (methods.md 2.4) is ``conv_vgg((128, 256, 512), (1, 2, 3))``. Raises LocalgradError for stages without layers, too
    narrow a width, fewer than 2 classes, and images too small for the poolings.
    """
    who = "conv_vgg"
    if not stages or len(channels) != len(stages) or min(stages) < 1:
        raise LocalgradError(
            f"{who}: channels and stages must be as many, with at least one layer in each stage, "
            f"got channels={tuple(channels)}, stages={tuple(stages)}."
        )
    check_task(who, num_classes, image)
    widths = widened(who, channels, width)
    blocks, names = _blocks(image, widths, stages)
    known = [layers for layers, other in _STAGES.items() if other == tuple(stages) and tuple(channels) == _CHANNELS]
    arguments = (
        ("channels", tuple(channels)),
        ("stages", tuple(stages)),
        ("num_classes", num_classes),
        ("width", width),
        ("image", tuple(image)),
    )
    return Backbone(
        name=f"vgg{known[0]}" if known else f"conv_vgg{len(blocks)}",
        constructor="conv_vgg",
        arguments=arguments,
        blocks=tuple(blocks),
        block_names=tuple(names),
        head=PooledLinear(widths[-1], num_classes),
        head_name="head",
        num_classes=num_classes,
        image=tuple(image),
        initialise=he_fan_out,
        halve_on="width",
    )


def vgg13(num_classes: int = 10, width: float = 1, image: tuple[int, int, int] = (3, 32, 32)) -> Backbone:
    """VGG13 with one linear classifier (10 blocks). See ``conv_vgg``."""
    return conv_vgg(_CHANNELS, _STAGES[13], num_classes, width, image)


def vgg16(num_classes: int = 10, width: float = 1, image: tuple[int, int, int] = (3, 32, 32)) -> Backbone:
    """VGG16 with one linear classifier (13 blocks). See ``conv_vgg``."""
    return conv_vgg(_CHANNELS, _STAGES[16], num_classes, width, image)


def vgg19(num_classes: int = 10, width: float = 1, image: tuple[int, int, int] = (3, 32, 32)) -> Backbone:
    """VGG19 with one linear classifier (16 blocks), AugLocal's. See ``conv_vgg``."""
    return conv_vgg(_CHANNELS, _STAGES[19], num_classes, width, image)


def imagenet_vgg(
    layers: int,
    num_classes: int = 1000,
    width: float = 1,
    image: tuple[int, int, int] = (3, 224, 224),
    hidden: int = 4096,
    dropout: float = 0.5,
) -> Backbone:
    """An ImageNet VGG with BatchNorm: ``layers`` - 3 convolutions as blocks, and three linear layers as the head.

    ``hidden`` are the features of the two hidden linear layers (not multiplied by ``width``), ``dropout`` is theirs
    (DGL's code: 0). Raises LocalgradError for other layers than 11, 13, 16, 19, and as ``conv_vgg`` does.
    """
    who = "imagenet_vgg"
    check_layers(who, layers, _STAGES)
    check_task(who, num_classes, image)
    if hidden < 1 or not 0 <= dropout < 1:
        raise LocalgradError(
            f"{who}: expected hidden of at least 1 and dropout at least 0 and below 1, got hidden={hidden}, "
            f"dropout={dropout}."
        )
    widths = widened(who, _CHANNELS, width)
    blocks, names = _blocks(image, widths, _STAGES[layers])
    head = VggClassifier(widths[-1], num_classes, hidden, dropout)
    arguments = (
        ("layers", layers),
        ("num_classes", num_classes),
        ("width", width),
        ("image", tuple(image)),
        ("hidden", hidden),
        ("dropout", dropout),
    )
    backbone = Backbone(
        name=f"imagenet_vgg{layers}",
        constructor="imagenet_vgg",
        arguments=arguments,
        blocks=tuple(blocks),
        block_names=tuple(names),
        head=head,
        head_name="head",
        num_classes=num_classes,
        image=tuple(image),
        initialise=imagenet_vgg_initialise,
        halve_on="width",
        # AugLocal's code makes its auxiliary networks after that loop (methods.md 0).
        initialise_aux=pytorch_default,
    )
    head.shape(backbone.shapes()[-1])
    return backbone


def imagenet_vgg13(num_classes: int = 1000, width: float = 1, image: tuple[int, int, int] = (3, 224, 224)) -> Backbone:
    """ImageNet VGG13 with BatchNorm (10 blocks). See ``imagenet_vgg``."""
    return imagenet_vgg(13, num_classes, width, image)


def imagenet_vgg19(num_classes: int = 1000, width: float = 1, image: tuple[int, int, int] = (3, 224, 224)) -> Backbone:
    """ImageNet VGG19 with BatchNorm (16 blocks). See ``imagenet_vgg``."""
    return imagenet_vgg(19, num_classes, width, image)
