"""Neuron groups: a backbone in which some spans are made by several groups side by side (GN-DGL, arXiv 2301.07635).

The first block of such a span is read whole by every group, later ones by the group that made the channels. A block of
groups is a module with children ``g0``, ``g1``, ...; so ``layer1.0.conv1.weight`` becomes ``layer1.0.g0.conv1.weight``.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import accumulate, pairwise
from math import gcd
from typing import final

import torch
from torch import Tensor, nn

from localgrad.errors import LocalgradError
from localgrad.spec import Backbone, Block, FusableBlock, GroupableBlock, JoinableBlock, Shape, Span


@final
class SideBySide(nn.Module):
    """The groups of one block; their outputs one after another along the channels.

    ``sizes`` are the input channels of each group; None: each reads the whole input.
    """

    def __init__(self, groups: Sequence[nn.Module], sizes: tuple[int, ...] | None) -> None:
        super().__init__()
        self.sizes = sizes
        for index, group in enumerate(groups):
            self.add_module(f"g{index}", group)

    def forward(self, h: Tensor) -> Tensor:
        """h_BCHW to the channels of all groups."""
        groups = list(self.children())
        inputs = [h] * len(groups) if self.sizes is None else torch.split(h, list(self.sizes), 1)
        return torch.cat([group(own) for group, own in zip(groups, inputs, strict=True)], 1)


@final
@dataclass(frozen=True)
class OneModule:
    """The groups of one block as one module. ``draws``: it is called with the groups' random streams too."""

    module: nn.Module
    draws: bool


@final
@dataclass(frozen=True)
class GroupedBlock:
    """A block of a backbone that several neuron groups make: ``parts``, one each.

    ``borders`` are the output channels of each, start to stop; ``sizes`` as in SideBySide.
    """

    block: Block
    parts: tuple[Block, ...]
    sizes: tuple[int, ...] | None
    borders: tuple[tuple[int, int], ...]

    def build(self) -> nn.Module:
        """A SideBySide of the parts."""
        return self.joined([part.build() for part in self.parts])

    def joined(self, parts: Sequence[nn.Module]) -> SideBySide:
        """The block made of its groups' modules."""
        return SideBySide(parts, self.sizes)

    def rebuild(self, *, in_channels: int, stride: int, groups: int = 1) -> Block:
        """The block without neuron groups for another input."""
        return self.block.rebuild(in_channels=in_channels, stride=stride, groups=groups)

    def shape(self, shape: Shape) -> Shape:
        """Shape of the output of one sample: that of the block without groups."""
        return self.block.shape(shape)

    def fused(self) -> Block | None:
        """All groups as one block of grouped convolutions; None where groups or block do not allow it."""
        sizes = {stop - start for start, stop in self.borders}
        if not isinstance(self.block, FusableBlock) or len(sizes) > 1:
            return None
        return self.block.fused(len(self.parts), reads_all=self.sizes is None)

    def one_module(self) -> OneModule | None:
        """All groups as one module; None where groups or block do not allow it."""
        reads_all, sizes = self.sizes is None, tuple(stop - start for start, stop in self.borders)
        if isinstance(self.block, JoinableBlock) and (reads_all or len(set(sizes)) == 1):
            return OneModule(self.block.joined(sizes, reads_all=reads_all), draws=True)
        fused = self.fused()
        return None if fused is None else OneModule(fused.build(), draws=False)

    def start_weights(self, part: nn.Module, whole: nn.Module, group: int) -> None:
        """Give one group's module its share of the weights of ``fused().build()``."""
        theirs = dict(whole.named_parameters())
        with torch.no_grad():
            for name, own in part.named_parameters():
                own.copy_(theirs[name].chunk(len(self.parts))[group])


def group_name(block_name: str, group: int) -> str:
    """Name of what a group makes of a block, and of the unit that ends with it."""
    return f"{block_name}.g{group}"


def nearly_equal(width: int, groups: int) -> tuple[int, ...]:
    """``width`` channels in ``groups`` sizes that differ by at most one, the larger first."""
    size, larger = divmod(width, groups)
    return (size + 1,) * larger + (size,) * (groups - larger)


def check_divides(backbone: Backbone, groups: int, who: str) -> None:
    """Raise LocalgradError unless every block of ``backbone`` can be cut into ``groups`` equal parts."""
    widths = [shape[0] for shape in backbone.shapes()]
    common = gcd(*widths)
    for name, width in zip(backbone.block_names, widths, strict=True):
        if width % groups:
            possible = [g for g in range(1, common + 1) if common % g == 0]
            raise LocalgradError(
                f"{who}: groups={groups} does not divide layer {name!r} of {backbone.name}, which has {width} "
                f"channels. Possible for this network: {', '.join(map(str, possible))}."
            )


def _borders(backbone: Backbone, span: Span, index: int, width: int, end: int) -> tuple[tuple[int, int], ...]:
    """Which output channels of block ``index`` each group makes: in proportion to the sizes at the end of the span."""
    edges = [0, *accumulate(span.groups)]
    for edge in edges:
        if edge * width % end:
            raise LocalgradError(
                f"partition: the groups {span.groups} of blocks {span.start} to {span.stop - 1} do not cut layer "
                f"{backbone.block_names[index]!r}, which has {width} channels, in the same proportion. Take groups "
                f"whose sizes times {width}/{end} are whole numbers."
            )
    return tuple((low * width // end, high * width // end) for low, high in pairwise(edges))


def with_groups(backbone: Backbone, spans: Sequence[Span]) -> Backbone:
    """The backbone in which the blocks of ``spans`` are made by the spans' groups; spans of one group stay as they are.

    Raises LocalgradError for sizes that are not those of the span's output or do not cut a layer inside, and for blocks
    that groups cannot make.
    """
    grouped = tuple(span for span in spans if len(span.groups) > 1)
    shapes, blocks = backbone.shapes(), list(backbone.blocks)
    for span in grouped:
        end = shapes[span.stop - 1][0] if len(span) else 0
        if sum(span.groups) != end or min(span.groups) < 1:
            raise LocalgradError(
                f"partition: the groups {span.groups} of blocks {span.start} to {span.stop - 1} must be above 0 and "
                f"have {end} channels together, those of {backbone.block_names[span.stop - 1]!r}."
            )
        before: tuple[tuple[int, int], ...] | None = None
        for index in range(span.start, span.stop):
            block = backbone.blocks[index]
            if not isinstance(block, GroupableBlock):
                raise LocalgradError(
                    f"neuron groups: block {backbone.block_names[index]!r} of {backbone.name} is a "
                    f"{type(block).__name__}, which cannot be made by groups (it has no method group()). Take a CIFAR "
                    "ResNet of basic blocks or a VGG6a of localgrad.backbones."
                )
            borders = _borders(backbone, span, index, shapes[index][0], end)
            sizes = None if before is None else tuple(stop - start for start, stop in before)
            channels = (backbone.image, *shapes)[index][0]
            parts = tuple(
                block.group(channels if sizes is None else sizes[group], start, stop)
                for group, (start, stop) in enumerate(borders)
            )
            blocks[index] = GroupedBlock(block, parts, sizes, borders)
            before = borders
    if not grouped:
        return backbone
    return replace(
        backbone, blocks=tuple(blocks), grouped_spans=grouped, changed_from=backbone.changed_from or backbone
    )


def with_head(backbone: Backbone, head: Block) -> Backbone:
    """The backbone with another head."""
    return replace(backbone, head=head, changed_from=backbone.changed_from or backbone)
