"""What brings features to the shape that a rebuilt block reads: pooling, a 1x1 convolution or linear layer, a norm.

Shape legend: B batch, C channels, P positions (one axis of tokens, two of a map, none of a vector).
"""

from collections import OrderedDict
from dataclasses import dataclass
from math import isqrt, prod
from typing import final

import torch.nn.functional as F
from torch import Tensor, nn

from localgrad.errors import LocalgradError
from localgrad.spec import Shape


def positions(shape: Shape, axis: int) -> Shape:
    """The axes of one sample's ``shape`` without that of the channels: (H, W), (N,), or () of a vector."""
    return (*shape[:axis], *shape[axis + 1 :])


@final
class ChannelsTo(nn.Module):
    """Moves the channels of one sample from ``start`` to ``stop`` (axes counted without the batch); a view."""

    def __init__(self, start: int, stop: int) -> None:
        super().__init__()
        self.start, self.stop = start, stop

    def forward(self, h: Tensor) -> Tensor:
        """The same values, axes in another order."""
        return h.movedim(self.start + 1, self.stop + 1)

    def extra_repr(self) -> str:
        """Both axes."""
        return f"{self.start} -> {self.stop}"


@final
class ToPositions(nn.Module):
    """h_BCP to other ``positions``: averages, or repeated values where there are more than before."""

    def __init__(self, wanted: Shape) -> None:
        super().__init__()
        self.wanted = wanted

    def forward(self, h_BCP: Tensor) -> Tensor:
        """Adaptive average pooling: over the grid where tokens have one on both sides, else in their order."""
        given, (rows, channels), wanted = tuple(h_BCP.shape[2:]), h_BCP.shape[:2], self.wanted
        if not wanted:
            return h_BCP.flatten(2).mean(2)
        if not given:
            return h_BCP.view(rows, channels, *[1] * len(wanted)).expand(rows, channels, *wanted).contiguous()
        before, after = grid(given), grid(wanted)
        if before is not None and after is not None:
            return F.adaptive_avg_pool2d(h_BCP.reshape(rows, channels, *before), after).reshape(rows, channels, *wanted)
        pooled = F.adaptive_avg_pool1d(h_BCP.flatten(2), prod(wanted))
        return pooled.reshape(rows, channels, *wanted)

    def extra_repr(self) -> str:
        """The positions."""
        return f"{self.wanted}"


def grid(sizes: Shape) -> tuple[int, int] | None:
    """Rows and columns of positions: those of a map, the root of a square number of tokens; else None."""
    if len(sizes) == 2:
        return (sizes[0], sizes[1])
    side = isqrt(sizes[0]) if len(sizes) == 1 else 0
    return (side, side) if side > 1 and side * side == sizes[0] else None


def pooling_factor(given: Shape, wanted: Shape) -> int:
    """The factor by which average pooling makes ``wanted`` (H, W) of ``given``, rounded up; 0 where there is none."""
    if len(given) != 2 or len(wanted) != 2 or min(wanted) < 1:
        return 0
    factor = -(-given[0] // wanted[0])
    # The smallest that fits: 7 positions are 4 for a factor of 2, not 3.
    fits = tuple(-(-size // factor) for size in given) == wanted
    return factor if fits else 0


@final
@dataclass(frozen=True)
class Adapter:
    """From features of shape ``given``, channels on ``axis``, to ``wanted`` with channels on ``wanted_axis``.

    Where the maps differ in size, average pooling by a whole factor where one fits (other images than the traced then
    scale with it), else adaptive average pooling to just the positions wanted. Tokens that form a square are pooled as
    a grid, others as runs in their order; a vector is repeated for every position. Where the channels differ, a 1x1
    convolution without bias and a BatchNorm behind it for maps (C, H, W); a linear layer without bias and a LayerNorm
    for tokens, maps with channels last, and vectors. Layers that would do nothing are left out.
    """

    given: Shape
    axis: int
    wanted: Shape
    wanted_axis: int

    @property
    def makes_new(self) -> bool:
        """Whether there is a layer that gives more than a view of its input."""
        before, after = positions(self.given, self.axis), positions(self.wanted, self.wanted_axis)
        return before != after or self.given[self.axis] != self.wanted[self.wanted_axis]

    def layers(self) -> "OrderedDict[str, nn.Module]":
        """The layers by name; none where nothing has to be adapted."""
        found: OrderedDict[str, nn.Module] = OrderedDict()
        before, after = positions(self.given, self.axis), positions(self.wanted, self.wanted_axis)
        channels, width, axis = self.given[self.axis], self.wanted[self.wanted_axis], self.axis
        if before != after:
            if axis:
                found["first"] = ChannelsTo(axis, 0)
            factor, axis = pooling_factor(before, after), 0
            found["pool"] = (
                nn.AvgPool2d(factor, ceil_mode=True, count_include_pad=False) if factor > 1 else ToPositions(after)
            )
        if channels != width:
            last = len(after)
            if self.wanted_axis == 0 and last == 2:
                if axis:
                    found["map"] = ChannelsTo(axis, 0)
                found["conv"] = nn.Conv2d(channels, width, 1, bias=False)
                found["norm"] = nn.BatchNorm2d(width)
                axis = 0
            else:
                if axis != last:
                    found["last"] = ChannelsTo(axis, last)
                found["fc"] = nn.Linear(channels, width, bias=False)
                found["norm"] = nn.LayerNorm(width)
                axis = last
        if axis != self.wanted_axis:
            found["order"] = ChannelsTo(axis, self.wanted_axis)
        return found

    def shape(self, shape: Shape) -> Shape:
        """Shape behind the layers for an input of ``shape``. Raises LocalgradError when its channels do not fit."""
        if shape == self.given:
            return self.wanted
        if len(shape) != len(self.given) or shape[self.axis] != self.given[self.axis]:
            raise LocalgradError(
                f"a rebuilt block made for features of shape {self.given} cannot read {tuple(shape)}: channels are on "
                f"axis {self.axis}, and there must be {self.given[self.axis]}."
            )
        before, after = positions(self.given, self.axis), positions(self.wanted, self.wanted_axis)
        own = positions(shape, self.axis)
        if before != after:
            factor = pooling_factor(before, after)
            own = tuple(-(-size // factor) for size in own) if factor > 1 else after
        return (*own[: self.wanted_axis], self.wanted[self.wanted_axis], *own[self.wanted_axis :])
