"""Auxiliary networks widened until they cost what others cost (AugLocal, tables 5 and 9; methods.md 10.3).

The paper says that channels were multiplied to give the same FLOPs and not by how much: the width is solved for here.
"""

from collections.abc import Callable

import torch

from localgrad.auxnets.conv_fc import ConvFC
from localgrad.auxnets.selection import closest_width
from localgrad.auxnets.truncated import Truncated
from localgrad.blocks import ConvBNReLU, PooledLinear
from localgrad.count import forward_macs
from localgrad.errors import LocalgradError
from localgrad.spec import AuxSpec, Shape


def conv_linear_macs(spec: AuxSpec, shape: Shape) -> int:
    """Forward MACs of convolutions and linear layers of an auxiliary network behind features of ``shape`` (C, H, W)."""
    with torch.device("meta"):
        module = spec.build()
    counts, _ = forward_macs(module, shape)
    return counts["conv"] + counts["linear"]


WIDEST = 2**20


def closest(make: Callable[[int], AuxSpec], shape: Shape, target: int) -> AuxSpec:
    """``make(width)`` with the width that brings its conv and linear MACs closest to ``target``; they grow with it.

    Raises LocalgradError when they do not grow that far.
    """

    def macs(width: int) -> int:
        found = conv_linear_macs(make(width), shape)
        if width >= WIDEST and found < target:
            raise LocalgradError(
                f"{type(make(1)).__name__}: cannot be widened to {target} multiply-accumulates behind features of "
                f"shape {tuple(shape)}; it stays at {found}. Match a cheaper method, or widen another head."
            )
        return found

    return make(closest_width(macs, target))


def widened(head: ConvFC, conv_channels: int) -> ConvFC:
    """An XcYf head with other channels, and hidden layers widened by the same factor."""
    hidden = max(1, round(head.hidden * conv_channels / head.conv_channels))
    return ConvFC(head.in_channels, head.num_classes, conv_channels, head.stride, head.convs, head.fcs, hidden)


def conv_stack(
    shape: Shape, num_classes: int, depth: int, kernel: int, target: int, *, batch_norm: bool = False
) -> Truncated:
    """``depth`` plain convolutions of equal width behind features of ``shape`` (C, H, W), and a pooled classifier.

    As wide as brings the conv and linear MACs closest to ``target``. Without a layer there is only the classifier.
    """
    channels, positions = shape[0], shape[1] * shape[2]
    if depth == 0:
        return Truncated((), PooledLinear(channels, num_classes, batch_norm))

    def macs(width: int) -> int:
        return positions * kernel**2 * (channels * width + (depth - 1) * width**2) + width * num_classes

    width = closest_width(macs, target)
    blocks = (ConvBNReLU(channels, width, kernel), *(ConvBNReLU(width, width, kernel),) * (depth - 1))
    return Truncated(blocks, PooledLinear(width, num_classes, batch_norm))
