"""STL-10's raw files."""

import re
import shutil
from pathlib import Path

import pytest
import torch

from localgrad.data import STL10, Augment, DataError


@pytest.mark.parametrize("folder", [".", "stl10_binary"])
def test_read_upright_with_labels_from_zero(tmp_path: Path, publish, folder: str):
    held = publish.stl10(tmp_path / folder)
    data = STL10(tmp_path)
    assert data.problems() == []
    images = data.load()
    for split, part in ((images.train, "train"), (images.test, "test")):
        assert torch.equal(split.images_NCHW, torch.from_numpy(held[part][0]))
        assert split.labels_N.tolist() == (held[part][1].astype(int) - 1).tolist()
    assert images.classes[:3] == ("airplane", "bird", "car") and images.image == data.image == (3, 96, 96)


def test_archive_is_read_in_place(tmp_path: Path, publish):
    held = publish.stl10(tmp_path / "stl10_binary")
    (tmp_path / "stl10_binary" / "unlabeled_X.bin").write_bytes(bytes(1000))
    publish.archive(tmp_path / "stl10_binary", tmp_path / "stl10_binary.tar.gz")
    shutil.rmtree(tmp_path / "stl10_binary")
    assert torch.equal(STL10(tmp_path).load().train.images_NCHW, torch.from_numpy(held["train"][0]))


def test_defaults_are_the_protocol_of_the_papers():
    data = STL10()
    assert data.augment == Augment(pad=4, pad_mode="zero", flip=True)
    assert data.mean == data.std == (0.5, 0.5, 0.5)
    assert (data.name, data.num_classes, data.root) == ("stl10", 10, "data")


def test_truncated_images(tmp_path: Path, publish):
    publish.stl10(tmp_path)
    path = tmp_path / "train_X.bin"
    path.write_bytes(path.read_bytes()[:-1])
    expected = f"{path}: truncated or damaged: expected a multiple of 27648 bytes (138240000 as published), got 82943"
    with pytest.raises(DataError, match=re.escape(expected)):
        STL10(tmp_path).load()


def test_truncated_labels(tmp_path: Path, publish):
    publish.stl10(tmp_path)
    path = tmp_path / "test_y.bin"
    path.write_bytes(path.read_bytes()[:-1])
    match = rf"{path}: .* expected 3 bytes, one label for each image of test_X.bin, got 2; put the published file there"
    with pytest.raises(DataError, match=match):
        STL10(tmp_path).load()


def test_wrong_label_and_class_names(tmp_path: Path, publish):
    publish.stl10(tmp_path)
    (tmp_path / "test_y.bin").write_bytes(bytes([1, 2, 0]))
    with pytest.raises(DataError, match=r"test_y.bin: label 0 at index 2 is out of range; allowed are 1 to 10"):
        STL10(tmp_path).load()
    (tmp_path / "class_names.txt").write_text("one\ntwo\n")
    with pytest.raises(DataError, match=r"class_names.txt: expected 10 class names, got 2"):
        STL10(tmp_path).load()


def test_missing_files_and_wrong_fields(tmp_path: Path):
    problems = STL10(tmp_path, std=(1.0, float("nan"), 1.0)).problems()
    assert problems[0].startswith("stl10: std: expected finite numbers, got (1.0, nan, 1.0)")
    assert f"{tmp_path}/stl10_binary.tar.gz (not there)" in problems[1]
    with pytest.raises(DataError, match="no complete set of files"):
        STL10(tmp_path).load()
