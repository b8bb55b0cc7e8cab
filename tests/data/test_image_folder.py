"""Image folders: layouts, formats, sizes, and all that can be wrong with them."""

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional

from localgrad.data import Augment, DataError, ImageFolder
from localgrad.data.folder import pixel_statistics

UNPACK = Path(__file__).parents[3] / "shared" / "data" / "unpack_cifar10.py"


def expected(held: dict[str, np.ndarray], split: str) -> torch.Tensor:
    return torch.stack(
        [torch.from_numpy(held[path]).permute(2, 0, 1) for path in sorted(held) if path.startswith(split)]
    )


@pytest.mark.parametrize("test", ["test", "val"])
@pytest.mark.parametrize("extension", ["png", "bmp", "ppm", "tiff"])
def test_pixels_labels_and_classes(tmp_path: Path, publish, test: str, extension: str):
    held = publish.image_folder(tmp_path / "insects", test=test, extension=extension)
    data = ImageFolder(tmp_path / "insects")
    assert (data.name, data.num_classes, data.image, data.problems()) == ("insects", 2, None, [])
    images = data.load()
    assert torch.equal(images.train.images_NCHW, expected(held, "train"))
    assert torch.equal(images.test.images_NCHW, expected(held, test))
    assert images.train.labels_N.tolist() == images.test.labels_N.tolist() == [0, 0, 0, 1, 1, 1]
    assert (images.classes, images.image, images.augment) == (("ant", "bee"), (3, 8, 6), Augment())


@pytest.mark.parametrize("extension", ["jpg", "webp", "gif"])
def test_lossy_formats(tmp_path: Path, publish, extension: str):
    publish.image_folder(tmp_path, extension=extension)
    images = ImageFolder(tmp_path).load()
    with Image.open(tmp_path / "train" / "bee" / f"2.{extension}") as image:
        assert torch.equal(images.train.images_NCHW[5], functional.pil_to_tensor(image.convert("RGB")))


def test_grey_palette_and_transparent_images_become_rgb(tmp_path: Path, publish):
    publish.image_folder(tmp_path)
    pixels = np.arange(48, dtype=np.uint8).reshape(8, 6)
    Image.fromarray(pixels).save(tmp_path / "train/ant/0.png")
    palette = Image.fromarray(np.dstack([pixels] * 3)).quantize(16)
    palette.save(tmp_path / "train/ant/1.png", transparency=bytes(range(16)))
    Image.fromarray(np.dstack([pixels] * 4)).save(tmp_path / "train/ant/2.png")
    images = ImageFolder(tmp_path).load().train.images_NCHW
    assert torch.equal(images[0], torch.from_numpy(pixels).expand(3, -1, -1))
    assert torch.equal(images[1], functional.pil_to_tensor(palette.convert("RGB")))
    assert torch.equal(images[2], torch.from_numpy(pixels).expand(3, -1, -1))


def test_sub_folders_of_a_class_and_files_without_extension(tmp_path: Path, publish):
    publish.image_folder(tmp_path)
    deeper = tmp_path / "train" / "ant" / "more" / "x"
    deeper.parent.mkdir()
    (tmp_path / "train" / "ant" / "0.png").rename(deeper)
    assert len(ImageFolder(tmp_path).load().train) == 6


@pytest.mark.parametrize("size", [4, 6, 8, 13])
@pytest.mark.parametrize("original", [(8, 6), (6, 8), (17, 31), (9, 9)])
def test_resize_and_centre_crop_equal_torchvision(tmp_path: Path, publish, size: int, original: tuple[int, int]):
    held = publish.image_folder(tmp_path, per_class=1, size=original)
    data = ImageFolder(tmp_path, image=size)
    assert data.image == (3, size, size)
    images = data.load()
    transform = v2.Compose([v2.Resize(size), v2.CenterCrop(size)])
    theirs = transform(Image.fromarray(held["train/bee/0.png"]))
    assert torch.equal(images.train.images_NCHW[1], functional.pil_to_tensor(theirs))


