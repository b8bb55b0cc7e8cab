"""What CIFAR-10 and CIFAR-100 share: their two published forms, and how each is parsed.

Source: Krizhevsky, https://www.cs.toronto.edu/~kriz/cifar.html (both formats are described there).
"""

import logging
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from localgrad.data.augment import Augment
from localgrad.data.checks import check_labels
from localgrad.data.errors import DataError
from localgrad.data.files import Form, Source, read
from localgrad.data.split import Split
from localgrad.data.unpickle import read_pickle

PIXELS = 3 * 32 * 32
AUGMENT = Augment(pad=4, pad_mode="reflect", flip=True)
MEAN = (125.3 / 255, 123.0 / 255, 113.9 / 255)
STD = (63.0 / 255, 62.1 / 255, 66.7 / 255)

_log = logging.getLogger("localgrad")


@dataclass(frozen=True)
class Names:
    """File names and keys of one published form. ``label_bytes`` before each image of the binary form: the last counts;
    0 means the pickled form, with ``label_key`` and ``classes_key``."""

    form: Form
    train: tuple[str, ...]
    test: tuple[str, ...]
    classes: str
    train_count: int
    test_count: int
    label_bytes: int = 0
    label_key: bytes = b""
    classes_key: bytes = b""


def read_cifar(source: Source, names: Names, num_classes: int) -> tuple[Split, Split, tuple[str, ...]]:
    """(train, test, class names) from the files of ``source``. Raises ``DataError``.

    Fewer images than published are read (and logged as a warning) as long as every file is whole.
    """
    files = read(source)
    classes = _classes(files[names.classes], source.where(names.classes), names)
    if len(classes) != num_classes:
        raise DataError(f"{source.where(names.classes)}: expected {num_classes} class names, got {len(classes)}")
    train = _split(files, source, names, training=True, num_classes=num_classes)
    test = _split(files, source, names, training=False, num_classes=num_classes)
    return train, test, classes


def _split(files: Mapping[str, bytes], source: Source, names: Names, *, training: bool, num_classes: int) -> Split:
    parts, published = (names.train, names.train_count) if training else (names.test, names.test_count)
    per_file = published // len(parts)
    images, labels = [], []
    for part in parts:
        where = source.where(part)
        parse = _binary_part if names.label_bytes else _pickled_part
        pixels_NP, labels_N = parse(files[part], where, names, per_file)
        check_labels(torch.from_numpy(labels_N), num_classes, where)
        images.append(pixels_NP)
        labels.append(labels_N)
    pixels = np.concatenate(images)
    if len(pixels) != published:
        _log.warning("%s: %d images in %s, published are %d", source.place, len(pixels), ", ".join(parts), published)
    return Split(torch.from_numpy(pixels).view(-1, 3, 32, 32), torch.from_numpy(np.concatenate(labels)))


Part = tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]


def _pickled_part(raw: bytes, where: str, names: Names, per_file: int) -> Part:
    published = f"{per_file} images of {PIXELS} bytes ({per_file * PIXELS} bytes and labels)"
    entries = read_pickle(raw, where, published)
    lacking = [repr(key) for key in (b"data", names.label_key) if key not in entries]
    if lacking:
        raise DataError(f"{where}: expected the keys b'data' and {names.label_key!r}, lacks {', '.join(lacking)}")
    pixels, labels = entries[b"data"], entries[names.label_key]
    if not isinstance(pixels, np.ndarray) or pixels.ndim != 2 or pixels.shape[1] != PIXELS or not len(pixels):
        got = f"shape {pixels.shape}" if isinstance(pixels, np.ndarray) else type(pixels).__name__
        raise DataError(f"{where}: expected data as a byte array of shape (N, {PIXELS}) with N >= 1, got {got}")
    if not isinstance(labels, list) or not all(type(label) is int for label in labels):
        raise DataError(f"{where}: expected {names.label_key!r} as a list of integers, got {type(labels).__name__}")
    if len(labels) != len(pixels):
        raise DataError(f"{where}: expected one label per image, got {len(pixels)} images and {len(labels)} labels")
    return pixels, np.array(labels, dtype=np.int64)


def _binary_part(raw: bytes, where: str, names: Names, per_file: int) -> Part:
    record = names.label_bytes + PIXELS
    if not raw or len(raw) % record:
        raise DataError(
            f"{where}: truncated or damaged: expected a multiple of {record} bytes ({per_file * record} as published), "
            f"got {len(raw)}; put the published file there"
        )
    records = np.frombuffer(raw, np.uint8).reshape(-1, record)
    return records[:, names.label_bytes :], records[:, names.label_bytes - 1].astype(np.int64)


def _classes(raw: bytes, where: str, names: Names) -> tuple[str, ...]:
    if names.label_bytes:
        return tuple(raw.decode("utf-8", "replace").split())
    listed = read_pickle(raw, where, "the class names").get(names.classes_key)
    if not isinstance(listed, list) or not all(isinstance(name, bytes) for name in listed):
        raise DataError(f"{where}: expected {names.classes_key!r} as a list of names, got {type(listed).__name__}")
    return tuple(name.decode("utf-8", "replace") for name in listed)
