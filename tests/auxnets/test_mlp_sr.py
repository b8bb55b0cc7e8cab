"""DGL's heads: layers as the released code has them, parameters by formula."""

import pytest
import torch
from torch import nn

from localgrad import LocalgradError
from localgrad.auxnets import CnnHead, MlpSR


def kinds(module: nn.Module) -> list[str]:
    return [type(part).__name__ for part in module]


def parameters(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def test_mlp_sr_is_the_official_one() -> None:
    """methods.md 2.1: pool to a quarter, 3 x [conv1x1, BN, ReLU], pool to 2x2, 3 x [Linear with bias, BN, ReLU]."""
    head = MlpSR(16, (32, 32), 10).build()
    conv, hidden = ["Conv2d", "BatchNorm2d", "ReLU"], ["Linear", "BatchNorm1d", "ReLU"]
    pool = "AdaptiveAvgPool2d"
    assert kinds(head) == [pool, *conv * 3, pool, "Flatten", *hidden * 3, "Linear"]
    assert head[0].output_size == (8, 8)
    assert head[10].output_size == (2, 2)
    assert head[1].bias is None
    assert (head[12].bias is None, head[-1].bias is None) == (False, False)


@pytest.mark.parametrize("c", [4, 16])
@pytest.mark.parametrize("hidden", [1, 2, 3])
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("convs", [0, 3])
def test_parameters(c: int, hidden: int, bias: bool, convs: int) -> None:
    head = MlpSR(c, (8, 8), 10, convs=convs, hidden=hidden, hidden_bias=bias).build()
    wide = 4 * c
    expected = convs * (c * c + 2 * c) + hidden * (wide * wide + (bias + 2) * wide) + wide * 10 + 10
    assert parameters(head) == expected
    assert kinds(head)[0] == "AdaptiveAvgPool2d"
    assert kinds(head).count("AdaptiveAvgPool2d") == 1 + bool(convs)


def test_max_hidden_bounds_the_width() -> None:
    head = MlpSR(16, (8, 8), 10, max_hidden=24).build()
    assert [(part.in_features, part.out_features) for part in head if isinstance(part, nn.Linear)] == [
        (64, 24), (24, 24), (24, 24), (24, 10),
    ]  # fmt: skip
    assert parameters(MlpSR(4, (8, 8), 10, max_hidden=999).build()) == parameters(MlpSR(4, (8, 8), 10).build())


@pytest.mark.parametrize("size", [(32, 32), (7, 9), (1, 1), (3, 12)])
def test_any_size(size: tuple[int, int]) -> None:
    x = torch.randn(2, 4, *size)
    assert MlpSR(4, size, 3).build()(x).shape == (2, 3)
    assert MlpSR(4, size, 3, pooled=(1, 2)).build()(x).shape == (2, 3)
    assert CnnHead(4, 3).build()(x).shape == (2, 3)


def test_cnn_head() -> None:
    """2 x [conv3x3, BN, ReLU], pool 2x2, BN, Linear."""
    head = CnnHead(4, 3).build()
    conv = ["Conv2d", "BatchNorm2d", "ReLU"]
    assert kinds(head) == [*conv * 2, "AdaptiveAvgPool2d", "BatchNorm2d", "Flatten", "Linear"]
    assert parameters(head) == 2 * (9 * 16 + 8) + 8 + 16 * 3 + 3


def test_it_is_a_head_of_networks_too() -> None:
    head = MlpSR(8, (8, 8), 5, convs=0, hidden=2)
    assert head.shape((8, 6, 4)) == (5,)
    assert head.rebuild(in_channels=4) == MlpSR(4, (8, 8), 5, convs=0, hidden=2)
    for shape in ((4, 8, 8), (8,)):
        with pytest.raises(LocalgradError, match=r"MlpSR: expected input of shape \(8, H, W\), got"):
            head.shape(shape)
