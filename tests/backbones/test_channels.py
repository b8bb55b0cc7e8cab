"""Which axis of a foreign network's features holds the channels."""

from collections.abc import Callable

import pytest
import timm
import torch
from torch import Tensor, nn

from localgrad.backbones.channels import LayerCall, Look, channel_axis, look
from localgrad.backbones.module import wrap

from .foreign_kinds import convnext, mixer, swin, vit


class Transposed(nn.Module):
    """Reads tokens with channels in front, (C, N), and moves them behind."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.fc = nn.Linear(channels, channels)

    def forward(self, h_BCN: Tensor) -> Tensor:
        out: Tensor = self.fc(h_BCN.transpose(1, 2)).transpose(1, 2)
        return out


@pytest.mark.parametrize(("make", "size", "axes"), [(vit, 32, {1}), (swin, 64, {2}), (mixer, 32, {1})])
def test_tokens_and_channels_last(make: Callable[[], nn.Module], size: int, axes: set[int]) -> None:
    backbone = wrap(make(), torch.zeros(1, 3, size, size))
    assert set(backbone.channel_axes()) == axes
    assert all(block.in_axis in axes for block in backbone.blocks[1:])  # type: ignore[attr-defined]
    assert backbone.blocks[0].in_axis == 0  # type: ignore[attr-defined]


def test_maps_whose_axes_are_all_equally_long() -> None:
    """ConvNeXt has linear layers over channels inside its blocks; its maps are (C, H, W) all the same."""
    backbone = wrap(convnext(dims=(8, 8, 8, 8)), torch.zeros(1, 3, 32, 32))
    assert (8, 8, 8) in backbone.shapes()
    assert set(backbone.channel_axes()) == {0}
    last = wrap(swin(embed_dim=16), torch.zeros(1, 3, 64, 64))
    assert (16, 16, 16) in last.shapes()
    assert set(last.channel_axes()) == {2}


def test_localgrads_own_blocks_have_channels_in_front() -> None:
    backbone = wrap(timm.create_model("resnet10t", num_classes=4), torch.zeros(1, 3, 32, 32))
    assert set(backbone.channel_axes()) == {0}


def test_the_layer_behind_decides_then_the_one_before_then_a_width() -> None:
    conv, linear = LayerCall((4, 4, 4), (4, 4, 4), 0, (4, 4)), LayerCall((4, 4, 4), (4, 4, 4), -1, (4, 4))
    assert channel_axis((4, 4, 4), [], [conv, linear]) == 0
    assert channel_axis((4, 4, 4), [conv], [linear, conv]) == 2
    assert channel_axis((4, 4, 4), [conv, linear], []) == 2
    assert channel_axis((5, 7), [], [LayerCall((9, 5), (9, 5), -1, (5, 5))]) == 0
    assert channel_axis((5, 7), [], []) == 1
    assert channel_axis((5, 7, 9), [], []) == 0
    assert channel_axis((5,), [], [conv]) == 0


def test_calls_are_recorded_with_the_axis_of_each_layer() -> None:
    module = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.GroupNorm(2, 4), nn.Linear(6, 7), nn.ReLU())
    calls = look(module, (3, 5, 6)).calls
    assert [(call.axis, call.widths) for call in calls] == [(0, (3, 4)), (0, (4, 4)), (0, (4, 4)), (-1, (6, 7))]
    assert [call.after for call in calls][-1] == (4, 5, 7)
    assert look(Transposed(4), (4, 9)) == Look((LayerCall((9, 4), (9, 4), -1, (4, 4)),), writes=False)
    assert all(not buffer.is_meta for buffer in module.buffers())
    assert channel_axis((4, 9), [], look(Transposed(4), (4, 9)).calls) == 0


def test_a_layer_norm_of_maps() -> None:
    (call,) = look(timm.layers.LayerNorm2d(4), (4, 4, 4)).calls
    assert call.axis == 0
    (call,) = look(nn.LayerNorm(4), (4, 4, 4)).calls
    assert call.axis == -1


def test_what_writes_into_its_input() -> None:
    class Views(nn.Module):
        def forward(self, h: Tensor) -> Tensor:
            return h.flatten(1)[:, 1:].mul_(2)

    writing = [nn.ReLU(inplace=True), nn.Dropout(inplace=True), Views(), nn.Sequential(nn.Identity(), nn.ReLU(True))]
    others = [nn.ReLU(), nn.Dropout(), nn.Sequential(nn.Linear(3, 3), nn.ReLU(inplace=True), nn.Dropout(inplace=True))]
    assert all(look(module, (4, 3)).writes for module in writing)
    assert not any(look(module, (4, 3)).writes for module in others)
