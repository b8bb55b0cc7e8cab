"""Writers of small files in the formats in which the sets are published, down to the opcodes that Python 2 wrote."""

import io
import struct
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.io
from PIL import Image

CIFAR10_CLASSES = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]


def _string(raw: bytes) -> bytes:
    return b"U" + bytes([len(raw)]) + raw if len(raw) < 256 else b"T" + struct.pack("<I", len(raw)) + raw


def _python2(value: Any) -> bytes:
    if isinstance(value, dict):
        return b"}(" + b"".join(_python2(k) + _python2(v) for k, v in value.items()) + b"u"
    if isinstance(value, list):
        return b"](" + b"".join(map(_python2, value)) + b"e"
    if isinstance(value, bytes):
        return _string(value)
    if isinstance(value, int):
        return b"J" + struct.pack("<i", value)
    assert isinstance(value, np.ndarray)
    kind = {"uint8": b"u1", "float32": b"f4"}[value.dtype.name]
    shape = b"(" + b"".join(_python2(n) for n in value.shape) + b"t"
    dtype = (
        b"cnumpy\ndtype\n" + _string(kind) + b"K\x00K\x01\x87R(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
    )
    start = b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R"
    return start + b"(K\x01" + shape + dtype + b"\x89" + _string(value.tobytes()) + b"tb"


class Publish:
    """Pixels are drawn; every writer returns what it wrote, so that tests can compare."""

    def __init__(self) -> None:
        self.rng = np.random.default_rng(0)

    def pickle(self, path: Path, value: Any) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"\x80\x02" + _python2(value) + b".")

    def pixels(self, count: int, size: int = 32) -> np.ndarray:
        return self.rng.integers(0, 256, (count, 3, size, size), dtype=np.uint8)

    def cifar10_python(self, folder: Path, per_file: int = 2) -> dict[str, tuple[np.ndarray, list[int]]]:
        held = {}
        for name in (*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"):
            images, labels = self.pixels(per_file), self.rng.integers(0, 10, per_file).tolist()
            held[name] = images, labels
            entries = {
                b"batch_label": name.encode(),
                b"labels": labels,
                b"data": images.reshape(per_file, -1),
                b"filenames": [b"a.png"] * per_file,
            }
            self.pickle(folder / name, entries)
        names = [name.encode() for name in CIFAR10_CLASSES]
        self.pickle(folder / "batches.meta", {b"num_cases_per_batch": 10000, b"label_names": names, b"num_vis": 3072})
        return held

    def cifar10_binary(self, folder: Path, per_file: int = 2) -> dict[str, tuple[np.ndarray, list[int]]]:
        held = {}
        folder.mkdir(parents=True, exist_ok=True)
        for name in (*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"):
            images, labels = self.pixels(per_file), self.rng.integers(0, 10, per_file).tolist()
            held[name] = images, labels
            records = (bytes([label]) + image.tobytes() for label, image in zip(labels, images, strict=True))
            (folder / f"{name}.bin").write_bytes(b"".join(records))
        (folder / "batches.meta.txt").write_text("\n".join(CIFAR10_CLASSES) + "\n\n")
        return held

    def cifar100_python(self, folder: Path, count: int = 3) -> dict[str, tuple[np.ndarray, list[int]]]:
        held = {}
        for name in ("train", "test"):
            images, labels = self.pixels(count), self.rng.integers(0, 100, count).tolist()
            held[name] = images, labels
            coarse = [label // 5 for label in labels]
            entries = {b"fine_labels": labels, b"coarse_labels": coarse, b"data": images.reshape(count, -1)}
            self.pickle(folder / name, entries)
        fine = [f"fine{i}".encode() for i in range(100)]
        self.pickle(folder / "meta", {b"fine_label_names": fine, b"coarse_label_names": [b"x"] * 20})
        return held

    def cifar100_binary(self, folder: Path, count: int = 3) -> dict[str, tuple[np.ndarray, list[int]]]:
        held = {}
        folder.mkdir(parents=True, exist_ok=True)
        for name in ("train", "test"):
            images, labels = self.pixels(count), self.rng.integers(0, 100, count).tolist()
            held[name] = images, labels
            records = (bytes([k // 5, k]) + image.tobytes() for k, image in zip(labels, images, strict=True))
            (folder / f"{name}.bin").write_bytes(b"".join(records))
        (folder / "fine_label_names.txt").write_text("".join(f"fine{i}\n" for i in range(100)))
        return held

    def svhn(self, path: Path, count: int, *, compress: bool = True) -> tuple[np.ndarray, np.ndarray]:
        path.parent.mkdir(parents=True, exist_ok=True)
        images, labels = self.pixels(count), (np.arange(count) % 10 + 1).astype(np.uint8)
        held = {"X": images.transpose(2, 3, 1, 0), "y": labels[:, None]}
        scipy.io.savemat(path, held, do_compression=compress)
        return images, labels

    def stl10(self, folder: Path, count: int = 3) -> dict[str, tuple[np.ndarray, np.ndarray]]:
        folder.mkdir(parents=True, exist_ok=True)
        held = {}
        for part in ("train", "test"):
            images, labels = self.pixels(count, 96), self.rng.integers(1, 11, count, dtype=np.uint8)
            held[part] = images, labels
            (folder / f"{part}_X.bin").write_bytes(images.transpose(0, 1, 3, 2).tobytes())
            (folder / f"{part}_y.bin").write_bytes(labels.tobytes())
        names = ["airplane", "bird", "car", "cat", "deer", "dog", "horse", "monkey", "ship", "truck"]
        (folder / "class_names.txt").write_text("\n".join(names) + "\n")
        return held

    def archive(self, folder: Path, path: Path, prefix: str = "") -> None:
        """Pack ``folder``, with a link and a foreign file beside what is wanted."""
        with tarfile.open(path, "w:gz") as packed:
            link = tarfile.TarInfo(f"{prefix}{folder.name}/link")
            link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
            packed.addfile(link)
            packed.addfile(tarfile.TarInfo("../../outside"), io.BytesIO(b""))
            for file in sorted(folder.iterdir()):
                packed.add(file, f"{prefix}{folder.name}/{file.name}")

    def image_folder(
        self,
        root: Path,
        *,
        per_class: int = 3,
        size: tuple[int, int] = (8, 6),
        classes: tuple[str, ...] = ("ant", "bee"),
        test: str = "test",
        extension: str = "png",
    ) -> dict[str, np.ndarray]:
        """Images of (height, width) ``size``; returns pixels HWC by relative path."""
        held = {}
        for split in ("train", test):
            for name in classes:
                for i in range(per_class):
                    path = root / split / name / f"{i}.{extension}"
                    path.parent.mkdir(parents=True, exist_ok=True)
                    pixels = self.rng.integers(0, 256, (*size, 3), dtype=np.uint8)
                    Image.fromarray(pixels).save(path)
                    held[path.relative_to(root).as_posix()] = pixels
        return held


@pytest.fixture
def publish() -> Publish:
    return Publish()
