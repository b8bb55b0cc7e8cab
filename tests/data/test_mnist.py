"""The idx files of MNIST, Fashion-MNIST and Kuzushiji-MNIST."""

import gzip
import struct
from pathlib import Path

import numpy as np
import pytest
import torch

from localgrad.data import KMNIST, MNIST, Augment, DataError, FashionMNIST

SETS = (MNIST, FashionMNIST, KMNIST)


def idx(values: np.ndarray, kind: int = 8) -> bytes:
    return bytes((0, 0, kind, values.ndim)) + struct.pack(f">{values.ndim}I", *values.shape) + values.tobytes()


def write(folder: Path, *, packed: bool = False, size: int = 28) -> dict[str, np.ndarray]:
    folder.mkdir(parents=True, exist_ok=True)
    rng, held = np.random.default_rng(0), {}
    for part, count in (("train", 5), ("t10k", 3)):
        held[f"{part}-images-idx3-ubyte"] = rng.integers(0, 256, (count, size, size), np.uint8)
        held[f"{part}-labels-idx1-ubyte"] = rng.integers(0, 10, count, np.uint8)
    for name, values in held.items():
        raw = idx(values)
        (folder / f"{name}{'.gz' * packed}").write_bytes(gzip.compress(raw) if packed else raw)
    return held


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("data", SETS)
def test_read(tmp_path: Path, data: type, packed: bool):
    for folder in (tmp_path / "a", tmp_path / "b" / data.__name__ / "raw", tmp_path / "c" / data.name):
        held = write(folder, packed=packed)
    for root in (tmp_path / "a", tmp_path / "b", tmp_path / "c"):
        assert data(root).problems() == []
        images = data(root).load()
        for split, part in ((images.train, "train"), (images.test, "t10k")):
            assert torch.equal(split.images_NCHW[:, 0], torch.from_numpy(held[f"{part}-images-idx3-ubyte"]))
            assert split.labels_N.tolist() == held[f"{part}-labels-idx1-ubyte"].tolist()
        assert (images.image, len(images.classes), images.name) == (data.image, 10, data.name)


def test_defaults_are_those_of_predsims_code():
    crop = Augment(pad=2, pad_mode="zero")
    flip = Augment(pad=2, pad_mode="zero", flip=True)
    found = [(data().augment, data().mean, data().std) for data in SETS]
    assert found == [(crop, (0.1307,), (0.3081,)), (flip, (0.286,), (0.353,)), (Augment(), (0.1904,), (0.3475,))]


def test_missing_files_offer_the_download(tmp_path: Path):
    with pytest.raises(
        DataError, match=r"(?s)kmnist: no complete set .*KMNIST/raw/.*, or set download=True\."
    ) as raised:
        KMNIST(tmp_path).load()
    assert "train-images-idx3-ubyte.gz" in str(raised.value)


@pytest.mark.parametrize(
    ("raw", "match"),
    [
        (b"", r"no idx file of bytes with 3 axes: expected it to begin with 00 00 08 03, got an empty file"),
        (b"<html>", r"expected it to begin with 00 00 08 03, got 3c 68 74 6d; put the published file there"),
        (idx(np.zeros((5, 28, 28), np.float32), 13), "expected it to begin with 00 00 08 03, got 00 00 0d 03"),
        (idx(np.zeros((5, 28), np.uint8)), "expected it to begin with 00 00 08 03, got 00 00 08 02"),
        (idx(np.zeros((5, 28, 28), np.uint8))[:10], "expected it to begin with"),
        (
            idx(np.zeros((5, 28, 28), np.uint8))[:-1],
            r"truncated or damaged: expected 3936 bytes for shape \(5, 28, 28\), got 3935",
        ),
        (idx(np.zeros((4, 28, 28), np.uint8)), "expected one label per image, got 4 images and 5 labels"),
        (idx(np.zeros((5, 32, 32), np.uint8)), r"expected images of 28x28, got \(32, 32\)"),
        (gzip.compress(idx(np.zeros((5, 28, 28), np.uint8)), mtime=0)[:-4], "truncated or damaged gzip file of"),
    ],
)
def test_wrong_images(tmp_path: Path, raw: bytes, match: str):
    write(tmp_path)
    (tmp_path / "train-images-idx3-ubyte").write_bytes(raw)
    with pytest.raises(DataError, match=match) as raised:
        MNIST(tmp_path).load()
    assert str(raised.value).startswith(f"{tmp_path}/train-")


def test_labels_out_of_range(tmp_path: Path):
    write(tmp_path)
    (tmp_path / "t10k-labels-idx1-ubyte").write_bytes(idx(np.array([1, 10, 3], np.uint8)))
    with pytest.raises(DataError, match=r"t10k-labels-idx1-ubyte: label 10 at index 1 is out of range"):
        MNIST(tmp_path).load()
