"""SVHN, cropped digits."""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch

from localgrad.data.augment import Augment
from localgrad.data.checks import check_labels
from localgrad.data.errors import DataError, extra, missing_extra
from localgrad.data.files import Form
from localgrad.data.images import ImageSet
from localgrad.data.matlab import check_whole
from localgrad.data.published import Published, locate, problems, root_text
from localgrad.data.split import Split

_BYTES = {"train_32x32.mat": 182_040_794, "test_32x32.mat": 64_275_384, "extra_32x32.mat": 1_329_278_602}
_AUGMENT = Augment(pad=2, pad_mode="zero")
_PURPOSE = "svhn: reading .mat files"


def _published(with_extra: bool) -> Published:
    parts = ("train", "test", "extra") if with_extra else ("train", "test")
    files = tuple(f"{part}_32x32.mat" for part in parts)
    return Published(
        name="svhn",
        forms=(Form(files, ("svhn", "SVHN")),),
        sources=("http://ufldl.stanford.edu/housenumbers/",),
        torchvision="SVHN",
        calls=tuple({"split": part} for part in parts),
    )


@dataclass(frozen=True)
class SVHN:
    """Street View House Numbers, cropped: 73,257 training and 26,032 test images of the digits 0 to 9, (3, 32, 32).

    Read from the .mat files in ``root`` (None: the folder ``data``) or its sub-folder ``svhn``; ``download=True`` lets
    torchvision fetch and verify them where they are not there. ``extra=True`` adds the 531,131 easier images of
    extra_32x32.mat to the training split, after it.

    Default normalisation 0.5/0.5 and augmentation (pad 2 with zeros, crop, no flip) are those of InfoPro's code.
    PredSim: ``extra=True``, no augmentation but cutout, ``mean=(0.431, 0.430, 0.446), std=(0.197, 0.198, 0.199)``.
    Source: Netzer et al. 2011.
    """

    root: str | Path | None = None
    extra: bool = False
    augment: Augment = _AUGMENT
    mean: tuple[float, ...] = (0.5, 0.5, 0.5)
    std: tuple[float, ...] = (0.5, 0.5, 0.5)
    download: bool = False

    name: ClassVar[str] = "svhn"
    num_classes: ClassVar[int] = 10
    image: ClassVar[tuple[int, int, int]] = (3, 32, 32)
    classes: ClassVar[tuple[str, ...]] = tuple(map(str, range(10)))

    def __post_init__(self) -> None:
        object.__setattr__(self, "root", root_text(self.root))

    def problems(self) -> list[str]:
        """Missing files, wrong numbers and a missing scipy, without reading."""
        return missing_extra("scipy", _PURPOSE) + problems(
            _published(self.extra), self, str(self.root), fetch=self.download
        )

    def load(self) -> ImageSet:
        """Read the files. Raises ``DataError`` for files that are missing, damaged or not SVHN's."""
        if found := self.problems():
            raise DataError("\n".join(found))
        source = locate(_published(self.extra), str(self.root), fetch=self.download)
        train, test = _read(source.place / "train_32x32.mat"), _read(source.place / "test_32x32.mat")
        if self.extra:
            more = _read(source.place / "extra_32x32.mat")
            train = Split(torch.cat((train.images_NCHW, more.images_NCHW)), torch.cat((train.labels_N, more.labels_N)))
        return ImageSet(self.name, train, test, self.classes, self.mean, self.std, self.augment)


def _read(path: Path) -> Split:
    check_whole(path, _BYTES[path.name])
    try:
        held = extra("scipy.io", _PURPOSE).loadmat(str(path))
    except Exception as error:  # scipy raises a dozen types on damaged files
        raise DataError(f"{path}: damaged ({type(error).__name__}: {error}); put the published file there") from error
    pixels_HWCN, labels = held.get("X"), held.get("y")
    if pixels_HWCN is None or labels is None:
        raise DataError(f"{path}: expected the variables X and y, got {sorted(k for k in held if k[:2] != '__')}")
    if pixels_HWCN.dtype != np.uint8 or pixels_HWCN.ndim != 4 or pixels_HWCN.shape[:3] != (32, 32, 3):
        raise DataError(f"{path}: expected X as uint8 (32, 32, 3, N), got {pixels_HWCN.dtype} {pixels_HWCN.shape}")
    if labels.size != pixels_HWCN.shape[3]:
        raise DataError(
            f"{path}: expected one label per image, got {pixels_HWCN.shape[3]} images and {labels.size} labels"
        )
    labels_N = torch.from_numpy(labels.ravel().astype(np.int64))
    check_labels(labels_N, 10, str(path), first=1)
    # The files call the digit zero 10.
    return Split(torch.from_numpy(np.ascontiguousarray(pixels_HWCN.transpose(3, 2, 0, 1))), labels_N % 10)
