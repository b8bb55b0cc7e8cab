"""Any images in folders, read while the training runs."""

import os
from dataclasses import dataclass
from pathlib import Path

from localgrad.data.checks import statistics_problems
from localgrad.data.crops import CROPS, PURPOSE, Crops
from localgrad.data.errors import DataError, missing_extra
from localgrad.data.file_split import file_split
from localgrad.data.scan import class_names, foreign_files, layout, scan
from localgrad.data.stream import ImageStream

MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)
"""ImageNet's, per channel of RGB in [0, 1]."""


@dataclass(frozen=True)
class StreamedFolder:
    """Images in ``root/train/<class>/`` and ``root/<test>/<class>/``, of any size and number: never all in memory.

    As ``ImageFolder``, with these differences: every image is decoded anew whenever it is needed, by ``workers``
    processes (None: one per core, at most 8; 0: in the main process; the number changes no bit of the result); images
    are cropped as ``crops`` says, larger than they are shown where needed; ``mean`` and ``std`` default to ImageNet's.
    ``test`` None: the folder ``test``, or ``val`` where there is none.

    ``load()`` lists the files and raises ``DataError`` with all problems of the layout. A file that turns out to be
    truncated or no image stops the training with its name.
    """

    root: str | Path
    crops: Crops = CROPS
    mean: tuple[float, ...] = MEAN
    std: tuple[float, ...] = STD
    workers: int | None = None
    test: str | None = None

    def __post_init__(self) -> None:
        # As text and tuples, so that specs compare and save alike however they were given.
        object.__setattr__(self, "root", str(self.root))
        object.__setattr__(self, "mean", tuple(self.mean))
        object.__setattr__(self, "std", tuple(self.std))

    @property
    def name(self) -> str:
        """The root folder's name."""
        return self._folder.absolute().name

    @property
    def num_classes(self) -> int | None:
        """Number of folders in ``root/train``; None where there is none."""
        return len(class_names(self._folder / "train")) or None

    @property
    def image(self) -> tuple[int, int, int]:
        """Shape of one image in a batch, (3, size, size)."""
        return 3, self.crops.size, self.crops.size

    def problems(self) -> list[str]:
        """All that is wrong with the fields and the folders. No file is looked at."""
        return self._field_problems() + layout(self._folder, self.test)[1]

    def load(self) -> ImageStream:
        """List the files. Raises ``DataError``."""
        found = self._field_problems()
        listing, wrong = scan(self._folder, self.test)
        found += wrong
        if listing is not None and not missing_extra("PIL", ""):
            found += foreign_files(listing)
        if listing is None or found:
            raise DataError("\n".join(found))
        return ImageStream(
            self.name,
            file_split(listing.root, listing.train),
            file_split(listing.root, listing.test),
            listing.classes,
            self.crops,
            self.mean,
            self.std,
            min(8, os.cpu_count() or 1) if self.workers is None else self.workers,
        )

    @property
    def _folder(self) -> Path:
        return Path(self.root).expanduser()

    def _field_problems(self) -> list[str]:
        wrong = self.crops.problems() + statistics_problems(self.mean, self.std, 3)
        if self.workers is not None and self.workers < 0:
            wrong.append(f"workers: expected 0 or more processes, got {self.workers}")
        missing = [line for package in ("PIL", "torchvision") for line in missing_extra(package, PURPOSE)]
        return missing + [f"{self.root}: {problem}" for problem in wrong]
