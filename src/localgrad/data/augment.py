"""Crop and flip of a whole batch at once, in pixel space (uint8), by one gather."""

import torch
from torch import Tensor

from localgrad.data.images import Augment


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


def _reflected(places: Tensor, size: int) -> Tensor:
    """Places from -(size-1) to 2*size-2, mirrored into 0 .. size-1 without repeating the border."""
    return (size - 1) - ((size - 1) - places.abs()).abs()
