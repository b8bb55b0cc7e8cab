"""Another data set as a trained network reads images: its size, its channels, its normalisation.

Legend: N samples, C channels, H height, W width.
"""

import math
from dataclasses import dataclass, replace
from typing import Protocol, final, runtime_checkable

import torch
import torch.nn.functional as F
from torch import Tensor

from localgrad.data.augment import Augment
from localgrad.data.errors import DataError
from localgrad.data.images import Data, ImageSet
from localgrad.data.split import Split
from localgrad.data.stream import ImageStream

GREY = (0.299, 0.587, 0.114)
"""Luma of red, green and blue (ITU-R BT.601), as Pillow has it."""
_CHUNK = 2**26
"""Values of float32 held at a time, 256 MiB."""


@final
@dataclass(frozen=True)
class Seen:
    """What a network saw in training: the set's name, its classes, the shape of an image, and the normalisation."""

    name: str
    classes: tuple[str, ...]
    image: tuple[int, int, int]
    mean: tuple[float, ...]
    std: tuple[float, ...]


@runtime_checkable
class Described(Protocol):
    """A data spec that says all of ``Seen`` without reading a file."""

    @property
    def name(self) -> str: ...
    @property
    def classes(self) -> tuple[str, ...]: ...
    @property
    def image(self) -> tuple[int, int, int]: ...
    @property
    def mean(self) -> tuple[float, ...]: ...
    @property
    def std(self) -> tuple[float, ...]: ...


def seen(data: Data) -> Seen:
    """What a network trained on ``data`` saw. The set is read only where its spec does not say it.

    Raises ``DataError`` when the set has to be read and cannot be.
    """
    found: object = data
    if not isinstance(found, Described):
        found = data.load()
        if not isinstance(found, ImageSet | ImageStream):
            raise DataError(f"{data.name}: {type(found).__name__} does not say how its images are normalised.")
    return Seen(found.name, tuple(found.classes), found.image, tuple(found.mean), tuple(found.std))


def fitted(images: ImageSet, like: Seen) -> ImageSet:
    """The set with images of the size and channels that ``like`` has, normalised as its are; classes stay its own.

    Images are resized until they cover the size (bilinear, antialiased, rounded to whole grey values) and cut at the
    centre. A grey image becomes three equal channels, colours become grey by ``GREY``.
    """
    channels, height, width = like.image
    train, test = (
        Split(_resized(_channels(split.images_NCHW, channels), height, width), split.labels_N)
        for split in (images.train, images.test)
    )
    return replace(
        images, train=train, test=test, mean=like.mean, std=like.std, augment=Augment(), classes_per_batch=None
    )


def _channels(images_NCHW: Tensor, channels: int) -> Tensor:
    has = images_NCHW.shape[1]
    if has == channels:
        return images_NCHW
    if has == 1:
        return images_NCHW.expand(-1, channels, -1, -1)
    if (has, channels) != (3, 1):
        raise DataError(f"images of {has} channels cannot be shown to a network that reads {channels}.")
    shares_C11 = torch.tensor(GREY).view(3, 1, 1)
    parts = [(part.float() * shares_C11).sum(1, keepdim=True) for part in _parts(images_NCHW)]
    return torch.cat([part.round().to(torch.uint8) for part in parts])


def _resized(images_NCHW: Tensor, height: int, width: int) -> Tensor:
    has = images_NCHW.shape[2:]
    if tuple(has) == (height, width):
        return images_NCHW.contiguous()
    scale = max(height / has[0], width / has[1])
    size = [max(height, math.floor(has[0] * scale + 0.5)), max(width, math.floor(has[1] * scale + 0.5))]
    top, left = (size[0] - height) // 2, (size[1] - width) // 2
    made = []
    for part in _parts(images_NCHW):
        whole = F.interpolate(part.float(), size, mode="bilinear", antialias=True)
        cut = whole[:, :, top : top + height, left : left + width]
        made.append(cut.round().clamp(0, 255).to(torch.uint8))
    return torch.cat(made)


def _parts(images_NCHW: Tensor) -> tuple[Tensor, ...]:
    return torch.split(images_NCHW, max(1, _CHUNK // math.prod(images_NCHW.shape[1:])))