def test_sizes_that_differ_need_image(tmp_path: Path, publish):
    publish.image_folder(tmp_path)
    Image.new("RGB", (9, 5)).save(tmp_path / "test/ant/0.png")
    match = (
        rf"{tmp_path}: images have 2 different sizes \(height x width\); give image=, the size to resize and crop them "
        r"to, e.g. image=6:\n  8x6: 11 images\n  5x9: 1 images"
    )
    with pytest.raises(DataError, match=match):
        ImageFolder(tmp_path).load()
    assert ImageFolder(tmp_path, image=6).load().image == (3, 6, 6)
    assert ImageFolder(tmp_path, image=(3, 4, 9)).load().image == (3, 4, 9)


def test_statistics_are_the_training_splits_own_unless_given(tmp_path: Path, publish):
    publish.image_folder(tmp_path)
    images = ImageFolder(tmp_path).load()
    pixels = images.train.images_NCHW.double() / 255
    assert np.allclose(images.mean, pixels.mean((0, 2, 3)), atol=1e-12)
    assert np.allclose(images.std, pixels.std((0, 2, 3), correction=0), atol=1e-12)
    given = ImageFolder(tmp_path, mean=(0.1, 0.2, 0.3), std=(1.0, 1.0, 1.0)).load()
    assert (given.mean, given.std) == ((0.1, 0.2, 0.3), (1.0, 1.0, 1.0))
    half = ImageFolder(tmp_path, std=(1.0, 1.0, 1.0)).load()
    assert half.mean == images.mean
    assert pixel_statistics(torch.tensor([0, 255], dtype=torch.uint8).view(2, 1, 1, 1)) == ((0.5,), (0.5,))


def test_training_pixels_without_variation(tmp_path: Path):
    for split in ("train", "test"):
        (tmp_path / split / "a").mkdir(parents=True)
        Image.new("RGB", (4, 4), (1, 2, 3)).save(tmp_path / split / "a" / "0.png")
    with pytest.raises(DataError, match=r"channel 0 has the same value in all training pixels, .* is 0; give std="):
        ImageFolder(tmp_path).load()
    assert ImageFolder(tmp_path, std=(1.0, 1.0, 1.0)).load().std == (1.0, 1.0, 1.0)


def test_missing_root_and_splits(tmp_path: Path):
    with pytest.raises(
        DataError, match=rf"{tmp_path}/no: does not exist; expected a folder with train/<class>/ and test"
    ):
        ImageFolder(tmp_path / "no").load()
    assert ImageFolder(tmp_path / "no").num_classes is None
    (tmp_path / "file").touch()
    assert ImageFolder(tmp_path / "file").problems()[0].startswith(f"{tmp_path}/file: is a file; expected a folder")
    problems = ImageFolder(tmp_path).problems()
    assert problems[0].startswith(f"{tmp_path}/train: no such folder; expected {tmp_path}/train/<class>/")
    assert problems[1].startswith(f"{tmp_path}/test: no such folder; expected {tmp_path}/test/<class>/ or val/<class>/")


def test_all_problems_of_the_layout_at_once(tmp_path: Path, publish):
    publish.image_folder(tmp_path, classes=("ant", "bee", "cow"))
    (tmp_path / "test" / "cow").rename(tmp_path / "test" / "dog")
    (tmp_path / "train" / "empty").mkdir()
    (tmp_path / "train" / "ant" / "notes.txt").write_text("x")
    (tmp_path / "train" / "ant" / ".DS_Store").write_text("x")
    (tmp_path / "test" / "loose.png").write_text("x")
    (tmp_path / "train" / "bee" / "link.png").symlink_to(tmp_path / "nowhere")
    with pytest.raises(DataError) as raised:
        ImageFolder(tmp_path, image=0, mean=(0.5,)).load()
    for line in (
        "image: expected a size of 1 or more, or a shape (3, H, W), got (3, 0, 0)",
        "mean: expected 3 numbers, one per channel, got 1: (0.5,)",
        f"{tmp_path}: train and test must have the same class folders; only in train: cow, empty; only in test: dog",
        f"{tmp_path}/train/empty: expected images of this class, got an empty folder",
        f"{tmp_path}/test: files outside the class folders:\n  loose.png",
        f"{tmp_path}/train/bee/link.png: a broken link or unreadable",
        f"{tmp_path}: 2 files are no images; remove them:\n  train/ant/.DS_Store\n  train/ant/notes.txt",
    ):
        assert line in str(raised.value)


