"""MNIST and the two sets made in its format: Fashion-MNIST and Kuzushiji-MNIST."""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import torch

from localgrad.data.augment import Augment
from localgrad.data.checks import check_labels
from localgrad.data.errors import DataError
from localgrad.data.files import Form, Source, read
from localgrad.data.idx import read_idx
from localgrad.data.images import ImageSet
from localgrad.data.published import Published, locate, problems, root_text
from localgrad.data.split import Split

_FILES = tuple(f"{part}-{kind}-ubyte" for part in ("train", "t10k") for kind in ("images-idx3", "labels-idx1"))
_FASHION = ("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot")
_KUZUSHIJI = ("o", "ki", "su", "tsu", "na", "ha", "ma", "ya", "re", "wo")


def _published(name: str, torchvision: str, source: str) -> Published:
    folders = (f"{torchvision}/raw", name)
    forms = (Form(_FILES, folders), Form(tuple(f"{file}.gz" for file in _FILES), folders))
    return Published(name, forms, (source,), torchvision, ({"train": True},))


_PUBLISHED = {
    "mnist": _published("mnist", "MNIST", "http://yann.lecun.com/exdb/mnist/"),
    "fashion-mnist": _published("fashion-mnist", "FashionMNIST", "https://github.com/zalandoresearch/fashion-mnist"),
    "kmnist": _published("kmnist", "KMNIST", "http://codh.rois.ac.jp/kmnist/"),
}


@dataclass(frozen=True)
class MNIST:
    """MNIST: 60,000 training and 10,000 test images of the digits 0 to 9, grey, (1, 28, 28).

    Read from the four idx files, plain or as .gz, in ``root`` (None: the folder ``data``) or where torchvision puts
    them below it; ``download=True`` lets torchvision fetch and verify them where they are not there.

    Default normalisation and augmentation (pad 2 with zeros, crop, no flip) are those of PredSim's released code.
    Source: LeCun et al. 1998.
    """

    root: str | Path | None = None
    augment: Augment = Augment(pad=2, pad_mode="zero")  # noqa: RUF009 -- frozen
    mean: tuple[float, ...] = (0.1307,)
    std: tuple[float, ...] = (0.3081,)
    download: bool = False

    name: ClassVar[str] = "mnist"
    num_classes: ClassVar[int] = 10
    image: ClassVar[tuple[int, int, int]] = (1, 28, 28)
    classes: ClassVar[tuple[str, ...]] = tuple(map(str, range(10)))

    def __post_init__(self) -> None:
        object.__setattr__(self, "root", root_text(self.root))

    def problems(self) -> list[str]:
        """Missing files and wrong numbers, without reading."""
        return problems(_PUBLISHED[self.name], self, str(self.root), fetch=self.download)

    def load(self) -> ImageSet:
        """Read the files. Raises ``DataError`` for files that are missing, damaged or not in the idx format."""
        return _load(self)


@dataclass(frozen=True)
class FashionMNIST:
    """Fashion-MNIST: 60,000 training and 10,000 test images of 10 kinds of clothing, grey, (1, 28, 28).

    As ``MNIST``; the default augmentation flips, too. Source: Xiao, Rasul, Vollgraf 2017.
    """

    root: str | Path | None = None
    augment: Augment = Augment(pad=2, pad_mode="zero", flip=True)  # noqa: RUF009 -- frozen
    mean: tuple[float, ...] = (0.286,)
    std: tuple[float, ...] = (0.353,)
    download: bool = False

    name: ClassVar[str] = "fashion-mnist"
    num_classes: ClassVar[int] = 10
    image: ClassVar[tuple[int, int, int]] = (1, 28, 28)
    classes: ClassVar[tuple[str, ...]] = _FASHION

    def __post_init__(self) -> None:
        object.__setattr__(self, "root", root_text(self.root))

    def problems(self) -> list[str]:
        """Missing files and wrong numbers, without reading."""
        return problems(_PUBLISHED[self.name], self, str(self.root), fetch=self.download)

    def load(self) -> ImageSet:
        """Read the files. Raises ``DataError`` for files that are missing, damaged or not in the idx format."""
        return _load(self)


@dataclass(frozen=True)
class KMNIST:
    """Kuzushiji-MNIST: 60,000 training and 10,000 test images of 10 old Japanese characters, grey, (1, 28, 28).

    As ``MNIST``; by default without augmentation. Source: Clanuwat et al. 2018.
    """

    root: str | Path | None = None
    augment: Augment = Augment()  # noqa: RUF009 -- frozen
    mean: tuple[float, ...] = (0.1904,)
    std: tuple[float, ...] = (0.3475,)
    download: bool = False

    name: ClassVar[str] = "kmnist"
    num_classes: ClassVar[int] = 10
    image: ClassVar[tuple[int, int, int]] = (1, 28, 28)
    classes: ClassVar[tuple[str, ...]] = _KUZUSHIJI

    def __post_init__(self) -> None:
        object.__setattr__(self, "root", root_text(self.root))

    def problems(self) -> list[str]:
        """Missing files and wrong numbers, without reading."""
        return problems(_PUBLISHED[self.name], self, str(self.root), fetch=self.download)

    def load(self) -> ImageSet:
        """Read the files. Raises ``DataError`` for files that are missing, damaged or not in the idx format."""
        return _load(self)


def _load(spec: MNIST | FashionMNIST | KMNIST) -> ImageSet:
    if found := spec.problems():
        raise DataError("\n".join(found))
    source = locate(_PUBLISHED[spec.name], str(spec.root), fetch=spec.download)
    files = read(source)
    train, test = (_split(files, source, *source.form.files[begin : begin + 2]) for begin in (0, 2))
    return ImageSet(spec.name, train, test, spec.classes, spec.mean, spec.std, spec.augment)


def _split(files: dict[str, bytes], source: Source, images: str, labels: str) -> Split:
    pixels_NHW = read_idx(files[images], source.where(images), 3)
    labels_N = read_idx(files[labels], source.where(labels), 1).to(torch.int64)
    if pixels_NHW.shape[1:] != (28, 28):
        raise DataError(f"{source.where(images)}: expected images of 28x28, got {tuple(pixels_NHW.shape[1:])}")
    if len(pixels_NHW) != len(labels_N):
        raise DataError(
            f"{source.where(labels)}: expected one label per image, got {len(pixels_NHW)} images and {len(labels_N)} "
            "labels"
        )
    check_labels(labels_N, 10, source.where(labels))
    return Split(pixels_NHW.unsqueeze(1), labels_N)
