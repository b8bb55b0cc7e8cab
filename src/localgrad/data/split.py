"""A split in memory: uint8 images with labels."""

from dataclasses import dataclass

import torch
from torch import Tensor

from localgrad.data.errors import DataError


@dataclass(frozen=True, eq=False)
class Split:
    """Images and their classes: ``images_NCHW`` uint8 in 0..255, ``labels_N`` int64. ``DataError`` on anything else."""

    images_NCHW: Tensor
    labels_N: Tensor

    def __post_init__(self) -> None:
        images, labels = self.images_NCHW, self.labels_N
        if images.dtype != torch.uint8 or images.ndim != 4:
            raise DataError(f"images: expected uint8 of shape NCHW, got {images.dtype} of shape {tuple(images.shape)}")
        if labels.dtype != torch.int64 or labels.ndim != 1:
            raise DataError(f"labels: expected int64 of shape N, got {labels.dtype} of shape {tuple(labels.shape)}")
        if len(images) != len(labels):
            raise DataError(f"a split needs one label per image, got {len(images)} images and {len(labels)} labels")

    def __len__(self) -> int:
        return len(self.labels_N)

    def to(self, device: torch.device | str) -> "Split":
        """The same split on ``device``; nothing is copied where it lies there already."""
        return Split(self.images_NCHW.to(device), self.labels_N.to(device))

    def take(self, index_M: Tensor) -> "Split":
        """The samples ``index_M`` (int64), in that order, as a new split."""
        return Split(self.images_NCHW[index_M], self.labels_N[index_M])
