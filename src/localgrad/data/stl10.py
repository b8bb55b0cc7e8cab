"""STL-10, labelled part."""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch

from localgrad.data.augment import Augment
from localgrad.data.checks import check_labels
from localgrad.data.errors import DataError
from localgrad.data.files import Form, read
from localgrad.data.images import ImageSet
from localgrad.data.published import Published, locate, problems, root_text
from localgrad.data.split import Split

_PIXELS = 3 * 96 * 96
_COUNTS = {"train": 5_000, "test": 8_000}
_AUGMENT = Augment(pad=4, pad_mode="zero", flip=True)
_FORM = Form(
    ("train_X.bin", "train_y.bin", "test_X.bin", "test_y.bin", "class_names.txt"),
    ("stl10_binary",),
    "stl10_binary.tar.gz",
    2_640_397_119,
)
_CLASSES = ("airplane", "bird", "car", "cat", "deer", "dog", "horse", "monkey", "ship", "truck")
_PUBLISHED = Published(
    name="stl10",
    forms=(_FORM,),
    sources=("http://ai.stanford.edu/~acoates/stl10/stl10_binary.tar.gz",),
    torchvision="STL10",
    calls=({"split": "train"},),
)


@dataclass(frozen=True)
class STL10:
    """STL-10, labelled: 5,000 training and 8,000 test images of 10 classes, (3, 96, 96). The 100,000 unlabelled images
    and the ten folds are not used.

    Read from the .bin files in ``root`` (None: the folder ``data``) or its sub-folder ``stl10_binary``, or from
    stl10_binary.tar.gz in place (2.6 GB are then decompressed at every load; unpacked is faster). ``download=True``
    lets torchvision fetch and verify it where nothing is there.

    Default normalisation 0.5/0.5 and augmentation (pad 4 with zeros, crop, flip) are those of InfoPro's code, whose 100
    classes for STL-10 are a slip: there are 10. PredSim: no augmentation but ``cutout=48``,
    ``mean=(0.447, 0.440, 0.407), std=(0.260, 0.257, 0.271)``. Source: Coates, Lee, Ng 2011.
    """

    root: str | Path | None = None
    augment: Augment = _AUGMENT
    mean: tuple[float, ...] = (0.5, 0.5, 0.5)
    std: tuple[float, ...] = (0.5, 0.5, 0.5)
    download: bool = False

    name: ClassVar[str] = "stl10"
    num_classes: ClassVar[int] = 10
    image: ClassVar[tuple[int, int, int]] = (3, 96, 96)
    classes: ClassVar[tuple[str, ...]] = _CLASSES

    def __post_init__(self) -> None:
        object.__setattr__(self, "root", root_text(self.root))

    def problems(self) -> list[str]:
        """Missing files and wrong numbers, without reading."""
        return problems(_PUBLISHED, self, str(self.root), fetch=self.download)

    def load(self) -> ImageSet:
        """Read the files. Raises ``DataError`` for files that are missing, damaged or not STL-10's."""
        if found := self.problems():
            raise DataError("\n".join(found))
        source = locate(_PUBLISHED, str(self.root), fetch=self.download)
        files = read(source)
        classes = tuple(files["class_names.txt"].decode("utf-8", "replace").split())
        if len(classes) != self.num_classes:
            where = source.where("class_names.txt")
            raise DataError(f"{where}: expected {self.num_classes} class names, got {len(classes)}")
        train, test = (
            _split(files[f"{part}_X.bin"], files[f"{part}_y.bin"], part, source.where(f"{part}_X.bin"))
            for part in ("train", "test")
        )
        return ImageSet(self.name, train, test, classes, self.mean, self.std, self.augment)


def _split(raw_images: bytes, raw_labels: bytes, part: str, where: str) -> Split:
    if not raw_images or len(raw_images) % _PIXELS:
        raise DataError(
            f"{where}: truncated or damaged: expected a multiple of {_PIXELS} bytes "
            f"({_COUNTS[part] * _PIXELS} as published), got {len(raw_images)}; put the published file there"
        )
    count, labels_path = len(raw_images) // _PIXELS, where.replace("_X.bin", "_y.bin")
    if len(raw_labels) != count:
        raise DataError(
            f"{labels_path}: truncated or damaged: expected {count} bytes, one label for each image of {part}_X.bin, "
            f"got {len(raw_labels)}; put the published file there"
        )
    labels_N = torch.from_numpy(np.frombuffer(raw_labels, np.uint8).astype(np.int64))
    check_labels(labels_N, 10, labels_path, first=1)
    # Stored column by column, so the last axis of the file is the image's height.
    pixels_NCWH = np.frombuffer(raw_images, np.uint8).reshape(-1, 3, 96, 96)
    return Split(torch.from_numpy(np.ascontiguousarray(pixels_NCWH.transpose(0, 1, 3, 2))), labels_N - 1)
