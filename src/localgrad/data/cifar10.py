"""CIFAR-10."""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from localgrad.data.augment import Augment
from localgrad.data.cifar import AUGMENT, MEAN, STD, Names, read_cifar
from localgrad.data.errors import DataError
from localgrad.data.files import Form
from localgrad.data.images import ImageSet
from localgrad.data.published import Published, locate, problems, root_text

_BATCHES = tuple(f"data_batch_{number}" for number in range(1, 6))
_PICKLED = Names(
    Form((*_BATCHES, "test_batch", "batches.meta"), ("cifar-10-batches-py",), "cifar-10-python.tar.gz", 170_498_071),
    train=_BATCHES,
    test=("test_batch",),
    classes="batches.meta",
    train_count=50_000,
    test_count=10_000,
    label_key=b"labels",
    classes_key=b"label_names",
)
_BINARY = Names(
    Form(
        (*(f"{name}.bin" for name in _BATCHES), "test_batch.bin", "batches.meta.txt"),
        ("cifar-10-batches-bin",),
        "cifar-10-binary.tar.gz",
        170_052_171,
    ),
    train=tuple(f"{name}.bin" for name in _BATCHES),
    test=("test_batch.bin",),
    classes="batches.meta.txt",
    train_count=50_000,
    test_count=10_000,
    label_bytes=1,
)
_NAMES = {names.form: names for names in (_PICKLED, _BINARY)}
_CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
_PUBLISHED = Published(
    name="cifar10",
    forms=tuple(_NAMES),
    sources=("https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz",),
    torchvision="CIFAR10",
    calls=({"train": True},),
)


@dataclass(frozen=True)
class CIFAR10:
    """CIFAR-10: 50,000 training and 10,000 test images of 10 classes, (3, 32, 32).

    Read from ``root`` (None: the folder ``data``): python or binary version, unpacked there or in its usual sub-folder,
    or the .tar.gz in place. ``download=True`` lets torchvision fetch and verify it where none of them is there.

    Default normalisation and augmentation (pad 4 by reflection, crop, flip) are those of InfoPro's code, which
    AugLocal, GN-DGL and MLAAN share. DGL and PredSim pad with zeros, ``augment=Augment(4, "zero", flip=True)`` (PredSim
    also with ``cutout=16``), and normalise otherwise: DGL with ``mean=(0.4914, 0.4822, 0.4465), std=(0.2023, 0.1994,
    0.2010)``, PredSim with ``mean=(0.424, 0.415, 0.384), std=(0.283, 0.278, 0.284)``. Source: Krizhevsky 2009.
    """

    root: str | Path | None = None
    augment: Augment = AUGMENT
    mean: tuple[float, ...] = MEAN
    std: tuple[float, ...] = STD
    download: bool = False

    name: ClassVar[str] = "cifar10"
    num_classes: ClassVar[int] = 10
    image: ClassVar[tuple[int, int, int]] = (3, 32, 32)
    classes: ClassVar[tuple[str, ...]] = _CLASSES

    def __post_init__(self) -> None:
        object.__setattr__(self, "root", root_text(self.root))

    def problems(self) -> list[str]:
        """Missing files and wrong numbers, without reading."""
        return problems(_PUBLISHED, self, str(self.root), fetch=self.download)

    def load(self) -> ImageSet:
        """Read the files. Raises ``DataError`` for files that are missing, damaged or not CIFAR-10's."""
        if found := self.problems():
            raise DataError("\n".join(found))
        source = locate(_PUBLISHED, str(self.root), fetch=self.download)
        train, test, classes = read_cifar(source, _NAMES[source.form], self.num_classes)
        return ImageSet(self.name, train, test, classes, self.mean, self.std, self.augment)
