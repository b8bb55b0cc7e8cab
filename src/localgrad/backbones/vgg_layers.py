"""Layers of the VGG networks as block specs: convolution, hidden linear layer, classifier.

What stands between two layers in a layout (dropout, max-pooling) is the *front* of the later one: a pooling that closes
a stage opens the next block (methods.md 0). So a loss sees a layer's output before dropout and pooling, and the next
layer reads what is left of it, as PredSim has it, and no rule outside of the block is needed for that.
"""

from collections import OrderedDict
from dataclasses import dataclass, replace
from math import prod
from typing import Literal, assert_never, final

from torch import nn

from localgrad.backbones.vgg_groups import LayerGroups
from localgrad.blocks import check_group, conv_shape
from localgrad.errors import LocalgradError
from localgrad.spec import Shape

Nonlinearity = Literal["relu", "leaky_relu"]
"""ReLU, or LeakyReLU with slope 0.01 (PredSim's choice for its sim and predsim losses)."""


def pytorch_default(module: nn.Module) -> None:
    """Keep the weights that PyTorch draws when it makes a layer, as PredSim's code does."""


def _activation(nonlinearity: Nonlinearity) -> nn.Module:
    match nonlinearity:
        case "relu":
            return nn.ReLU(inplace=True)
        case "leaky_relu":
            return nn.LeakyReLU(0.01, inplace=True)
        case _:
            assert_never(nonlinearity)


