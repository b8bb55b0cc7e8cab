"""The Bottleneck and the large stem, against torchvision's own."""

import pytest
import torch
from torch import nn
from torchvision.models import resnet

from localgrad import LocalgradError
from localgrad.backbones.bottleneck import Bottleneck, LargeStem


def same_weights(own: nn.Module, theirs: nn.Module) -> None:
    """Random values, also in BatchNorm's buffers, by the order of the tensors."""
    for value in theirs.state_dict().values():
        if value.is_floating_point():
            value.copy_(torch.rand_like(value) + 0.5)
    own.load_state_dict(dict(zip(own.state_dict(), theirs.state_dict().values(), strict=True)))


@pytest.mark.parametrize(("in_channels", "stride"), [(32, 1), (32, 2), (16, 1)])
def test_bottleneck_is_torchvisions(in_channels: int, stride: int) -> None:
    spec = Bottleneck(in_channels, 32, stride)
    own = spec.build().double().eval()
    changes = stride != 1 or in_channels != 32
    shortcut = nn.Sequential(nn.Conv2d(in_channels, 32, 1, stride, bias=False), nn.BatchNorm2d(32))
    theirs = resnet.Bottleneck(in_channels, 8, stride, shortcut if changes else None).double().eval()
    same_weights(own, theirs)
    x = torch.randn(2, in_channels, 7, 6, dtype=torch.float64)
    same = x.clone()
    torch.testing.assert_close(own(x), theirs(x), rtol=1e-12, atol=1e-12)
    assert torch.equal(x, same)
    assert own(x).shape[1:] == spec.shape((in_channels, 7, 6))


def test_groups_are_separate_networks() -> None:
    own = Bottleneck(8, 16, 2, groups=2).build().eval()
    x = torch.randn(1, 8, 6, 6)
    other = x.clone()
    other[:, 4:] += 1
    assert torch.equal(own(x)[:, :8], own(other)[:, :8])
    assert not torch.equal(own(x)[:, 8:], own(other)[:, 8:])


@pytest.mark.parametrize("stride", [1, 2, 4])
@pytest.mark.parametrize("size", [(32, 31), (7, 9)])
def test_stem(stride: int, size: tuple[int, int]) -> None:
    spec = LargeStem(3, 4, stride)
    stem = spec.build().eval()
    assert stem(torch.randn(1, 3, *size)).shape[1:] == spec.shape((3, *size))
    assert [name for name, _ in stem.named_children()] == ["conv", "bn", "relu", *["pool"] * (stride == 4)]


def test_rebuild() -> None:
    assert Bottleneck(4, 8, 2).rebuild(in_channels=2, stride=1, groups=2) == Bottleneck(2, 8, 1, 2)
    assert LargeStem(3, 8).rebuild(in_channels=8, stride=1) == LargeStem(8, 8, 1)
    with pytest.raises(LocalgradError, match=r"LargeStem: stride must be 1, 2 or 4, got 3\."):
        LargeStem(3, 8, 3)
