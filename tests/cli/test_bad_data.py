"""Data that is not there or not right: refused before any work, with what was looked for where."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.conftest import Localgrad
from tests.data.conftest import Publish

CIFAR = ("train", "cifar10.dgl_resnet32", "--epochs", 1)


@pytest.mark.parametrize("name", ["cifar10", "cifar100", "svhn", "stl10"])
def test_missing_data_says_what_was_looked_for_where(refused: Callable[..., str], tmp_path: Path, name: str) -> None:
    error = refused("train", f"{name}.backprop_resnet32", "--data-root", "nowhere")
    assert str(tmp_path / "nowhere") in error
    assert "download" in error


def test_labels_out_of_range(refused: Callable[..., str], tmp_path: Path) -> None:
    folder = tmp_path / "data" / "cifar-10-batches-bin"
    Publish().cifar10_binary(folder)
    broken = folder / "data_batch_3.bin"
    broken.write_bytes(b"\x0b" + broken.read_bytes()[1:])
    error = refused(*CIFAR, "--data-root", "data")
    assert "data_batch_3.bin: label 11 at index 0 is out of range; allowed are 0 to 9 (10 classes)" in error


def test_a_data_set_too_small_for_a_batch_of_two(refused: Callable[..., str], tmp_path: Path) -> None:
    Publish().cifar10_binary(tmp_path / "data" / "cifar-10-batches-bin")
    error = refused(*CIFAR, "--data-root", "data", "--batch-size", 3)
    assert "the training split has 10, the last batch 1. Take e.g. batch_size=4." in error


def test_a_folder_without_images(refused: Callable[..., str], tmp_path: Path) -> None:
    assert str(tmp_path / "images") in refused("train", "folder.dgl", "--data-root", "images")
    Publish().image_folder(tmp_path / "images")
    (tmp_path / "images" / "train" / "cat").mkdir()
    (tmp_path / "images" / "test" / "cat").mkdir()
    error = refused("train", "folder.dgl", "--data-root", "images")
    assert "images/train/cat: expected images of this class, got an empty folder" in error


def test_a_folder_with_other_files(refused: Callable[..., str], tmp_path: Path) -> None:
    Publish().image_folder(tmp_path / "images")
    (tmp_path / "images" / "train" / "ant" / "notes.txt").write_text("mine")
    assert "notes.txt" in refused("train", "folder.dgl", "--data-root", "images", "--image", 8)


def test_a_truncated_image_is_named(refused: Callable[..., str], tmp_path: Path) -> None:
    Publish().image_folder(tmp_path / "images", size=(32, 32))
    image = tmp_path / "images" / "train" / "bee" / "1.png"
    image.write_bytes(image.read_bytes()[:1000])
    assert str(Path("train") / "bee" / "1.png") in refused("train", "folder.dgl", "--data-root", "images")


def test_the_folder_recipe_asks_for_the_folder(refused: Callable[..., str]) -> None:
    assert refused("train", "folder.dgl") == "localgrad train folder.dgl: --data-root must be given."


def test_images_of_different_sizes(refused: Callable[..., str], tmp_path: Path) -> None:
    Publish().image_folder(tmp_path / "images")
    Publish().image_folder(tmp_path / "images", size=(9, 9), per_class=1, test="test")
    assert "give image=" in refused("train", "folder.dgl", "--data-root", "images")


def test_a_folder_whose_images_have_one_size_needs_no_size(localgrad: Localgrad, tmp_path: Path) -> None:
    Publish().image_folder(tmp_path / "images")
    words = ("train", "folder.dgl", "--data-root", "images", "--layers", 8, "--epochs", 1)
    status, printed = localgrad(*words)
    assert status == 2 and "batch_size=128 is larger than the 6 images" in printed
    status, printed = localgrad(*words, "--batch-size", 6, "--out", "a")
    assert status == 0, printed
