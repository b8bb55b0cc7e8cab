"""The layers of AugLocal's auxiliary networks: by a rule, the same for all units or one per stage of the network."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Literal, assert_never, get_args

from localgrad.auxnets import (
    Truncated,
    conv_linear_macs,
    conv_stack,
    halvings,
    resample,
    sequential,
    uniform,
    views_of,
)
from localgrad.blocks import ConvBNReLU, PooledLinear
from localgrad.errors import LocalgradError, nearest
from localgrad.spec import Backbone, Block, Shape

Selection = Literal[
    "uniform", "sequential", "repetitive", "conv1x1", "conv3x3", "repetitive-strided", "repetitive-conv3x3"
]
"""Where the layers of an auxiliary network come from.

``uniform``: spread over the later layers; ``sequential``: the next ones; ``repetitive``: copies of the unit's own last
layer; ``conv1x1``, ``conv3x3``: plain convolutions as wide as uniform's multiply-accumulates allow (table 5).
``repetitive-strided``: copies of the own layer that halve the maps where uniform's do (the paper says that they
downsample, not where); ``repetitive-conv3x3``: convolutions with the channels of the own layer (table 10).
"""


def check_selection(selection: Selection | Sequence[Selection]) -> None:
    """Raise LocalgradError unless ``selection`` is a known word, or a tuple of them."""
    words = (selection,) if isinstance(selection, str) else selection
    if not isinstance(words, tuple) or not words:
        raise LocalgradError(
            f"AugLocal: selection must be a word or a tuple of words, one per stage, got {selection!r}."
        )
    for word in words:
        if word not in get_args(Selection):
            raise LocalgradError(f"AugLocal: selection {word!r} is unknown. {nearest(str(word), get_args(Selection))}")


def stages(backbone: Backbone) -> tuple[int, ...]:
    """The stage of every block, from 0: a stage ends where the number of output channels changes."""
    channels = [view.shape[0] for view in views_of(backbone)]
    found = [0]
    for before, after in pairwise(channels):
        found.append(found[-1] + (before != after))
    return tuple(found)


def rule_of(selection: Selection | tuple[Selection, ...], backbone: Backbone, layer: int) -> Selection:
    """The rule for the auxiliary network behind block ``layer``. Raises LocalgradError when stages do not match."""
    if isinstance(selection, str):
        return selection
    own = stages(backbone)
    if len(selection) != own[-1] + 1:
        raise LocalgradError(
            f"AugLocal: selection has {len(selection)} words, {backbone.name} has {own[-1] + 1} stages of equal "
            "channels. Give one word per stage, or a single one."
        )
    return selection[own[layer]]


def select_blocks(rule: Selection, backbone: Backbone, layer: int, shape: Shape, depth: int) -> tuple[Block, ...]:
    """``depth`` blocks (or as many as there are) behind block ``layer``, whose output has ``shape`` (C, H, W)."""
    layers = len(backbone.blocks)
    match rule:
        case "uniform":
            return copies(backbone, layer, uniform(layer, layers, depth), shape)
        case "sequential":
            return copies(backbone, layer, sequential(layer, layers, depth), shape)
        case "repetitive":
            return (_own(backbone, layer, shape),) * depth
        case "repetitive-strided":
            strides = _strides(copies(backbone, layer, uniform(layer, layers, depth), shape), shape)
            strides = (*strides, *(1,) * (depth - len(strides)))
            return tuple(_own(backbone, layer, shape, stride) for stride in strides)
        case "repetitive-conv3x3":
            return (ConvBNReLU(shape[0], shape[0]),) * depth
        case "conv1x1":
            return _convolutions(backbone, layer, shape, depth, kernel=1)
        case "conv3x3":
            return _convolutions(backbone, layer, shape, depth, kernel=3)
        case _:
            assert_never(rule)


def copies(backbone: Backbone, layer: int, layers: tuple[int, ...], shape: Shape) -> tuple[Block, ...]:
    """The blocks ``layers`` rebuilt to follow each other behind block ``layer``."""
    shapes = backbone.shapes()
    halved = halvings(shapes, layer, layers, backbone.halve_on)
    return resample([backbone.blocks[i] for i in layers], [shapes[i][0] for i in layers], shape, halved)


def _own(backbone: Backbone, layer: int, shape: Shape, stride: int = 1) -> Block:
    return backbone.blocks[layer].rebuild(in_channels=shape[0], stride=stride)


def _strides(blocks: Sequence[Block], shape: Shape) -> tuple[int, ...]:
    """2 for every block that makes its map smaller, else 1."""
    strides = []
    for block in blocks:
        after = block.shape(shape)
        strides.append(2 if after[1:] != shape[1:] else 1)
        shape = after
    return tuple(strides)


def _convolutions(backbone: Backbone, layer: int, shape: Shape, depth: int, kernel: int) -> tuple[Block, ...]:
    """A stack as deep as uniform's auxiliary network and as wide as its MACs allow (methods.md 13: no factor known)."""
    blocks = copies(backbone, layer, uniform(layer, len(backbone.blocks), depth), shape)
    channels = backbone.shapes()[-1][0]
    target = conv_linear_macs(Truncated(blocks, PooledLinear(channels, backbone.num_classes)), shape)
    return conv_stack(shape, backbone.num_classes, len(blocks), kernel, target).blocks
