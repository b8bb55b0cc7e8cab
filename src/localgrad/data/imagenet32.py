"""ImageNet at 32x32 pixels."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from localgrad.data.augment import Augment
from localgrad.data.checks import check_labels
from localgrad.data.errors import DataError
from localgrad.data.files import Form
from localgrad.data.images import ImageSet
from localgrad.data.published import Published, locate, problems, root_text
from localgrad.data.split import Split
from localgrad.data.streamed_folder import MEAN, STD

_PIXELS = 3 * 32 * 32
_CLASSES = 1000
_TRAIN = tuple(f"train_data_batch_{number}.npz" for number in range(1, 11))
_TEST = ("val_data.npz",)
_COUNTS = {_TRAIN: 1_281_167, _TEST: 50_000}
_PUBLISHED = Published(
    name="imagenet32",
    forms=(Form((*_TRAIN, *_TEST), ("imagenet32",)),),
    sources=(
        "on the ImageNet project's download page, after registration, among the downsampled images: the npz format at "
        "32x32, one archive for train and one for validation, both unpacked into this folder",
    ),
)

_log = logging.getLogger("localgrad")


@dataclass(frozen=True)
class ImageNet32:
    """ImageNet at 32x32: 1,281,167 training and 50,000 validation images (the test split), 1,000 classes, (3, 32, 32).

    Read from train_data_batch_1.npz to 10 and val_data.npz in ``root`` (None: the folder ``data``) or its sub-folder
    ``imagenet32``. Nothing is downloaded, as the files are given out after registration only. The training images are
    3.9 GB as uint8, on the run's device; reading takes one file more than that. Classes are named by their published
    numbers, 1 to 1000; labels count from 0.

    Default augmentation (pad 4 with zeros, crop, flip) and ImageNet's normalisation are those of GN-DGL (methods.md
    0.1). Source: Chrabaszcz, Loshchilov, Hutter 2017.
    """

    root: str | Path | None = None
    augment: Augment = Augment(pad=4, pad_mode="zero", flip=True)  # noqa: RUF009 -- frozen
    mean: tuple[float, ...] = MEAN
    std: tuple[float, ...] = STD

    name: ClassVar[str] = "imagenet32"
    num_classes: ClassVar[int] = _CLASSES
    image: ClassVar[tuple[int, int, int]] = (3, 32, 32)

    def __post_init__(self) -> None:
        object.__setattr__(self, "root", root_text(self.root))

    def problems(self) -> list[str]:
        """Missing files and wrong numbers, without reading."""
        return problems(_PUBLISHED, self, str(self.root), fetch=False)

    def load(self) -> ImageSet:
        """Read the files. Raises ``DataError`` for files that are missing, damaged or not ImageNet32's."""
        if found := self.problems():
            raise DataError("\n".join(found))
        folder = locate(_PUBLISHED, str(self.root), fetch=False).place
        train, test = (_split(folder, names) for names in (_TRAIN, _TEST))
        classes = tuple(map(str, range(1, _CLASSES + 1)))
        return ImageSet(self.name, train, test, classes, self.mean, self.std, self.augment)


def _split(folder: Path, names: Sequence[str]) -> Split:
    """All batch files of a split. Labels first: they are small, and give the number of images to make room for."""
    labels = [_labels(folder / name) for name in names]
    total = sum(map(len, labels))
    if total != _COUNTS[tuple(names)]:
        _log.warning("%s: %d images in %s, published are %d", folder, total, ", ".join(names), _COUNTS[tuple(names)])
    try:
        images_NCHW = torch.empty((total, 3, 32, 32), dtype=torch.uint8)
    except RuntimeError as error:
        raise DataError(
            f"{folder}: {total} images of {_PIXELS} bytes need {total * _PIXELS / 2**30:.1f} GiB of memory, which "
            "there is not"
        ) from error
    begin = 0
    for name, labels_N in zip(names, labels, strict=True):
        pixels_NP = _array(folder / name, "data")
        if pixels_NP.dtype != np.uint8 or pixels_NP.shape != (len(labels_N), _PIXELS):
            raise DataError(
                f"{folder / name}: expected data as uint8 of shape ({len(labels_N)}, {_PIXELS}), one row per label, "
                f"got {pixels_NP.dtype} of shape {pixels_NP.shape}; put the published file there"
            )
        images_NCHW[begin : begin + len(labels_N)] = torch.from_numpy(pixels_NP).view(-1, 3, 32, 32)
        begin += len(labels_N)
    return Split(images_NCHW, torch.cat(labels))


def _labels(path: Path) -> Tensor:
    labels = _array(path, "labels")
    if labels.ndim != 1 or labels.dtype.kind not in "iu" or not len(labels):
        raise DataError(
            f"{path}: expected labels as one axis of integers, 1 or more, got {labels.dtype} of shape {labels.shape}; "
            "put the published file there"
        )
    labels_N = torch.from_numpy(labels.astype(np.int64))
    check_labels(labels_N, _CLASSES, str(path), first=1)
    return labels_N - 1


def _array(path: Path, key: str) -> np.ndarray[Any, Any]:
    """One array of an npz file; none of Python's objects is read from it."""
    try:
        # Opened here, as numpy leaves the file open where it is damaged.
        with path.open("rb") as file, np.load(file, allow_pickle=False) as held:
            if key not in held.files:
                raise DataError(f"{path}: expected the arrays data and labels, got {sorted(held.files)}")
            array: np.ndarray[Any, Any] = held[key]
    except DataError:
        raise
    except Exception as error:  # a damaged file may raise anything
        raise DataError(
            f"{path}: truncated or damaged ({type(error).__name__}: {error}): expected an npz file with the arrays "
            f"data and labels, got {path.stat().st_size} bytes; put the published file there"
        ) from error
    return array
