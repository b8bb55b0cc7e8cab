"""Later layers rebuilt behind an earlier one."""

import pytest
import torch

from localgrad.auxnets import Truncated, halvings, resample
from localgrad.backbones.resnet import BasicBlock
from localgrad.blocks import PooledLinear


def strides(first: int, *widths: int) -> list[tuple[int, int]]:
    blocks = resample([BasicBlock(1, width, 2) for width in widths], widths, (first, 8, 8))
    assert [block.out_channels for block in blocks] == list(widths)
    return [(block.in_channels, block.stride) for block in blocks]


@pytest.mark.parametrize(
    ("widths", "expected"),
    [
        ((16, 16), [(16, 1)]),
        ((16, 32), [(16, 2)]),
        ((16, 64), [(16, 2)]),
        ((16, 64, 64), [(16, 2), (64, 2)]),
        ((16, 64, 64, 64), [(16, 2), (64, 2), (64, 1)]),
        ((16, 16, 32, 64), [(16, 1), (16, 2), (32, 2)]),
        ((16, 128, 128, 128), [(16, 2), (128, 2), (128, 2)]),
        ((16, 24, 32), [(16, 1), (24, 2)]),
        ((16, 16), [(16, 1)]),
    ],
)
def test_a_stride_for_every_doubling(widths: tuple[int, ...], expected: list[tuple[int, int]]) -> None:
    """methods.md 10.1: 16 to 64 strides now and once more at the next block."""
    assert strides(*widths) == expected


def test_truncated() -> None:
    blocks = resample([BasicBlock(8, 8), BasicBlock(8, 16, 2)], (8, 16), (4, 8, 8))
    module = Truncated(blocks, PooledLinear(16, 3)).build()
    assert [name for name, _ in module.named_children()] == ["block0", "block1", "head"]
    assert module(torch.randn(2, 4, 8, 8)).shape == (2, 3)
    only_head = Truncated((), PooledLinear(4, 3)).build()
    assert [name for name, _ in only_head.named_children()] == ["head"]


def test_widths_that_double_only_nearly_are_strided_too() -> None:
    # A ResNet of width 1.3 has 21, 42 and 83 channels.
    blocks = resample([BasicBlock(21, 42, 2), BasicBlock(42, 83, 2)], [42, 83], (21, 32, 32))
    assert [block.shape((channels, 8, 8)) for block, channels in zip(blocks, (21, 42), strict=True)] == [
        (42, 4, 4),
        (83, 4, 4),
    ]


@pytest.mark.parametrize(
    ("layer", "copied", "by_size", "by_width"),
    [
        (0, (1, 2, 3, 4, 5), (0, 1, 0, 1, 1), (1, 1, 0, 1, 0)),
        (0, (2, 5), (1, 2), (1, 1)),
        (1, (5,), (3,), (1,)),
        (2, (3,), (0,), (0,)),
        (4, (5,), (1,), (0,)),
        (5, (), (), ()),
    ],
)
def test_halvings(layer: int, copied: tuple[int, ...], by_size: tuple[int, ...], by_width: tuple[int, ...]) -> None:
    """Channels need not double where maps shrink, and an odd size is halved to the next larger."""
    shapes = [(64, 9, 5), (32, 9, 5), (48, 5, 3), (48, 5, 3), (160, 3, 2), (160, 3, 1)]
    assert halvings(shapes, layer, copied) == by_size
    assert halvings(shapes, layer, copied, "width") == by_width


def test_halvings_not_yet_paid_for_are_paid_block_by_block() -> None:
    blocks = resample([BasicBlock(1, 40)] * 4, [40] * 4, (64, 16, 16), (0, 2, 0, 0))
    assert [(block.in_channels, block.stride) for block in blocks] == [(64, 1), (40, 2), (40, 2), (40, 1)]
