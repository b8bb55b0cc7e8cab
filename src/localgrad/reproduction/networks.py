"""Small versions of the papers' networks: the same family and kind of blocks, for small images and two CPU cores."""

from collections.abc import Callable, Mapping
from typing import Any

from localgrad import backbones
from localgrad.errors import LocalgradError
from localgrad.spec import Backbone

RESNETS = ((32, 38, 44), (20, 26, 32), (14, 20, 26))
"""Layers of the CIFAR ResNets that stand for networks of up to 17, up to 40, and more blocks; by level."""

WIDTH = 0.25
"""Factor on the channels of VGGs."""

Image = tuple[int, int, int]
"""(C, H, W)."""

Made = Callable[[Mapping[str, Any], Image, int], Backbone]


def small_network(backbone: Backbone, image: Image, level: int) -> Backbone:
    """The network that stands for ``backbone`` on images of shape ``image`` (C, H, W) of 10 classes.

    ResNets of every kind become CIFAR ResNets, of which a higher ``level`` (0 to 2) has fewer layers; the others keep
    their family. Raises LocalgradError for a network that has no small version.
    """
    made = MADE.get(backbone.constructor or "")
    if made is None:
        raise LocalgradError(f"there is no small version of {backbone.name}")
    return made({**dict(backbone.arguments), "blocks": len(backbone.blocks)}, image, level)


def _resnet(own: Mapping[str, Any], image: Image, level: int) -> Backbone:
    blocks = own["blocks"]
    layers = RESNETS[level][0 if blocks <= 17 else 1 if blocks <= 40 else 2]
    options = {name: own[name] for name in ("shortcut", "aux_weights") if name in own}
    return backbones.cifar_resnet(layers, 10, own["width"], image, **options)


def _predsim_vgg(own: Mapping[str, Any], image: Image, level: int) -> Backbone:
    layout, poolings = list(own["layout"]), own["layout"].count("M")
    # The first ones go: layers keep their order, later ones their small maps.
    while poolings > _halvings(image):
        layout.remove("M")
        poolings -= 1
    return backbones.predsim_vgg(layout, 10, own["feat_mult"] * WIDTH, own["dropout"], own["nonlinearity"], image)


def _conv_vgg(own: Mapping[str, Any], image: Image, level: int) -> Backbone:
    channels, stages = _fewer_stages(own["channels"], own["stages"], _halvings(image) + 1)
    return backbones.conv_vgg(channels, stages, 10, own["width"] * WIDTH, image, own["mlp_hidden"], own["weights"])


def _imagenet_vgg(own: Mapping[str, Any], image: Image, level: int) -> Backbone:
    like = {13: backbones.vgg13, 19: backbones.vgg19}[own["layers"]]()
    return _conv_vgg({**dict(like.arguments), "width": own["width"]}, image, level)


def _fewer_stages(channels: tuple[int, ...], stages: tuple[int, ...], most: int) -> tuple[list[int], list[int]]:
    """The same number of layers in at most so many stages: what is too many joins the last one."""
    if len(stages) <= most:
        return list(channels), list(stages)
    return list(channels[:most]), [*stages[: most - 1], sum(stages[most - 1 :])]


def _mlp(own: Mapping[str, Any], image: Image, level: int) -> Backbone:
    widths = [max(1, width // 8) for width in own["widths"]]
    return backbones.mlp(widths, 10, own["dropout"], own["nonlinearity"], image)


def _densenet(own: Mapping[str, Any], image: Image, level: int) -> Backbone:
    return backbones.cifar_densenet(40, own["growth"], 10, own["width"], image)


def _narrow(constructor: Callable[..., Backbone]) -> Made:
    """The same network with half the channels."""

    def made(own: Mapping[str, Any], image: Image, level: int) -> Backbone:
        return constructor(10, own["width"] / 2, image)

    return made


def _halvings(image: Image) -> int:
    return min(image[1:]).bit_length() - 1


MADE: Mapping[str, Made] = {
    "cifar_resnet": _resnet,
    "four_stage_resnet": _resnet,
    "imagenet_resnext": _resnet,
    "predsim_vgg": _predsim_vgg,
    "conv_vgg": _conv_vgg,
    "imagenet_vgg": _imagenet_vgg,
    "mlp": _mlp,
    "cifar_densenet": _densenet,
    "cifar_mobilenetv2": _narrow(backbones.cifar_mobilenetv2),
    "cifar_efficientnet_b0": _narrow(backbones.cifar_efficientnet_b0),
    "cifar_regnetx_400mf": _narrow(backbones.cifar_regnetx_400mf),
}
"""By constructor of the paper's network."""
