"""Auxiliary networks as expensive as others: the width found is the closest there is."""

import pytest

from localgrad import LocalgradError
from localgrad.auxnets import ConvFC, MlpSR, closest, conv_linear_macs, conv_stack, widened

SHAPE = (16, 8, 8)


def test_conv_and_linear_macs() -> None:
    head = ConvFC(16, 10, 32, stride=2, convs=1, fcs=2, hidden=20)
    assert conv_linear_macs(head, SHAPE) == 4 * 4 * 9 * 16 * 32 + 32 * 20 + 20 * 10


def test_widened_multiplies_all_widths() -> None:
    head = ConvFC(16, 10, 32, stride=2, convs=2, fcs=3, hidden=128)
    assert widened(head, 48) == ConvFC(16, 10, 48, stride=2, convs=2, fcs=3, hidden=192)
    assert widened(head, 32) == head
    assert widened(head, 1).hidden == 4


@pytest.mark.parametrize("target", [1, 90_000, 1_234_567, 20_000_000])
def test_closest(target: int) -> None:
    base = ConvFC(16, 10, 32, stride=2)
    found = closest(lambda width: widened(base, width), SHAPE, target)
    assert isinstance(found, ConvFC)
    width = found.conv_channels
    distances = [
        abs(conv_linear_macs(widened(base, other), SHAPE) - target) for other in (width - 1, width, width + 1) if other
    ]
    assert abs(conv_linear_macs(found, SHAPE) - target) == min(distances)


@pytest.mark.parametrize(("depth", "kernel"), [(1, 3), (3, 3), (2, 1)])
def test_stack_of_convolutions(depth: int, kernel: int) -> None:
    stack = conv_stack(SHAPE, 10, depth, kernel, 3_000_000, batch_norm=True)
    width = stack.blocks[0].out_channels
    assert [(block.in_channels, block.kernel) for block in stack.blocks] == [
        (16, kernel),
        *[(width, kernel)] * (depth - 1),
    ]
    assert (stack.head.in_channels, stack.head.batch_norm) == (width, True)

    def macs(width: int) -> int:
        return 64 * kernel**2 * (16 * width + (depth - 1) * width**2) + 10 * width

    assert conv_linear_macs(stack, SHAPE) == macs(width)
    assert abs(macs(width) - 3_000_000) == min(abs(macs(width + i) - 3_000_000) for i in (-1, 0, 1))


def test_no_layer_leaves_the_classifier() -> None:
    assert conv_stack(SHAPE, 10, 0, 3, 1000).blocks == ()
    assert conv_stack(SHAPE, 10, 0, 3, 1000).head.in_channels == 16


def test_what_does_not_grow_cannot_be_widened() -> None:
    """MLP-SR is never wider than 4 times the channels."""
    text = (
        r"MlpSR: cannot be widened to 9000000 multiply-accumulates behind features of shape \(16, 8, 8\); it stays at"
    )
    with pytest.raises(LocalgradError, match=text):
        closest(lambda width: MlpSR(16, (8, 8), 10, max_hidden=width), SHAPE, 9_000_000)
