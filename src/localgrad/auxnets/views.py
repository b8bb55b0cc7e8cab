"""How auxiliary networks see features that are no maps (C, H, W): channels last, tokens, vectors (foreign networks).

Legend: B batch, C channels, H height, W width, N tokens.
"""

from collections import OrderedDict
from dataclasses import dataclass
from typing import final

from torch import Tensor, nn

from localgrad.spec import AuxSpec, Backbone, Shape


@final
class ChannelsFirst(nn.Module):
    """h_BHWC to h_BCHW, a view; ``axis`` is that of the channels in one sample."""

    def __init__(self, axis: int) -> None:
        super().__init__()
        self.axis = axis

    def forward(self, h: Tensor) -> Tensor:
        """The same values, channels in front."""
        return h.movedim(self.axis + 1, 1)


@final
class TokenMean(nn.Module):
    """h_BNC to h_BC: a LayerNorm over the channels of each token, then the mean over tokens, class tokens included.

    The norm is there because blocks of transformers add to a stream that nothing normalises before the network's head.
    """

    def __init__(self, channels: int, axis: int) -> None:
        super().__init__()
        self.axis = axis
        self.norm = nn.LayerNorm(channels)

    def forward(self, h: Tensor) -> Tensor:
        """One vector of channels per sample."""
        h_BNC = h.movedim(self.axis + 1, -1).flatten(1, -2)
        normed: Tensor = self.norm(h_BNC)
        return normed.mean(1)


@final
@dataclass(frozen=True)
class View:
    """Features of ``features``, the shape of one sample with channels on ``axis``, as auxiliary networks see them.

    ``shape`` is what these see: (C, H, W) where there are three axes, else the channels alone, (C,): of tokens the
    mean over all of them behind a LayerNorm. No grid is made of tokens: class tokens and registers stand among them.
    """

    features: Shape
    axis: int = 0

    @property
    def shape(self) -> Shape:
        """(C, H, W) or (C,)."""
        channels = self.features[self.axis]
        if len(self.features) != 3:
            return (channels,)
        return (channels, *self.features[: self.axis], *self.features[self.axis + 1 :])

    def of(self, head: AuxSpec) -> AuxSpec:
        """``head``, which reads ``shape``, as one that reads the features themselves."""
        return head if self.shape == self.features and self.axis == 0 else Viewed(self, head)


@final
@dataclass(frozen=True)
class Viewed:
    """``head`` behind what makes its view of the features."""

    view: View
    head: AuxSpec

    def build(self) -> nn.Module:
        """A ``nn.Sequential`` of view, head."""
        axis = self.view.axis
        seen = ChannelsFirst(axis) if len(self.view.shape) == 3 else TokenMean(self.view.shape[0], axis)
        return nn.Sequential(OrderedDict[str, nn.Module](view=seen, head=self.head.build()))


def views_of(backbone: Backbone) -> tuple[View, ...]:
    """The view of the features behind every block; those of localgrad's own networks are seen as they are."""
    return tuple(map(View, backbone.shapes(), backbone.channel_axes()))
