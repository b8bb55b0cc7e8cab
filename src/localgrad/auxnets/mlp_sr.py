"""DGL's auxiliary networks on spatially reduced features (Belilovsky et al. 2020; released code; methods.md 2.1)."""

from collections import OrderedDict
from dataclasses import dataclass, replace
from math import ceil
from typing import final

from torch import nn

from localgrad.errors import LocalgradError
from localgrad.spec import Shape


@final
@dataclass(frozen=True)
class MlpSR:
    """MLP-SR: average pooling to a quarter of the size, 1x1 convolutions, pooling to ``pooled``, an MLP.

    With c channels: ``convs`` x [conv1x1 c -> c, BN, ReLU], then ``hidden`` x [Linear -> 4c, BN, ReLU], Linear ->
    classes. ``convs=0`` is DGL's plain MLP head (no first pooling). ``max_hidden`` bounds the width of the hidden
    layers, which is 4c in the paper. ``hidden_bias`` is what DGL's code has and AugLocal's re-implementation has not.
    Maps h_BCHW to logits_BK. Without convolutions it is the head of DGL's own small networks, too (methods.md 2.4).
    """

    in_channels: int
    size: tuple[int, int]
    num_classes: int
    convs: int = 3
    hidden: int = 3
    hidden_bias: bool = True
    pooled: tuple[int, int] = (2, 2)
    max_hidden: int | None = None

    def build(self) -> nn.Module:
        """A ``nn.Sequential``."""
        c = self.in_channels
        layers: list[nn.Module] = []
        if self.convs:
            layers.append(nn.AdaptiveAvgPool2d((ceil(self.size[0] / 4), ceil(self.size[1] / 4))))
        for _ in range(self.convs):
            layers += [nn.Conv2d(c, c, 1, bias=False), nn.BatchNorm2d(c), nn.ReLU(inplace=True)]
        width = c * self.pooled[0] * self.pooled[1]
        layers += [nn.AdaptiveAvgPool2d(self.pooled), nn.Flatten()]
        hidden_width = width if self.max_hidden is None else min(width, self.max_hidden)
        for _ in range(self.hidden):
            layers += [
                nn.Linear(width, hidden_width, bias=self.hidden_bias),
                nn.BatchNorm1d(hidden_width),
                nn.ReLU(inplace=True),
            ]
            width = hidden_width
        return nn.Sequential(*layers, nn.Linear(width, self.num_classes))

    def rebuild(self, *, in_channels: int, stride: int = 1, groups: int = 1) -> "MlpSR":
        """The same head for another number of channels."""
        return replace(self, in_channels=in_channels)

    def shape(self, shape: Shape) -> Shape:
        """(K,), the classes."""
        if len(shape) != 3 or shape[0] != self.in_channels:
            raise LocalgradError(f"MlpSR: expected input of shape ({self.in_channels}, H, W), got {tuple(shape)}.")
        return (self.num_classes,)


@final
@dataclass(frozen=True)
class CnnHead:
    """DGL's ``cnn`` variant: 2 x [conv3x3 c -> c, BN, ReLU], pooling to 2x2, BN, Linear 4c -> classes.

    Maps h_BCHW to logits_BK.
    """

    in_channels: int
    num_classes: int

    def build(self) -> nn.Module:
        """A ``nn.Sequential``."""
        c = self.in_channels
        layers: OrderedDict[str, nn.Module] = OrderedDict()
        for index in (1, 2):
            layers[f"conv{index}"] = nn.Conv2d(c, c, 3, padding=1, bias=False)
            layers[f"bn{index}"] = nn.BatchNorm2d(c)
            layers[f"relu{index}"] = nn.ReLU(inplace=True)
        layers["pool"] = nn.AdaptiveAvgPool2d(2)
        layers["bn"] = nn.BatchNorm2d(c)
        layers["flatten"] = nn.Flatten()
        layers["fc"] = nn.Linear(4 * c, self.num_classes)
        return nn.Sequential(layers)
