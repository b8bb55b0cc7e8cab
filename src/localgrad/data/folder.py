"""Any images in folders: one folder per class."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from localgrad.data.augment import Augment
from localgrad.data.cache import cache_files, cache_key, read_cache, write_cache
from localgrad.data.checks import statistics_problems
from localgrad.data.decode import decode
from localgrad.data.errors import DataError, missing_extra
from localgrad.data.images import ImageSet
from localgrad.data.scan import Listing, class_names, foreign_files, scan
from localgrad.data.split import Split


@dataclass(frozen=True, init=False)
class ImageFolder:
    """Images in ``root/train/<class>/`` and ``root/test/<class>/`` (or ``root/val/``; ``test`` where both are there).

    Every format that Pillow reads, sub-folders of a class included; each image becomes RGB (transparency dropped, EXIF
    rotation not applied, first frame). Classes are numbered by the sorted folder names.

    ``image`` None: all images have one size, and it stays. A number S, or a shape (3, H, W): images of another size are
    resized until they cover it and cut at the centre. Pixels are decoded once and kept in one file: in
    ``root/.localgrad-cache``, or in the user's cache folder where the root cannot be written, or in the folder
    ``cache``. ``mean`` and ``std`` (per channel, for pixels in [0, 1]) default to those **computed from the training
    split**, all its pixels pooled. The default augmentation is none.

    ``load()`` raises ``DataError`` with all problems at once: missing or unequal class folders, empty ones, files that
    are no images or cannot be decoded, unequal sizes. The whole set is held in memory as uint8.
    """

    root: str
    image: tuple[int, int, int] | None
    cache: str | None
    augment: Augment
    mean: tuple[float, ...] | None
    std: tuple[float, ...] | None

    # Written out because ``image`` is given as a number and held as the shape that every data spec has.
    def __init__(
        self,
        root: str | Path,
        image: int | Sequence[int] | None = None,
        cache: str | Path | None = None,
        *,
        augment: Augment = Augment(),  # noqa: B008 -- frozen
        mean: tuple[float, ...] | None = None,
        std: tuple[float, ...] | None = None,
    ) -> None:
        values = {
            "root": str(root),
            "image": (3, image, image) if isinstance(image, int) else None if image is None else tuple(image),
            "cache": None if cache is None else str(cache),
            "augment": augment,
            "mean": None if mean is None else tuple(mean),
            "std": None if std is None else tuple(std),
        }
        for name, value in values.items():
            object.__setattr__(self, name, value)

    @property
    def name(self) -> str:
        """The root folder's name."""
        return self._folder.absolute().name

    @property
    def num_classes(self) -> int | None:
        """Number of folders in ``root/train``; None where there is none."""
        return len(class_names(self._folder / "train")) or None

    def problems(self) -> list[str]:
        """All that is wrong with the fields and the layout. No image is decoded."""
        return self._look()[1]

    def load(self) -> ImageSet:
        """Decode the images, or read the cache of the folder's present state. Raises ``DataError``."""
        listing, found = self._look()
        if listing is None or found:
            raise DataError("\n".join(found))
        size = None if self.image is None else self.image[1:]
        key, paths = cache_key(listing, size), cache_files(self._folder, size, self.cache)
        tensors = next((held for path in paths if (held := read_cache(path, key)) is not None), None)
        if tensors is None:
            tensors = _decoded(listing, size)
            write_cache(paths, key, tensors, must=self.cache is not None)
        train = Split(tensors["train_images"], tensors["train_labels"])
        test = Split(tensors["test_images"], tensors["test_labels"])
        mean, std = self._statistics(train)
        return ImageSet(self.name, train, test, listing.classes, mean, std, self.augment)

    @property
    def _folder(self) -> Path:
        return Path(self.root).expanduser()

    def _look(self) -> tuple[Listing | None, list[str]]:
        found = missing_extra("PIL", "reading an image folder")
        if self.image is not None and (len(self.image) != 3 or self.image[0] != 3 or min(self.image) < 1):
            found.append(f"{self.root}: image: expected a size of 1 or more, or a shape (3, H, W), got {self.image}")
        elif self.image is not None:
            found += self.augment.problems(*self.image[1:])
        found += statistics_problems(self.mean or (0.0,) * 3, self.std or (1.0,) * 3, 3)
        listing, wrong = scan(self._folder)
        if listing is not None and not missing_extra("PIL", ""):
            wrong += foreign_files(listing)
        return listing, found + wrong

    def _statistics(self, train: Split) -> tuple[tuple[float, ...], tuple[float, ...]]:
        if self.mean is not None and self.std is not None:
            return self.mean, self.std
        mean, std = pixel_statistics(train.images_NCHW)
        if self.std is None and min(std) == 0:
            raise DataError(
                f"{self.root}: channel {std.index(0)} has the same value in all training pixels, so its standard "
                "deviation is 0; give std="
            )
        return self.mean or mean, self.std or std


def pixel_statistics(images_NCHW: Tensor) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation per channel of uint8 images, for pixels in [0, 1]; exact, from a count per value."""
    counts_C256 = torch.stack(
        [torch.bincount(channel.flatten(), minlength=256) for channel in images_NCHW.unbind(1)]
    ).double()
    value_256 = torch.arange(256, dtype=torch.float64) / 255
    share_C256 = counts_C256 / counts_C256.sum(1, keepdim=True)
    mean_C = (share_C256 * value_256).sum(1)
    std_C = (share_C256 * (value_256 - mean_C.unsqueeze(1)) ** 2).sum(1).sqrt()
    return tuple(mean_C.tolist()), tuple(std_C.tolist())


def _decoded(listing: Listing, size: tuple[int, int] | None) -> dict[str, Tensor]:
    train, test = decode(listing, size)
    return {
        "train_images": torch.from_numpy(train),
        "train_labels": torch.tensor([entry.label for entry in listing.train], dtype=torch.int64),
        "test_images": torch.from_numpy(test),
        "test_labels": torch.tensor([entry.label for entry in listing.test], dtype=torch.int64),
    }
