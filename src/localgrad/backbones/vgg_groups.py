"""All neuron groups of a VGG layer as one module: few large operations instead of one small one per group.

A group drops channels of its input by draws of its own; so where layers drop, every group reads an input of its own and
the convolution is a grouped one (the hidden layer a batched product). Without dropout all read the same, and one plain
convolution makes the channels of all. Groups of different sizes: groups of one size that stand side by side run as one.
"""

from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from localgrad.spec import Drawing


@final
class LayerGroups(nn.Module):
    """A built ConvLayer or HiddenLayer, called with the parameters and buffers of its groups one after another.

    ``sizes`` are the output channels of each group. ``reads_all``: each reads all channels of the input; else equal
    shares of them.
    """

    def __init__(self, layer: nn.Sequential, sizes: tuple[int, ...], *, reads_all: bool) -> None:
        super().__init__()
        # The children go by the layer's own names, as the parameters of its groups do.
        for name, child in layer.named_children():
            self.add_module(name, child)
        self.sizes = sizes
        self.reads_all = reads_all

    def forward(self, h: Tensor, drawing: Sequence[Drawing]) -> Tensor:
        """h_BCHW to the outputs of all groups one after another; group i draws inside ``drawing[i]``."""
        scales = self.scales(h, drawing)
        pool = getattr(self, "pool", nn.Identity())
        if not self.reads_all:
            h = pool(h if scales is None else h * torch.cat(scales, 1))
            made = [self.together(h.chunk(len(self.sizes), 1), sum(self.sizes), 0)]
        elif scales is None:
            made = [self.together([pool(h)], sum(self.sizes), 0)]
        else:
            # No border lets gradients through, and the largest value of a dropped channel is the largest one, dropped.
            h = pool(h)
            made = [
                self.together([h * scale for scale in scales[first:stop]], sum(self.sizes[first:stop]), start)
                for first, stop, start in runs(self.sizes)
            ]
        result: Tensor = self.get_submodule("act")(self.get_submodule("bn")(torch.cat(made, 1)))
        return result

    def scales(self, h: Tensor, drawing: Sequence[Drawing]) -> list[Tensor] | None:
        """What every group multiplies its input with, (B, C, 1, 1) each, drawn as the group on its own draws it."""
        dropout = getattr(self, "dropout", None)
        if dropout is None or not self.training:
            return None
        found, shares = [], 1 if self.reads_all else len(self.sizes)
        for entered in drawing:
            with entered():
                found.append(dropout(h.new_ones(len(h), h.shape[1] // shares, 1, 1)))
        return found

    def together(self, inputs: Sequence[Tensor], count: int, start: int) -> Tensor:
        """``count`` outputs from ``start`` on, made in equal shares from the ``inputs``."""
        layer = self.get_submodule("conv" if hasattr(self, "conv") else "fc")
        assert isinstance(layer, nn.Conv2d | nn.Linear)
        assert layer.bias is not None
        weight, bias = layer.weight[start : start + count], layer.bias[start : start + count]
        if isinstance(layer, nn.Conv2d):
            return F.conv2d(torch.cat(list(inputs), 1), weight, bias, layer.stride, layer.padding, groups=len(inputs))
        return products(inputs, weight, bias)


def products(inputs: Sequence[Tensor], weight: Tensor, bias: Tensor) -> Tensor:
    """A linear layer per input, each with its share of the rows: g inputs of B rows to (B, F)."""
    x_gBI = torch.stack([one.flatten(1) for one in inputs])
    weight_gFI, bias_g1F = weight.view(len(inputs), -1, weight.shape[1]), bias.view(len(inputs), 1, -1)
    return torch.baddbmm(bias_g1F, x_gBI, weight_gFI.transpose(1, 2)).transpose(0, 1).flatten(1)


def runs(sizes: Sequence[int]) -> Iterator[tuple[int, int, int]]:
    """Neighbours of one size: the first, the one after the last, and what comes before them in all."""
    first = start = 0
    for size, members in groupby(sizes):
        count = len(list(members))
        yield first, first + count, start
        first, start = first + count, start + count * size
