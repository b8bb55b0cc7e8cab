"""Convolutional VGGs (Simonyan & Zisserman 2015): AugLocal's and DGL's, for CIFAR sizes and for ImageNet.

Every convolution is a block, named ``layer{stage}.{index}``; the max-pooling that closes a stage opens the next block.
"""

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import final

from torch import nn

from localgrad.auxnets import MlpSR
from localgrad.backbones.checks import check_layers, check_task, widened
from localgrad.backbones.initialisation import AuxWeights, Weights, aux_weights_by, weights_by
from localgrad.backbones.vgg_layers import ConvLayer
from localgrad.blocks import PooledLinear, he_fan_out
from localgrad.errors import LocalgradError
from localgrad.spec import Backbone, Block, Shape, shape_behind

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
                f"VggClassifier: expected input of shape ({self.in_channels}, H, W), at least 2x2, got {tuple(shape)}. "
                "Take larger images."
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


def _where(network: str, image: Shape, what: str) -> str:
    return f"{network} for images of {tuple(image)}: {what}"


def _blocks(
    network: str, image: Shape, widths: Sequence[int], stages: Sequence[int]
) -> tuple[list[ConvLayer], list[str], Shape]:
    """Conv layers of all stages, their names, and the last one's shape.

    Raises LocalgradError when the image is too small to be pooled.
    """
    blocks: list[ConvLayer] = []
    names: list[str] = []
    shape = image
    for stage, (channels, layers) in enumerate(zip(widths, stages, strict=True), start=1):
        for index in range(layers):
            block = ConvLayer(shape[0], channels, pool=stage > 1 and index == 0)
            names.append(f"layer{stage}.{index}")
            shape = shape_behind(block, shape, _where(network, image, f"block {names[-1]!r}"))
            blocks.append(block)
    return blocks, names, shape


def conv_vgg(
    channels: Sequence[int],
    stages: Sequence[int],
    num_classes: int = 10,
    width: float = 1,
    image: tuple[int, int, int] = (3, 32, 32),
    mlp_hidden: int = 0,
    weights: Weights = "he",
) -> Backbone:
    """Stages of ``stages[i]`` layers conv3x3 (with bias) + BatchNorm + ReLU of ``channels[i]``, pooled in between.

    ``width`` multiplies all channels. The head is global average pooling and a linear classifier; with ``mlp_hidden``
    it is DGL's: average pooling to 2x2, so many hidden layers of 4c features with BatchNorm and ReLU, and a linear one.
    ``weights`` is how they start. DGL's study network (methods.md 2.4, released code) is ``conv_vgg((128, 256, 512),
    (1, 2, 3), mlp_hidden=2, weights="pytorch")``. Raises LocalgradError for stages without layers, too narrow a width,
    fewer than 2 classes, fewer than 0 hidden layers, an unknown word, and images too small for the poolings.
    """
    who = "conv_vgg"
    if not stages or len(channels) != len(stages) or min(stages) < 1:
        raise LocalgradError(
            f"{who}: channels and stages must be as many, with at least one layer in each stage, "
            f"got channels={tuple(channels)}, stages={tuple(stages)}."
        )
    check_task(who, num_classes, image)
    if type(mlp_hidden) is not int or mlp_hidden < 0:
        raise LocalgradError(f"{who}: mlp_hidden must be a whole number of at least 0, got {mlp_hidden!r}.")
    widths = widened(who, channels, width)
    known = [layers for layers, other in _STAGES.items() if other == tuple(stages) and tuple(channels) == _CHANNELS]
    name = f"vgg{known[0]}" if known else f"conv_vgg{sum(stages)}"
    blocks, names, shape = _blocks(name, image, widths, stages)
    head: Block = PooledLinear(widths[-1], num_classes)
    if mlp_hidden:
        head = MlpSR(widths[-1], (shape[1], shape[2]), num_classes, convs=0, hidden=mlp_hidden)
    arguments = (
        ("channels", tuple(channels)),
        ("stages", tuple(stages)),
        ("num_classes", num_classes),
        ("width", width),
        ("image", tuple(image)),
        ("mlp_hidden", mlp_hidden),
        ("weights", weights),
    )
    return Backbone(
        name=name,
        constructor="conv_vgg",
        arguments=arguments,
        blocks=tuple(blocks),
        block_names=tuple(names),
        head=head,
        head_name="head",
        num_classes=num_classes,
        image=tuple(image),
        initialise=weights_by(who, weights),
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
    aux_weights: AuxWeights = "pytorch",
) -> Backbone:
    """An ImageNet VGG with BatchNorm: ``layers`` - 3 convolutions as blocks, and three linear layers as the head.

    ``hidden`` are the features of the two hidden linear layers (not multiplied by ``width``), ``dropout`` is theirs
    (DGL's code: 0). ``aux_weights`` is how auxiliary networks start: AugLocal's code makes them after it has drawn the
    network's weights, DGL's ("network") before. Raises LocalgradError for other layers than 11, 13, 16, 19, an unknown
    word, and as ``conv_vgg`` does.
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
    blocks, names, shape = _blocks(f"{who}{layers}", image, widths, _STAGES[layers])
    head = VggClassifier(widths[-1], num_classes, hidden, dropout)
    arguments = (
        ("layers", layers),
        ("num_classes", num_classes),
        ("width", width),
        ("image", tuple(image)),
        ("hidden", hidden),
        ("dropout", dropout),
        ("aux_weights", aux_weights),
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
        initialise_aux=aux_weights_by(who, aux_weights),
    )
    shape_behind(head, shape, _where(backbone.name, image, "the classifier"))
    return backbone


def imagenet_vgg13(num_classes: int = 1000, width: float = 1, image: tuple[int, int, int] = (3, 224, 224)) -> Backbone:
    """ImageNet VGG13 with BatchNorm (10 blocks). See ``imagenet_vgg``."""
    return imagenet_vgg(13, num_classes, width, image)


def imagenet_vgg19(num_classes: int = 1000, width: float = 1, image: tuple[int, int, int] = (3, 224, 224)) -> Backbone:
    """ImageNet VGG19 with BatchNorm (16 blocks). See ``imagenet_vgg``."""
    return imagenet_vgg(19, num_classes, width, image)