def test_no_class_folders(tmp_path: Path):
    for name in ("train", "test"):
        (tmp_path / name).mkdir()
    with pytest.raises(DataError, match=rf"{tmp_path}/train: expected one folder per class, got none"):
        ImageFolder(tmp_path).load()


def test_broken_images_are_all_named(tmp_path: Path, publish):
    publish.image_folder(tmp_path, extension="jpg", size=(32, 32))
    cut = tmp_path / "train" / "ant" / "1.jpg"
    cut.write_bytes(cut.read_bytes()[:-300])
    (tmp_path / "test" / "bee" / "0.jpg").write_text("no image")
    (tmp_path / "test" / "bee" / "1.jpg").write_bytes(b"")
    Image.fromarray(np.zeros((32, 32), np.uint16)).save(tmp_path / "test" / "bee" / "3.png")
    with pytest.raises(DataError) as raised:
        ImageFolder(tmp_path).load()
    text = str(raised.value)
    assert text.startswith(
        f"{tmp_path}: 4 files cannot be decoded; repair or remove them:\n  train/ant/1.jpg: image file"
    )
    assert "train/ant/1.jpg: image file is truncated" in text
    assert "test/bee/0.jpg: cannot identify image file 'test/bee/0.jpg'" in text
    assert "test/bee/1.jpg: cannot identify" in text
    assert "test/bee/3.png: mode I;16 (more than 8 bits per value) would be cut off; convert it to 8 bits" in text
    assert not (tmp_path / ".localgrad-cache").exists()


def test_at_most_ten_broken_images_are_listed_with_their_number(tmp_path: Path, publish):
    publish.image_folder(tmp_path, per_class=20)
    for path in (tmp_path / "train" / "bee").iterdir():
        path.write_bytes(path.read_bytes()[:40])
    with pytest.raises(DataError, match=re.escape(f"{tmp_path}: 20 files cannot be decoded")) as raised:
        ImageFolder(tmp_path).load()
    assert len(re.findall(r"train/bee/\d+\.png:", str(raised.value))) == 10
    assert str(raised.value).endswith("... and 10 more")


def test_more_memory_than_there_is(tmp_path: Path, publish):
    publish.image_folder(tmp_path)
    match = rf"{tmp_path}: 6 images of 10000000x10000000 need 1676380.6 GiB of memory, .* give image= a smaller size"
    with pytest.raises(DataError, match=match):
        ImageFolder(tmp_path, image=10_000_000).load()


def test_class_folders_that_differ_are_listed_up_to_ten(tmp_path: Path, publish):
    publish.image_folder(tmp_path, per_class=1, classes=tuple(f"c{i:02}" for i in range(13)))
    (tmp_path / "test").rename(tmp_path / "old")
    (tmp_path / "test").mkdir()
    (tmp_path / "old" / "c00").rename(tmp_path / "test" / "c00")
    expected = "only in train: c01, c02, c03, c04, c05, c06, c07, c08, c09, c10, and 2 more; only in test: none"
    assert expected in ImageFolder(tmp_path).problems()[0]


def test_reflection_wider_than_the_images(tmp_path: Path, publish):
    publish.image_folder(tmp_path)
    augment = Augment(pad=6)
    with pytest.raises(DataError, match=r"got pad=6 for 8x6 images"):
        ImageFolder(tmp_path, augment=augment).load()
    assert "got pad=6 for 4x4 images" in ImageFolder(tmp_path, image=4, augment=augment).problems()[0]


@pytest.mark.skipif(not UNPACK.exists(), reason=f"{UNPACK} is not on this machine")
def test_shared_cifar10_jpegs(tmp_path: Path):
    subprocess.run([sys.executable, str(UNPACK), str(tmp_path), "--limit", "200"], check=True, capture_output=True)
    images = ImageFolder(tmp_path).load()
    assert (len(images.train), len(images.test), images.image) == (200, 200, (3, 32, 32))
    assert torch.bincount(images.train.labels_N).tolist() == [20] * 10
    assert images.classes[0] == "airplane" and images.classes[9] == "truck"
    path = sorted((tmp_path / "train" / "truck").iterdir())[-1]
    with Image.open(path) as image:
        assert torch.equal(images.train.images_NCHW[-1], functional.pil_to_tensor(image))
