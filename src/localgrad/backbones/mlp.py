"""Networks of fully connected layers: PredSim's multi-layer perceptrons (methods.md 4; released code)."""

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import final, get_args

from torch import nn

from localgrad.backbones.checks import check_task
from localgrad.backbones.vgg_layers import HiddenLayer, LinearHead, Nonlinearity, pytorch_default
from localgrad.blocks import check_group
from localgrad.errors import LocalgradError, nearest
from localgrad.spec import Backbone, Block, Shape


@final
@dataclass(frozen=True)
class VectorLayer:
    """[Dropout] Linear + BatchNorm1d + nonlinearity: a vector h_BF to a vector, behind another hidden layer.

    ``dropout`` works on the input, so a loss sees a layer's output before it.
    """

    in_features: int
    out_features: int
    dropout: float = 0.0
    nonlinearity: Nonlinearity = "relu"

    def build(self) -> nn.Module:
        """A ``nn.Sequential`` of [dropout], fc, bn, act."""
        layers: OrderedDict[str, nn.Module] = OrderedDict()
        if self.dropout:
            layers["dropout"] = nn.Dropout(self.dropout)
        # Behind its flattening, the hidden layer of the VGGs is the same.
        hidden = HiddenLayer(self.in_features, (1, 1), self.out_features, nonlinearity=self.nonlinearity).build()
        layers.update((name, part) for name, part in hidden.named_children() if name != "flatten")
        return nn.Sequential(layers)

    def rebuild(self, *, in_channels: int, stride: int, groups: int = 1) -> "VectorLayer":
        """The same layer for another number of features. Raises LocalgradError for a stride or groups."""
        if (stride, groups) != (1, 1):
            raise LocalgradError(
                f"VectorLayer: a layer on vectors has no stride and no convolution groups, got stride={stride}, "
                f"groups={groups}. Take a method that copies no later layers (PredSim), or a network of convolutions."
            )
        return replace(self, in_features=in_channels)

    def group(self, in_channels: int, start: int, stop: int) -> "VectorLayer":
        """The layer of a neuron group: makes features ``start`` to ``stop`` only, from ``in_channels`` features.

        Raises LocalgradError for features that the layer does not have.
        """
        check_group(start, stop, self.out_features, "VectorLayer")
        return replace(self, in_features=in_channels, out_features=stop - start)

    def shape(self, shape: Shape) -> Shape:
        """(F,), the features."""
        if tuple(shape) != (self.in_features,):
            raise LocalgradError(f"VectorLayer: expected input of shape ({self.in_features},), got {tuple(shape)}.")
        return (self.out_features,)


def _check(widths: Sequence[int], dropout: float, nonlinearity: str) -> None:
    whole = isinstance(widths, tuple | list) and all(type(width) is int and width > 0 for width in widths)
    if not whole or not widths:
        raise LocalgradError(
            f"mlp: widths must be the features of the hidden layers, such as (1024, 1024, 1024), got {widths!r}."
        )
    if not 0 <= dropout < 1:
        raise LocalgradError(f"mlp: dropout must be at least 0 and below 1, got {dropout}.")
    if nonlinearity not in get_args(Nonlinearity):
        raise LocalgradError(
            f"mlp: nonlinearity {nonlinearity!r} is unknown. {nearest(str(nonlinearity), get_args(Nonlinearity))}"
        )


def mlp(
    widths: Sequence[int] = (1024, 1024, 1024),
    num_classes: int = 10,
    dropout: float = 0.0,
    nonlinearity: Nonlinearity = "relu",
    image: tuple[int, int, int] = (1, 28, 28),
) -> Backbone:
    """A multi-layer perceptron: flatten, one block of Linear + BatchNorm + nonlinearity per width, a classifier.

    PredSim takes 3 hidden layers of 1024 features on 28x28 images and of 3000 on CIFAR (released code). ``dropout`` is
    on the features that a layer and the classifier read, not on the image. Blocks are ``fc0``, ``fc1``, ...; the
    classifier is ``head``. Weights are PyTorch's defaults.

    Raises LocalgradError for widths, a number of classes, dropout, nonlinearity or image that make no network.
    """
    check_task("mlp", num_classes, image)
    _check(widths, dropout, nonlinearity)
    blocks: list[Block] = [HiddenLayer(image[0], (image[1], image[2]), widths[0], nonlinearity=nonlinearity)]
    for before, width in pairwise(widths):
        blocks.append(VectorLayer(before, width, dropout, nonlinearity))
    arguments = (
        ("widths", tuple(widths)),
        ("num_classes", num_classes),
        ("dropout", dropout),
        ("nonlinearity", nonlinearity),
        ("image", tuple(image)),
    )
    return Backbone(
        name="mlp",
        constructor="mlp",
        arguments=arguments,
        blocks=tuple(blocks),
        block_names=tuple(f"fc{index}" for index in range(len(blocks))),
        head=LinearHead(widths[-1], num_classes, dropout),
        head_name="head",
        num_classes=num_classes,
        image=tuple(image),
        initialise=pytorch_default,
    )
