"""ImageNet32's npz files, and every way in which they can be wrong."""

import logging
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch

from localgrad.data import Augment, DataError, ImageNet32

TRAIN = [f"train_data_batch_{number}.npz" for number in range(1, 11)]


def write(folder: Path, per_file: int = 2) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """All files, one image more in the last training file; pixels and labels by name."""
    folder.mkdir(parents=True, exist_ok=True)
    rng, held = np.random.default_rng(0), {}
    for name in (*TRAIN, "val_data.npz"):
        count = per_file + (name == TRAIN[-1])
        pixels, labels = rng.integers(0, 256, (count, 3072), np.uint8), rng.integers(1, 1001, count)
        held[name] = pixels, labels
        np.savez(folder / name, data=pixels, labels=labels, mean=rng.random(3072))
    return held


@pytest.mark.parametrize("folder", [".", "imagenet32"])
def test_read(tmp_path: Path, folder: str, caplog: pytest.LogCaptureFixture):
    held = write(tmp_path / folder)
    data = ImageNet32(tmp_path)
    assert data.problems() == []
    with caplog.at_level(logging.WARNING, "localgrad"):
        images = data.load()
    for split, names in ((images.train, TRAIN), (images.test, ["val_data.npz"])):
        pixels = np.concatenate([held[name][0] for name in names]).reshape(-1, 3, 32, 32)
        assert torch.equal(split.images_NCHW, torch.from_numpy(pixels))
        assert split.labels_N.tolist() == [int(label) - 1 for name in names for label in held[name][1]]
    assert (len(images.train), images.classes[0], images.classes[999], len(images.classes)) == (21, "1", "1000", 1000)
    assert "21 images in train_data_batch_1.npz, " in caplog.text and "published are 1281167" in caplog.text


def test_defaults_are_the_protocol_of_the_papers():
    data = ImageNet32()
    assert data.augment == Augment(pad=4, pad_mode="zero", flip=True)
    assert (data.mean, data.std) == ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    assert (data.name, data.num_classes, data.image, data.root) == ("imagenet32", 1000, (3, 32, 32), "data")


def test_missing_files_say_where_they_come_from_and_offer_no_download(tmp_path: Path):
    write(tmp_path)
    (tmp_path / TRAIN[3]).unlink()
    with pytest.raises(DataError) as raised:
        ImageNet32(tmp_path).load()
    text = str(raised.value)
    assert f"{tmp_path}/ (lacks train_data_batch_4.npz)" in text
    assert "To do: put the published files there (on the ImageNet project's download page, after registration" in text
    assert "download=True" not in text


@pytest.mark.parametrize(
    ("arrays", "match"),
    [
        ({"labels": np.ones(2, int)}, r"expected the arrays data and labels, got \['labels'\]"),
        ({"data": np.zeros((2, 3072), np.uint8)}, r"expected the arrays data and labels, got \['data'\]"),
        (
            {"data": np.zeros((2, 12288), np.uint8), "labels": np.ones(2, int)},
            r"expected data as uint8 of shape \(2, 3072\), one row per label, got uint8 of shape \(2, 12288\)",
        ),
        (
            {"data": np.zeros((3, 3072), np.uint8), "labels": np.ones(2, int)},
            r"expected data as uint8 of shape \(2, 3072\), one row per label, got uint8 of shape \(3, 3072\)",
        ),
        (
            {"data": np.zeros((2, 3072)), "labels": np.ones(2, int)},
            r"expected data as uint8 .*, got float64 of shape \(2, 3072\); put the published file there",
        ),
        (
            {"data": np.zeros((2, 3072), np.uint8), "labels": np.array([1, 0])},
            r"label 0 at index 1 is out of range; allowed are 1 to 1000 \(1000 classes\); 1 of 2",
        ),
        (
            {"data": np.zeros((2, 3072), np.uint8), "labels": np.array([1001, 1])},
            "label 1001 at index 0 is out of range",
        ),
        (
            {"data": np.zeros((2, 3072), np.uint8), "labels": np.ones((2, 1), int)},
            r"expected labels as one axis of integers, 1 or more, got int64 of shape \(2, 1\)",
        ),
        (
            {"data": np.zeros((2, 3072), np.uint8), "labels": np.ones(2)},
            r"expected labels as one axis of integers, 1 or more, got float64 of shape \(2,\)",
        ),
    ],
)
def test_wrong_content(tmp_path: Path, arrays: dict[str, np.ndarray], match: str):
    write(tmp_path)
    np.savez(tmp_path / TRAIN[9], **arrays)
    with pytest.raises(DataError, match=rf"{tmp_path}/train_data_batch_10.npz: {match}"):
        ImageNet32(tmp_path).load()


def test_damaged_files(tmp_path: Path):
    write(tmp_path)
    path = tmp_path / "val_data.npz"
    whole = path.read_bytes()
    for raw in (whole[:-300], whole[:5000], b"", b"<html>404</html>"):
        path.write_bytes(raw)
        with pytest.raises(DataError, match=rf"{path}: truncated or damaged \(.*got {len(raw)} bytes; put the publish"):
            ImageNet32(tmp_path).load()
    changed = bytearray(whole)
    changed[1000] ^= 255
    path.write_bytes(changed)
    with pytest.raises(DataError, match=rf"{path}: truncated or damaged \(BadZipFile: Bad CRC-32 for file"):
        ImageNet32(tmp_path).load()


class Evil:
    def __reduce__(self):
        return print, ("this ran",)


def test_pickles_are_not_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    write(tmp_path)
    np.savez(tmp_path / TRAIN[0], data=np.array([Evil()], dtype=object), labels=np.ones(1, int))
    with pytest.raises(DataError, match="Object arrays cannot be loaded"):
        ImageNet32(tmp_path).load()
    (tmp_path / TRAIN[0]).write_bytes(pickle.dumps({"data": Evil(), "labels": [1]}))
    with pytest.raises(DataError, match=r"train_data_batch_1.npz: truncated or damaged"):
        ImageNet32(tmp_path).load()
    assert capsys.readouterr().out == ""