def _pooled(shape: Shape, who: str) -> Shape:
    """(C, H, W) after max-pooling by 2, which drops an odd last row or column."""
    if len(shape) != 3 or min(shape[1:]) < 2:
        raise LocalgradError(
            f"{who}: expected input of shape (C, H, W), at least 2x2 before max-pooling, got {tuple(shape)}. "
            "Take larger images or fewer poolings."
        )
    return (shape[0], shape[1] // 2, shape[2] // 2)


@final
@dataclass(frozen=True)
class ConvLayer:
    """[Dropout2d, MaxPool 2x2] convolution ('same' padding, with bias) + BatchNorm + nonlinearity.

    ``pool`` and ``dropout`` work on the input.
    """

    in_channels: int
    out_channels: int
    pool: bool = False
    dropout: float = 0.0
    nonlinearity: Nonlinearity = "relu"
    kernel: int = 3
    stride: int = 1
    groups: int = 1

    def build(self) -> nn.Sequential:
        """A ``nn.Sequential`` of [dropout], [pool], conv, bn, act."""
        layers: OrderedDict[str, nn.Module] = OrderedDict()
        if self.dropout:
            layers["dropout"] = nn.Dropout2d(self.dropout)
        if self.pool:
            layers["pool"] = nn.MaxPool2d(2)
        layers["conv"] = nn.Conv2d(
            self.in_channels, self.out_channels, self.kernel, self.stride, self.kernel // 2, groups=self.groups
        )
        layers["bn"] = nn.BatchNorm2d(self.out_channels)
        layers["act"] = _activation(self.nonlinearity)
        return nn.Sequential(layers)

    def rebuild(self, *, in_channels: int, stride: int, groups: int = 1) -> "ConvLayer":
        """The same layer for another input; stride 2 is a max-pooling in front (AugLocal, methods.md 10.1)."""
        return replace(self, in_channels=in_channels, pool=stride > 1, stride=1, groups=groups)

    def group(self, in_channels: int, start: int, stop: int) -> "ConvLayer":
        """The layer of a neuron group: makes output channels ``start`` to ``stop`` only, from ``in_channels``.

        Raises LocalgradError for channels that the layer does not have.
        """
        check_group(start, stop, self.out_channels, "ConvLayer")
        return replace(self, in_channels=in_channels, out_channels=stop - start)

    def joined(self, sizes: tuple[int, ...], *, reads_all: bool) -> nn.Module:
        """All neuron groups of the layer as one module."""
        return LayerGroups(self.build(), sizes, reads_all=reads_all)

    def shape(self, shape: Shape) -> Shape:
        """(C, H, W) of the output."""
        pooled = _pooled(shape, "ConvLayer") if self.pool else shape
        return conv_shape(pooled, self.in_channels, self.out_channels, self.stride, "ConvLayer")


@final
@dataclass(frozen=True)
class HiddenLayer:
    """[Dropout2d, MaxPool 2x2] flatten, Linear + BatchNorm1d + nonlinearity: feature maps h_BCHW to a vector h_BF.

    ``size`` is (H, W) of the input, before pooling.
    """

    in_channels: int
    size: tuple[int, int]
    out_features: int
    pool: bool = False
    dropout: float = 0.0
    nonlinearity: Nonlinearity = "relu"

    def build(self) -> nn.Sequential:
        """A ``nn.Sequential`` of [dropout], [pool], flatten, fc, bn, act."""
        layers: OrderedDict[str, nn.Module] = OrderedDict()
        if self.dropout:
            layers["dropout"] = nn.Dropout2d(self.dropout)
        if self.pool:
            layers["pool"] = nn.MaxPool2d(2)
        layers["flatten"] = nn.Flatten()
        layers["fc"] = nn.Linear(prod(self._flattened()), self.out_features)
        layers["bn"] = nn.BatchNorm1d(self.out_features)
        layers["act"] = _activation(self.nonlinearity)
        return nn.Sequential(layers)

    def rebuild(self, *, in_channels: int, stride: int, groups: int = 1) -> "HiddenLayer":
        """Raises LocalgradError: the layer is tied to its input's size, and only vectors can follow it."""
        raise LocalgradError(
            "HiddenLayer: a fully connected layer between feature maps and a classifier cannot be copied into an "
            "auxiliary network. Take a method that copies no later layers (DGL, PredSim), or a network that ends in "
            "feature maps, such as vgg19."
        )

    def group(self, in_channels: int, start: int, stop: int) -> "HiddenLayer":
        """The layer of a neuron group: makes features ``start`` to ``stop`` only, from all of ``in_channels``.

        Raises LocalgradError for features that the layer does not have.
        """
        check_group(start, stop, self.out_features, "HiddenLayer")
        return replace(self, in_channels=in_channels, out_features=stop - start)

    def joined(self, sizes: tuple[int, ...], *, reads_all: bool) -> nn.Module:
        """All neuron groups of the layer as one module."""
        return LayerGroups(self.build(), sizes, reads_all=reads_all)

    def shape(self, shape: Shape) -> Shape:
        """(F,), the features."""
        if tuple(shape) != (self.in_channels, *self.size):
            raise LocalgradError(
                f"HiddenLayer: expected input of shape {(self.in_channels, *self.size)}, got {tuple(shape)}."
            )
        self._flattened()
        return (self.out_features,)

    def _flattened(self) -> Shape:
        """(C, H, W) that is flattened. Raises LocalgradError when there is nothing to pool."""
        shape: Shape = (self.in_channels, *self.size)
        return _pooled(shape, "HiddenLayer") if self.pool else shape


@final
@dataclass(frozen=True)
class LinearHead:
    """[Dropout] Linear: the classifier behind a hidden layer, h_BF to logits_BK."""

    in_features: int
    num_classes: int
    dropout: float = 0.0

    def build(self) -> nn.Module:
        """A ``nn.Sequential`` of [dropout], fc."""
        layers: OrderedDict[str, nn.Module] = OrderedDict()
        if self.dropout:
            layers["dropout"] = nn.Dropout(self.dropout)
        layers["fc"] = nn.Linear(self.in_features, self.num_classes)
        return nn.Sequential(layers)

    def rebuild(self, *, in_channels: int, stride: int = 1, groups: int = 1) -> "LinearHead":
        """The same classifier for another number of features."""
        return replace(self, in_features=in_channels)

    def shape(self, shape: Shape) -> Shape:
        """(K,), the classes."""
        if tuple(shape) != (self.in_features,):
            raise LocalgradError(f"LinearHead: expected input of shape ({self.in_features},), got {tuple(shape)}.")
        return (self.num_classes,)
