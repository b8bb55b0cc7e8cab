"""CIFAR-100."""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from localgrad.data.augment import Augment
from localgrad.data.cifar import AUGMENT, MEAN, STD, Names, read_cifar
from localgrad.data.class_batches import ClassesPerBatch
from localgrad.data.errors import DataError
from localgrad.data.files import Form
from localgrad.data.images import ImageSet
from localgrad.data.published import Published, locate, problems, root_text

_PICKLED = Names(
    Form(("train", "test", "meta"), ("cifar-100-python",), "cifar-100-python.tar.gz", 169_001_437),
    train=("train",),
    test=("test",),
    classes="meta",
    train_count=50_000,
    test_count=10_000,
    label_key=b"fine_labels",
    classes_key=b"fine_label_names",
)
_BINARY = Names(
    Form(
        ("train.bin", "test.bin", "fine_label_names.txt"),
        ("cifar-100-binary",),
        "cifar-100-binary.tar.gz",
        168_513_733,
    ),
    train=("train.bin",),
    test=("test.bin",),
    classes="fine_label_names.txt",
    train_count=50_000,
    test_count=10_000,
    label_bytes=2,  # the coarse label, then the fine one
)
_NAMES = {names.form: names for names in (_PICKLED, _BINARY)}
_PUBLISHED = Published(
    name="cifar100",
    forms=tuple(_NAMES),
    sources=("https://www.cs.toronto.edu/~kriz/cifar-100-python.tar.gz",),
    torchvision="CIFAR100",
    calls=({"train": True},),
)


@dataclass(frozen=True)
class CIFAR100:
    """CIFAR-100 with its 100 fine labels: 50,000 training and 10,000 test images, (3, 32, 32).

    Files, download, normalisation and augmentation as for ``CIFAR10``; PredSim's are
    ``mean=(0.438, 0.418, 0.377), std=(0.300, 0.287, 0.294)``, padding with zeros, and
    ``classes_per_batch=ClassesPerBatch(20, until_epoch=200)`` where it matches similarities. Source: Krizhevsky 2009.
    """

    root: str | Path | None = None
    augment: Augment = AUGMENT
    mean: tuple[float, ...] = MEAN
    std: tuple[float, ...] = STD
    download: bool = False
    classes_per_batch: ClassesPerBatch | None = None

    name: ClassVar[str] = "cifar100"
    num_classes: ClassVar[int] = 100
    image: ClassVar[tuple[int, int, int]] = (3, 32, 32)

    def __post_init__(self) -> None:
        object.__setattr__(self, "root", root_text(self.root))

    def problems(self) -> list[str]:
        """Missing files and wrong numbers, without reading."""
        few = [] if self.classes_per_batch is None else self.classes_per_batch.problems(self.num_classes)
        found = problems(_PUBLISHED, self, str(self.root), fetch=self.download)
        return found + [f"{self.name}: {problem}" for problem in few]

    def load(self) -> ImageSet:
        """Read the files. Raises ``DataError`` for files that are missing, damaged or not CIFAR-100's."""
        if found := self.problems():
            raise DataError("\n".join(found))
        source = locate(_PUBLISHED, str(self.root), fetch=self.download)
        train, test, classes = read_cifar(source, _NAMES[source.form], self.num_classes)
        return ImageSet(
            self.name,
            train,
            test,
            classes,
            self.mean,
            self.std,
            self.augment,
            classes_per_batch=self.classes_per_batch,
        )
