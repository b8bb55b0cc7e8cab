"""AugLocal's auxiliary network: a few later layers of the same network, fresh weights (Ma et al. 2024, section 3)."""

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import log2
from typing import Literal, final

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


def halvings(
    shapes: Sequence[Shape], layer: int, copied: Sequence[int], halve_on: Literal["size", "width"] = "size"
) -> tuple[int, ...]:
    """How often an auxiliary network behind ``layer`` halves its maps before each of the ``copied`` later layers.

    ``shapes`` (C, H, W) are those of the network after every layer. "size": as often as the network's own layers make
    their maps smaller up to there. "width": once where the channels change (VGGs, released code).
    """
    steps = tuple(pairwise((layer, *copied)))
    if halve_on == "width":
        return tuple(int(shapes[start][0] != shapes[stop][0]) for start, stop in steps)
    return tuple(sum(shapes[i + 1][1:] < shapes[i][1:] for i in range(start, stop)) for start, stop in steps)


def resample(
    blocks: Sequence[Block], out_channels: Sequence[int], shape: Shape, halved: Sequence[int] | None = None
) -> tuple[Block, ...]:
    """``blocks`` rebuilt to follow each other on an input of ``shape`` (C, H, W).

    Each keeps its number of output channels. ``halved`` says how many ``halvings`` lie before each block; without it,
    one for every doubling of channels, as in ResNets. A block gets stride 2 for one halving that is not yet paid for
    (released code: 16 -> 64 channels strides now and once more at the next block).
    """
    rebuilt: list[Block] = []
    channels, due = shape[0], 0.0
    for index, (block, width) in enumerate(zip(blocks, out_channels, strict=True)):
        due += log2(width / channels) if halved is None else halved[index]
        # Rounded, for widths that are doubled only nearly: 42 -> 83 channels.
        stride = 2 if round(due, 1) >= 1 else 1
        due -= stride - 1
        rebuilt.append(block.rebuild(in_channels=channels, stride=stride))
        channels = width
    return tuple(rebuilt)
