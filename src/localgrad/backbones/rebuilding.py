"""A later block of a foreign network once more, with fresh weights and behind other features (AugLocal)."""

from collections import OrderedDict
from dataclasses import dataclass
from typing import Protocol, final

from torch import Tensor, nn

from localgrad.backbones.rebuilding_adapter import Adapter
from localgrad.backbones.rebuilding_weights import fresh_copy
from localgrad.errors import LocalgradError
from localgrad.spec import Shape


class TracedBlock(Protocol):
    """What is rebuilt: a block of a foreign network, with the shapes that it was traced with."""

    @property
    def name(self) -> str:
        """Path in the network."""
        ...

    @property
    def module(self) -> nn.Module:
        """The network's own module; only its configuration is read."""
        ...

    @property
    def in_shape(self) -> Shape:
        """Shape of one sample before it."""
        ...

    @property
    def out_shape(self) -> Shape:
        """Shape of one sample behind it."""
        ...

    @property
    def in_axis(self) -> int:
        """Axis of the channels in ``in_shape``."""
        ...

    @property
    def out_axis(self) -> int:
        """Axis of the channels in ``out_shape``."""
        ...

    @property
    def writes(self) -> bool:
        """Whether it writes into its input."""
        ...

    def shape(self, shape: Shape) -> Shape:
        """Shape of the output of one sample."""
        ...


@final
class Copied(nn.Module):
    """Hands on a copy, for a block that changes its input in place."""

    def forward(self, h: Tensor) -> Tensor:
        """The same values in memory of their own."""
        return h.clone()


@final
@dataclass(frozen=True)
class RebuiltBlock:
    """A block of a foreign network with the same classes and configuration and fresh weights, behind ``adapter``.

    The block reads features of the size that it was traced with: window masks, tables of relative positions,
    position embeddings and the like are made for one size. So what differs, channels, positions or the order of axes,
    is adapted in front of it (``Adapter``) and nothing inside is changed; a block with stride keeps its own.
    ``copies`` puts a copy in front of a block that would change its unit's own features in place.
    """

    source: TracedBlock
    adapter: Adapter
    copies: bool = False

    @property
    def out_axis(self) -> int:
        """Axis of the channels in the output of one sample."""
        return self.source.out_axis

    def build(self) -> nn.Module:
        """The copy alone where nothing is adapted, else a ``nn.Sequential`` of adapt, copy, block."""
        block = fresh_copy(self.source.module)
        parts: OrderedDict[str, nn.Module] = OrderedDict()
        if layers := self.adapter.layers():
            parts["adapt"] = nn.Sequential(layers)
        if self.copies:
            parts["copy"] = Copied()
        return nn.Sequential(OrderedDict(parts, block=block)) if parts else block

    def rebuild(self, *, in_channels: int, stride: int, groups: int = 1) -> "RebuiltBlock":
        """The block behind other features; see ``rebuilt``."""
        return rebuilt(self.source, in_channels, stride, groups)

    def behind(self, shape: Shape, axis: int = 0) -> "RebuiltBlock":
        """The block behind features of ``shape`` with channels on ``axis``."""
        return rebuilt_behind(self.source, shape, axis)

    def shape(self, shape: Shape) -> Shape:
        """Shape of the output of one sample. Raises LocalgradError when the block does not run on ``shape``."""
        return self.source.shape(self.adapter.shape(shape))


def rebuilt_behind(source: TracedBlock, shape: Shape, axis: int) -> RebuiltBlock:
    """``source`` with fresh weights behind features of ``shape`` whose channels are on ``axis``."""
    adapter = Adapter(shape, axis, source.in_shape, source.in_axis)
    return RebuiltBlock(source, adapter, source.writes and not adapter.makes_new)


def rebuilt(source: TracedBlock, in_channels: int, stride: int, groups: int = 1) -> RebuiltBlock:
    """``source`` with fresh weights for ``in_channels``, its output ``stride`` times smaller than its input.

    The input is taken to be ``stride`` times as large as the block's traced output (a token count: times the square).
    Raises LocalgradError for ``groups`` above 1: the convolutions of foreign blocks are as they are.
    """
    if groups != 1:
        raise LocalgradError(
            f"block {source.name!r} belongs to a foreign network: its convolutions cannot be made with groups={groups}."
        )
    shape, axis = source.out_shape, source.out_axis
    factor = stride if len(shape) == 3 else stride**2
    given = tuple(in_channels if place == axis else size * factor for place, size in enumerate(shape))
    return rebuilt_behind(source, given, axis)
