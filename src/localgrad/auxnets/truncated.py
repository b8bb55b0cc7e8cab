"""AugLocal's auxiliary network: a few later layers of the same network, fresh weights (Ma et al. 2024, section 3)."""

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from math import log2
from typing import final

from torch import nn

from localgrad.spec import AuxSpec, Block, Shape


@final
@dataclass(frozen=True)
class Truncated:
    """Blocks, then a classifier. Maps h_BCHW to logits_BK."""

    blocks: tuple[Block, ...]
    head: AuxSpec

    def build(self) -> nn.Module:
        """A ``nn.Sequential`` of block0, block1, ..., head."""
        layers: OrderedDict[str, nn.Module] = OrderedDict()
        for index, block in enumerate(self.blocks):
            layers[f"block{index}"] = block.build()
        layers["head"] = self.head.build()
        return nn.Sequential(layers)


def resample(blocks: Sequence[Block], out_channels: Sequence[int], shape: Shape) -> tuple[Block, ...]:
    """``blocks`` rebuilt to follow each other on an input of ``shape`` (C, H, W).

    Each keeps its number of output channels; a block gets stride 2 for every doubling of channels since the input that
    is not yet paid for (released code: 16 -> 64 strides now and once more at the next block).
    """
    rebuilt: list[Block] = []
    channels, doublings = shape[0], 0.0
    for block, width in zip(blocks, out_channels, strict=True):
        doublings += log2(width / channels)
        # Rounded, for widths that are doubled only nearly: 42 -> 83 channels.
        stride = 2 if round(doublings, 1) >= 1 else 1
        doublings -= stride - 1
        rebuilt.append(block.rebuild(in_channels=channels, stride=stride))
        channels = width
    return tuple(rebuilt)
