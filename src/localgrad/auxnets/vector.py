"""Classifiers behind a vector of channels: DGL's MLP and AugLocal's linear layer where the features are tokens."""

from collections import OrderedDict
from dataclasses import dataclass
from typing import final

from torch import nn

from localgrad.errors import LocalgradError
from localgrad.spec import Shape


@final
@dataclass(frozen=True)
class VectorMLP:
    """[BatchNorm], ``hidden`` x [Linear, BatchNorm, ReLU], Linear. Maps h_BC to logits_BK.

    The hidden layers are 4 times as wide as the features, DGL's width rule for maps (methods.md 2.1), and at most
    ``max_hidden``. There is nothing to pool and a 1x1 convolution would be one more linear layer: MLP-SR on a vector is
    its MLP. Without hidden layers it is a linear classifier, with ``batch_norm`` behind a norm.
    """

    in_channels: int
    num_classes: int
    hidden: int = 3
    max_hidden: int | None = None
    hidden_bias: bool = True
    batch_norm: bool = False

    def build(self) -> nn.Module:
        """A ``nn.Sequential`` of [bn], fcN, bnN, reluN, fc."""
        layers: OrderedDict[str, nn.Module] = OrderedDict()
        if self.batch_norm:
            layers["bn"] = nn.BatchNorm1d(self.in_channels)
        width = self.in_channels
        hidden_width = 4 * width if self.max_hidden is None else min(4 * width, self.max_hidden)
        for index in range(1, self.hidden + 1):
            layers[f"fc{index}"] = nn.Linear(width, hidden_width, bias=self.hidden_bias)
            layers[f"bn{index}"] = nn.BatchNorm1d(hidden_width)
            layers[f"relu{index}"] = nn.ReLU(inplace=True)
            width = hidden_width
        layers["fc"] = nn.Linear(width, self.num_classes)
        return nn.Sequential(layers)

    def shape(self, shape: Shape) -> Shape:
        """(K,), the classes."""
        if shape != (self.in_channels,):
            raise LocalgradError(f"VectorMLP: expected features of shape ({self.in_channels},), got {tuple(shape)}.")
        return (self.num_classes,)
