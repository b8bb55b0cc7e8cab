"""ImageNet (ILSVRC 2012)."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

from localgrad.data.crops import CROPS, Crops
from localgrad.data.errors import DataError
from localgrad.data.scan import class_names
from localgrad.data.stream import ImageStream
from localgrad.data.streamed_folder import MEAN, STD, StreamedFolder

_CLASSES = 1000


@dataclass(frozen=True)
class ImageNet:
    """ImageNet: 1,281,167 training and 50,000 validation images of 1,000 classes, streamed from their JPEG files.

    Read from ``root/train/<class>/`` and ``root/val/<class>/``; the validation images are the test split, as in all
    papers. Nothing is downloaded: the files are given out on the ImageNet project's site after registration, the
    training images as one archive per class, the validation images in one folder without classes, which the labels of
    the development kit sort. ``crops``, ``mean``, ``std`` and ``workers`` as for ``StreamedFolder``, which also reads
    subsets of the classes. Source: Russakovsky et al. 2015; protocol: InfoPro's, AugLocal's and MLAAN's code.
    """

    root: str | Path
    crops: Crops = CROPS
    mean: tuple[float, ...] = MEAN
    std: tuple[float, ...] = STD
    workers: int | None = None

    name: ClassVar[str] = "imagenet"
    num_classes: ClassVar[int] = _CLASSES

    def __post_init__(self) -> None:
        object.__setattr__(self, "root", str(self.root))
        object.__setattr__(self, "mean", tuple(self.mean))
        object.__setattr__(self, "std", tuple(self.std))

    @property
    def image(self) -> tuple[int, int, int]:
        """Shape of one image in a batch, (3, size, size)."""
        return self._folder.image

    def problems(self) -> list[str]:
        """All that is wrong with the fields and the folders. No file is looked at."""
        return self._folder.problems() + self._class_problems()

    def load(self) -> ImageStream:
        """List the files. Raises ``DataError``."""
        if found := self.problems():
            raise DataError("\n".join(found))
        return replace(self._folder.load(), name=self.name)

    @property
    def _folder(self) -> StreamedFolder:
        return StreamedFolder(self.root, self.crops, self.mean, self.std, self.workers, test="val")

    def _class_problems(self) -> list[str]:
        root, found = Path(self.root).expanduser(), []
        count = len(class_names(root / "train"))
        if count not in (0, _CLASSES):
            found.append(
                f"{root}/train: expected the {_CLASSES} class folders of ImageNet, got {count}; "
                "StreamedFolder reads other image folders"
            )
        if count and (root / "val").is_dir() and not class_names(root / "val"):
            found.append(
                f"{root}/val: expected one folder per class, as in train. The validation images are published in one "
                "folder: sort them by the labels of the development kit"
            )
        return found
