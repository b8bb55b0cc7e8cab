"""Shared block specs and the papers' initialisation."""

from math import sqrt

import pytest
import torch
from torch import nn

from localgrad import LocalgradError
from localgrad.blocks import ConvBNReLU, PooledLinear, he_fan_out


@pytest.mark.parametrize(("kernel", "stride", "groups"), [(3, 1, 1), (3, 2, 2), (1, 2, 1), (5, 1, 4)])
@pytest.mark.parametrize("size", [(8, 8), (7, 5), (1, 1)])
def test_conv_shape_is_what_the_module_gives(kernel: int, stride: int, groups: int, size: tuple[int, int]) -> None:
    block = ConvBNReLU(4, 8, kernel, stride, groups)
    out = block.build().eval()(torch.randn(2, 4, *size))
    assert out.shape[1:] == block.shape((4, *size))
    assert out.min() >= 0


def test_conv_has_no_bias() -> None:
    assert [name for name, _ in ConvBNReLU(3, 4).build().named_parameters()] == ["conv.weight", "bn.weight", "bn.bias"]


def test_rebuild_changes_input_stride_and_groups_only() -> None:
    assert ConvBNReLU(3, 8, 5).rebuild(in_channels=4, stride=2, groups=2) == ConvBNReLU(4, 8, 5, 2, 2)
    assert PooledLinear(3, 8, True).rebuild(in_channels=4) == PooledLinear(4, 8, True)


@pytest.mark.parametrize("batch_norm", [False, True])
def test_pooled_linear(batch_norm: bool) -> None:
    head = PooledLinear(4, 3, batch_norm)
    module = head.build().eval()
    x = torch.randn(2, 4, 5, 3)
    out = module(x)
    assert out.shape[1:] == head.shape((4, 5, 3)) == (3,)
    assert isinstance(module[1], nn.BatchNorm1d) == batch_norm
    if not batch_norm:
        torch.testing.assert_close(out, module.fc(x.mean((2, 3))))


@pytest.mark.parametrize(
    ("block", "shape", "text"),
    [
        (ConvBNReLU(3, 8), (1, 8, 8), r"ConvBNReLU: expected input of shape \(3, H, W\), got \(1, 8, 8\)\."),
        (ConvBNReLU(3, 8), (3,), r"ConvBNReLU: expected input of shape \(3, H, W\), got \(3,\)\."),
        (PooledLinear(3, 8), (4, 2, 2), r"PooledLinear: expected input of shape \(3, H, W\), got \(4, 2, 2\)\."),
    ],
)
def test_wrong_channels(block: ConvBNReLU | PooledLinear, shape: tuple[int, ...], text: str) -> None:
    with pytest.raises(LocalgradError, match=text):
        block.shape(shape)


def test_he_fan_out() -> None:
    """Convolutions have standard deviation sqrt(2 / (k k C_out)); norms are 1 and 0; linear layers are not touched."""
    net = nn.Sequential(nn.Conv2d(16, 64, 3), nn.Conv2d(64, 256, 1), nn.BatchNorm2d(256), nn.Linear(256, 10))
    linear = net[3].weight.clone()
    he_fan_out(net)
    assert net[0].weight.std().item() == pytest.approx(sqrt(2 / (9 * 64)), rel=0.03)
    assert net[1].weight.std().item() == pytest.approx(sqrt(2 / 256), rel=0.03)
    assert net[0].weight.mean().item() == pytest.approx(0, abs=2e-3)
    assert net[2].weight.eq(1).all()
    assert net[2].bias.eq(0).all()
    assert torch.equal(net[3].weight, linear)
