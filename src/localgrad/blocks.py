"""Block specs that several backbones and auxiliary networks share, and the weight initialisation of the papers."""

import math
from collections import OrderedDict
from dataclasses import dataclass, replace
from typing import final

from torch import nn

from localgrad.errors import LocalgradError
from localgrad.pooling import GlobalAvgPool
from localgrad.spec import Shape


def he_fan_out(module: nn.Module) -> None:
    """Initialise as the InfoPro family of codes does (methods.md 0): every Conv2d ~ N(0, sqrt(2 / (kh kw C_out))).

    BatchNorm keeps weight 1 and bias 0, Linear layers and convolution biases keep PyTorch's default.
    """
    for part in module.modules():
        if isinstance(part, nn.Conv2d) and not part.weight.is_meta:
            fan_out = part.kernel_size[0] * part.kernel_size[1] * part.out_channels
            nn.init.normal_(part.weight, 0.0, math.sqrt(2.0 / fan_out))


def conv_shape(shape: Shape, in_channels: int, out_channels: int, stride: int, who: str) -> Shape:
    """(C, H, W) after a 'same'-padded convolution. Raises LocalgradError when the channels do not fit."""
    if len(shape) != 3 or shape[0] != in_channels:
        raise LocalgradError(f"{who}: expected input of shape ({in_channels}, H, W), got {tuple(shape)}.")
    return (out_channels, -(-shape[1] // stride), -(-shape[2] // stride))


def check_group(start: int, stop: int, out_channels: int, who: str) -> None:
    """Raise LocalgradError unless ``start`` to ``stop`` are output channels that a block has."""
    if not 0 <= start < stop <= out_channels:
        raise LocalgradError(
            f"{who}.group: expected 0 <= start < stop <= {out_channels}, got start={start}, stop={stop}."
        )


@final
@dataclass(frozen=True)
class ConvBNReLU:
    """Convolution (no bias, 'same' padding) + BatchNorm + ReLU: the stem of a ResNet, the layer of a conv head."""

    in_channels: int
    out_channels: int
    kernel: int = 3
    stride: int = 1
    groups: int = 1

    def build(self) -> nn.Module:
        """A ``nn.Sequential`` of conv, bn, relu."""
        conv = nn.Conv2d(
            self.in_channels,
            self.out_channels,
            self.kernel,
            self.stride,
            self.kernel // 2,
            groups=self.groups,
            bias=False,
        )
        return nn.Sequential(
            OrderedDict(conv=conv, bn=nn.BatchNorm2d(self.out_channels), relu=nn.ReLU(inplace=True)),
        )

    def rebuild(self, *, in_channels: int, stride: int, groups: int = 1) -> "ConvBNReLU":
        """The same layer for another input."""
        return replace(self, in_channels=in_channels, stride=stride, groups=groups)

    def group(self, in_channels: int, start: int, stop: int) -> "ConvBNReLU":
        """The layer of a neuron group: makes output channels ``start`` to ``stop`` only, from ``in_channels``.

        Raises LocalgradError for channels that the layer does not have.
        """
        check_group(start, stop, self.out_channels, "ConvBNReLU")
        return replace(self, in_channels=in_channels, out_channels=stop - start)

    def fused(self, groups: int, *, reads_all: bool) -> "ConvBNReLU":
        """All neuron groups of the layer as one."""
        return replace(self, groups=1 if reads_all else groups)

    def shape(self, shape: Shape) -> Shape:
        """(C, H, W) of the output."""
        return conv_shape(shape, self.in_channels, self.out_channels, self.stride, "ConvBNReLU")


@final
@dataclass(frozen=True)
class PooledLinear:
    """Global average pooling, [BatchNorm1d], Linear: the classifier of CIFAR ResNets and the 0c1f head.

    ``batch_norm`` is AugLocal's choice for short auxiliary networks (methods.md 12, row 4).
    """

    in_channels: int
    num_classes: int
    batch_norm: bool = False

    def build(self) -> nn.Module:
        """A ``nn.Sequential`` of pool, [bn], fc, from h_BCHW to logits_BK."""
        layers: OrderedDict[str, nn.Module] = OrderedDict(pool=GlobalAvgPool())
        if self.batch_norm:
            layers["bn"] = nn.BatchNorm1d(self.in_channels)
        layers["fc"] = nn.Linear(self.in_channels, self.num_classes)
        return nn.Sequential(layers)

    def rebuild(self, *, in_channels: int, stride: int = 1, groups: int = 1) -> "PooledLinear":
        """The same classifier for another number of channels."""
        return replace(self, in_channels=in_channels)

    def shape(self, shape: Shape) -> Shape:
        """(K,), the classes."""
        if len(shape) != 3 or shape[0] != self.in_channels:
            raise LocalgradError(
                f"PooledLinear: expected input of shape ({self.in_channels}, H, W), got {tuple(shape)}."
            )
        return (self.num_classes,)


@final
@dataclass(frozen=True)
class PooledFeatures:
    """The head of a network that has no classifier: features_BC by global average pooling; vectors as they are.

    ``in_shape`` is the shape of one sample, (C, H, W) or (C,).
    """

    in_shape: Shape

    def build(self) -> nn.Module:
        """A ``nn.Sequential`` of pool, or of nothing."""
        layers: OrderedDict[str, nn.Module] = OrderedDict()
        if len(self.in_shape) == 3:
            layers["pool"] = GlobalAvgPool()
        return nn.Sequential(layers)

    def rebuild(self, *, in_channels: int, stride: int = 1, groups: int = 1) -> "PooledFeatures":
        """The same head for another number of channels."""
        return replace(self, in_shape=(in_channels, *self.in_shape[1:]))

    def shape(self, shape: Shape) -> Shape:
        """(C,), the features."""
        if len(shape) != len(self.in_shape) or shape[0] != self.in_shape[0]:
            raise LocalgradError(f"PooledFeatures: expected input like {self.in_shape}, got {tuple(shape)}.")
        return (shape[0],)
