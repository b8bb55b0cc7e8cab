"""Decoders: layers, sizes, and how features are brought to the size of an image."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from localgrad.auxnets import Decoder, ImageNetDecoder
from localgrad.auxnets.decoder import Resize, Upsample


def convolutions(module: nn.Module) -> list[tuple[int, int, int]]:
    """(in, out, kernel) of every convolution, all with bias and of the same size as their input."""
    found = [part for part in module.modules() if isinstance(part, nn.Conv2d)]
    assert all(part.bias is not None and part.stride == (1, 1) for part in found)
    assert all(part.padding[0] == part.kernel_size[0] // 2 for part in found)
    return [(part.in_channels, part.out_channels, part.kernel_size[0]) for part in found]


@pytest.mark.parametrize(
    ("convs", "widen", "expected"),
    [
        (2, 1, [(16, 12, 3), (12, 3, 3)]),
        (2, 2, [(16, 24, 3), (24, 3, 3)]),
        (4, 1, [(16, 12, 3), (12, 12, 3), (12, 12, 3), (12, 3, 3)]),
    ],
)
def test_decoder(convs: int, widen: int, expected: list[tuple[int, int, int]]) -> None:
    decoder = Decoder(16, (3, 20, 12), convs, widen).build()
    assert convolutions(decoder) == expected
    assert sum(isinstance(part, nn.BatchNorm2d) for part in decoder) == convs - 1
    assert isinstance(decoder[-1], nn.Conv2d)
    assert decoder(torch.randn(2, 16, 5, 3)).shape == (2, 3, 20, 12)


def test_an_image_of_one_channel() -> None:
    assert Decoder(4, (1, 7, 7)).build()(torch.randn(2, 4, 4, 4)).shape == (2, 1, 7, 7)


@pytest.mark.parametrize(("mode", "align"), [("bilinear", True), ("nearest", None)])
def test_resize(mode: Upsample, align: bool | None) -> None:
    h = torch.randn(2, 3, 4, 5)
    expected = F.interpolate(h, (8, 12), mode=mode, align_corners=align)
    assert torch.equal(Resize((8, 12), mode)(h), expected)
    assert Resize((4, 5), mode)(h) is h
    # With aligned corners, features of the right size are what interpolation gives as well.
    assert torch.equal(F.interpolate(h, (4, 5), mode=mode, align_corners=align), h)


def test_mode_reaches_the_layer() -> None:
    for mode in ("bilinear", "nearest"):
        (resize,) = (part for part in Decoder(4, (3, 8, 8), upsample=mode).build() if isinstance(part, Resize))
        assert str(resize) == f"Resize(size=(8, 8), mode='{mode}')"


def test_imagenet_decoder() -> None:
    """methods.md 5: 28x28 to 56, 112 and 224 pixels; here 4x4 to 32."""
    decoder = ImageNetDecoder(16, (3, 32, 32)).build()
    h, sizes = torch.randn(2, 16, 4, 4), []
    for part in decoder:
        h = part(h)
        if isinstance(part, Resize):
            sizes.append(tuple(h.shape[1:]))
    assert convolutions(decoder) == [(16, 128, 1), (128, 32, 3), (32, 12, 3), (12, 3, 3)]
    assert sizes == [(128, 8, 8), (32, 16, 16), (12, 32, 32)]
    assert h.shape == (2, 3, 32, 32)
    assert isinstance(decoder[-1], nn.Conv2d)
