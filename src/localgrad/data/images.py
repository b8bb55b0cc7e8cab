"""What a data set is, once read: splits of uint8 images with labels, names, normalisation, augmentation."""

from dataclasses import dataclass
from typing import Literal, Protocol, get_args, runtime_checkable

import torch
from torch import Tensor

from localgrad.data.checks import check_labels, statistics_problems
from localgrad.data.errors import DataError

PadMode = Literal["reflect", "zero"]


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


@dataclass(frozen=True)
class Augment:
    """Random crop and flip of training images, drawn per sample. ``Augment()`` changes nothing.

    ``pad`` pixels are added on every side (``reflect``: mirrored without the border pixel; ``zero``: black) and a
    window of the original size is cut at a uniform place; ``flip`` mirrors left and right with probability 1/2, after
    the crop.
    """

    pad: int = 0
    pad_mode: PadMode = "reflect"
    flip: bool = False

    def __post_init__(self) -> None:
        if self.pad < 0:
            raise DataError(f"Augment.pad: expected 0 or more pixels, got {self.pad}")
        if self.pad_mode not in get_args(PadMode):
            raise DataError(f"Augment.pad_mode: expected one of {get_args(PadMode)}, got {self.pad_mode!r}")

    def problems(self, height: int, width: int) -> list[str]:
        """Why this augmentation cannot be done on images of ``height`` x ``width``."""
        if self.pad_mode == "reflect" and self.pad >= min(height, width):
            return [
                f"Augment.pad: reflection needs pad < the image's shorter side, got pad={self.pad} for "
                f'{height}x{width} images; use a smaller pad or pad_mode="zero"'
            ]
        return []


@dataclass(frozen=True, eq=False)
class ImageSet:
    """A data set in memory. ``mean`` and ``std`` are per channel, for images in [0, 1].

    Raises ``DataError`` where labels are not indices into ``classes``, the splits' image shapes differ, a split is
    empty, or the normalisation does not fit the channels.
    """

    name: str
    train: Split
    test: Split
    classes: tuple[str, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    augment: Augment

    def __post_init__(self) -> None:
        channels, height, width = self.image
        found = statistics_problems(self.mean, self.std, channels) + self.augment.problems(height, width)
        if self.train.images_NCHW.shape[1:] != self.test.images_NCHW.shape[1:]:
            shapes = (tuple(split.images_NCHW.shape[1:]) for split in (self.train, self.test))
            found.append("train and test images must have one shape, got {} and {}".format(*shapes))
        found.extend(f"the {name} split is empty" for name in ("train", "test") if not len(getattr(self, name)))
        if found:
            raise DataError("\n".join(f"{self.name}: {problem}" for problem in found))
        check_labels(self.train.labels_N, len(self.classes), f"{self.name}, train split")
        check_labels(self.test.labels_N, len(self.classes), f"{self.name}, test split")

    @property
    def image(self) -> tuple[int, int, int]:
        """Shape of one image, (C, H, W)."""
        channels, height, width = self.train.images_NCHW.shape[1:]
        return channels, height, width


@runtime_checkable
class Data(Protocol):
    """A data spec: a frozen dataclass that knows where its files are and how to read them.

    ``num_classes`` and ``image`` are None where only the files tell.
    """

    @property
    def name(self) -> str:
        """Short name, for records and reports."""
        ...

    @property
    def num_classes(self) -> int | None:
        """Number of classes, without reading images."""
        ...

    @property
    def image(self) -> tuple[int, int, int] | None:
        """Shape of one image, (C, H, W), without reading images."""
        ...

    def problems(self) -> list[str]:
        """Everything that would make ``load()`` fail and can be seen cheaply; empty when there is nothing."""
        ...

    def load(self) -> ImageSet:
        """Read the set. Raises ``DataError``."""
        ...
