"""SVHN's .mat files."""

import re
from pathlib import Path

import numpy as np
import pytest
import scipy.io
import torch

from localgrad.data import SVHN, Augment, DataError


def write(publish, root: Path, **options) -> dict:
    return {part: publish.svhn(root / f"{part}_32x32.mat", n, **options) for part, n in (("train", 12), ("test", 11))}


@pytest.mark.parametrize("folder", [".", "svhn", "SVHN"])
@pytest.mark.parametrize("compress", [True, False])
def test_read(tmp_path: Path, publish, folder: str, compress: bool):
    held = write(publish, tmp_path / folder, compress=compress)
    data = SVHN(tmp_path)
    assert data.problems() == []
    images = data.load()
    assert torch.equal(images.train.images_NCHW, torch.from_numpy(held["train"][0]))
    assert torch.equal(images.test.images_NCHW, torch.from_numpy(held["test"][0]))
    assert images.train.labels_N.tolist() == [1, 2, 3, 4, 5, 6, 7, 8, 9, 0, 1, 2]
    assert images.classes == tuple("0123456789") and images.image == data.image


def test_extra_follows_the_training_split(tmp_path: Path, publish):
    held = write(publish, tmp_path)
    more = publish.svhn(tmp_path / "extra_32x32.mat", 4)
    assert len(SVHN(tmp_path).load().train) == 12
    train = SVHN(tmp_path, extra=True).load().train
    assert torch.equal(train.images_NCHW, torch.from_numpy(np.concatenate((held["train"][0], more[0]))))
    assert train.labels_N[12:].tolist() == [1, 2, 3, 4]


def test_defaults_are_the_protocol_of_the_papers():
    data = SVHN()
    assert data.augment == Augment(pad=2, pad_mode="zero", flip=False)
    assert data.mean == data.std == (0.5, 0.5, 0.5)
    assert (data.name, data.num_classes, data.root, data.extra) == ("svhn", 10, "data", False)


def test_missing_files(tmp_path: Path, publish):
    write(publish, tmp_path)
    match = rf"(?s)svhn: .*{tmp_path}/ \(lacks extra_32x32.mat\).*http://ufldl.stanford.edu/housenumbers/"
    with pytest.raises(DataError, match=match):
        SVHN(tmp_path, extra=True).load()


@pytest.mark.parametrize("compress", [True, False])
def test_truncated_file_names_sizes(tmp_path: Path, publish, compress: bool):
    write(publish, tmp_path, compress=compress)
    path = tmp_path / "test_32x32.mat"
    whole = path.read_bytes()
    for size in (len(whole) - 1, len(whole) // 2, 130):
        path.write_bytes(whole[:size])
        match = rf"{path}: truncated: expected \d+ bytes by its own headers \(64275384 as published\), got {size};"
        with pytest.raises(DataError, match=match):
            SVHN(tmp_path).load()


def test_no_matlab_file(tmp_path: Path, publish):
    write(publish, tmp_path)
    path = tmp_path / "train_32x32.mat"
    path.write_text("<html>404</html>")
    expected = f"{path}: no MATLAB v5 file: expected 182040794 bytes as published, got 16; put the published file there"
    with pytest.raises(DataError, match=re.escape(expected)):
        SVHN(tmp_path).load()


def test_damaged_content(tmp_path: Path, publish):
    write(publish, tmp_path)
    path = tmp_path / "train_32x32.mat"
    raw = bytearray(path.read_bytes())
    raw[136:200] = bytes(64)
    path.write_bytes(raw)
    with pytest.raises(DataError, match=rf"{path}: damaged \(.*\); put the published file there"):
        SVHN(tmp_path).load()


@pytest.mark.parametrize(
    ("held", "match"),
    [
        ({"Z": np.zeros(3)}, r"expected the variables X and y, got \['Z'\]"),
        ({"X": np.zeros((32, 32, 3, 2)), "y": np.ones(2)}, r"uint8 \(32, 32, 3, N\), got float64 \(32, 32, 3, 2\)"),
        ({"X": np.zeros((32, 32, 3, 2), np.uint8), "y": np.ones(3)}, r"got 2 images and 3 labels"),
        (
            {"X": np.zeros((32, 32, 3, 2), np.uint8), "y": np.array([10, 11])},
            r"label 11 at index 1 is out of range; allowed are 1 to 10 \(10 classes\)",
        ),
    ],
)
def test_wrong_content(tmp_path: Path, publish, held: dict, match: str):
    write(publish, tmp_path)
    scipy.io.savemat(tmp_path / "train_32x32.mat", held)
    with pytest.raises(DataError, match=match):
        SVHN(tmp_path).load()
