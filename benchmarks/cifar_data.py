"""CIFAR-10 for benchmarks/cifar.py: packed JPEGs, an image folder, or the published files."""

import io
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch

from localgrad.data import CIFAR10, ImageFolder
from localgrad.data.cifar import AUGMENT, MEAN, STD
from localgrad.data.images import ImageSet
from localgrad.data.split import Split

PACKED = "cifar10_jpeg_{}.npz"


def load(root: Path, images: int | None) -> tuple[ImageSet, str]:
    """The set and how it was read. ``images``: the first ones of each split only. Raises SystemExit, DataError."""
    if (root / PACKED.format("train")).exists():
        train, classes = packed(root / PACKED.format("train"), images)
        test, _ = packed(root / PACKED.format("test"), images)
        return ImageSet("cifar10", train, test, classes, MEAN, STD, AUGMENT), "packed JPEGs of quality 75"
    if (root / "train").is_dir():
        found = ImageFolder(root, 32, augment=AUGMENT, mean=MEAN, std=STD).load()
        how = "an image folder"
    else:
        # Raises with what was looked for, and where.
        found, how = CIFAR10(root).load(), "the published files"
    if images is not None:
        # A folder is sorted by class: a shuffled order makes every prefix balanced.
        train, test = (first(split, images) for split in (found.train, found.test))
        found = ImageSet(found.name, train, test, found.classes, MEAN, STD, AUGMENT)
    return found, how


def first(split: Split, images: int) -> Split:
    """So many images of a fixed random order."""
    order = torch.randperm(len(split), generator=torch.Generator().manual_seed(0))
    return split.take(order[:images])


def packed(path: Path, images: int | None) -> tuple[Split, tuple[str, ...]]:
    """The first images of a file of JPEGs, one after the other: ``jpeg``, ``offsets``, ``labels``, ``classes``."""
    from PIL import Image  # noqa: PLC0415 - the other forms do without

    with np.load(path) as file:
        blob, offsets, labels = file["jpeg"].tobytes(), file["offsets"], file["labels"][:images]
        classes = tuple(str(name) for name in file["classes"])

    def decode(index: int) -> np.ndarray:
        with Image.open(io.BytesIO(blob[offsets[index] : offsets[index + 1]])) as image:
            return np.asarray(image.convert("RGB"))

    with ThreadPoolExecutor() as pool:
        pixels_NHWC = np.stack(list(pool.map(decode, range(len(labels)), chunksize=256)))
    images_NCHW = torch.from_numpy(pixels_NHWC).permute(0, 3, 1, 2).contiguous()
    return Split(images_NCHW, torch.from_numpy(labels.astype(np.int64))), classes
