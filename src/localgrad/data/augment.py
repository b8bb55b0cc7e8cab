"""Augmentation of a whole batch at once: crop and flip in pixel space (uint8) by one gather, and cutout."""

from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor

from localgrad.data.errors import DataError

PadMode = Literal["reflect", "zero"]


@dataclass(frozen=True)
class Augment:
    """Random crop, flip and cutout of training images, drawn per sample. ``Augment()`` changes nothing.

    ``pad`` pixels are added on every side (``reflect``: mirrored without the border pixel; ``zero``: black) and a
    window of the original size is cut at a uniform place; ``flip`` mirrors left and right with probability 1/2, after
    the crop. ``cutout`` is the side in pixels of a square that is then set to the mean colour (0 after normalisation);
    its centre is uniform over all pixels, so that it may reach over the border (DeVries and Taylor 2017; PredSim takes
    16 on CIFAR and SVHN, 14 on 28x28 images, 48 on STL-10). 0: none.
    """

    pad: int = 0
    pad_mode: PadMode = "reflect"
    flip: bool = False
    cutout: int = 0

    def __post_init__(self) -> None:
        for name in ("pad", "cutout"):
            if getattr(self, name) < 0:
                raise DataError(f"Augment.{name}: expected 0 or more pixels, got {getattr(self, name)}")
        if self.pad_mode not in get_args(PadMode):
            raise DataError(f"Augment.pad_mode: expected one of {get_args(PadMode)}, got {self.pad_mode!r}")

    def problems(self, height: int, width: int) -> list[str]:
        """Why this augmentation cannot be done on images of ``height`` x ``width``."""
        found = []
        if self.pad_mode == "reflect" and self.pad >= min(height, width):
            found.append(
                f"Augment.pad: reflection needs pad < the image's shorter side, got pad={self.pad} for "
                f'{height}x{width} images; use a smaller pad or pad_mode="zero"'
            )
        if self.cutout > max(height, width):
            found.append(
                f"Augment.cutout: expected a square no larger than the image, got cutout={self.cutout} for "
                f"{height}x{width} images; use a smaller one"
            )
        return found


def augmented(images_BCHW: Tensor, augment: Augment, draws_3B: Tensor) -> Tensor:
    """Pad, crop back to the original size and flip, each sample by its own draws.

    ``draws_3B`` (int64, on the images' device) holds row and column of the window's corner in the padded image and 1
    where the window is mirrored, as ``draws.crop_and_flip`` makes them. The pixels are those that torchvision's
    ``RandomCrop(size, padding, padding_mode)`` and ``RandomHorizontalFlip`` give for these draws.
    """
    batch, channels, height, width = images_BCHW.shape
    row_B1, column_B1, flip_B1 = draws_3B.unsqueeze(-1).unbind()
    flip_B1 = flip_B1 if augment.flip else torch.zeros_like(flip_B1)
    rows_H = torch.arange(height, device=images_BCHW.device)
    columns_W = torch.arange(width, device=images_BCHW.device)
    # Mirrored windows are read from their last column: w -> width-1-w.
    columns_BW = column_B1 + columns_W + flip_B1 * (width - 1 - 2 * columns_W)
    rows_BH = row_B1 + rows_H
    if augment.pad_mode == "zero":
        images_BCHW = torch.nn.functional.pad(images_BCHW, (augment.pad,) * 4)
    else:
        rows_BH = _reflected(rows_BH - augment.pad, height)
        columns_BW = _reflected(columns_BW - augment.pad, width)
    stride = images_BCHW.shape[-1]
    place_B1P = (rows_BH.unsqueeze(-1) * stride + columns_BW.unsqueeze(-2)).view(batch, 1, height * width)
    pixels_BCP = images_BCHW.flatten(2).gather(2, place_B1P.expand(-1, channels, -1))
    return pixels_BCP.view(batch, channels, height, width)


def cut_out(image_BCHW: Tensor, side: int, centres_2B: Tensor, fill_C11: Tensor) -> Tensor:
    """``image_BCHW`` (floats) with a square of ``side`` pixels in each image set to ``fill_C11``.

    ``centres_2B`` (int64, on the images' device) are row and column, as ``draws.cutout_centres`` makes them. The square
    begins side // 2 before its centre and is cut at the border, as in PredSim's released code.
    """
    inside = []
    for centre_B, size in zip(centres_2B.unbind(), image_BCHW.shape[2:], strict=True):
        offset_BS = torch.arange(size, device=image_BCHW.device) - (centre_B.unsqueeze(1) - side // 2)
        inside.append((offset_BS >= 0) & (offset_BS < side))
    rows_BH, columns_BW = inside
    square_B1HW = (rows_BH.unsqueeze(2) & columns_BW.unsqueeze(1)).unsqueeze(1)
    return torch.where(square_B1HW, fill_C11, image_BCHW)


def _reflected(places: Tensor, size: int) -> Tensor:
    """Places from -(size-1) to 2*size-2, mirrored into 0 .. size-1 without repeating the border."""
    return (size - 1) - ((size - 1) - places.abs()).abs()
