"""InfoPro's decoders: from features back to the image (Wang et al. 2021, appendix; released code; methods.md 5).

Legend: B batch, C channels, H height, W width.
"""

from collections import OrderedDict
from dataclasses import dataclass
from typing import Literal, final

import torch.nn.functional as F
from torch import Tensor, nn

from localgrad.spec import Shape

Upsample = Literal["bilinear", "nearest"]
"""How features are brought to the size of the image; bilinear with aligned corners, as in the released code."""


@final
class Resize(nn.Module):
    """Interpolates h_BCHW to ``size`` (H, W)."""

    def __init__(self, size: tuple[int, int], mode: Upsample) -> None:
        super().__init__()
        self.size, self.mode = size, mode

    def forward(self, h_BCHW: Tensor) -> Tensor:
        """Features of the size asked for; those that have it are handed on as they are."""
        if tuple(h_BCHW.shape[2:]) == self.size:
            return h_BCHW
        align = True if self.mode == "bilinear" else None
        return F.interpolate(h_BCHW, self.size, mode=self.mode, align_corners=align)

    def extra_repr(self) -> str:
        """Size and mode."""
        return f"size={self.size}, mode={self.mode!r}"


def _conv_bn_relu(layers: OrderedDict[str, nn.Module], index: int, channels: int, out: int, kernel: int = 3) -> None:
    # With bias, the only convolutions in InfoPro's code that have one.
    layers[f"conv{index}"] = nn.Conv2d(channels, out, kernel, padding=kernel // 2)
    layers[f"bn{index}"] = nn.BatchNorm2d(out)
    layers[f"relu{index}"] = nn.ReLU(inplace=True)


@final
@dataclass(frozen=True)
class Decoder:
    """Upsampling to ``image`` (C, H, W), ``convs - 1`` x [conv3x3, BN, ReLU] of 12 ``widen`` channels, conv3x3 -> C.

    ``convs`` is 2 in InfoPro (AugLocal's code also has 4). Maps h_BCHW to the image before its sigmoid, logits_BCHW:
    the sigmoid is part of the loss (``losses.reconstruction``).
    """

    in_channels: int
    image: Shape
    convs: int = 2
    widen: int = 1
    upsample: Upsample = "bilinear"

    def build(self) -> nn.Module:
        """A ``nn.Sequential`` of resize, convN, bnN, reluN, out."""
        layers: OrderedDict[str, nn.Module] = OrderedDict(resize=Resize((self.image[1], self.image[2]), self.upsample))
        channels = self.in_channels
        for index in range(1, self.convs):
            _conv_bn_relu(layers, index, channels, 12 * self.widen)
            channels = 12 * self.widen
        layers["out"] = nn.Conv2d(channels, self.image[0], 3, padding=1)
        return nn.Sequential(layers)


@final
@dataclass(frozen=True)
class ImageNetDecoder:
    """conv1x1 -> 128, conv3x3 -> 32, conv3x3 -> 12 (each with BN and ReLU), conv3x3 -> image (C, H, W).

    Before the second, third and last convolution features are brought to a quarter, a half and the whole size of the
    image (56, 112 and 224 pixels). Maps h_BCHW to the image before its sigmoid, logits_BCHW.
    """

    in_channels: int
    image: Shape
    upsample: Upsample = "bilinear"

    def build(self) -> nn.Module:
        """A ``nn.Sequential`` of convN, bnN, reluN, resizeN, out."""
        layers: OrderedDict[str, nn.Module] = OrderedDict()
        channels, (_, height, width) = self.in_channels, self.image
        for index, (out, part) in enumerate(((128, 4), (32, 2), (12, 1)), start=1):
            _conv_bn_relu(layers, index, channels, out, kernel=1 if index == 1 else 3)
            layers[f"resize{index}"] = Resize((height // part, width // part), self.upsample)
            channels = out
        layers["out"] = nn.Conv2d(channels, self.image[0], 3, padding=1)
        return nn.Sequential(layers)
